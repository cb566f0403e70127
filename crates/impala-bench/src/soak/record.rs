//! Records in shared memory which unrolls were read, so that the record survives the death of any learner.
//!
//! Each line of the record is one word and changes with one store, so a learner that is killed between
//! two of them leaves a record that is right as far as it goes. There is one learner at a time, and the
//! supervisor writes only while there is none.

use std::sync::Arc;

use super::pattern::{Incarnation, are_whole};
use impala_rl::shm::{Access, Inherit, Memory, Region, ShmError};
use impala_rl::sync::{AtomicU64, Ordering};

/// Incarnations of one actor that there is room for: incarnations are u16.
const INCARNATIONS: usize = 1 << 16;

/// Unrolls of one actor that there is room for, over all its incarnations.
const BITS: usize = 1 << 26;

/// What is counted, over all incarnations of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    BytesChecked,
    BytesWrong,
    Unrolls,
    /// Unrolls that came again after their first reader had died with them.
    Repeats,
    /// Unrolls that came again without that.
    Duplicates,
    /// Headers that name nobody, and sequence numbers that cannot be yet.
    Impossible,
    WeightsRead,
    WeightsTorn,
    /// Rows that a policy process answered, and those of them whose answer was to something else.
    Answers,
    AnswersWrong,
    CheckpointsSaved,
    CheckpointsRead,
    CheckpointsBad,
}

const COUNTS: usize = Count::CheckpointsBad as usize + 1;

/// What the sequence number of an unroll says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    First,
    Repeat,
    Duplicate,
    Impossible,
}

/// The record: a handle, copies are the same record.
#[derive(Debug, Clone)]
pub(super) struct Record {
    region: Arc<Region>,
    slots: usize,
    actors: usize,
}

impl Record {
    /// Bits between the last unroll of a writer and the first of the next.
    pub(super) const GAP: u64 = 64;

    /// An empty record for a ring of `slots` slots and a pool of `actors` actors, inherited by children.
    pub(super) fn create(slots: usize, actors: usize) -> Result<Self, ShmError> {
        let words = COUNTS + 2 * slots + actors * (INCARNATIONS + BITS / 64);
        let memory = Memory::create("impala-proof", words * size_of::<u64>())?;
        let region = Arc::new(memory.map(Access::ReadWrite, Inherit::Yes)?);
        Ok(Self { region, slots, actors })
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.region.words(index * size_of::<u64>(), 1)[0]
    }

    pub(super) fn add(&self, count: Count, n: u64) {
        self.word(count as usize).fetch_add(n, Ordering::Relaxed);
    }

    /// Counts weights that were read.
    pub(super) fn weights(&self, parameters: &[f32]) {
        self.add(Count::WeightsRead, 1);
        if !are_whole(parameters) {
            self.add(Count::WeightsTorn, 1);
        }
    }

    pub(super) fn get(&self, count: Count) -> u64 {
        self.word(count as usize).load(Ordering::Relaxed)
    }

    /// Which unroll was noted last in a slot.
    fn note(&self, slot: usize) -> &AtomicU64 {
        self.word(COUNTS + slot)
    }

    /// 1 if a learner died while it held this slot, and it was given to the next.
    fn requeued(&self, slot: usize) -> &AtomicU64 {
        self.word(COUNTS + self.slots + slot)
    }

    /// Where the bits of a writer begin, in bits.
    fn base(&self, writer: Incarnation) -> Option<&AtomicU64> {
        let (actor, incarnation) = (usize::from(writer.actor), usize::from(writer.incarnation));
        let known = actor < self.actors && incarnation > 0;
        known.then(|| self.word(COUNTS + 2 * self.slots + actor * INCARNATIONS + incarnation))
    }

    /// The word and the bit of an unroll.
    fn bit(&self, writer: Incarnation, sequence: u64) -> Option<(&AtomicU64, u64)> {
        let base = self.base(writer)?.load(Ordering::Relaxed);
        let bit = base.checked_add(sequence).and_then(|bit| usize::try_from(bit).ok())?;
        let bits = COUNTS + 2 * self.slots + self.actors * INCARNATIONS;
        let word = bits + usize::from(writer.actor) * BITS / 64 + bit / 64;
        (bit < BITS).then(|| (self.word(word), 1 << (bit % 64)))
    }

