//! Adds up the counters of a run: time in each stage, for each frame and for each update.

use super::run_data::RunData;
use impala_metrics::{ActorsRecord, LearnerRecord, MetricsRecord, PerActorRecord, PolicyRecord};

/// A stage of an update: its name, and its time.
type LearnerStage = (&'static str, fn(&LearnerRecord) -> u64);

/// Stages of an update, in their order.
pub(super) const LEARNER_STAGES: &[LearnerStage] = &[
    ("wait for data", |learner| learner.wait_ns),
    ("batching", |learner| learner.batching_ns),
    ("forward", |learner| learner.forward_ns),
    ("V-trace and loss", |learner| learner.vtrace_ns),
    ("backward", |learner| learner.backward_ns),
    ("optimizer", |learner| learner.optimizer_ns),
    ("publish", |learner| learner.publish_ns),
    ("checkpoint", |learner| learner.checkpoint_ns),
];

/// A stage of an actor.
#[derive(Debug, Clone, Copy)]
pub(super) struct ActorStage {
    pub(super) name: &'static str,
    /// Time of all actors in it.
    pub(super) sum: fn(&ActorsRecord) -> u64,
    /// Of each.
    pub(super) each: fn(&PerActorRecord) -> &[u64],
}

/// Stages of an actor, in their order.
pub(super) const ACTOR_STAGES: &[ActorStage] = &[
    ActorStage { name: "environment", sum: |actors| actors.env_ns, each: |each| &each.env_ns },
    ActorStage { name: "inference", sum: |actors| actors.infer_ns, each: |each| &each.infer_ns },
    ActorStage {
        name: "weight refresh",
        sum: |actors| actors.refresh_ns,
        each: |each| &each.refresh_ns,
    },
    ActorStage {
        name: "slot wait",
        sum: |actors| actors.slot_wait_ns,
        each: |each| &each.slot_wait_ns,
    },
    ActorStage { name: "commit", sum: |actors| actors.commit_ns, each: |each| &each.commit_ns },
    ActorStage {
        name: "held back",
        sum: |actors| actors.admission_wait_ns,
        each: |each| &each.admission_wait_ns,
    },
    ActorStage {
        name: "gradient",
        sum: |actors| actors.gradient_ns,
        each: |each| &each.gradient_ns,
    },
];

/// What a policy process came to; all 0 if there was none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct PolicyTotals {
    pub(super) batches: f64,
    pub(super) requests: f64,
    pub(super) rows: f64,
    pub(super) busy_s: f64,
    /// Time that actors waited for its answers.
    pub(super) answer_s: f64,
}

/// What a run came to between two of its lines. Times in seconds; those of actors are sums over them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Totals {
    /// Wall time.
    pub(crate) wall_s: f64,
    /// Actors.
    pub(crate) actors: f64,
    /// Cores that the run may use; 0 if not known.
    pub(crate) cores: f64,
    /// Frames learnt.
    pub(crate) frames: f64,
    /// Frames produced.
    pub(crate) frames_acted: f64,
    /// Updates.
    pub(crate) updates: f64,
    /// Unrolls produced.
    pub(crate) unrolls: f64,
    /// Versions of the weights that actors fetched.
    pub(crate) refreshes: f64,
    /// Policy lags of all unrolls, and the unrolls: sum and count.
    pub(crate) lag: (f64, f64),
    /// Wait, batching, forward, loss, backward, optimizer, publish, checkpoint.
    pub(crate) learner_s: [f64; 8],
    /// Environment, inference, weight refresh, slot wait, commit, held back, gradient.
    pub(crate) actors_s: [f64; 7],
    /// The policy process, if there was one.
    pub(super) policy: PolicyTotals,
    /// Time on cores: learner, actors and policy process.
    pub(crate) cpu_s: (f64, f64),
    /// Time ready to run without a core: learner, actors and policy process.
    pub(crate) core_wait_s: (f64, f64),
}

impl Totals {
    /// Sums over the whole run. The time before the first line, when processes start, is left out.
    #[must_use]
    pub(crate) fn of(run: &RunData) -> Self {
        Self::between(&run.lines)
    }

