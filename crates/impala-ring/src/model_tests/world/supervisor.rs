//! The model of the supervisor: it returns the slots that dead actors and learners held.

use super::{Actor, Fault, Learner, Mutant, Rules, State, Supervisor, Transition, World};

impl World {
    pub(super) fn supervisor_steps(&self, rules: &Rules, worlds: &mut Vec<Result<Self, Fault>>) {
        if self.supervisor != Supervisor::Idle {
            let mut world = self.clone();
            worlds.push(world.supervisor_step(rules).map(|()| world));
            return;
        }
        let slow_is_dead =
            matches!(rules.mutant, Some(Mutant::ReclaimAlive | Mutant::ReclaimAliveStoreCommit))
                && self.actor_crashes < rules.actor_crashes;
        for (actor, &state) in self.actors.iter().enumerate() {
            if state == Actor::Dead || (slow_is_dead && matches!(state, Actor::Writing(..))) {
                let mut world = self.clone();
                world.actor_crashes += u8::from(state != Actor::Dead);
                world.supervisor = Supervisor::Reclaiming(actor);
                worlds.push(Ok(world));
            }
        }
        if rules.mutant == Some(Mutant::ReturnAlive)
            && self.learner_crashes < rules.learner_crashes
            && matches!(self.learner, Learner::Reading(..) | Learner::Releasing(_, false))
        {
            let mut world = self.clone();
            world.learner_is_missed();
            world.supervisor = Supervisor::Returning(0, false);
            worlds.push(Ok(world));
        }
        if let Learner::Dead(counted) = self.learner {
            let mut world = self.clone();
            let corrects = rules.mutant != Some(Mutant::LeavesCounts);
            world.consumed -= u8::from(counted && corrects);
            world.learner = Learner::Dead(false);
            world.supervisor = Supervisor::Returning(0, false);
            worlds.push(Ok(world));
        }
    }

    fn supervisor_step(&mut self, rules: &Rules) -> Result<(), Fault> {
        let slots = rules.blocks * rules.groups;
        self.supervisor = match self.supervisor {
            Supervisor::Reclaiming(actor) => {
                let owner = self.owner(actor);
                let claimed = |slot: &u8| {
                    let word = self.words[usize::from(*slot)];
                    word.state == State::Claimed && word.owner == owner
                };
                if let Some(slot) = (0..slots).find(claimed) {
                    self.apply(slot, Transition::Reclaim(owner))?;
                    self.reclaimed += 1;
                    Supervisor::Reclaiming(actor)
                } else {
                    if self.actors[actor] == Actor::Dead {
                        self.incarnations[actor] += 1;
                        self.actors[actor] = Actor::Idle;
                    }
                    Supervisor::Idle
                }
            }
            Supervisor::Returning(slot, _) if slot == slots => {
                if matches!(self.learner, Learner::Dead(_)) {
                    self.learner = Learner::Idle;
                }
                Supervisor::Idle
            }
            Supervisor::Returning(slot, fatal) => {
                let held = |slot: &u8| self.words[usize::from(*slot)].state == State::Held;
                let again = |slot: u8| {
                    self.requeued_in[usize::from(slot)]
                        == Some(self.words[usize::from(slot)].generation)
                };
                let mut block = slot..slot + rules.groups;
                let first = slot.is_multiple_of(rules.groups);
                let fatal =
                    if first { block.any(|slot| held(&slot) && again(slot)) } else { fatal };
                let deaths = self.deaths_held[usize::from(slot)];
                if held(&slot) && fatal {
                    // Its neighbours in the block have died with it, or not: the block is one batch.
                    self.apply(slot, Transition::Drop)?;
                    self.dropped += 1;
                    if first && deaths < 2 && !self.neighbour_died_twice(rules, slot) {
                        return Err(Fault::Poison);
                    }
                } else if held(&slot) {
                    if deaths != 1 {
                        return Err(Fault::Poison);
                    }
                    if rules.mutant != Some(Mutant::ForgetsDeaths) {
                        let generation = self.words[usize::from(slot)].generation;
                        self.requeued_in[usize::from(slot)] = Some(generation);
                    }
                    self.apply(slot, Transition::Requeue)?;
                }
                Supervisor::Returning(slot + 1, fatal)
            }
            Supervisor::Idle => Supervisor::Idle,
        };
        Ok(())
    }

    fn neighbour_died_twice(&self, rules: &Rules, first: u8) -> bool {
        (first..first + rules.groups).any(|slot| self.deaths_held[usize::from(slot)] >= 2)
    }
}
