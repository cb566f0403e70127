//! Errors of `impala-play`: why nothing can be played.

use std::path::PathBuf;

use crate::build::BuildError;
use crate::config::{ConfigError, environment::EnvironmentFileError};
use crate::env::EnvError;
use crate::hint::with_hint;
use crate::learner::checkpoint::CheckpointError;
use crate::policy::act::ActError;
use crate::policy::spec::SpecError;
use crate::supervisor::ExitKind;

/// Why nothing could be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// Neither a run folder nor a checkpoint of one.
    #[error(
        "{0} is neither a run folder (config.toml, checkpoints/) nor a checkpoint in one; \
         name runs/NAME or runs/NAME/checkpoints/FRAMES"
    )]
    NoRun(PathBuf),
    /// The run folder does not say what its environment looks like.
    #[error(
        "{0}; it is written since version 0.1.0: resume the run with this build, or train it anew"
    )]
    NoEnvironment(#[from] EnvironmentFileError),
    /// An observation, a mask or a state of another size than the policy's.
    #[error(
        "{what}: {found} numbers for {rows} observations, the policy of {env} takes {expected} each"
    )]
    Shape {
        /// Which of them.
        what: &'static str,
        /// How many numbers there were.
        found: usize,
        /// For so many observations.
        rows: usize,
        /// How many it should be for each.
        expected: usize,
        /// The environment.
        env: String,
    },
    /// The run has no such task.
    #[error(
        "{task:?} is not one of the tasks of this run; name one of {known}, or its number from 0"
    )]
    NoTask {
        /// What was asked for.
        task: String,
        /// Those that it has.
        known: String,
    },
    /// Pictures of different tasks have different sizes.
    #[error("a GIF shows one task; name it with --task")]
    GifOfOneTask,
    /// The configuration of the run is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network of the run cannot be built.
    #[error("{}", with_hint(.0))]
    Network(#[from] SpecError),
    /// There are no weights.
    #[error("{}", with_hint(.0))]
    Checkpoint(#[from] CheckpointError),
    /// The environment failed.
    #[error("{}", with_hint(.0))]
    Env(#[from] EnvError),
    /// Inference failed.
    #[error(transparent)]
    Act(#[from] ActError),
    /// This build cannot run the network.
    #[error(transparent)]
    Engine(#[from] BuildError),
    /// The weights are of no use.
    #[error("the network's outputs are not finite; take an older checkpoint")]
    NotFinite,
    /// A file could not be written.
    #[error("cannot write {path}: {problem}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
}

impl PlayError {
    /// The exit code of a program that ends with it.
    #[must_use]
    pub const fn exit(&self) -> ExitKind {
        match self {
            Self::NoRun(_) | Self::NoEnvironment(_) | Self::Write { .. } => ExitKind::RunFolder,
            Self::Config(_)
            | Self::Network(_)
            | Self::NoTask { .. }
            | Self::GifOfOneTask
            | Self::Shape { .. } => ExitKind::Usage,
            Self::Checkpoint(_) | Self::NotFinite => ExitKind::CheckpointUnusable,
            Self::Env(_) => ExitKind::EnvFailed,
            Self::Act(_) | Self::Engine(_) => ExitKind::Internal,
        }
    }
}
