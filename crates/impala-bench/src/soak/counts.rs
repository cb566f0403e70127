//! Checks the ring's slot counts after each fault, and the sequence numbers of all unrolls at the end.

use std::collections::HashSet;

use super::pattern::Incarnation;
use super::record::Record;
use impala_rl::ring::{Ring, RingError, SlotCounts, State};
use impala_rl::shm::Region;
use impala_rl::unroll::{BlockLayout, Field};

/// Looks at the counts before "not yet": a learner at work has a slot counted and not yet free for a few
/// nanoseconds of each block.
const LOOKS: u32 = 10_000;

/// What one look at the counts says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Balance {
    /// `generations = consumed + reclaimed + dropped`.
    Exact,
    /// The learner was between counting a slot and freeing it each time: look again.
    Unsettled,
    /// Neither: something was lost, or counted twice.
    Broken(SlotCounts),
}

/// The identity, while actors and a learner are at work. The supervisor is the caller.
pub(super) fn balance(ring: &Ring<'_>) -> Balance {
    let mut last = ring.slot_counts();
    for _ in 0..LOOKS {
        let counts = ring.slot_counts();
        // Read one after the other: only if no counter moved meanwhile do generations and counters belong
        // to each other, up to the one slot that is being released.
        let still = counts.consumed == last.consumed;
        last = counts;
        if counts.holds() {
            return Balance::Exact;
        }
        let counted = counts.consumed.wrapping_add(counts.reclaimed).wrapping_add(counts.dropped);
        let surplus = (counted as u32).wrapping_sub(counts.generations);
        // Generations are read before the counters, so what is released in between can only add to it.
        if still && !(0..=1).contains(&surplus.cast_signed()) {
            return Balance::Broken(counts);
        }
        std::hint::spin_loop();
    }
    Balance::Unsettled
}

/// Who wrote the unroll in a slot, and as which. The slot must be READY or HELD.
pub(super) fn header_of(payload: &Region, layout: &BlockLayout, slot: usize) -> (Incarnation, u64) {
    let (block, group) = (slot / layout.groups(), slot % layout.groups());
    let offset = block * layout.block_bytes() + layout.group_range(Field::Header, 0, group).start;
    let words = payload.read_words(offset, 2);
    let owner = words[0].load();
    let half = |shift: u32| u16::try_from(owner >> shift & 0xFFFF).unwrap_or(0);
    let writer = Incarnation { actor: half(0), incarnation: half(32) };
    (writer, words[1].load())
}

/// The slots in this state, with what is in them.
pub(super) fn unrolls_in(
    ring: &Ring<'_>,
    payload: &Region,
    layout: &BlockLayout,
    state: State,
) -> Result<Vec<(usize, Incarnation, u64)>, RingError> {
    let mut found = Vec::new();
    for slot in 0..ring.shape().slots() {
        if ring.slot_word(slot)?.state == state {
            let (writer, sequence) = header_of(payload, layout, slot);
            found.push((slot, writer, sequence));
        }
    }
    Ok(found)
}

/// The sequence numbers of all incarnations, compared with what these incarnations say that they committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    /// Incarnations of actors.
    pub(super) incarnations: u64,
    /// Unrolls that were committed, by their sequence numbers.
    pub(super) unrolls: u64,
    /// Numbers below the last of their writer that nobody has seen.
    pub(super) lost: u64,
    /// Numbers that a writer had not come to.
    pub(super) invented: u64,
    /// Unrolls that wait in the ring for a learner that does not come.
    pub(super) left: u64,
}

/// Adds up at the end of a run. `commits`: what each writer had counted when it was reaped; one more may
/// have been committed. `left`: what is in the ring.
pub(super) fn add_up(
    record: &Record,
    commits: &[(Incarnation, u64)],
    left: &[(Incarnation, u64)],
) -> Sum {
    let waiting: HashSet<(Incarnation, u64)> = left.iter().copied().collect();
    let mut sum =
        Sum { incarnations: commits.len() as u64, left: left.len() as u64, ..Sum::default() };
    let mut waits_for_no_one = waiting.len();
    for &(writer, committed) in commits {
        // One that its reader had died with may have been entered before, and wait again.
        let (mut known, mut end) = (0, 0);
        for sequence in 0..committed + Record::GAP {
            let waits = waiting.contains(&(writer, sequence));
            waits_for_no_one -= usize::from(waits);
            if waits || record.contains(writer, sequence) {
                (known, end) = (known + 1, sequence + 1);
            }
        }
        sum.unrolls += known;
        sum.lost += end.max(committed) - known;
        sum.invented += end.saturating_sub(committed + 1);
    }
    sum.invented += waits_for_no_one as u64;
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::record::Seen;

    const WRITER: Incarnation = Incarnation { actor: 0, incarnation: 1 };

    #[test]
    fn what_is_missing_is_lost_and_what_is_too_much_invented() {
        let record = Record::create(4, 2).expect("memory");
        for sequence in [0, 1, 3] {
            assert_eq!(record.enter(0, WRITER, sequence), Seen::First);
        }
        let sum = |commits, left: &[u64]| {
            let left: Vec<_> = left.iter().map(|&sequence| (WRITER, sequence)).collect();
            add_up(&record, &[(WRITER, commits)], &left)
        };
        let whole = Sum { incarnations: 1, unrolls: 4, lost: 0, invented: 0, left: 1 };
        assert_eq!(sum(4, &[2]), whole);
        assert_eq!(sum(3, &[2]), whole, "it died between the commit and its count");
        assert_eq!(sum(4, &[]).lost, 1, "number 2");
        assert_eq!(sum(6, &[2]).lost, 2, "the last two");
        assert_eq!(sum(2, &[2]).invented, 1);
        assert_eq!(sum(4, &[2, 3]), Sum { left: 2, ..whole }, "3 had been seen and came back");
        let unknown = [(Incarnation { actor: 1, incarnation: 1 }, 0)];
        assert_eq!(add_up(&record, &[], &unknown).invented, 1);
    }
}
