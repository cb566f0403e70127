//! The model of the learner: it takes, reads and releases, and may die at any step.

use super::{Fault, Learner, Mutant, PAYLOAD_WORDS, Rules, SlotWord, State, Transition, World};

impl World {
    pub(super) fn learner_steps(&self, rules: &Rules, worlds: &mut Vec<Result<Self, Fault>>) {
        if matches!(self.learner, Learner::Dead(_)) {
            return;
        }
        if self.learner_crashes < rules.learner_crashes {
            let mut world = self.clone();
            world.learner = Learner::Dead(matches!(self.learner, Learner::Releasing(_, true)));
            world.learner_is_missed();
            worlds.push(Ok(world));
        }
        if self.learner == Learner::Idle {
            for block in 0..rules.blocks {
                let mut slots = block * rules.groups..(block + 1) * rules.groups;
                let complete = if rules.mutant == Some(Mutant::ReadyCounter) {
                    self.ready_counter[usize::from(block)] == rules.groups
                } else {
                    slots.all(|slot| self.words[usize::from(slot)].state == State::Ready)
                };
                if complete {
                    let mut world = self.clone();
                    world.learner = Learner::Taking(block * rules.groups);
                    worlds.push(Ok(world));
                }
            }
        } else {
            let mut world = self.clone();
            worlds.push(world.learner_step(rules).map(|()| world));
        }
    }

    fn learner_step(&mut self, rules: &Rules) -> Result<(), Fault> {
        let first_of = |slot: u8| slot - slot % rules.groups;
        let is_last = |slot: u8| (slot + 1).is_multiple_of(rules.groups);
        self.learner = match self.learner {
            Learner::Taking(slot) => {
                self.apply(slot, Transition::Take)?;
                if is_last(slot) {
                    Learner::Reading(first_of(slot), 0)
                } else {
                    Learner::Taking(slot + 1)
                }
            }
            Learner::Reading(slot, word) => {
                let SlotWord { owner, generation, .. } = self.words[usize::from(slot)];
                let payload = self.payload[usize::from(slot)][usize::from(word)];
                if payload != Some((owner, generation)) {
                    return Err(Fault::Torn);
                }
                if word + 1 < PAYLOAD_WORDS {
                    Learner::Reading(slot, word + 1)
                } else if is_last(slot) {
                    Learner::Releasing(first_of(slot), false)
                } else {
                    Learner::Reading(slot + 1, 0)
                }
            }
            Learner::Releasing(slot, false) => {
                self.consumed += 1;
                Learner::Releasing(slot, true)
            }
            Learner::Releasing(slot, true) => {
                self.apply(slot, Transition::Release)?;
                if rules.mutant == Some(Mutant::ReadyCounter) {
                    self.ready_counter[usize::from(slot / rules.groups)] -= 1;
                }
                self.batches += u8::from(is_last(slot));
                if is_last(slot) { Learner::Idle } else { Learner::Releasing(slot + 1, false) }
            }
            same @ (Learner::Idle | Learner::Dead(_)) => same,
        };
        Ok(())
    }
}
