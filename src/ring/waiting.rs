//! The protocol joined to the clock and the kernel: blocking waits, and what the supervisor calls.

use std::time::{Duration, Instant};

use super::bell::Bell;
use super::error::RingError;
use super::orders::Sound;
use super::protocol::Ring;
use super::recovery::{CrashRecord, LearnerLoss};
use super::word::Owner;
use crate::shm::futex;

/// Who waits looks again after this long, rung for or not: a wake-up may die with its sender.
pub const RESCAN_MS: u64 = 100;

impl Ring<'_, Sound> {
    /// Takes back the slot that a dead actor was filling; how many slots that was (0 or 1).
    ///
    /// Call it only after the owner's process was reaped: see the contract in `recovery`. The unroll in
    /// flight is lost, and counted as reclaimed.
    ///
    /// # Errors
    /// [`RingError::Corrupt`] if a slot holds what no party writes.
    pub fn reclaim(&self, dead: Owner) -> Result<usize, RingError> {
        let slots = self.take_back(dead)?;
        if slots > 0 {
            self.free_bell().ring(futex::wake_all);
        }
        Ok(slots)
    }

    /// Returns what a dead learner held: requeued after a first death, dropped after a second one.
    ///
    /// Call it only after the learner's process was reaped, and before the next one is started: see the
    /// contract in `recovery`. `record` remembers first deaths and belongs to the caller alone.
    ///
    /// # Errors
    /// [`RingError::Corrupt`] if a slot holds what no party writes, [`RingError::Books`] if the counters
    /// are off by more than the one slot that a death can leave.
    ///
    /// # Panics
    /// If `record` was made for another shape.
    pub fn learner_died(&self, record: &mut CrashRecord) -> Result<LearnerLoss, RingError> {
        let loss = self.return_held(record)?;
        self.ready_bell().ring(futex::wake_all);
        self.free_bell().ring(futex::wake_all);
        Ok(loss)
    }

    /// Ends the run: no more claims, and no more takes once no block is complete. Wakes everybody.
    pub fn close(&self) {
        self.mark_closed();
        self.ready_bell().ring_always(futex::wake_all);
        self.free_bell().ring_always(futex::wake_all);
        self.reserve_bell().ring_always(futex::wake_all);
    }
}

/// Looks until something is found or `timeout` has passed; looks at least once. Sleeps in between.
pub(super) fn wait_for<T>(
    bell: Bell<'_, Sound>,
    timeout: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    if let Some(found) = look() {
        return Some(found);
    }
    let start = Instant::now();
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            return None;
        }
        let nap = left.min(Duration::from_millis(RESCAN_MS));
        let sleep_while = |bell: &_, heard| futex::wait_while(bell, heard, nap);
        if let Some(found) = bell.wait(&mut look, sleep_while).or_else(&mut look) {
            return Some(found);
        }
    }
}
