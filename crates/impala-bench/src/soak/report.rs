//! The report on one pool, as JSON: passed between processes, and for the reader.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happened in one pool of `impala-soak`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PoolReport {
    /// How the run ended; "finished" if in order.
    pub ended: String,
    /// Why it ended.
    pub reason: String,
    /// Seconds from start to end.
    pub seconds: f64,
    /// Actors that were sent SIGKILL.
    pub actors_killed: u64,
    /// Learners that were sent SIGKILL.
    pub learners_killed: u64,
    /// Actors that were sent SIGSTOP and SIGCONT.
    pub actors_stopped: u64,
    /// Policy processes that were sent SIGKILL.
    pub policies_killed: u64,
    /// Policy processes that were sent SIGSTOP and SIGCONT.
    pub policies_stopped: u64,
    /// Faults after which the role did useful work again.
    pub recovered: u64,
    /// Stops whose process was killed before it went on.
    pub overtaken: u64,
    /// Faults that were open at the end.
    pub open_at_end: u64,
    /// Actors that were started again.
    pub actor_restarts: u64,
    /// Learners that were started again.
    pub learner_restarts: u64,
    /// Policy processes that were started again.
    pub policy_restarts: u64,
    /// Roles that stood still for half a minute, and pools that did.
    pub hangs: u64,
    /// Incarnations of actors.
    pub incarnations: u64,
    /// Actors whose last writer has committed nothing, and a learner that has taken nothing in its last.
    pub idle_at_end: u64,
    /// Unrolls that were committed, by their sequence numbers.
    pub unrolls: u64,
    /// Bytes that were recomputed.
    pub bytes_checked: u64,
    /// Bytes that were not as they had to be.
    pub bytes_wrong: u64,
    /// Sequence numbers that nobody has seen, though a later one was, or their writer counted them.
    pub sequences_lost: u64,
    /// Sequence numbers that were seen twice without a learner's death in between.
    pub sequences_doubled: u64,
    /// Sequence numbers and incarnations that cannot be.
    pub sequences_invented: u64,
    /// Unrolls that were seen again after a learner had died with them.
    pub sequences_repeated: u64,
    /// Unrolls in flight at killed actors: lost, as promised.
    pub in_flight_lost: u64,
    /// Unrolls that were thrown away because two learners died with them.
    pub dropped: u64,
    /// Times that the identity was evaluated after a fault.
    pub identity_checks: u64,
    /// Of these, how often it had to wait for a stopped or slow learner.
    pub identity_waited: u64,
    /// Times that it did not hold.
    pub identity_broken: u64,
    /// `consumed + dropped = unrolls - left in the ring`, at the end: the ring's counters against the
    /// sequence numbers.
    pub counters_agree: bool,
    /// Weights that actors read, and those of them that were of no one version.
    pub weights_read: u64,
    /// See `weights_read`.
    pub weights_torn: u64,
    /// Rows that policy processes answered, and those of them whose answer was to something else.
    pub answers: u64,
    /// See `answers`.
    pub answers_wrong: u64,
    /// Checkpoints written.
    pub checkpoints_saved: u64,
    /// Checkpoints that later learners read back, and those of them that were not whole.
    pub checkpoints_read: u64,
    /// See `checkpoints_read`.
    pub checkpoints_bad: u64,
    /// SIGKILL of an actor to its slot being free, where it held one.
    pub kill_to_free: Percentiles,
    /// SIGKILL of an actor to the first commit of its successor, up to the tick of 5 ms.
    pub kill_to_commit: Percentiles,
    /// Descriptors of the supervisor, early and late.
    pub descriptors: [u64; 2],
    /// Resident memory of the supervisor in KiB, early and late.
    pub resident_kib: [u64; 2],
    /// Dead children that were not reaped for a second.
    pub zombies: u64,
    /// Processes that were left when the run was over.
    pub left_behind: u64,
}

impl PoolReport {
    /// Faults that were injected.
    #[must_use]
    pub(crate) const fn faults(&self) -> u64 {
        self.actors_killed
            + self.learners_killed
            + self.actors_stopped
            + self.policies_killed
            + self.policies_stopped
    }
}

/// Percentiles of a time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Times measured.
    pub count: u64,
    /// Median, in ms.
    pub p50_ms: f64,
    /// 99th percentile, in ms.
    pub p99_ms: f64,
    /// Longest, in ms.
    pub max_ms: f64,
}

impl Percentiles {
    /// Of these times, in any order; zeros if there are none.
    #[must_use]
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let Some(last) = times.len().checked_sub(1) else {
            return Self::default();
        };
        // Rounded up: a percentile is a time that was measured.
        let at = |percent: usize| times[(last * percent).div_ceil(100)].as_secs_f64() * 1e3;
        Self { count: times.len() as u64, p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_times() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let found = Percentiles::of(times);
        assert_eq!((found.count, found.p50_ms, found.max_ms), (200, 101.0, 200.0));
        assert!((found.p99_ms - 199.0).abs() < 1e-9, "{found:?}");
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }
}
