//! Writes the metrics of a run for TensorBoard.

use super::console::Console;
use super::run_dir::RunDir;
use crate::metrics::tensorboard::EventWriter;
use crate::metrics::{HistogramSnapshot, MetricsRecord};

/// Takes a number out of a line.
type Of<N> = fn(&MetricsRecord) -> N;

/// Tag in TensorBoard, and its number of a line.
const SCALARS: &[(&str, Of<Option<f64>>)] = &[
    ("charts/return_mean", |line| line.return_mean),
    ("charts/episode_length_mean", |line| Some(line.learner.length_mean_100)),
    ("charts/episodes", |line| Some(line.learner.episodes as f64)),
    ("charts/learning_rate", |line| Some(line.learner.learning_rate)),
    ("losses/policy", |line| Some(line.learner.policy_loss)),
    ("losses/baseline", |line| Some(line.learner.baseline_loss)),
    ("losses/total", |line| Some(line.learner.total_loss)),
    ("losses/entropy", |line| Some(line.learner.entropy)),
    ("losses/grad_norm", |line| Some(line.learner.grad_norm)),
    ("vtrace/rho_mean", |line| Some(line.learner.rho_mean)),
    ("vtrace/rho_min", |line| Some(line.learner.rho_min)),
    ("vtrace/rho_max", |line| Some(line.learner.rho_max)),
    ("vtrace/rho_clipped_fraction", |line| Some(line.learner.rho_clipped_fraction)),
    ("vtrace/c_mean", |line| Some(line.learner.c_mean)),
    ("vtrace/c_clipped_fraction", |line| Some(line.learner.c_clipped_fraction)),
    ("lag/mean", |line| Some(line.policy_lag_mean)),
    ("lag/min", |line| Some(line.learner.lag_min as f64)),
    ("lag/max", |line| Some(line.learner.lag_max as f64)),
    ("throughput/frames_per_s", |line| Some(line.frames_per_s)),
    ("throughput/frames_acted_per_s", |line| Some(line.frames_acted_per_s)),
    ("ring/free", |line| Some(line.ring.free as f64)),
    ("ring/claimed", |line| Some(line.ring.claimed as f64)),
    ("ring/ready", |line| Some(line.ring.ready as f64)),
    ("ring/held", |line| Some(line.ring.held as f64)),
    ("pool/restarts", |line| Some(line.restarts as f64)),
    ("pool/unrolls_abandoned", |line| Some(line.unrolls_abandoned as f64)),
    ("pool/learner_bytes", |line| Some(line.memory.learner_bytes as f64)),
    ("pool/actors_bytes", |line| Some(line.memory.actors_bytes as f64)),
];

/// Whose time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Learner,
    Actors,
}

/// Times, shown as a share of the wall time of the processes that they are of.
const SHARES: &[(&str, Who, Of<u64>)] = &[
    ("learner_time/wait", Who::Learner, |line| line.learner.wait_ns),
    ("learner_time/batching", Who::Learner, |line| line.learner.batching_ns),
    ("learner_time/forward", Who::Learner, |line| line.learner.forward_ns),
    ("learner_time/vtrace", Who::Learner, |line| line.learner.vtrace_ns),
    ("learner_time/backward", Who::Learner, |line| line.learner.backward_ns),
    ("learner_time/optimizer", Who::Learner, |line| line.learner.optimizer_ns),
    ("learner_time/publish", Who::Learner, |line| line.learner.publish_ns),
    ("actor_time/environment", Who::Actors, |line| line.actors.env_ns),
    ("actor_time/inference", Who::Actors, |line| line.actors.infer_ns),
    ("actor_time/weight_refresh", Who::Actors, |line| line.actors.refresh_ns),
    ("actor_time/slot_wait", Who::Actors, |line| line.actors.slot_wait_ns),
];

