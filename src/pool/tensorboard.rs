//! The numbers of a run as TensorBoard shows them.

use serde_json::Value as Json;

use super::console::Console;
use super::run_dir::RunDir;
use crate::metrics::HistogramSnapshot;
use crate::metrics::tensorboard::EventWriter;

/// Tag in TensorBoard, and where in a line its number stands.
const SCALARS: &[(&str, &str)] = &[
    ("charts/return_mean", "/return_mean"),
    ("charts/episode_length_mean", "/learner/length_mean_100"),
    ("charts/episodes", "/learner/episodes"),
    ("charts/learning_rate", "/learner/learning_rate"),
    ("losses/policy", "/learner/policy_loss"),
    ("losses/baseline", "/learner/baseline_loss"),
    ("losses/total", "/learner/total_loss"),
    ("losses/entropy", "/learner/entropy"),
    ("losses/grad_norm", "/learner/grad_norm"),
    ("vtrace/rho_mean", "/learner/rho_mean"),
    ("vtrace/rho_min", "/learner/rho_min"),
    ("vtrace/rho_max", "/learner/rho_max"),
    ("vtrace/rho_clipped_fraction", "/learner/rho_clipped_fraction"),
    ("vtrace/c_mean", "/learner/c_mean"),
    ("vtrace/c_clipped_fraction", "/learner/c_clipped_fraction"),
    ("lag/mean", "/policy_lag_mean"),
    ("lag/min", "/learner/lag_min"),
    ("lag/max", "/learner/lag_max"),
    ("throughput/frames_per_s", "/frames_per_s"),
    ("throughput/frames_acted_per_s", "/frames_acted_per_s"),
    ("ring/free", "/ring/free"),
    ("ring/claimed", "/ring/claimed"),
    ("ring/ready", "/ring/ready"),
    ("ring/held", "/ring/held"),
    ("pool/restarts", "/restarts"),
    ("pool/unrolls_abandoned", "/unrolls_abandoned"),
    ("pool/learner_bytes", "/memory/learner_bytes"),
    ("pool/actors_bytes", "/memory/actors_bytes"),
];

/// Times, shown as a share of the wall time of the processes that they are of.
const SHARES: &[(&str, &str)] = &[
    ("learner_time/wait", "/learner/wait_ns"),
    ("learner_time/batching", "/learner/batching_ns"),
    ("learner_time/forward", "/learner/forward_ns"),
    ("learner_time/vtrace", "/learner/vtrace_ns"),
    ("learner_time/backward", "/learner/backward_ns"),
    ("learner_time/optimiser", "/learner/optimiser_ns"),
    ("learner_time/publish", "/learner/publish_ns"),
    ("actor_time/environment", "/actors/env_ns"),
    ("actor_time/inference", "/actors/infer_ns"),
    ("actor_time/weight_refresh", "/actors/refresh_ns"),
    ("actor_time/slot_wait", "/actors/slot_wait_ns"),
];

/// The event file of a run; closed for good, with one warning, when it can no longer be written.
#[derive(Debug)]
pub(super) struct TensorBoard {
    writer: Option<EventWriter>,
    actors: usize,
    last: Option<Json>,
}

impl TensorBoard {
    /// Starts a file, or none if `wanted` is false. The run begins, or continues, at `frames`.
    pub(super) fn open(
        wanted: bool,
        run_dir: &RunDir,
        actors: usize,
        frames: u64,
        console: &Console,
    ) -> Self {
        let writer = wanted.then(|| EventWriter::create(run_dir.path(), frames));
        let writer = writer.and_then(|writer| {
            writer.map_err(|e| console.warn(&format!("no TensorBoard events: {e}"))).ok()
        });
        Self { writer, actors, last: None }
    }

    /// Appends the numbers of a line.
    pub(super) fn write(&mut self, line: &Json, lags: &HistogramSnapshot, console: &Console) {
        let Some(writer) = &mut self.writer else { return };
        let step = line["frames"].as_u64().unwrap_or_default();
        let scalars = scalars(line, self.last.as_ref(), self.actors);
        if let Err(error) = writer.write(step, &scalars, &[("lag/histogram", lags)]) {
            console.warn(&format!("{} is no longer written: {error}", writer.path().display()));
            self.writer = None;
        }
        self.last = Some(line.clone());
    }
}

fn scalars(line: &Json, last: Option<&Json>, actors: usize) -> Vec<(String, f64)> {
    let number = |line: &Json, place: &str| line.pointer(place).and_then(Json::as_f64);
    let mut scalars: Vec<(String, f64)> = SCALARS
        .iter()
        .filter_map(|(tag, place)| Some(((*tag).to_owned(), number(line, place)?)))
        .collect();
    let since = |place| {
        Some(number(line, place)? - last.and_then(|last| number(last, place)).unwrap_or(0.0))
    };
    if let Some(seconds) = last.and(since("/wall_s")).filter(|&seconds| seconds > 0.0) {
        for (tag, place) in SHARES {
            let processes = if place.starts_with("/actors") { actors as f64 } else { 1.0 };
            if let Some(ns) = since(place) {
                // A stage is counted when it is over: in a short interval it may be longer than that.
                let share = (ns / 1e9 / seconds / processes).min(1.0);
                scalars.push(((*tag).to_owned(), share));
            }
        }
    }
    scalars
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_become_shares_of_the_interval() {
        let line = |wall_s: f64, wait_ns: u64, env_ns: u64| json!({"wall_s": wall_s, "learner": {"wait_ns": wait_ns}, "actors": {"env_ns": env_ns}});
        let (first, second) = (line(1.0, 0, 0), line(3.0, 1_000_000_000, 2_000_000_000));
        assert!(scalars(&first, None, 4).is_empty(), "no interval yet");
        let shares = scalars(&second, Some(&first), 4);
        let of = |tag| shares.iter().find(|(name, _)| name == tag).map(|(_, share)| *share);
        assert_eq!(of("learner_time/wait"), Some(0.5));
        assert_eq!(of("actor_time/environment"), Some(0.25));
    }
}
