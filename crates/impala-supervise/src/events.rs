//! Waits for what the supervisor must react to: one epoll over signals, pidfds of children, a timer, and the eventfd
//! that children write to after a message.
//!
//! Every signal is blocked and read from a signalfd: none interrupts the supervisor, and none ends
//! it out of order. Standard signals merge, so no count is ever taken from them; which child died
//! is read from its pidfd.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

const SIGNALS: u64 = 0;
const TIMER: u64 = 1;
const WAKEUP: u64 = 2;
const JANITOR: u64 = 3;
const CHILDREN: u64 = 4;

/// What happened since the last look.
#[derive(Debug, Default)]
pub(super) struct PolledEvents {
    pub(super) signals: Vec<Signal>,
    /// The clock ticked, once or more.
    pub(super) tick: bool,
    /// A child has sent something.
    pub(super) wakeup: bool,
    /// Children that died, by their place in the list.
    pub(super) dead: Vec<usize>,
    pub(super) janitor_dead: bool,
}

/// Descriptors that only the supervisor owns; a forked child drops them first of all.
#[derive(Debug)]
pub(super) struct Events {
    epoll: Epoll,
    signals: SignalFd,
    timer: TimerFd,
    wakeup: Arc<EventFd>,
}

impl Events {
    /// Ticks every `tick`. The caller has blocked all signals.
    pub(super) fn new(tick: Duration) -> nix::Result<Self> {
        let signals =
            SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        let every = Expiration::Interval(TimeSpec::from_duration(tick));
        timer.set(every, TimerSetTimeFlags::empty())?;
        let wakeup = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
        epoll.add(&signals, readable(SIGNALS))?;
        epoll.add(&timer, readable(TIMER))?;
        epoll.add(&*wakeup, readable(WAKEUP))?;
        Ok(Self { epoll, signals, timer, wakeup })
    }

    /// The eventfd that children write to after they have sent something.
    pub(super) fn wakeup(&self) -> &Arc<EventFd> {
        &self.wakeup
    }

    /// Watches for the death of the child at this place.
    pub(super) fn watch_child(&self, index: usize, pidfd: impl AsFd) -> nix::Result<()> {
        let token = CHILDREN + u64::try_from(index).expect("usize fits u64");
        self.epoll.add(pidfd, EpollEvent::new(EpollFlags::EPOLLIN, token))
    }

    /// Watches for the death of the janitor.
    pub(super) fn watch_janitor(&self, pidfd: impl AsFd) -> nix::Result<()> {
        self.epoll.add(pidfd, EpollEvent::new(EpollFlags::EPOLLIN, JANITOR))
    }

    /// Ends the watch over a pidfd, which must not be closed before: a child that has just been
    /// forked still holds a copy, and epoll watches until the last copy is gone.
    pub(super) fn forget(&self, pidfd: impl AsFd) {
        // Only fails for what was never watched.
        let _ = self.epoll.delete(pidfd);
    }

    /// Waits until something happens, `timeout` at most.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> nix::Result<PolledEvents> {
        let mut ready = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut ready, epoll_timeout(timeout)) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        let mut wakes = PolledEvents::default();
        for event in &ready[..count] {
            match event.data() {
                SIGNALS => wakes.signals = self.pending_signals(),
                TIMER => {
                    // EAGAIN cannot be: it was ready, and nobody else reads it.
                    wakes.tick = self.timer.wait().is_ok();
                }
                WAKEUP => wakes.wakeup = self.wakeup.read().is_ok(),
                JANITOR => wakes.janitor_dead = true,
                child => wakes.dead.extend(usize::try_from(child - CHILDREN)),
            }
        }
        Ok(wakes)
    }

    fn pending_signals(&self) -> Vec<Signal> {
        let mut signals = Vec::new();
        while let Ok(Some(info)) = self.signals.read_signal() {
            // Real-time signals mean nothing here.
            signals
                .extend(i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok()));
        }
        signals
    }
}

/// Rounded up to whole milliseconds, so that a deadline has passed when the wait ends.
fn epoll_timeout(timeout: Option<Duration>) -> EpollTimeout {
    let Some(timeout) = timeout else {
        return EpollTimeout::NONE;
    };
    let ms = timeout.as_nanos().div_ceil(1_000_000);
    // Longer than the tick means the same.
    EpollTimeout::from(u16::try_from(ms).unwrap_or(u16::MAX))
}

/// The signals that this process was started with ignored: `nohup` ignores SIGHUP, a shell without
/// job control ignores SIGINT and SIGQUIT in what it runs in the background. They stay ignored.
pub(super) fn ignored_at_start() -> io::Result<SigSet> {
    let status = fs::read_to_string("/proc/self/status")?;
    let missing = || io::Error::other("/proc/self/status has no SigIgn line");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).ok_or_else(missing)?;
    let mask = u64::from_str_radix(mask.trim(), 16).map_err(io::Error::other)?;
    Ok(signals_in(mask))
}

/// Bit `n - 1` of the mask stands for signal `n`.
fn signals_in(mask: u64) -> SigSet {
    Signal::iterator().filter(|&signal| (mask >> (signal as i32 - 1)) & 1 == 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_as_the_kernel_writes_them() {
        let set = signals_in(0x1001);
        let members: Vec<Signal> = set.iter().collect();
        assert_eq!(members, [Signal::SIGHUP, Signal::SIGPIPE]);
        assert!(ignored_at_start().expect("readable").contains(Signal::SIGPIPE), "Rust ignores it");
    }

    #[test]
    fn timeouts_are_never_too_short() {
        let ms = |timeout| i32::from(epoll_timeout(timeout));
        assert_eq!(ms(None), -1);
        assert_eq!(ms(Some(Duration::ZERO)), 0);
        assert_eq!(ms(Some(Duration::from_nanos(1))), 1);
        assert_eq!(ms(Some(Duration::from_millis(2))), 2);
        assert_eq!(ms(Some(Duration::from_micros(2_001))), 3);
        assert_eq!(ms(Some(Duration::MAX)), i32::from(u16::MAX));
    }

    #[test]
    fn the_eventfd_and_the_timer_wake() {
        let events = Events::new(Duration::from_millis(5)).expect("descriptors");
        events.wakeup().write(3).expect("written");
        let (mut wakeup, mut tick) = (false, false);
        while !(wakeup && tick) {
            let wakes = events.wait(Some(Duration::from_secs(60))).expect("wait");
            wakeup |= wakes.wakeup;
            tick |= wakes.tick;
        }
        assert!(!events.wait(Some(Duration::ZERO)).expect("wait").wakeup, "it was read");
    }
}