    /// Whether this unroll was entered or thrown away.
    pub(super) fn contains(&self, writer: Incarnation, sequence: u64) -> bool {
        let bit = self.bit(writer, sequence);
        bit.is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Supervisor: a writer is over that has committed at most `most` unrolls; the next one may begin.
    pub(super) fn end(&self, writer: Incarnation, most: u64) {
        let next = Incarnation { incarnation: writer.incarnation.wrapping_add(1).max(1), ..writer };
        if let Some((own, next)) = self.base(writer).zip(self.base(next)) {
            // The gap stays empty: a number that the writer had not come to shows in it.
            let gap = own.load(Ordering::Relaxed) + most + Self::GAP;
            next.store(gap, Ordering::Relaxed);
        }
    }

    /// Learner: enters an unroll that it holds in `slot`.
    pub(super) fn enter(&self, slot: usize, writer: Incarnation, sequence: u64) -> Seen {
        let Some((word, bit)) = self.bit(writer, sequence) else {
            return Seen::Impossible;
        };
        let (before, name) = (word.load(Ordering::Relaxed), name_of(writer, sequence));
        if before & bit != 0 {
            let again = self.requeued(slot).load(Ordering::Relaxed) == 1
                && self.note(slot).load(Ordering::Relaxed) == name;
            return if again { Seen::Repeat } else { Seen::Duplicate };
        }
        // In this order: what is entered is noted, whenever the learner dies.
        self.note(slot).store(name, Ordering::Relaxed);
        word.store(before | bit, Ordering::Relaxed);
        Seen::First
    }

    /// Learner: about to release this slot, which may not come again with the same unroll.
    pub(super) fn leave(&self, slot: usize) {
        self.requeued(slot).store(0, Ordering::Relaxed);
    }

    /// Supervisor: the learner died with this slot, which was given back to be read again.
    pub(super) fn may_come_again(&self, slot: usize) {
        self.requeued(slot).store(1, Ordering::Relaxed);
    }

    /// Supervisor: this unroll was thrown away, read or not.
    pub(super) fn thrown_away(&self, writer: Incarnation, sequence: u64) {
        if let Some((word, bit)) = self.bit(writer, sequence) {
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        }
    }
}

/// A word of its own for each unroll of a run (up to 2^35 of one writer).
fn name_of(writer: Incarnation, sequence: u64) -> u64 {
    writer.number() << 35 | sequence & ((1 << 35) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Incarnation = Incarnation { actor: 1, incarnation: 9 };

    #[test]
    fn only_what_was_requeued_may_come_again() {
        let record = Record::create(4, 2).expect("memory");
        assert_eq!(record.enter(3, WRITER, 0), Seen::First);
        assert_eq!(record.enter(3, WRITER, 0), Seen::Duplicate);
        record.may_come_again(3);
        assert_eq!(record.enter(2, WRITER, 0), Seen::Duplicate, "another slot");
        assert_eq!(record.enter(3, WRITER, 0), Seen::Repeat);
        record.leave(3);
        assert_eq!(record.enter(3, WRITER, 0), Seen::Duplicate, "after its release");
        // Another unroll in a slot that was requeued is new, and makes the old one a duplicate.
        record.may_come_again(3);
        assert_eq!(record.enter(3, WRITER, 1), Seen::First);
        assert_eq!(record.enter(3, WRITER, 0), Seen::Duplicate);
    }

    #[test]
    fn incarnations_do_not_overlap() {
        let record = Record::create(4, 2).expect("memory");
        let next = Incarnation { incarnation: WRITER.incarnation + 1, ..WRITER };
        assert_eq!(record.enter(0, WRITER, 70), Seen::First);
        record.end(WRITER, 71);
        assert_eq!(record.enter(0, next, 0), Seen::First);
        assert!(record.contains(WRITER, 70) && record.contains(next, 0));
        assert!(!record.contains(WRITER, 0) && !record.contains(next, 70));
        record.thrown_away(WRITER, 0);
        assert_eq!(record.enter(1, WRITER, 0), Seen::Duplicate);
    }

    #[test]
    fn unknown_writers_are_impossible() {
        let record = Record::create(4, 2).expect("memory");
        let strange = |actor, incarnation, sequence| {
            record.enter(0, Incarnation { actor, incarnation }, sequence)
        };
        assert_eq!(strange(2, 1, 0), Seen::Impossible);
        assert_eq!(strange(0, 0, 0), Seen::Impossible);
        assert_eq!(strange(1, 9, 1 << 26), Seen::Impossible);
        assert_eq!(strange(1, 9, u64::MAX), Seen::Impossible);
    }
}
