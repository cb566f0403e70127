//! Computes the figures of a run, such as rates and shares of time, from two readings of its counters.

use serde::Serialize;

use impala_metrics::{
    ChildRecord, LearnerRecord, PerActorRecord, Phase, PolicyRecord, RingRecord, StatusRecord,
    TaskRecord,
};

/// A run at a glance. Shares are of wall time, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(crate) struct Figures {
    pub(super) env: String,
    pub(super) wall_s: f64,
    pub(super) frames: f64,
    pub(super) total_frames: f64,
    pub(super) frames_per_s: f64,
    pub(super) frames_acted_per_s: f64,
    pub(super) updates_per_s: f64,
    pub(super) return_mean: Option<f64>,
    /// The best mean over a full window of episodes; `None` before the first.
    pub(super) return_best: Option<f64>,
    /// The lowest such mean since then.
    pub(super) return_lowest: Option<f64>,
    pub(super) episodes: f64,
    pub(super) policy_lag: f64,
    pub(super) lag_min: f64,
    pub(super) lag_max: f64,
    pub(super) restarts: f64,
    pub(super) unrolls_abandoned: f64,
    pub(super) learner: Learner,
    /// The process that runs the network for all actors, if there is one.
    pub(super) policy: Option<Policy>,
    pub(super) ring: RingRecord,
    pub(super) shared_bytes: f64,
    /// Each task, where there are several.
    pub(super) tasks: Vec<Task>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) stopping: bool,
}

/// What is learnt of one of several tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(super) struct Task {
    pub(super) env: String,
    pub(super) frames: f64,
    pub(super) episodes: f64,
    pub(super) return_mean: Option<f64>,
    pub(super) return_best: Option<f64>,
    pub(super) return_lowest: Option<f64>,
    pub(super) length_mean: Option<f64>,
}

fn tasks(status: &StatusRecord) -> Vec<Task> {
    let names = status.tasks.iter().cloned();
    let task = |(env, of): (String, &TaskRecord)| {
        let has_best = (of.return_best, of.return_lowest) != (0.0, 0.0);
        Task {
            env,
            frames: of.frames as f64,
            episodes: of.episodes as f64,
            return_mean: (of.episodes > 0).then_some(of.return_mean_100),
            return_best: has_best.then_some(of.return_best),
            return_lowest: has_best.then_some(of.return_lowest),
            length_mean: (of.episodes > 0).then_some(of.length_mean_100),
        }
    };
    names.zip(&status.metrics.tasks).map(task).collect()
}

/// The learner's line.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(super) struct Learner {
    pub(super) pid: Option<i32>,
    pub(super) state: String,
    pub(super) restarts: f64,
    pub(super) wait: f64,
    pub(super) batching: f64,
    pub(super) forward: f64,
    pub(super) vtrace: f64,
    pub(super) backward: f64,
    pub(super) optimizer: f64,
    pub(super) publish: f64,
    pub(super) rss_bytes: f64,
}

/// The policy process's line.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(super) struct Policy {
    pub(super) pid: Option<i32>,
    pub(super) state: String,
    pub(super) restarts: f64,
    pub(super) wait: f64,
    pub(super) gather: f64,
    pub(super) busy: f64,
    pub(super) batches_per_s: f64,
    /// Rows of a batch on average.
    pub(super) batch_rows: f64,
    /// Versions between the newest weights and those that it answers with.
    pub(super) behind: f64,
    /// Seconds since the weights of a batch were fetched, on average.
    pub(super) weights_age_s: f64,
    pub(super) rss_bytes: f64,
}

/// One actor's line.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(crate) struct Actor {
    pub(super) index: usize,
    pub(super) pid: Option<i32>,
    pub(super) state: String,
    pub(super) phase: String,
    pub(super) frames_per_s: f64,
    pub(super) env: f64,
    pub(super) infer: f64,
    pub(super) refresh: f64,
    pub(super) slot_wait: f64,
    /// Versions between the newest weights and those that it acts with; 0 while it waits, because it takes
    /// new ones afterwards.
    pub(super) behind: f64,
    pub(super) restarts: f64,
    pub(super) rss_bytes: f64,
    pub(super) cpu: f64,
}