    /// Sums over some lines in a row; the last tells how many actors there were.
    pub(super) fn between(lines: &[MetricsRecord]) -> Self {
        let sum = |of: fn(&MetricsRecord) -> u64| added(lines, |line| of(line) as f64);
        let seconds = |of: fn(&MetricsRecord) -> u64| sum(of) / 1e9;
        let mut learner_s = [0.0; LEARNER_STAGES.len()];
        for (s, (_, stage)) in learner_s.iter_mut().zip(LEARNER_STAGES) {
            *s = added(lines, |line| stage(&line.learner) as f64) / 1e9;
        }
        let mut actors_s = [0.0; ACTOR_STAGES.len()];
        for (s, stage) in actors_s.iter_mut().zip(ACTOR_STAGES) {
            *s = added(lines, |line| (stage.sum)(&line.actors) as f64) / 1e9;
        }
        let of_policy = |of: fn(&PolicyRecord) -> u64| {
            added(lines, |line| line.policy.as_ref().map_or(0, of) as f64)
        };
        let last = lines.last();
        Self {
            wall_s: added(lines, |line| line.wall_s),
            actors: last.map_or(1, |line| line.per_actor.actors().max(1)) as f64,
            cores: last.map_or(0, |line| line.cpu.cores) as f64,
            frames: sum(|line| line.frames),
            frames_acted: sum(|line| line.actors.frames_acted),
            updates: sum(|line| line.learner.updates),
            unrolls: sum(|line| line.actors.unrolls_committed),
            refreshes: sum(|line| line.actors.param_refreshes),
            lag: (sum(|line| line.learner.lag_sum), sum(|line| line.learner.unrolls_consumed)),
            learner_s,
            actors_s,
            policy: PolicyTotals {
                batches: of_policy(|policy| policy.batches),
                requests: of_policy(|policy| policy.requests),
                rows: of_policy(|policy| policy.rows),
                busy_s: of_policy(|policy| policy.busy_ns) / 1e9,
                answer_s: seconds(|line| line.actors.answer_wait_ns),
            },
            cpu_s: (
                seconds(|line| line.cpu.learner_ns),
                seconds(|line| line.cpu.actors_ns + line.cpu.policy_ns),
            ),
            core_wait_s: (
                seconds(|line| line.cpu.learner_core_wait_ns),
                seconds(|line| line.cpu.actors_core_wait_ns + line.cpu.policy_core_wait_ns),
            ),
        }
    }

    /// Shares of the wall time that the learner spent in its stages, and in none of them.
    #[must_use]
    pub(crate) fn learner_shares(&self) -> Vec<f64> {
        shares(&self.learner_s, self.wall_s)
    }

    /// Shares of the wall time that the actors spent in their stages, and in none of them.
    #[must_use]
    pub(crate) fn actor_shares(&self) -> Vec<f64> {
        shares(&self.actors_s, self.wall_s * self.actors)
    }

    /// Time that actors slept because enough data was in flight.
    #[must_use]
    pub(crate) const fn held_back_s(&self) -> f64 {
        self.actors_s[5]
    }

    /// The same as a share of their time.
    #[must_use]
    pub(crate) fn held_back(&self) -> f64 {
        self.actor_shares()[5]
    }

    /// Mean policy lag.
    #[must_use]
    pub(crate) fn lag_mean(&self) -> f64 {
        self.lag.0 / self.lag.1.max(1.0)
    }

    /// Share of all cores that the run used; `None` if not known.
    #[must_use]
    pub(crate) fn cores_busy(&self) -> Option<f64> {
        let used = self.cpu_s.0 + self.cpu_s.1;
        (self.cores > 0.0 && self.wall_s > 0.0 && used > 0.0)
            .then(|| used / (self.cores * self.wall_s))
    }
}

/// Shares of `whole`, then what is left of it. Sampled times may add up to a little more than all of it.
fn shares(parts: &[f64], whole: f64) -> Vec<f64> {
    let whole = whole.max(parts.iter().sum()).max(1e-9);
    let rest = 1.0 - parts.iter().sum::<f64>() / whole;
    parts.iter().map(|part| part / whole).chain([rest.max(0.0)]).collect()
}

/// What was added to a counter from the first line to the last. One that went back was started anew by a
/// resumed run, and counts from 0.
pub(super) fn added(lines: &[MetricsRecord], of: impl Fn(&MetricsRecord) -> f64) -> f64 {
    let values = lines.iter().map(of);
    let mut sum = 0.0;
    let mut before = None;
    for value in values {
        if let Some(before) = before {
            sum += if value >= before { value - before } else { value };
        }
        before = Some(value);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_start_anew_are_added_up() {
        let line = |updates| MetricsRecord {
            learner: LearnerRecord { updates, ..LearnerRecord::default() },
            ..MetricsRecord::default()
        };
        let lines = [5, 7, 2, 3].map(line);
        assert_eq!(added(&lines, |line| line.learner.updates as f64), 2.0 + 2.0 + 1.0);
        assert_eq!(Totals::between(&lines).updates, 5.0);
        assert_eq!(Totals::between(&[]).updates, 0.0);
    }

    #[test]
    fn shares_are_of_the_whole_and_never_more() {
        assert_eq!(shares(&[1.0, 2.0], 4.0), [0.25, 0.5, 0.25]);
        assert_eq!(shares(&[3.0, 3.0], 4.0), [0.5, 0.5, 0.0]);
    }
}
