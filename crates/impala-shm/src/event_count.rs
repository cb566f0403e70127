//! An *event count*: waiting without lost wake-ups, and without a system call when nobody waits.
//!
//! It is a number that goes up, beside a count of those who wait for it. It carries no state: a wake-up is a hint to look
//! again. Who waits should look again from time to time in any case, because a wake-up may die with its sender.
//!
//! ```text
//!   waiter                                 notifier
//!   W1  waiters += 1                       N1  change what is waited for
//!   W2  fence(SeqCst)                      N2  fence(SeqCst)
//!   W3  seen = count    (Acquire)          N3  if waiters == 0, done
//!   W4  look; found: done                  N4  count += 1       (Release)
//!   W5  sleep while count == seen          N5  wake all, or as many as there is work for
//!   W6  waiters -= 1
//! ```
//!
//! Why the change of N1 cannot be slept through. The fences are ordered, one way or the other.
//! 1. *W2 before N2.* N3 comes after N2 and so sees the entry of W1: it does not stop there.
//!    1. W3 read the count before N4 raised it. Then W5 finds `count != seen`, or is asleep when N5
//!       comes (the kernel compares and queues under one lock). Either way the waiter looks again.
//!    2. W3 read what N4 wrote. Release and Acquire make N1 visible at W4: the waiter finds it.
//! 2. *N2 before W2.* W4 comes after W2 and so sees the change of N1: the waiter finds it.
//!
//! A notifier that has work for `n` may wake `n` instead of all: whoever sleeps on would have found nothing. If one of
//! the `n` dies before it takes its share, the others look again in time.
//!
//! The count of waiters is raised by one for good when a waiter is killed in its sleep. Then N3 no longer stops
//! early, and each notification costs one system call that wakes nobody. [`EventCount::forget_waiters`] sets it to
//! zero where all that could wait are known to be dead.

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::sync::{AtomicU32, Ordering, fence};

/// The orderings that the argument above rests on; injectable, so that models can weaken each.
pub trait Orders: Copy + Debug + 'static {
    /// Increment of the count in N4: what was changed came before. (After the fence of N2 `Relaxed` would do;
    /// [`EventCount::notify_always`] needs no fence.)
    // pairs with the Acquire load in `EventCount::wait`.
    const NOTIFY: Ordering = Ordering::Release;

    /// Load of the count in W3. Acquire end of N4 (Release).
    const LISTEN: Ordering = Ordering::Acquire;

    /// N2 and W2: a store before a load, on both sides.
    fn change_then_look() {
        fence(Ordering::SeqCst);
    }
}

/// The orderings in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultOrders;

impl Orders for DefaultOrders {}

/// A handle to a count and the number of those who wait for it; copies are the same event.
///
/// ```
/// use impala_shm::EventCount;
/// use impala_shm::sync::{AtomicU32, Ordering};
///
/// let (count, waiters, done) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
/// let event = EventCount::<impala_shm::event_count::DefaultOrders>::new(&count, &waiters);
/// done.store(1, Ordering::Relaxed);
/// event.notify_always(impala_shm::futex::wake_all);
/// let look = || (done.load(Ordering::Relaxed) == 1).then_some("found");
/// assert_eq!(event.wait(look, |_, _| unreachable!("there is something to find")), Some("found"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EventCount<'m, O: Orders = DefaultOrders> {
    count: &'m AtomicU32,
    waiters: &'m AtomicU32,
    orders: PhantomData<O>,
}

impl<'m, O: Orders> EventCount<'m, O> {
    /// An event in these two words; zeroes are one that nobody waits for.
    #[must_use]
    pub const fn new(count: &'m AtomicU32, waiters: &'m AtomicU32) -> Self {
        Self { count, waiters, orders: PhantomData }
    }

    /// N3 to N5. The caller has made its change and called [`Orders::change_then_look`].
    pub fn notify(&self, wake: impl FnOnce(&AtomicU32)) {
        if self.has_waiters() {
            self.notify_always(wake);
        }
    }

    /// What N3 looks at; a hint.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) != 0
    }

    /// N4 and N5.
    pub fn notify_always(&self, wake: impl FnOnce(&AtomicU32)) {
        self.count.fetch_add(1, O::NOTIFY);
        wake(self.count);
    }

    /// W1 to W6: one last look, then one sleep. What the look found, if it did.
    pub fn wait<T>(
        &self,
        look: impl FnOnce() -> Option<T>,
        sleep_while: impl FnOnce(&AtomicU32, u32),
    ) -> Option<T> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        O::change_then_look();
        let seen = self.count.load(O::LISTEN);
        let found = look();
        if found.is_none() {
            sleep_while(self.count, seen);
        }
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// Forgets waiters that are known to be dead: all of them.
    pub fn forget_waiters(&self) {
        self.waiters.store(0, Ordering::Relaxed);
    }

    /// One more waiter: one that sleeps for the rest of a model.
    #[cfg(loom)]
    pub fn sleeps_on(&self) {
        self.waiters.fetch_add(1, Ordering::Relaxed);
    }

    /// How far the count has gone.
    #[cfg(loom)]
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}