impl Figures {
    /// From the newest reading and an older one.
    pub(crate) fn of(newest: &StatusRecord, old: &StatusRecord) -> Self {
        let now = &newest.metrics;
        let seconds = now.wall_s - old.metrics.wall_s;
        let per_s = |of: &dyn Fn(&StatusRecord) -> u64| {
            let added = (of(newest) as f64 - of(old) as f64).max(0.0);
            if seconds > 0.0 { added / seconds } else { 0.0 }
        };
        let share = |of: &dyn Fn(&StatusRecord) -> u64| (per_s(of) / 1e9).min(1.0);
        let stage = |of: fn(&LearnerRecord) -> u64| share(&|status| of(&status.metrics.learner));
        let child = |index: usize| newest.children.get(index).cloned().unwrap_or_default();
        let actor = |index: usize| {
            let at = |list: fn(&PerActorRecord) -> &[u64], status: &StatusRecord| {
                list(&status.metrics.per_actor).get(index).copied().unwrap_or(0)
            };
            let share = |list| share(&|status| at(list, status));
            let phase = Phase::from_code(at(|each| &each.phase, newest));
            let version = at(|each| &each.param_version, newest);
            // The learner comes first among the children.
            let ChildRecord { pid, state, restarts, .. } = child(index + 1);
            Actor {
                index,
                pid,
                state,
                phase: phase.map_or("?", Phase::name).to_owned(),
                frames_per_s: per_s(&|status| at(|each| &each.frames_acted, status)),
                env: share(|each| &each.env_ns),
                infer: share(|each| &each.infer_ns),
                refresh: share(|each| &each.refresh_ns),
                slot_wait: share(|each| &each.slot_wait_ns),
                behind: if phase == Some(Phase::Wait) {
                    0.0
                } else {
                    now.learner.version.saturating_sub(version) as f64
                },
                restarts: f64::from(restarts),
                rss_bytes: at(|each| &each.rss_bytes, newest) as f64,
                cpu: share(|each| &each.cpu_ns),
            }
        };
        let policy = now.policy.as_ref().map(|policy| {
            let of = |of: fn(&PolicyRecord) -> u64| {
                move |status: &StatusRecord| status.metrics.policy.as_ref().map_or(0, of)
            };
            let is_it = |child: &&ChildRecord| child.role == "policy";
            let child = newest.children.iter().find(is_it).cloned().unwrap_or_default();
            let batches_per_s = per_s(&of(|policy| policy.batches));
            let per_batch = |sum: f64| if batches_per_s > 0.0 { sum / batches_per_s } else { 0.0 };
            Policy {
                pid: child.pid,
                state: child.state,
                restarts: f64::from(child.restarts),
                wait: share(&of(|policy| policy.wait_ns)),
                gather: share(&of(|policy| policy.gather_ns)),
                busy: share(&of(|policy| policy.busy_ns)),
                batches_per_s,
                batch_rows: per_batch(per_s(&of(|policy| policy.rows))),
                behind: now.learner.version.saturating_sub(policy.param_version) as f64,
                weights_age_s: per_batch(per_s(&of(|policy| policy.weights_age_ns)) / 1e9),
                rss_bytes: now.memory.policy_bytes as f64,
            }
        });
        let ChildRecord { pid, state, restarts, .. } = child(0);
        // Both are 0 until a window is full.
        let LearnerRecord { return_best: best, return_lowest: lowest, .. } = now.learner;
        let has_best = (best, lowest) != (0.0, 0.0);
        Self {
            env: newest.env.clone(),
            wall_s: now.wall_s,
            frames: now.frames as f64,
            total_frames: newest.total_frames as f64,
            frames_per_s: now.frames_per_s,
            frames_acted_per_s: now.frames_acted_per_s,
            updates_per_s: per_s(&|status| status.metrics.learner.updates),
            return_mean: now.return_mean,
            return_best: has_best.then_some(best),
            return_lowest: has_best.then_some(lowest),
            episodes: now.learner.episodes as f64,
            policy_lag: now.policy_lag_mean,
            lag_min: now.learner.lag_min as f64,
            lag_max: now.learner.lag_max as f64,
            restarts: now.restarts as f64,
            unrolls_abandoned: now.unrolls_abandoned as f64,
            learner: Learner {
                pid,
                state,
                restarts: f64::from(restarts),
                wait: stage(|learner| learner.wait_ns),
                batching: stage(|learner| learner.batching_ns),
                forward: stage(|learner| learner.forward_ns),
                vtrace: stage(|learner| learner.vtrace_ns),
                backward: stage(|learner| learner.backward_ns),
                optimizer: stage(|learner| learner.optimizer_ns),
                publish: stage(|learner| learner.publish_ns),
                rss_bytes: now.memory.learner_bytes as f64,
            },
            policy,
            ring: now.ring,
            shared_bytes: now.memory.shared_bytes as f64,
            tasks: if newest.tasks.len() > 1 { tasks(newest) } else { Vec::new() },
            actors: (0..now.per_actor.actors()).map(actor).collect(),
            stopping: newest.stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_metrics::MetricsRecord;

    fn status(wall_s: f64, frames: [u64; 2], wait_ns: u64) -> StatusRecord {
        let child = |state: &str, pid, restarts| ChildRecord {
            state: state.to_owned(),
            pid,
            restarts,
            ..ChildRecord::default()
        };
        let metrics = MetricsRecord {
            wall_s,
            learner: LearnerRecord { wait_ns, version: 9, ..LearnerRecord::default() },
            per_actor: PerActorRecord {
                phase: vec![2, 3],
                frames_acted: frames.to_vec(),
                param_version: vec![9, 7],
                ..PerActorRecord::default()
            },
            ..MetricsRecord::default()
        };
        StatusRecord {
            env: "CartPole-v1".to_owned(),
            total_frames: 1000,
            children: vec![
                child("running", Some(11), 1),
                child("running", Some(12), 0),
                child("waiting", None, 3),
            ],
            metrics,
            ..StatusRecord::default()
        }
    }

    #[test]
    fn differences_become_rates() {
        let old = status(10.0, [100, 50], 0);
        let new = status(12.0, [300, 50], 500_000_000);
        let figures = Figures::of(&new, &old);
        assert_eq!((figures.learner.pid, figures.learner.restarts), (Some(11), 1.0));
        assert_eq!(figures.learner.wait, 0.25);
        let [first, second] = &figures.actors[..] else { panic!("two actors: {figures:?}") };
        assert_eq!((first.frames_per_s, first.phase.as_str(), first.behind), (100.0, "step", 0.0));
        assert_eq!((second.pid, second.phase.as_str(), second.behind), (None, "infer", 2.0));
        assert_eq!((second.state.as_str(), second.restarts), ("waiting", 3.0));
    }

    #[test]
    fn batches_of_the_policy_process_have_a_mean_size() {
        let at = |wall_s, batches, rows, busy_ns| {
            let policy = PolicyRecord {
                batches,
                rows,
                busy_ns,
                weights_age_ns: batches * 2_000_000,
                param_version: 6,
                ..PolicyRecord::default()
            };
            let mut status = status(wall_s, [100, 50], 0);
            let role = "policy".to_owned();
            status.children.push(ChildRecord { role, pid: Some(19), ..ChildRecord::default() });
            status.metrics.policy = Some(policy);
            status
        };
        let figures = Figures::of(&at(12.0, 30, 90, 1_000_000_000), &at(10.0, 10, 30, 0));
        let policy = figures.policy.expect("there is one");
        assert_eq!((policy.pid, policy.batches_per_s, policy.batch_rows), (Some(19), 10.0, 3.0));
        assert_eq!((policy.busy, policy.behind), (0.5, 3.0));
        assert!((policy.weights_age_s - 0.002).abs() < 1e-9, "{policy:?}");
        assert_eq!(figures.actors.len(), 2, "it is no actor");
    }

    #[test]
    fn a_best_mean_of_nothing_is_none() {
        let mut status = StatusRecord::default();
        let means = |status: &StatusRecord| {
            let figures = Figures::of(status, status);
            (figures.return_best, figures.return_lowest)
        };
        assert_eq!(means(&status), (None, None));
        status.metrics.learner.return_best = 475.0;
        assert_eq!(means(&status), (Some(475.0), Some(0.0)), "it fell to 0");
    }

    #[test]
    fn one_reading_gives_no_rates_and_no_nonsense() {
        let only = status(10.0, [100, 50], 7);
        let figures = Figures::of(&only, &only);
        assert_eq!(figures.actors[0].frames_per_s, 0.0);
        let nothing = StatusRecord::default();
        assert_eq!(Figures::of(&nothing, &nothing), Figures::default());
    }
}
