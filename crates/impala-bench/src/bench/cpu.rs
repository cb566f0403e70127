//! Measures CPU time: that of the calling thread and of the worker processes that it started.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, gettid};

use super::stats::Spread;
use impala_rl::supervisor::children_of;

/// CPU time that one reading of the clock covers.
const LONG_ENOUGH: Duration = Duration::from_micros(100);
/// Wall time that a measurement may take, as a multiple of its CPU time.
const WALL_FACTOR: u32 = 10;

/// CPU time that the calling thread has used: what it waits for, and what others do, is not in it.
///
/// # Panics
/// If the system has no such clock, which Linux has.
#[must_use]
pub(crate) fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("Linux has a CPU clock for each thread")
}

/// Median CPU time in ns of one call of `work`, over calls that use `effort` together.
///
/// CPU time, so that a machine that does other things as well shows much the same figures.
pub(crate) fn median_ns(effort: Duration, work: impl FnMut()) -> f64 {
    CpuClock::default().median_ns(effort, work)
}

/// CPU time of the calling thread and of the processes that it has started.
#[derive(Debug, Default)]
pub(super) struct CpuClock {
    workers: Vec<Pid>,
}

impl CpuClock {
    /// With the processes that the calling thread has started by now, and that still run.
    pub(super) fn with_workers() -> Self {
        Self { workers: children_of(gettid()) }
    }

    /// CPU time that `work` takes in this thread and in the workers meanwhile. The reading is not in it.
    pub(super) fn of<R>(&self, work: impl FnOnce() -> R) -> (Duration, R) {
        let of_workers = self.of_workers();
        let before = cpu_time();
        let result = work();
        let own = cpu_time() - before;
        (own + self.of_workers().saturating_sub(of_workers), result)
    }

    /// As [`median_ns`].
    pub(super) fn median_ns(&self, effort: Duration, mut work: impl FnMut()) -> f64 {
        let started = Instant::now();
        let mut timed = |calls: u32| self.of(|| (0..calls).for_each(|_| work())).0;
        // Reading the clock is a system call: each reading must cover much more than that. Warms up, too.
        let mut calls = 1;
        while timed(calls) < LONG_ENOUGH && calls < 1 << 20 {
            calls *= 2;
        }
        let (mut samples, mut spent) = (Vec::new(), Duration::ZERO);
        while samples.len() < 3 || (spent < effort && started.elapsed() < WALL_FACTOR * effort) {
            let batch = timed(calls);
            spent += batch;
            samples.push(batch.as_nanos() as f64 / f64::from(calls));
        }
        Spread::of(&samples).median
    }

    fn of_workers(&self) -> Duration {
        let clocks = self.workers.iter().filter_map(|&pid| clock_getcpuclockid(pid).ok());
        clocks.filter_map(|clock| clock.now().ok()).map(Duration::from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn cpu_time_moves_with_work_only() {
        let before = cpu_time();
        while cpu_time() == before {
            std::hint::spin_loop();
        }
        assert!(median_ns(Duration::ZERO, || {}) >= 0.0);
    }

    #[test]
    fn what_workers_use_is_counted() {
        let mut busy = Command::new("sh");
        let mut busy =
            busy.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().expect("a shell");
        let used = Duration::from_millis(20);
        let deadline = Instant::now() + Duration::from_secs(60);
        let (clock, alone) = (CpuClock::with_workers(), CpuClock::default());
        let (spent, own) = clock.of(|| {
            let wait = || {
                while clock.of_workers() < used && Instant::now() < deadline {
                    std::thread::yield_now();
                }
            };
            alone.of(wait).0
        });
        busy.kill().expect("it runs");
        busy.wait().expect("reaped");
        assert!(
            spent > own && Instant::now() < deadline,
            "{spent:?} with the worker, {own:?} without"
        );
    }
}
