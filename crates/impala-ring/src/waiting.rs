//! Blocking waits of the ring, with time-outs, and the calls of the supervisor after a death.

use std::time::{Duration, Instant};

use super::error::RingError;
use super::orders::DefaultOrders;
use super::protocol::Ring;
use super::recovery::{CrashRecord, LearnerLoss};
use super::word::Owner;
use impala_shm::EventCount;
use impala_shm::futex;

/// Who waits looks again after this long, notified or not: a wake-up may die with its sender.
pub const RESCAN_MS: u64 = 100;

impl Ring<'_, DefaultOrders> {
    /// Takes back the slot that a dead actor was filling; how many slots that was (0 or 1).
    ///
    /// The unroll in flight is lost, and counted as reclaimed.
    ///
    /// Not for safe code, because the slot is given to the next one who asks:
    /// ```compile_fail,E0133
    /// fn take_away(ring: impala_ring::Ring<'_>, slow: impala_ring::Owner) {
    ///     let _ = ring.reclaim(slow);
    /// }
    /// ```
    ///
    /// # Safety
    /// No producer of this owner will touch the slot that it had claimed again: its process was reaped and
    /// nobody of its group is left (the contract in `recovery`), or the producer was in this process and is
    /// gone. None of this owner claims during the call.
    ///
    /// # Errors
    /// [`RingError::Corrupt`] if a slot holds what no party writes.
    #[expect(unsafe_code, reason = "a promise of the caller; nothing here is unsafe to do")]
    pub unsafe fn reclaim(&self, dead: Owner) -> Result<usize, RingError> {
        let slots = self.take_back(dead)?;
        if slots > 0 {
            self.slot_free().notify(futex::wake_all);
        }
        Ok(slots)
    }

    /// Returns what a dead learner held: requeued after a first death, dropped after a second one.
    ///
    /// `record` remembers first deaths and belongs to the caller alone. Not for safe code:
    /// ```compile_fail,E0133
    /// use impala_ring::{CrashRecord, Ring};
    /// fn take_away(ring: Ring<'_>, record: &mut CrashRecord) {
    ///     let _ = ring.learner_died(record);
    /// }
    /// ```
    ///
    /// # Safety
    /// No block that a consumer of this ring has taken will be looked at or released again: its process was
    /// reaped (the contract in `recovery`), or the blocks were in this process and are gone, forgotten or
    /// released. No consumer takes during the call: call it before the next learner is started.
    ///
    /// # Errors
    /// [`RingError::Corrupt`] if a slot holds what no party writes, [`RingError::CountMismatch`] if the counters
    /// are off by more than the one slot that a death can leave.
    ///
    /// # Panics
    /// If `record` was made for another shape.
    #[expect(unsafe_code, reason = "a promise of the caller; nothing here is unsafe to do")]
    pub unsafe fn learner_died(&self, record: &mut CrashRecord) -> Result<LearnerLoss, RingError> {
        let loss = self.return_held(record)?;
        self.block_ready().notify(futex::wake_all);
        self.slot_free().notify(futex::wake_all);
        Ok(loss)
    }

    /// Ends the run: no more claims, and no more takes once no block is complete. Wakes everybody.
    pub fn close(&self) {
        self.mark_closed();
        self.block_ready().notify_always(futex::wake_all);
        self.slot_free().notify_always(futex::wake_all);
        self.reserve_needed().notify_always(futex::wake_all);
        self.block_opened().notify_always(futex::wake_all);
    }
}

/// Looks until something is found or `timeout` has passed; looks at least once. Sleeps in between.
pub(super) fn wait_for<T>(
    event: EventCount<'_, DefaultOrders>,
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
        let sleep_while = |count: &_, seen| futex::wait_while(count, seen, nap);
        if let Some(found) = event.wait(&mut look, sleep_while).or_else(&mut look) {
            return Some(found);
        }
    }
}
