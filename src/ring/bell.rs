//! Waiting without lost wake-ups, and without a system call when nobody waits.
//!
//! A *bell* is a number that goes up, beside a count of those who wait for it. It carries no state: a
//! wake-up is a hint to look again, and who waits looks again every [`super::RESCAN_MS`] in any case,
//! so a wake-up that dies with its sender costs that long at most.
//!
//! ```text
//!   waiter                                 ringer
//!   W1  waiters += 1                       R1  change a slot
//!   W2  fence(SeqCst)                      R2  fence(SeqCst)
//!   W3  heard = bell     (Acquire)         R3  if waiters == 0, done
//!   W4  look at the slots; found: done     R4  bell += 1        (Release)
//!   W5  sleep while bell == heard          R5  wake all, or as many as there is work for
//!   W6  waiters -= 1
//! ```
//!
//! Why the change of R1 cannot be slept through. The fences are ordered, one way or the other.
//! 1. *W2 before R2.* R3 comes after R2 and so sees the entry of W1: it does not stop there.
//!    1. W3 read the bell before R4 raised it. Then W5 finds `bell != heard`, or is asleep when R5
//!       comes (the kernel compares and queues under one lock). Either way the waiter looks again.
//!    2. W3 read what R4 wrote. Release and Acquire make R1 visible at W4: the waiter finds it.
//! 2. *R2 before W2.* W4 comes after W2 and so sees the change of R1: the waiter finds it.
//!
//! A ringer that has work for `n` may wake `n` instead of all (a release frees G slots for G actors): whoever sleeps on
//! would have found nothing. If one of the `n` dies before it takes its share, the others look again in time.
//!
//! The count is raised by one for good when a waiter is killed in its sleep. Then R3 no longer stops
//! early, and each ring costs one system call that wakes nobody. The learner's count is set to zero when
//! it is found dead, because nobody else waits there.

use std::marker::PhantomData;

use super::orders::Orders;
use crate::sync::{AtomicU32, Ordering};

/// One bell and the count of those who wait for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bell<'m, O: Orders> {
    bell: &'m AtomicU32,
    waiters: &'m AtomicU32,
    orders: PhantomData<O>,
}

impl<'m, O: Orders> Bell<'m, O> {
    pub(super) const fn new(bell: &'m AtomicU32, waiters: &'m AtomicU32) -> Self {
        Self { bell, waiters, orders: PhantomData }
    }

    /// R3 to R5. The caller has changed a slot and called [`Orders::change_then_look`].
    pub(super) fn ring(&self, wake: impl FnOnce(&AtomicU32)) {
        if self.has_waiters() {
            self.ring_always(wake);
        }
    }

    /// What R3 looks at.
    pub(super) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) != 0
    }

    /// R4 and R5.
    pub(super) fn ring_always(&self, wake: impl FnOnce(&AtomicU32)) {
        self.bell.fetch_add(1, O::RING);
        wake(self.bell);
    }

    /// W1 to W6: one last look, then one sleep. What the look found, if it did.
    pub(super) fn wait<T>(
        &self,
        look: impl FnOnce() -> Option<T>,
        sleep_while: impl FnOnce(&AtomicU32, u32),
    ) -> Option<T> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        O::change_then_look();
        let heard = self.bell.load(O::HEAR);
        let found = look();
        if found.is_none() {
            sleep_while(self.bell, heard);
        }
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// Forgets waiters that are known to be dead: all of them.
    pub(super) fn nobody_waits(&self) {
        self.waiters.store(0, Ordering::Relaxed);
    }

    /// One more waiter: one that sleeps for the rest of a model.
    #[cfg(all(test, loom))]
    pub(super) fn sleeps_on(&self) {
        self.waiters.fetch_add(1, Ordering::Relaxed);
    }

    /// How far the bell has gone.
    #[cfg(all(test, loom))]
    pub(super) fn rung(&self) -> u32 {
        self.bell.load(Ordering::Relaxed)
    }
}
