//! Errors of `impala-bench`: why something could not be measured.

use std::io;
use std::path::PathBuf;

use impala_rl::actor::ActorError;
use impala_rl::config::ConfigError;
use impala_rl::env::EnvError;
use impala_rl::hint::with_hint;
use impala_rl::learner::LearnerError;
use impala_rl::learner::engine::EngineError;
use impala_rl::params::{PageMismatch, PublishError};
use impala_rl::policy::act::ActError;
use impala_rl::policy::simd::NoSuchVectors;
use impala_rl::policy::spec::SpecError;
use impala_rl::pool::{PageError, TrainError};
use impala_rl::ring::{ClaimError, CommitError, RingError, SlabError, TakeError};
use impala_rl::shm::ShmError;
use impala_rl::supervisor::SupervisorError;

use super::learn::LearnError;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A benchmark of learning ended.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// Sizes of the pool could not be tried.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The flags after `--` are not those of the supervisor.
    #[error("{0}; the flags after -- are those of impala-supervisor")]
    Flags(String),
    /// Figures of a rank that contradict each other.
    #[error("{0}")]
    Ranks(String),
    /// What is measured is one environment.
    #[error("{env}: throughput is measured with one environment; name one with --env")]
    SeveralTasks {
        /// The tasks.
        env: String,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The CPU lacks the vectors that were asked for.
    #[error("--vectors {vectors}: {0}; leave it out", vectors = .0.vectors)]
    Vectors(#[from] NoSuchVectors),
    /// The network cannot be built.
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
    /// The parameter page is not what it should be.
    #[error(transparent)]
    Page(#[from] PageMismatch),
    /// The parameter page cannot be laid out.
    #[error(transparent)]
    PageLayout(#[from] PageError),
    /// Weights were not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The environment failed.
    #[error("{}", with_hint(.0))]
    Env(#[from] EnvError),
    /// The actors' policy cannot be set up.
    #[error(transparent)]
    Policy(#[from] impala_rl::build::BuildError),
    /// Inference failed.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The learner's engine failed.
    #[error("{}", with_hint(.0))]
    Engine(#[from] EngineError),
    /// An actor failed.
    #[error(transparent)]
    Actor(#[from] ActorError),
    /// A learner failed.
    #[error("{}", with_hint(.0))]
    Learner(#[from] LearnerError),
    /// There was no slot.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A slot could not be committed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// There was no block.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// There is no supervisor.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// A file, a pipe or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program that was measured failed.
    #[error("{program} {how}: {said}")]
    Program {
        /// Which one.
        program: PathBuf,
        /// How it ended.
        how: String,
        /// The last line that it printed.
        said: String,
    },
    /// A program that was measured left too little to measure.
    #[error(
        "the run left {lines} lines of metrics with frames in them; give it a longer --seconds"
    )]
    TooShort {
        /// How many.
        lines: usize,
    },
    /// A thread of a measurement panicked, and has said why.
    #[error("a thread of the measurement panicked")]
    Thread,
    /// What a measured program wrote could not be read.
    #[error("{what} is not what it should be: {source}")]
    Json {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl BenchError {
    /// For `map_err` on file and process operations.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
