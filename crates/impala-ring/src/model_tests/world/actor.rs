//! The model of an actor: it claims, writes and commits, and may die at any step.

use super::{
    Actor, Fault, Mutant, Owner, PAYLOAD_WORDS, Rules, SlotWord, State, Transition, World,
};

impl World {
    pub(super) fn actor_steps(
        &self,
        rules: &Rules,
        actor: usize,
        worlds: &mut Vec<Result<Self, Fault>>,
    ) {
        let state = self.actors[actor];
        if state == Actor::Dead {
            return;
        }
        if self.actor_crashes < rules.actor_crashes {
            let mut world = self.clone();
            world.actors[actor] = Actor::Dead;
            world.actor_crashes += 1;
            worlds.push(Ok(world));
        }
        if state == Actor::Idle {
            // Any FREE slot: more than the search of the product would try.
            for slot in 0..rules.blocks * rules.groups {
                if self.words[usize::from(slot)].state == State::Free {
                    let mut world = self.clone();
                    worlds.push(world.claim(rules, actor, slot).map(|()| world));
                }
            }
        } else {
            let mut world = self.clone();
            worlds.push(world.actor_step(rules, actor, state).map(|()| world));
        }
    }

    fn claim(&mut self, rules: &Rules, actor: usize, slot: u8) -> Result<(), Fault> {
        let named = rules.mutant != Some(Mutant::OwnerSecond);
        let nobody = Owner::new(0, 0).expect("in range");
        self.apply(slot, Transition::Claim(if named { self.owner(actor) } else { nobody }))?;
        let word = self.words[usize::from(slot)];
        self.actors[actor] =
            if named { Actor::Writing(slot, word, 0) } else { Actor::Nameless(slot, word) };
        Ok(())
    }

    fn actor_step(&mut self, rules: &Rules, actor: usize, state: Actor) -> Result<(), Fault> {
        let owner = self.owner(actor);
        self.actors[actor] = match state {
            Actor::Nameless(slot, word) => {
                let word = SlotWord { owner, ..word };
                self.words[usize::from(slot)] = word;
                Actor::Writing(slot, word, 0)
            }
            Actor::Writing(slot, word, written) if written < PAYLOAD_WORDS => {
                let tag = Some((owner, word.generation));
                self.payload[usize::from(slot)][usize::from(written)] = tag;
                Actor::Writing(slot, word, written + 1)
            }
            Actor::Writing(slot, word, _) => self.commit(rules, owner, slot, word)?,
            Actor::Uncounted(block) => {
                self.ready_counter[usize::from(block)] += 1;
                Actor::Idle
            }
            same @ (Actor::Idle | Actor::Dead) => same,
        };
        Ok(())
    }

    fn commit(
        &mut self,
        rules: &Rules,
        owner: Owner,
        slot: u8,
        word: SlotWord,
    ) -> Result<Actor, Fault> {
        let ready = word.step(Transition::Commit(owner)).map_err(|_| Fault::Corrupt)?;
        if rules.mutant == Some(Mutant::ReclaimAliveStoreCommit) {
            self.words[usize::from(slot)] = ready;
            return Ok(Actor::Idle);
        }
        if self.words[usize::from(slot)] != word {
            // The product leaves the process; only a mutant may come here.
            return if rules.mutant.is_some() { Ok(Actor::Dead) } else { Err(Fault::Fenced) };
        }
        self.words[usize::from(slot)] = ready;
        Ok(match rules.mutant {
            Some(Mutant::ReadyCounter) => Actor::Uncounted(slot / rules.groups),
            _ => Actor::Idle,
        })
    }
}