/// The event file of a run; closed for good, with one warning, when it can no longer be written.
#[derive(Debug)]
pub(super) struct TensorBoard {
    writer: Option<EventWriter>,
    actors: usize,
    last: Option<MetricsRecord>,
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
    pub(super) fn write(
        &mut self,
        line: &MetricsRecord,
        lags: &HistogramSnapshot,
        console: &Console,
    ) {
        let Some(writer) = &mut self.writer else { return };
        let scalars = scalars(line, self.last.as_ref(), self.actors);
        if let Err(error) = writer.write(line.frames, &scalars, &[("lag/histogram", lags)]) {
            console.warn(&format!("{} is no longer written: {error}", writer.path().display()));
            self.writer = None;
        }
        self.last = Some(line.clone());
    }
}

fn scalars(
    line: &MetricsRecord,
    last: Option<&MetricsRecord>,
    actors: usize,
) -> Vec<(String, f64)> {
    let mut scalars: Vec<(String, f64)> = SCALARS
        .iter()
        .filter_map(|(tag, of)| Some(((*tag).to_owned(), of(line).filter(|n| n.is_finite())?)))
        .collect();
    // With one task they would be those of above again.
    for (task, of) in line.tasks.iter().enumerate().filter(|_| line.tasks.len() > 1) {
        for (tag, number) in [
            ("return_mean", (of.episodes > 0).then_some(of.return_mean_100)),
            ("episode_length_mean", (of.episodes > 0).then_some(of.length_mean_100)),
            ("frames", Some(of.frames as f64)),
            ("policy_loss", Some(of.policy_loss)),
            ("baseline_loss", Some(of.baseline_loss)),
        ] {
            if let Some(number) = number.filter(|number| number.is_finite()) {
                scalars.push((format!("task_{task}/{tag}"), number));
            }
        }
    }
    let Some(last) = last else { return scalars };
    let seconds = line.wall_s - last.wall_s;
    if seconds > 0.0 {
        for (tag, who, of) in SHARES {
            let processes = if *who == Who::Actors { actors as f64 } else { 1.0 };
            let ns = of(line) as f64 - of(last) as f64;
            // A stage is counted when it is over: in a short interval it may be longer than that.
            scalars.push(((*tag).to_owned(), (ns / 1e9 / seconds / processes).min(1.0)));
        }
    }
    scalars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ActorsRecord, LearnerRecord};

    fn of(scalars: &[(String, f64)], tag: &str) -> Option<f64> {
        scalars.iter().find(|(name, _)| name == tag).map(|(_, value)| *value)
    }

    #[test]
    fn times_become_shares_of_the_interval() {
        let line = |wall_s: f64, wait_ns: u64, env_ns: u64| MetricsRecord {
            wall_s,
            learner: LearnerRecord { wait_ns, ..LearnerRecord::default() },
            actors: ActorsRecord { env_ns, ..ActorsRecord::default() },
            ..MetricsRecord::default()
        };
        let (first, second) = (line(1.0, 0, 0), line(3.0, 1_000_000_000, 2_000_000_000));
        let shares = scalars(&first, None, 4);
        assert!(!shares.iter().any(|(tag, _)| tag.contains("_time/")), "no interval yet");
        let shares = scalars(&second, Some(&first), 4);
        assert_eq!(of(&shares, "learner_time/wait"), Some(0.5));
        assert_eq!(of(&shares, "actor_time/environment"), Some(0.25));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let learner = LearnerRecord { entropy: f64::NAN, lag_max: 3, ..LearnerRecord::default() };
        let line = MetricsRecord { learner, ..MetricsRecord::default() };
        let scalars = scalars(&line, None, 1);
        assert_eq!(of(&scalars, "losses/entropy"), None);
        assert_eq!(of(&scalars, "charts/return_mean"), None, "before the first episode");
        assert_eq!(of(&scalars, "lag/max"), Some(3.0));
        assert_eq!(scalars.len(), SCALARS.len() - 2);
    }
}
