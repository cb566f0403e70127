//! The consumer (the learner): takes a complete block, reads it, and releases it.

use std::time::Duration;

use super::error::RingError;
use super::layout::{BlockLayout, Layout};
use super::protocol::{FirstSeen, Held, Ring};
use super::slab::{BlockRef, Slab};
use super::waiting::wait_for;
use impala_shm::futex;

/// Why there is no block to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// No block was complete for all of the timeout: the actors are slower than the learner.
    #[error("no block became complete within the timeout; the actors are behind")]
    TimedOut,
    /// The run is over, and every complete block was taken.
    #[error("the ring is closed and drained; leave")]
    Closed,
    /// The ring is corrupt.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// The learner, as the ring knows it. There is one at a time.
#[derive(Debug)]
pub struct Consumer<'m, L = BlockLayout> {
    slab: Slab<'m, L>,
    seen: FirstSeen,
}

impl<'m, L: Layout> Consumer<'m, L> {
    /// The consumer of a ring. Its payload may be mapped read-only.
    #[must_use]
    pub fn new(slab: Slab<'m, L>) -> Self {
        let seen = FirstSeen::new(slab.ring().shape());
        Self { slab, seen }
    }

    /// Takes the complete block that was seen first; sleeps for at most `timeout` until there is one.
    ///
    /// More than one block may be held; the actors have the rest. A closed ring still gives the blocks
    /// that are complete.
    ///
    /// # Errors
    /// [`TakeError`].
    pub fn take(&mut self, timeout: Duration) -> Result<ReadBlock<'m, L>, TakeError> {
        let Self { slab, seen } = self;
        let ring = slab.ring();
        let held = wait_for(ring.block_ready(), timeout, || look_for_block(&ring, seen));
        held.unwrap_or(Err(TakeError::TimedOut))
            .map(|held| ReadBlock { slab: slab.alias(), held: Some(held) })
    }

    /// Takes the block whose turn it is, and so ends its turn; sleeps for at most `timeout` until it is complete. None is
    /// open until [`Consumer::open_next`] is called: once at the start, and once after each block.
    ///
    /// # Errors
    /// [`TakeError`].
    pub fn take_in_turn(&mut self, timeout: Duration) -> Result<ReadBlock<'m, L>, TakeError> {
        let ring = self.slab.ring();
        let held = wait_for(ring.block_ready(), timeout, || {
            // Before the look, as in `look_for_block`.
            let closed = ring.is_closed();
            match ring.take_in_turn() {
                Ok(Some(held)) => Some(Ok(held)),
                Ok(None) => closed.then_some(Err(TakeError::Closed)),
                Err(error) => Some(Err(error.into())),
            }
        });
        held.unwrap_or(Err(TakeError::TimedOut))
            .map(|held| ReadBlock { slab: self.slab.alias(), held: Some(held) })
    }

    /// Lets the producers fill the next block, and wakes them. Nothing happens while one is open.
    pub fn open_next(&self) {
        let ring = self.slab.ring();
        ring.open_next_turn();
        ring.block_opened().notify(futex::wake_all);
    }

    /// Takes a block if one is complete now.
    ///
    /// # Errors
    /// [`TakeError::Closed`] or [`TakeError::Ring`].
    pub fn try_take(&mut self) -> Result<Option<ReadBlock<'m, L>>, TakeError> {
        match self.take(Duration::ZERO) {
            Ok(block) => Ok(Some(block)),
            Err(TakeError::TimedOut) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets actors claim while fewer than `slots` slots are in flight (CLAIMED, READY or HELD), and wakes
    /// those that may now. Less than a block is taken for a block.
    pub fn limit_in_flight(&self, slots: usize) {
        let ring = self.slab.ring();
        let before = ring.in_flight_limit();
        ring.store_in_flight_limit(slots);
        if slots > before {
            ring.slot_free().notify_always(futex::wake_all);
            ring.reserve_needed().notify_always(futex::wake_all);
        }
    }

    /// The ring that it reads from.
    #[must_use]
    pub const fn ring(&self) -> Ring<'m> {
        self.slab.ring()
    }
}

fn look_for_block(ring: &Ring<'_>, seen: &mut FirstSeen) -> Option<Result<Held, TakeError>> {
    // Before the look: what is committed after it is not promised to a closed ring.
    let closed = ring.is_closed();
    match ring.oldest_ready_block(seen) {
        Ok(Some(block)) => Some(ring.take(block).map_err(TakeError::from)),
        Ok(None) => closed.then_some(Err(TakeError::Closed)),
        Err(error) => Some(Err(error.into())),
    }
}

/// A block of this consumer's own: a training batch, until it is released or dropped.
///
/// What is read from it cannot outlive it:
/// ```compile_fail,E0505
/// fn keep(block: impala_ring::ReadBlock<'_>) {
///     let rewards: &[f32] = block.block().field(0);
///     drop(block);
///     println!("{rewards:?}");
/// }
/// ```
#[derive(Debug)]
#[must_use = "a block that is dropped unread is counted as consumed"]
pub struct ReadBlock<'m, L: Layout = BlockLayout> {
    slab: Slab<'m, L>,
    /// `None` once it is released.
    held: Option<Held>,
}

impl<L: Layout> ReadBlock<'_, L> {
    /// The block's fields.
    #[must_use]
    pub fn block(&self) -> BlockRef<'_, L> {
        let held = self.held.as_ref().expect("a block is held until it is gone");
        self.slab.block(held)
    }

    /// Returns the block to the actors and wakes those who wait. The same as a drop, but says if the
    /// ring is corrupt.
    ///
    /// # Errors
    /// [`RingError::Corrupt`] if a slot was not HELD; the rest of the block then stays held.
    pub fn release(mut self) -> Result<(), RingError> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<(), RingError> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        let ring = self.slab.ring();
        ring.release(held)?;
        // One actor a slot: to wake all would cost more than the update where there are many.
        let freed = u32::try_from(ring.shape().groups).unwrap_or(u32::MAX);
        ring.slot_free().notify(|count| {
            futex::wake(count, freed);
        });
        Ok(())
    }
}

impl<L: Layout> Drop for ReadBlock<'_, L> {
    /// Releases the block, except during a panic, which the block may have caused: it then stays HELD, and
    /// the supervisor decides. A corrupt slot is left as it is, for the next look at it to report.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _reported_later = self.give_back();
        }
    }
}
