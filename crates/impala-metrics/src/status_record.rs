//! The content of a status segment as a type: written by the supervisor, read by `impala-top` and other programs.

use serde::{Deserialize, Serialize};

use super::record::MetricsRecord;

/// A run at one moment. Reading is as lenient as that of a [`MetricsRecord`]; without `metrics` it is invalid.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StatusRecord {
    /// What is learnt.
    #[serde(default)]
    pub env: String,
    /// Names of its tasks, in the order of the numbers of each.
    #[serde(default)]
    pub tasks: Vec<String>,
    /// Shape of the pool.
    #[serde(default)]
    pub pool: PoolRecord,
    /// Whether the run is ending.
    #[serde(default)]
    pub stopping: bool,
    /// Frames to learn from.
    #[serde(default)]
    pub total_frames: u64,
    /// The numbers of the last second, otherwise as in `metrics.jsonl`.
    pub metrics: MetricsRecord,
    /// The learner, then the actors, then the policy process if there is one.
    #[serde(default)]
    pub children: Vec<ChildRecord>,
    /// What went wrong and was mended.
    #[serde(default)]
    pub faults: FaultsRecord,
}

/// Sizes that make the numbers readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolRecord {
    /// Actors of the pool.
    pub actors: usize,
    /// Environments that each of them steps.
    pub envs_per_actor: usize,
    /// Steps of an unroll.
    pub unroll: usize,
    /// Environments of a batch.
    pub batch: usize,
    /// Blocks of the ring.
    pub blocks: usize,
    /// Slots of all blocks.
    pub slots: usize,
}

/// One process of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChildRecord {
    /// `learner`, `policy`, or `actor-` and its index.
    pub role: String,
    /// What the supervisor does with it, in one word.
    pub state: String,
    /// Its process id, while it lives.
    pub pid: Option<i32>,
    /// Which incarnation of the role, from 1.
    pub incarnation: u16,
    /// How often the role was replaced.
    pub restarts: u32,
}

/// Faults that only the supervisor sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultsRecord {
    /// Processes killed because they stood still.
    pub hang_kills: u64,
    /// Panics of actors within their environments.
    pub env_panics: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_another_build_is_read_as_far_as_it_goes() {
        let read = |text: &str| serde_json::from_str::<StatusRecord>(text);
        let status = read(
            r#"{"env": "X", "metrics": {"wall_s": 1.5, "frames": 7}, "children": [{"role": "learner", "pid": null}], "later": 1}"#,
        )
        .expect("enough of a status");
        assert_eq!((status.env.as_str(), status.metrics.frames), ("X", 7));
        assert_eq!((status.children[0].role.as_str(), status.children[0].pid), ("learner", None));
        for text in ["", "{}", "[]", "null", r#"{"metrics": {}}"#, r#"{"metrics": 7}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
