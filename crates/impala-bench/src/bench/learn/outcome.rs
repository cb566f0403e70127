//! The result of one training run of the benchmark.

use impala_rl::trials::{Point, Reached};
use serde::{Deserialize, Serialize};

use super::plan::Trial;

/// What one run came to; a file below `results`, and an entry of `learn.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The environment.
    pub(crate) env: String,
    /// Seed of the run.
    pub(crate) seed: u32,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
    /// Frames learnt.
    pub(crate) frames: u64,
    /// Seconds that took.
    pub(crate) wall_s: f64,
    /// Frames learnt per second.
    pub(crate) frames_per_s: f64,
    /// Mean policy lag in versions.
    pub(crate) policy_lag_mean: f64,
    /// Episodes of the training.
    pub(crate) episodes: usize,
    /// Mean return of the last 100 of them.
    pub(crate) training_return: Option<f64>,
    /// How the target was reached, if it was.
    pub(crate) reached: Option<Reached>,
    /// Fresh episodes with the most likely actions.
    pub(crate) greedy: Option<Score>,
    /// Fresh episodes with actions drawn from the policy.
    pub(crate) sampled: Option<Score>,
    /// The learning curve, thinned.
    pub(crate) curve: Vec<Point>,
}

/// What the final policy reached in fresh episodes; keys of `impala-play --json`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Score {
    /// Mean return.
    pub(crate) return_mean: f64,
    /// Standard deviation of the returns.
    pub(crate) return_std: f64,
    /// Smallest return.
    pub(crate) return_min: f64,
    /// Largest return.
    pub(crate) return_max: f64,
    /// Mean length of an episode.
    pub(crate) length_mean: f64,
}

impl Outcome {
    /// Of a run that has not begun.
    pub(super) fn new(trial: Trial<'_>) -> Self {
        Self {
            env: trial.planned.entry.env.clone(),
            seed: trial.seed,
            failure: None,
            frames: 0,
            wall_s: 0.0,
            frames_per_s: 0.0,
            policy_lag_mean: 0.0,
            episodes: 0,
            training_return: None,
            reached: None,
            greedy: None,
            sampled: None,
            curve: Vec::new(),
        }
    }
}
