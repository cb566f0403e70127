//! Recovery after a death: how the supervisor returns slots of dead processes, and the slot counts that show that none
//! is lost.
//!
//! **Contract.** Nothing is ever taken back from a living party: whatever calls in here has seen the
//! dead process reaped (`waitid` returned), and no descendant of it maps the ring. A slot that is taken
//! from an actor that is merely slow would be written by two; no order of atomics can mend that (the
//! models show torn data within a few steps). The kernel reaps a process only after its last thread
//! has left user mode, so all that it wrote comes before everything here.

use super::error::RingError;
use super::orders::Orders;
use super::protocol::{Counter, Ring, RingShape};
use super::word::{Owner, SlotWord, State, Transition};
use impala_shm::kill_point;
use impala_shm::sync::Ordering;

/// Slot counts of a ring. Numbers of slots, since the ring was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotCounts {
    /// Sum of the generations of all slots, modulo 2^32.
    pub generations: u32,
    /// Returned by the learner after use.
    pub consumed: u64,
    /// Taken back from dead actors: unrolls in flight when they died.
    pub reclaimed: u64,
    /// Thrown away because they killed two learners.
    pub dropped: u64,
    /// Returned to READY after a learner's death. Not part of the sum: the slot stays in its generation.
    pub requeued: u64,
}

impl SlotCounts {
    /// Whether `generations = consumed + reclaimed + dropped`. True whenever learner and supervisor are outside
    /// the ring's calls; actors may be anywhere, for they never raise a generation.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.surplus() == 0
    }

    /// `consumed + reclaimed + dropped - generations`, modulo 2^32.
    const fn surplus(&self) -> u32 {
        let counted = self.consumed.wrapping_add(self.reclaimed).wrapping_add(self.dropped);
        // The low half: generations are a sum modulo 2^32.
        (counted as u32).wrapping_sub(self.generations)
    }
}

/// How many slots are in which state; a snapshot that may be stale by the time it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Nobody's, empty.
    pub free: usize,
    /// Being written.
    pub claimed: usize,
    /// Complete, waiting.
    pub ready: usize,
    /// With the learner.
    pub held: usize,
}

/// Which slots have already killed a learner. Private to the supervisor, never in shared memory.
#[derive(Debug, Clone)]
pub struct CrashRecord {
    /// The generation in which each slot was last requeued.
    requeued_in: Vec<Option<u32>>,
}

impl CrashRecord {
    /// No crash yet.
    #[must_use]
    pub fn new(shape: RingShape) -> Self {
        Self { requeued_in: vec![None; shape.slots()] }
    }
}

/// What became of the slots that a dead learner held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LearnerLoss {
    /// To be trained on again.
    pub requeued: usize,
    /// Thrown away, because their block was held at the death of two learners.
    pub dropped: usize,
}

impl<O: Orders> Ring<'_, O> {
    /// Takes back what a reaped owner had claimed; how many slots that was (an actor holds at most one).
    pub(super) fn take_back(&self, dead: Owner) -> Result<usize, RingError> {
        let mut slots_taken = 0;
        for slot in 0..self.shape().slots() {
            let word = self.read(slot, Ordering::Relaxed)?;
            if word.state == State::Claimed && word.owner == dead {
                self.replace(slot, word, Transition::Reclaim(dead), O::TAKE_BACK)?;
                kill_point!("supervisor.reclaiming");
                self.count(Counter::Reclaimed);
                slots_taken += 1;
            }
        }
        O::change_then_look();
        Ok(slots_taken)
    }

    /// Puts the counts right, then returns what a reaped learner held: to READY the first time, since the
    /// data is intact, and to FREE if any slot of the block has been through this in its generation.
    pub(super) fn return_held(&self, record: &mut CrashRecord) -> Result<LearnerLoss, RingError> {
        assert_eq!(record.requeued_in.len(), self.shape().slots(), "a record of another ring");
        // A corrupt word has no generation to check the counts with.
        self.occupancy()?;
        self.correct_consumed()?;
        self.block_ready().forget_waiters();
        let mut loss = LearnerLoss::default();
        for block in 0..self.shape().blocks {
            let mut fatal_twice = false;
            for slot in self.slots_of(block) {
                let word = self.read(slot, Ordering::Relaxed)?;
                fatal_twice |=
                    word.state == State::Held && record.requeued_in[slot] == Some(word.generation);
            }
            for slot in self.slots_of(block) {
                let word = self.read(slot, Ordering::Relaxed)?;
                if word.state != State::Held {
                    continue;
                }
                if fatal_twice {
                    self.replace(slot, word, Transition::Drop, O::DROP)?;
                    self.count(Counter::Dropped);
                    loss.dropped += 1;
                } else {
                    self.replace(slot, word, Transition::Requeue, Ordering::Relaxed)?;
                    kill_point!("supervisor.requeuing");
                    self.count(Counter::Requeued);
                    record.requeued_in[slot] = Some(word.generation);
                    loss.requeued += 1;
                }
            }
        }
        O::change_then_look();
        Ok(loss)
    }

    /// The counts. Exact between the calls of learner and supervisor, see [`SlotCounts::holds`].
    #[must_use]
    pub fn slot_counts(&self) -> SlotCounts {
        let slots = 0..self.shape().slots();
        let counter = |counter| self.counter(counter).load(Ordering::Relaxed);
        SlotCounts {
            generations: slots.fold(0, |sum, slot| sum.wrapping_add(self.generation(slot))),
            consumed: counter(Counter::Consumed),
            reclaimed: counter(Counter::Reclaimed),
            dropped: counter(Counter::Dropped),
            requeued: counter(Counter::Requeued),
        }
    }

    /// How many slots are in which state.
    ///
    /// # Errors
    /// [`RingError::Corrupt`] if a slot holds what no party writes.
    pub fn occupancy(&self) -> Result<Occupancy, RingError> {
        let mut counts = Occupancy::default();
        for slot in 0..self.shape().slots() {
            match self.slot_word(slot)?.state {
                State::Free => counts.free += 1,
                State::Claimed => counts.claimed += 1,
                State::Ready => counts.ready += 1,
                State::Held => counts.held += 1,
            }
        }
        Ok(counts)
    }

    /// What one slot says at this moment, for reports on a run that stands still.
    ///
    /// # Errors
    /// [`RingError::Corrupt`] if it holds what no party writes.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn slot_word(&self, slot: usize) -> Result<SlotWord, RingError> {
        assert!(slot < self.shape().slots(), "no slot {slot} in {:?}", self.shape());
        self.read(slot, Ordering::Relaxed)
    }

    /// A learner that died between counting a slot and freeing it has counted one too many.
    fn correct_consumed(&self) -> Result<(), RingError> {
        match self.slot_counts().surplus() {
            0 => {}
            1 => {
                self.counter(Counter::Consumed).fetch_sub(1, Ordering::Relaxed);
            }
            surplus => return Err(RingError::CountMismatch { surplus }),
        }
        Ok(())
    }

    /// One CAS on a word that only the caller may change.
    fn replace(
        &self,
        slot: usize,
        from: SlotWord,
        event: Transition,
        order: Ordering,
    ) -> Result<(), RingError> {
        let to = self.next(slot, from, event)?;
        match self.exchange(slot, from, to, order) {
            Ok(_) => Ok(()),
            Err(word) => Err(RingError::Corrupt { slot, word }),
        }
    }
}
