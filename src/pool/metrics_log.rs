//! `metrics.jsonl`: one object per log interval.

use std::fs::File;

use serde_json::{Map, Value as Json, json};

use super::console::{Console, Progress};
use super::line_log::LineLog;
use super::roles::Inheritance;
use super::run_dir::RunDir;
use crate::metrics::{ActorCounters, Kind, Snapshot, Table, Value};

/// Name of the file in the run folder.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";

/// The open file, if it could be opened.
#[derive(Debug)]
pub(super) struct MetricsLog(Option<LineLog<File>>);

impl MetricsLog {
    pub(super) fn open(run_dir: &RunDir, console: &Console) -> Self {
        let file = run_dir.append(METRICS_FILE);
        if let Err(error) = &file {
            console.warn(&error.to_string());
        }
        Self(file.ok().map(|file| LineLog::new(METRICS_FILE, file)))
    }

    /// Appends one line and gives it: rates over the interval, the ring, every counter of the learner,
    /// and the sums of the actors' counters.
    pub(super) fn write(
        &mut self,
        progress: &Progress,
        pool: &Inheritance,
        console: &Console,
    ) -> Json {
        let memory = &pool.memory;
        let ring = memory.ring().and_then(|ring| ring.occupancy()).unwrap_or_default();
        let line = json!({
            "wall_s": progress.wall.as_secs_f64(),
            "frames": progress.frames,
            "frames_per_s": progress.frames_per_s,
            "policy_lag_mean": progress.policy_lag,
            "restarts": progress.restarts,
            "ring": { "free": ring.free, "claimed": ring.claimed, "ready": ring.ready, "held": ring.held },
            "learner": to_json(&memory.learner().snapshot()),
            "actors": sum((0..pool.config.pool.actors).map(|index| memory.actor(index))),
        });
        if let Some(log) = &mut self.0 {
            log.push(&line.to_string());
            if let Some(news) = log.flush() {
                console.warn(&news);
            }
        }
        line
    }
}

fn to_json<T: Table>(snapshot: &Snapshot<T>) -> Map<String, Json> {
    let number = |value| match value {
        Value::Count(count) => json!(count),
        Value::Real(real) => json!(real),
    };
    snapshot.iter().map(|(descriptor, value)| (descriptor.name.to_owned(), number(value))).collect()
}

/// Sums of the counters; gauges of single actors have no sum.
fn sum<'m>(actors: impl Iterator<Item = ActorCounters<'m>>) -> Map<String, Json> {
    let mut totals = vec![0_u64; ActorCounters::descriptors().len()];
    for actor in actors {
        let snapshot = actor.snapshot();
        totals
            .iter_mut()
            .zip(snapshot.words())
            .for_each(|(total, word)| *total = total.wrapping_add(*word));
    }
    let named = ActorCounters::descriptors().iter().zip(totals);
    named
        .filter(|(d, _)| d.kind == Kind::Counter)
        .map(|(d, total)| (d.name.to_owned(), json!(total)))
        .collect()
}
