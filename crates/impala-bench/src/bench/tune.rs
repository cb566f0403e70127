//! `impala-bench tune`: finds the sizes of the pool that are fastest on this machine, and prints all trials and the
//! flags to use.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::TuneArgs;
use super::error::BenchError;
use super::setup::parse;
use impala_rl::build;
use impala_rl::metrics::human::si;
use impala_rl::pool::Trainer;
use impala_rl::tune::{Candidate, Effort, Tuning};

/// What was found for a configuration.
#[derive(Debug)]
pub(super) struct TuneReport(Tuning);

impl TuneReport {
    /// Makes the trials.
    ///
    /// # Errors
    /// If the flags are wrong, or are of a run whose sizes cannot be chosen so.
    pub(super) fn measure(args: &TuneArgs) -> Result<Self, BenchError> {
        let given = parse(&args.flags)?;
        if let Some(folder) = given.resume {
            return Err(BenchError::Flags(format!(
                "--resume {} goes on with the sizes of its folder; leave it out",
                folder.display()
            )));
        }
        let effort = Effort {
            budget: None,
            trial: Duration::from_secs_f64(args.seconds),
            candidates: args.candidates,
            pairs: usize::try_from(args.repeats).unwrap_or(usize::MAX),
        };
        let trainer = Trainer::new(given.layers()?).registry(build::registry());
        Ok(Self(trainer.tune(&effort)?))
    }

    /// The fields of the JSON object.
    pub(super) fn fields(&self) -> Value {
        let Tuning { chosen, reason, expected, costs, inference_ns, tried, seconds } = &self.0;
        json!({
            "chosen": chosen,
            "flags": chosen.to_string(),
            "keeps_defaults": self.0.keeps_defaults(),
            "because": reason.to_string(),
            "expected": expected,
            "default": self.0.default().figures(),
            "ns_per_frame": costs,
            "inference_ns_per_frame": inference_ns
                .iter()
                .map(|(envs, ns)| json!({ "envs_per_actor": envs, "ns": ns }))
                .collect::<Vec<_>>(),
            "candidates": tried,
            "seconds": seconds,
        })
    }
}

impl fmt::Display for TuneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuning { chosen, reason, expected, costs, inference_ns, tried, seconds } = &self.0;
        if let Some(costs) = costs {
            let us = |ns: f64| ns / 1e3;
            writeln!(
                f,
                "  a frame of the defaults, us on a core: acting {:.3}, inference {:.3}, learning {:.3}; waiting for the environment {:.3}",
                us(costs.acting_ns),
                us(costs.inference_ns),
                us(costs.learning_ns),
                us(costs.waiting_ns)
            )?;
        }
        if !inference_ns.is_empty() {
            let each: Vec<String> =
                inference_ns.iter().map(|(envs, ns)| format!("{envs}: {:.3}", ns / 1e3)).collect();
            writeln!(f, "  inference alone, us per frame by environments: {}", each.join(", "))?;
        }
        writeln!(
            f,
            "  {:>6} {:>5} {:>7}  {:>9}  {:>9}  {:>5}  trials",
            "actors", "envs", "threads", "predicted", "frames/s", "lag"
        )?;
        for (index, candidate) in tried.iter().enumerate() {
            let mark = if candidate.sizes == *chosen { " <" } else { "" };
            let name = if index == 0 { " (defaults)" } else { "" };
            writeln!(f, "{}{name}{mark}", row(candidate))?;
        }
        let verb = if self.0.keeps_defaults() { "keep the defaults" } else { "take" };
        writeln!(f, "  {verb}: {chosen}")?;
        writeln!(f, "  because: {reason}")?;
        if let Some(expected) = expected {
            let (rate, lag) = (si(expected.frames_per_s), expected.policy_lag);
            writeln!(f, "  expect: {rate} frames/s at a lag of {lag:.1}")?;
        }
        writeln!(f, "  {} trials in {seconds:.0} s", self.0.trials())
    }
}

fn row(candidate: &Candidate) -> String {
    let Candidate { sizes, predicted_frames_per_s, trials, failure } = candidate;
    let predicted = predicted_frames_per_s.map_or_else(|| "-".to_owned(), si);
    let sizes = format!(
        "  {:>6} {:>5} {:>7}  {predicted:>9}",
        sizes.actors, sizes.envs_per_actor, sizes.learner_threads
    );
    match (candidate.figures(), failure) {
        (Some(figures), _) => format!(
            "{sizes}  {:>9}  {:>5.1}  {}",
            si(figures.frames_per_s),
            figures.policy_lag,
            trials.len()
        ),
        (None, failure) => format!("{sizes}  {}", failure.as_deref().unwrap_or("not tried")),
    }
}
