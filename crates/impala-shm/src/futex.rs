//! Waits on a 32-bit word that several processes map, by the futex system call.
//!
//! Only hints travel this way: every caller looks at the state itself before and after.

use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

use crate::sync::AtomicU32;

/// How long to doze where the kernel refuses to wait, so that callers do not spin.
const FALLBACK_NAP: Duration = Duration::from_millis(1);

/// Sleeps while `word` is `expected`, at most `timeout`, and no longer than until a wake-up.
///
/// May return early for no reason. Works on words in shared mappings, across processes.
#[expect(
    clippy::disallowed_methods,
    reason = "sleeping stands in for a futex where the kernel has none"
)]
pub fn wait_while(word: &AtomicU32, expected: u32, timeout: Duration) {
    // A timeout too large for `Timespec` means no timeout.
    let timespec = Timespec::try_from(timeout).ok();
    match futex::wait(word, Flags::empty(), expected, timespec.as_ref()) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
        // No futexes here (a seccomp filter): the rescan of the caller still works.
        Err(_) => std::thread::sleep(timeout.min(FALLBACK_NAP)),
    }
}

/// Wakes at most `waiters` of those who sleep on `word`; how many there were.
pub fn wake(word: &AtomicU32, waiters: u32) -> usize {
    // The kernel reads the number as an i32. An error leaves the rescan of the waiters.
    futex::wake(word, Flags::empty(), waiters.min(i32::MAX.unsigned_abs())).unwrap_or(0)
}

/// Wakes all who sleep on `word`.
pub fn wake_all(word: &AtomicU32) {
    wake(word, u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering;
    use crate::{Access, Inherit, Memory};

    const FOREVER: Duration = Duration::from_secs(3600);

    #[test]
    fn a_changed_word_does_not_let_anybody_sleep() {
        wait_while(&AtomicU32::new(1), 0, FOREVER);
    }

    #[test]
    fn a_timeout_ends_the_wait() {
        wait_while(&AtomicU32::new(0), 0, Duration::from_millis(1));
        assert_eq!(wake(&AtomicU32::new(0), 1), 0, "nobody was there to wake");
    }

    /// Two mappings of one memory stand for two processes: a private futex would not find its waiter.
    #[test]
    fn a_wake_up_crosses_mappings() {
        let memory = Memory::create("futex-test", 4096).expect("a page");
        let map = || memory.map(Access::ReadWrite, Inherit::No).expect("mapped");
        let (mine, theirs) = (map(), map());
        let word = &mine.words32(0, 1)[0];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let word = &theirs.words32(0, 1)[0];
                while word.load(Ordering::Relaxed) == 0 {
                    wait_while(word, 0, FOREVER);
                }
            });
            // Sleeping already or not: either it is woken here, or it sees the store and does not sleep.
            word.store(1, Ordering::Relaxed);
            wake_all(word);
        });
    }
}
