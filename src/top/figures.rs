//! From two readings of a run to what a person wants to know.

use serde::Serialize;
use serde_json::Value as Json;

/// A run at a glance. Shares are of wall time, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(super) struct Figures {
    pub(super) env: String,
    pub(super) wall_s: f64,
    pub(super) frames: f64,
    pub(super) total_frames: f64,
    pub(super) frames_per_s: f64,
    pub(super) frames_acted_per_s: f64,
    pub(super) updates_per_s: f64,
    pub(super) return_mean: Option<f64>,
    pub(super) episodes: f64,
    pub(super) policy_lag: f64,
    pub(super) lag_min: f64,
    pub(super) lag_max: f64,
    pub(super) restarts: f64,
    pub(super) unrolls_abandoned: f64,
    pub(super) learner: Learner,
    pub(super) ring: Ring,
    pub(super) shared_bytes: f64,
    pub(super) actors: Vec<Actor>,
    pub(super) stopping: bool,
}

/// The learner's line.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(super) struct Learner {
    pub(super) pid: Option<i64>,
    pub(super) state: String,
    pub(super) restarts: f64,
    pub(super) wait: f64,
    pub(super) batching: f64,
    pub(super) forward: f64,
    pub(super) vtrace: f64,
    pub(super) backward: f64,
    pub(super) optimiser: f64,
    pub(super) publish: f64,
    pub(super) rss_bytes: f64,
}

/// Slots by their state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub(super) struct Ring {
    pub(super) free: f64,
    pub(super) claimed: f64,
    pub(super) ready: f64,
    pub(super) held: f64,
}

/// One actor's line.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(super) struct Actor {
    pub(super) index: usize,
    pub(super) pid: Option<i64>,
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
    pub(super) fn of(newest: &Json, old: &Json) -> Self {
        let now = |place: &str| at(newest, place).unwrap_or(0.0);
        let seconds = now("/metrics/wall_s") - at(old, "/metrics/wall_s").unwrap_or(0.0);
        let since = |place: &str| (now(place) - at(old, place).unwrap_or(0.0)).max(0.0);
        let per_s = |place: &str| if seconds > 0.0 { since(place) / seconds } else { 0.0 };
        let share = |place: &str| (per_s(place) / 1e9).min(1.0);
        let text = |place: &str| {
            newest.pointer(place).and_then(Json::as_str).unwrap_or_default().to_owned()
        };
        let pid = |child: usize| newest.pointer(&format!("/children/{child}/pid"))?.as_i64();
        let phases = newest.pointer("/metrics/per_actor/phase").and_then(Json::as_array);
        let version = now("/metrics/learner/version");
        let actor = |index: usize| {
            let each = |word: &str| format!("/metrics/per_actor/{word}/{index}");
            // The learner comes first among the children.
            let child = index + 1;
            Actor {
                index,
                pid: pid(child),
                state: text(&format!("/children/{child}/state")),
                phase: phase(now(&each("phase"))).to_owned(),
                frames_per_s: per_s(&each("frames_acted")),
                env: share(&each("env_ns")),
                infer: share(&each("infer_ns")),
                refresh: share(&each("refresh_ns")),
                slot_wait: share(&each("slot_wait_ns")),
                behind: if phase(now(&each("phase"))) == crate::metrics::Phase::Wait.name() {
                    0.0
                } else {
                    (version - now(&each("param_version"))).max(0.0)
                },
                restarts: now(&format!("/children/{child}/restarts")),
                rss_bytes: now(&each("rss_bytes")),
                cpu: share(&each("cpu_ns")),
            }
        };
        Self {
            env: text("/env"),
            wall_s: now("/metrics/wall_s"),
            frames: now("/metrics/frames"),
            total_frames: now("/total_frames"),
            frames_per_s: now("/metrics/frames_per_s"),
            frames_acted_per_s: now("/metrics/frames_acted_per_s"),
            updates_per_s: per_s("/metrics/learner/updates"),
            return_mean: at(newest, "/metrics/return_mean"),
            episodes: now("/metrics/learner/episodes"),
            policy_lag: now("/metrics/policy_lag_mean"),
            lag_min: now("/metrics/learner/lag_min"),
            lag_max: now("/metrics/learner/lag_max"),
            restarts: now("/metrics/restarts"),
            unrolls_abandoned: now("/metrics/unrolls_abandoned"),
            learner: Learner {
                pid: pid(0),
                state: text("/children/0/state"),
                restarts: now("/children/0/restarts"),
                wait: share("/metrics/learner/wait_ns"),
                batching: share("/metrics/learner/batching_ns"),
                forward: share("/metrics/learner/forward_ns"),
                vtrace: share("/metrics/learner/vtrace_ns"),
                backward: share("/metrics/learner/backward_ns"),
                optimiser: share("/metrics/learner/optimiser_ns"),
                publish: share("/metrics/learner/publish_ns"),
                rss_bytes: now("/metrics/memory/learner_bytes"),
            },
            ring: Ring {
                free: now("/metrics/ring/free"),
                claimed: now("/metrics/ring/claimed"),
                ready: now("/metrics/ring/ready"),
                held: now("/metrics/ring/held"),
            },
            shared_bytes: now("/metrics/memory/shared_bytes"),
            actors: (0..phases.map_or(0, Vec::len)).map(actor).collect(),
            stopping: newest["stopping"].as_bool().unwrap_or(false),
        }
    }
}

fn at(status: &Json, place: &str) -> Option<f64> {
    status.pointer(place)?.as_f64()
}

#[expect(clippy::cast_sign_loss, reason = "a code, or no phase")]
fn phase(code: f64) -> &'static str {
    crate::metrics::Phase::from_code(code as u64).map_or("?", |phase| phase.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(wall_s: f64, frames: [u64; 2], wait_ns: u64) -> Json {
        json!({
            "env": "CartPole-v1",
            "total_frames": 1000,
            "children": [
                {"role": "learner", "state": "running", "pid": 11, "restarts": 1},
                {"role": "actor-0", "state": "running", "pid": 12, "restarts": 0},
                {"role": "actor-1", "state": "waiting", "pid": null, "restarts": 3},
            ],
            "metrics": {
                "wall_s": wall_s,
                "learner": {"wait_ns": wait_ns, "version": 9},
                "per_actor": {
                    "phase": [2, 3],
                    "frames_acted": frames,
                    "param_version": [9, 7],
                },
            },
        })
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
    fn one_reading_gives_no_rates_and_no_nonsense() {
        let only = status(10.0, [100, 50], 7);
        let figures = Figures::of(&only, &only);
        assert_eq!(figures.actors[0].frames_per_s, 0.0);
        assert_eq!(Figures::of(&json!({}), &json!([])), Figures::default());
    }
}
