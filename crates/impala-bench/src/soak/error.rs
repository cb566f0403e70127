//! Errors of `impala-soak`: why it has no result. A broken promise is a result, not an error.

use std::io;
use std::path::PathBuf;

use impala_rl::actor::ActorError;
use impala_rl::config::ConfigError;
use impala_rl::hint::with_hint;
use impala_rl::inference::PolicyError;
use impala_rl::learner::checkpoint::CheckpointError;
use impala_rl::params::{PageMismatch, PublishError};
use impala_rl::policy::spec::SpecError;
use impala_rl::pool::PageError;
use impala_rl::ring::{RingError, SlabError, TakeError};
use impala_rl::shm::ShmError;
use impala_rl::supervisor::SupervisorError;

/// Why `impala-soak` has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ProofError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights cannot be laid out.
    #[error("{}", with_hint(.0))]
    Network(#[from] SpecError),
    /// No shared memory.
    #[error("{}", with_hint(.0))]
    Memory(#[from] ShmError),
    /// The ring is not what it should be.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// Ring and payload do not fit.
    #[error(transparent)]
    Slab(#[from] SlabError),
    /// No block can be taken.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// The parameter page is not what it should be.
    #[error(transparent)]
    Page(#[from] PageMismatch),
    /// The parameter page cannot be laid out.
    #[error(transparent)]
    LayOut(#[from] PageError),
    /// Weights were not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A checkpoint cannot be written.
    #[error("{}", with_hint(.0))]
    Checkpoint(#[from] CheckpointError),
    /// An actor failed.
    #[error(transparent)]
    Actor(#[from] ActorError),
    /// A policy process failed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// There is no supervisor.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// The system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no place for temporary files.
    #[error("{0}")]
    Folder(String),
    /// A pool did not say what it came to.
    #[error("{program} {what}: {said}")]
    Pool {
        /// The program.
        program: PathBuf,
        /// How it ended.
        what: String,
        /// The end of what it printed on standard error.
        said: String,
    },
}

impl ProofError {
    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}
