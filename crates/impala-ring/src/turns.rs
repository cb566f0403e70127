//! Blocks in turn (lockstep): one block is open at a time, and each producer fills its own groups of it.
//!
//! The claims of `protocol` go to whatever is free, which suits parties that never wait for each other. Here the
//! consumer says which block is filled next, and when. Block `n` of a run lies at place `n % K`, is taken when it is
//! complete, and only then may block `n + 1` be open, at the place beside it.
//!
//! All of it is one word, the *turn*, which the consumer alone stores and which only rises:
//!
//! ```text
//!   2 n       none is open, the next will be block n       (zeroed memory: n = 0)
//!   2 n + 1   block n is open
//! ```
//!
//! Why no claim is too late, so that nothing is written for a block that was taken already. A claim loads the turn,
//! then the slot's word, then the turn again, and goes on if both loads gave `2 n + 1` and the slot was FREE in between.
//! The consumer raises the turn when it has taken block `n`, before it releases the first slot of it. So a slot that is
//! FREE because it was released is seen (Acquire, Release) with a turn that has risen, and the loads differ. A slot that is
//! FREE for another reason was never filled for block `n`, which therefore cannot be taken before its owner, who is
//! the caller, has filled it: the compare-and-swap that follows may come as late as it likes.
//!
//! What a dead consumer held becomes READY again and stays where it is: it is read when the turn comes round to its place.
//! There the producers fill what is FREE and leave the rest.

use super::error::RingError;
use super::orders::Orders;
use super::protocol::{Claim, Counter, Held, Ring};
use super::word::{Owner, State};
use impala_shm::sync::Ordering;

/// The groups of every block that one producer fills: `first`, `first + step`, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnGroups {
    /// The first of them.
    pub first: usize,
    /// From one to the next; at least 1.
    pub step: usize,
}

impl OwnGroups {
    /// Numbers of these groups in a block of `groups`.
    pub fn of(self, groups: usize) -> impl Iterator<Item = usize> {
        (self.first..groups).step_by(self.step.max(1))
    }

    /// Which of its own groups `group` is, from 0.
    #[must_use]
    pub const fn place_of(self, group: usize) -> usize {
        group.saturating_sub(self.first) / if self.step == 0 { 1 } else { self.step }
    }
}

impl<O: Orders> Ring<'_, O> {
    /// The block that is open, by its number in the run, and the turn that said so.
    fn open_turn(&self, order: Ordering) -> Option<(u64, u64)> {
        let turn = self.counter(Counter::Turn).load(order);
        (turn % 2 == 1).then_some((turn / 2, turn))
    }

    fn place_of(&self, number: u64) -> usize {
        // Below K, which is a usize.
        (number % self.shape().blocks as u64) as usize
    }

    /// Takes a slot of `owner`'s own groups in the open block that is not filled yet.
    pub(super) fn try_claim_in_turn(
        &self,
        owner: Owner,
        own: OwnGroups,
    ) -> Result<Option<Claim>, RingError> {
        let Some((number, turn)) = self.open_turn(O::LOOK_AT_TURN) else { return Ok(None) };
        let slots = self.slots_of(self.place_of(number));
        for slot in own.of(self.shape().groups).map(|group| slots.start + group) {
            let word = self.read(slot, O::LOOK_IN_TURN)?;
            if word.state != State::Free {
                continue;
            }
            // Ordered by the load of the slot.
            if self.counter(Counter::Turn).load(Ordering::Relaxed) != turn {
                return Ok(None);
            }
            return self.claim_free(slot, word, owner);
        }
        Ok(None)
    }

    /// Takes the open block if it is complete, and ends its turn.
    pub(super) fn take_in_turn(&self) -> Result<Option<Held>, RingError> {
        // The consumer stored it itself, or one before it that was reaped.
        let Some((number, turn)) = self.open_turn(Ordering::Relaxed) else { return Ok(None) };
        let block = self.place_of(number);
        for slot in self.slots_of(block) {
            if self.read(slot, O::LOOK)?.state != State::Ready {
                return Ok(None);
            }
        }
        let held = self.take(block)?;
        // Before the first slot is free: the argument above.
        self.counter(Counter::Turn).store(turn + 1, Ordering::Relaxed);
        Ok(Some(held))
    }

    /// Opens the next block, unless one is open; the caller notifies those who wait.
    pub(super) fn open_next_turn(&self) {
        let turn = self.counter(Counter::Turn);
        let now = turn.load(Ordering::Relaxed);
        if now.is_multiple_of(2) {
            turn.store(now + 1, O::OPEN);
        }
        O::change_then_look();
    }
}
