//! The learner: takes blocks from the ring, corrects for policy lag with V-trace, updates the parameters and publishes
//! them.
//!
//! `run` is the loop (`admission` and `lockstep` say which blocks the actors fill meanwhile), `update` one step of it, `vtrace`, `loss` and `optimizer` its mathematics over
//! plain slices, `engine` the network behind a trait with two implementations, `checkpoint` the files.

pub mod admission;
mod check;
pub mod collective;

pub mod checkpoint;
pub mod engine;
pub mod episodes;
pub(crate) mod gradient;
mod idle_cores;
pub(crate) mod lockstep;
pub mod loss;
pub mod native_engine;
pub(crate) mod observation_stats;
pub mod optimizer;
pub mod popart;
pub mod replay;
pub(crate) mod return_scale;
pub mod run;
mod strip_inputs;
mod strips;
pub mod tasks;
#[cfg(feature = "torch")]
pub mod torch_engine;
pub mod update;
pub mod vtrace;

use crate::params::PublishError;
use crate::ring::TakeError;
use engine::EngineError;
use replay::ReplayError;

/// Why a learner stopped learning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnerError {
    /// The ring gave no block.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// What was kept for replay cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The network could not be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The weights are not finite; what was published before stays.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Nothing can be learnt from what comes, or with these weights.
    #[error(
        "the loss or gradient of {updates} updates in a row was not finite; the last checkpoint is from before"
    )]
    Diverged {
        /// How many were skipped.
        updates: u32,
    },
    /// The weights of two ranks are not the same any more.
    #[error(
        "the weights of rank {rank} are not those of rank 0, {updates} updates into the run; nothing was saved since"
    )]
    Drifted {
        /// The first that differs.
        rank: usize,
        /// Updates made.
        updates: u64,
    },
    /// Another rank leaves.
    #[error("another rank leaves")]
    Left,
    /// An actor wrote an action that does not exist.
    #[error("a block holds action {largest}, but there are {count} actions")]
    BadAction {
        /// The offending number.
        largest: i32,
        /// Number of actions.
        count: usize,
    },
    /// An actor wrote the number of a task that does not exist.
    #[error("a block holds frames of task {task}, but there are {tasks}")]
    BadTask {
        /// The offending number.
        task: u32,
        /// Number of tasks.
        tasks: usize,
    },
    /// An actor wrote a number that is not finite.
    #[error("a block holds {number} as a number of an action")]
    ActionOutOfBounds {
        /// What it holds.
        number: f32,
    },
}
