//! Auto-tuning: finds the sizes of the pool that are fastest on this machine, for an environment and a network.
//!
//! What changes learning is left alone: an update takes the batch and the unrolls that it would take without this, and data may not
//! be older ([`LAG_THAT_IS_FINE`]). Left are [`Sizes`]. A trial of the defaults tells what a frame costs, [`candidates`] ranks the others by
//! what these costs predict, [`search()`] tries the best of them, and [`judge`] takes one only if it stays ahead of the defaults in turns.
//!
//! Nothing here starts a process: how a trial is made is the business of whoever implements [`Bench`].

mod candidates;
mod judge;
mod search;

use std::fmt;

use serde::Serialize;

pub use candidates::{Costs, Space, Threads, Vary, candidates};
pub use judge::{MARGIN, Pair, judge};
pub use search::{Bench, Candidate, Effort, Interrupted, Reason, TrialFailure, Tuning, search};

/// Policy lag that no choice is refused for, in updates. Above it the lag may be no larger than with the defaults.
pub const LAG_THAT_IS_FINE: f64 = 2.5;

/// What may be chosen: it changes what a frame costs, not what an update learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Sizes {
    /// Actor processes.
    pub actors: usize,
    /// E: environments of one actor.
    pub envs_per_actor: usize,
    /// Threads of the learner.
    pub learner_threads: usize,
}

/// As flags of the supervisor.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actors, envs_per_actor, learner_threads } = self;
        write!(
            f,
            "--actors {actors} --envs-per-actor {envs_per_actor} --learner-threads {learner_threads}"
        )
    }
}

/// What some sizes came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Frames that were learnt from, per second.
    pub frames_per_s: f64,
    /// Mean policy lag, in updates.
    pub policy_lag: f64,
}

/// A trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// What it came to.
    pub figures: Figures,
    /// What a frame cost.
    pub costs: Costs,
    /// How long all of it took, from the first fork to the last death.
    pub wall_s: f64,
    /// Of that, what was measured.
    pub measured_s: f64,
}

/// The value in the middle, the mean of the two if there are two; 0 of none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length.is_multiple_of(2) => f64::midpoint(sorted[half - 1], sorted[half]),
        _ => sorted[half],
    }
}
