//! What one run came to.

use impala_rl::trials::{Point, Reached};
use serde::{Deserialize, Serialize};

use super::plan::Trial;

/// What one run came to; a file below `results`, and an entry of `learn.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The environment.
    pub env: String,
    /// Seed of the run.
    pub seed: u32,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Frames learnt.
    pub frames: u64,
    /// Seconds that took.
    pub wall_s: f64,
    /// Frames learnt per second.
    pub frames_per_s: f64,
    /// Mean policy lag in versions.
    pub policy_lag_mean: f64,
    /// Episodes of the training.
    pub episodes: usize,
    /// Mean return of the last 100 of them.
    pub training_return: Option<f64>,
    /// How the target was reached, if it was.
    pub reached: Option<Reached>,
    /// Fresh episodes with the most likely actions.
    pub greedy: Option<Score>,
    /// Fresh episodes with actions drawn from the policy.
    pub sampled: Option<Score>,
    /// The learning curve, thinned.
    pub curve: Vec<Point>,
}

/// What the final policy reached in fresh episodes; keys of `impala-play --json`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean return.
    pub return_mean: f64,
    /// Standard deviation of the returns.
    pub return_std: f64,
    /// Smallest return.
    pub return_min: f64,
    /// Largest return.
    pub return_max: f64,
    /// Mean length of an episode.
    pub length_mean: f64,
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
