//! The results of runs of the pool, beside the upper bounds for the same configuration.

use std::fmt;

use serde::Serialize;

use super::limit::LimitSample;
use super::pool::PoolSample;
use super::stats::Spread;
use impala_rl::metrics::human::si;

/// Runs of the whole system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PoolReport {
    /// Learned frames per second in the steady state.
    pub(crate) frames_per_s: Spread,
    /// Learned frames per second of all wall time.
    pub(crate) wall_frames_per_s: Spread,
    /// Steady frames/s over the limit from the parts, measured just before.
    pub(crate) efficiency: Spread,
    /// The parts' sum over the CPU time that the pool took for a frame: what is lost to work that is no
    /// part; the rest of the inefficiency is idle cores.
    pub(crate) cpu_efficiency: Spread,
    /// Steady frames/s over the limit from the whole loops.
    pub(crate) loops_efficiency: Spread,
    /// Steady frames/s over the roofline.
    pub(crate) roofline_fraction: Spread,
    /// Mean policy lag, in updates.
    pub(crate) policy_lag: Spread,
    /// Learned frames of the frames taken; the rest crossed a reset.
    pub(crate) learned_share: Spread,
    /// Bytes per second that actors wrote into the ring.
    pub(crate) ring_bytes_per_s: Spread,
    /// Shares of the actors' wall time.
    pub(crate) actor_share: ActorTable,
    /// Shares of the learner's wall time.
    pub(crate) learner_share: LearnerTable,
    /// What the kernel counted.
    pub(crate) kernel: KernelTable,
}

/// Shares of the actors' wall time; `other` is loop, copies, checks, and waiting for a core.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct ActorTable {
    env: Spread,
    inference_sampling: Spread,
    refresh: Spread,
    slot_wait: Spread,
    other: Spread,
}

/// Shares of the learner's wall time; `other` is checks, episodes, counters and release.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct LearnerTable {
    wait: Spread,
    batching: Spread,
    forward: Spread,
    vtrace_loss: Spread,
    backward: Spread,
    optimizer: Spread,
    publish: Spread,
    other: Spread,
}

/// What the kernel counted, of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct KernelTable {
    cpu_us_per_frame: Spread,
    system_share: Spread,
    cores_busy: Spread,
    sleeps_per_1000_updates: Spread,
    interruptions_per_1000_updates: Spread,
}

impl PoolReport {
    /// Of repeats, each with the limit measured just before it.
    #[must_use]
    pub(crate) fn of(samples: &[(LimitSample, PoolSample)], ring_bytes_per_frame: f64) -> Self {
        let over = |figure: &dyn Fn(&PoolSample) -> f64| Spread::over(samples, |(_, s)| figure(s));
        let against = |bound: &dyn Fn(&LimitSample) -> f64| {
            Spread::over(samples, |(limit, s)| s.steady_frames_per_s / bound(limit))
        };
        Self {
            frames_per_s: over(&|s| s.steady_frames_per_s),
            wall_frames_per_s: over(&|s| s.wall_frames_per_s),
            efficiency: against(&LimitSample::frames_per_s),
            cpu_efficiency: Spread::over(samples, |(limit, s)| {
                let parts_ns = limit.parts.actor_ns() + limit.parts.learner_ns();
                parts_ns / 1e3 / s.kernel.cpu_us_per_frame
            }),
            loops_efficiency: against(&LimitSample::loops_frames_per_s),
            roofline_fraction: against(&LimitSample::roofline_frames_per_s),
            policy_lag: over(&|s| s.policy_lag),
            learned_share: over(&|s| s.learned_share),
            ring_bytes_per_s: over(&|s| {
                s.steady_frames_per_s / s.learned_share * ring_bytes_per_frame
            }),
            actor_share: ActorTable {
                env: over(&|s| s.actor.env),
                inference_sampling: over(&|s| s.actor.inference),
                refresh: over(&|s| s.actor.refresh),
                slot_wait: over(&|s| s.actor.slot_wait),
                other: over(&|s| {
                    let a = &s.actor;
                    1.0 - a.env - a.inference - a.refresh - a.slot_wait
                }),
            },
            learner_share: LearnerTable {
                wait: over(&|s| s.learner.wait),
                batching: over(&|s| s.learner.batching),
                forward: over(&|s| s.learner.forward),
                vtrace_loss: over(&|s| s.learner.vtrace_loss),
                backward: over(&|s| s.learner.backward),
                optimizer: over(&|s| s.learner.optimizer),
                publish: over(&|s| s.learner.publish),
                other: over(&|s| {
                    let l = &s.learner;
                    let network = l.batching + l.forward + l.vtrace_loss + l.backward;
                    1.0 - l.wait - network - l.optimizer - l.publish
                }),
            },
            kernel: KernelTable {
                cpu_us_per_frame: over(&|s| s.kernel.cpu_us_per_frame),
                system_share: over(&|s| s.kernel.system_share),
                cores_busy: over(&|s| s.kernel.cores_busy),
                sleeps_per_1000_updates: over(&|s| s.kernel.sleeps_per_1000_updates),
                interruptions_per_1000_updates: over(&|s| s.kernel.interruptions_per_1000_updates),
            },
        }
    }
}

impl fmt::Display for PoolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, spread, unit) in [
            ("learned, steady", self.frames_per_s, "frames/s"),
            ("learned, whole run", self.wall_frames_per_s, "frames/s"),
            ("pool efficiency", self.efficiency, "of the limit"),
            ("", self.loops_efficiency, "of the limit from whole loops"),
            ("CPU efficiency", self.cpu_efficiency, "parts / CPU time of a frame"),
            ("roofline fraction", self.roofline_fraction, ""),
            ("policy lag", self.policy_lag, "updates"),
            ("learned of taken frames", self.learned_share, ""),
            ("written into the ring", self.ring_bytes_per_s, "bytes/s"),
            ("CPU time", self.kernel.cpu_us_per_frame, "us/frame"),
            ("  in the kernel", self.kernel.system_share, "of it"),
            ("cores busy", self.kernel.cores_busy, ""),
            ("sleeps", self.kernel.sleeps_per_1000_updates, "per 1000 updates"),
            ("interruptions", self.kernel.interruptions_per_1000_updates, "per 1000 updates"),
        ] {
            writeln!(f, "  {name:<28}{spread} {unit}")?;
        }
        let share = |spread: Spread| si(spread.median * 100.0);
        let (a, l) = (&self.actor_share, &self.learner_share);
        writeln!(
            f,
            "  actors' time in %: environments {}, inference + sampling {}, refresh {}, waiting for a \
             slot {}, other {}",
            share(a.env),
            share(a.inference_sampling),
            share(a.refresh),
            share(a.slot_wait),
            share(a.other)
        )?;
        writeln!(
            f,
            "  learner's time in %: waiting {}, batching {}, forward {}, V-trace + loss {}, backward {}, \
             optimizer {}, publish {}, other {}",
            share(l.wait),
            share(l.batching),
            share(l.forward),
            share(l.vtrace_loss),
            share(l.backward),
            share(l.optimizer),
            share(l.publish),
            share(l.other)
        )
    }
}
