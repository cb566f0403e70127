//! Errors of `impala-bench learn`: why it ended before its last run, or that some runs failed.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use impala_rl::supervisor::ExitKind;
use impala_rl::trials::{FolderError, SystemError};

/// Exit code of a benchmark some of whose runs failed; that of `impala-soak` for broken promises as well.
const SOME_FAILED: u8 = 1;

/// Why a benchmark of learning ended before its last run, or with runs that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// No suite of that name is compiled in.
    #[error("there is no suite {name:?}; take one of {known}, or name a file that ends in .toml")]
    UnknownSuite {
        /// What was typed.
        name: String,
        /// All there are.
        known: String,
    },
    /// The file of a suite cannot be read.
    #[error("cannot read the suite {path}: {source}; --suite names a file or one of {known}")]
    UnreadableSuite {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// Suites that are compiled in.
        known: String,
    },
    /// The file of a suite is wrong.
    #[error("suite {suite}, line {line}: {problem}")]
    BadSuite {
        /// Its name or file.
        suite: String,
        /// Where, from 1.
        line: usize,
        /// What, and what to do.
        problem: String,
    },
    /// An entry of a suite has an impossible value.
    #[error("suite {suite}, environment {env:?}: {problem}")]
    BadEntry {
        /// Its name or file.
        suite: String,
        /// The environment.
        env: String,
        /// What, and what to do.
        problem: String,
    },
    /// A suite without an environment.
    #[error("suite {0} has no environment; add an [[environment]] with env and total-frames")]
    EmptySuite(String),
    /// `--only` names something else.
    #[error("suite {suite} has no environment {env:?}; --only takes some of {known}")]
    NotInSuite {
        /// Its name or file.
        suite: String,
        /// What was typed.
        env: String,
        /// All there are.
        known: String,
    },
    /// A flag that the benchmark sets itself.
    #[error("{flag} cannot be passed through: {remedy}")]
    OwnFlag {
        /// Which.
        flag: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A configuration that `impala-supervisor` would refuse.
    #[error("{env}: {problem}")]
    Refused {
        /// The environment.
        env: String,
        /// Why, and what to do.
        problem: String,
    },
    /// The output folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A program does not start, or signals cannot be waited for.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A signal asked for the end.
    #[error("interrupted; the same command with --output {path} goes on after the finished runs")]
    Interrupted {
        /// The signal.
        signal: i32,
        /// The output folder.
        path: PathBuf,
    },
    /// All was tried, and not all worked.
    #[error(
        "{failed} of {runs} runs failed; the same command with --output {path} tries them again"
    )]
    SomeFailed {
        /// How many.
        failed: usize,
        /// Of how many.
        runs: usize,
        /// The output folder.
        path: PathBuf,
    },
}

impl LearnError {
    /// What the process returns.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        let kind = match self {
            Self::SomeFailed { .. } => return SOME_FAILED.into(),
            Self::UnknownSuite { .. }
            | Self::UnreadableSuite { .. }
            | Self::BadSuite { .. }
            | Self::BadEntry { .. }
            | Self::EmptySuite(_)
            | Self::NotInSuite { .. }
            | Self::OwnFlag { .. }
            | Self::Refused { .. } => ExitKind::Usage,
            Self::Folder(FolderError::InUse { .. }) => ExitKind::RunFolderInUse,
            Self::Folder(_) => ExitKind::RunFolder,
            Self::System(_) | Self::Interrupted { .. } => ExitKind::Internal,
        };
        kind.into()
    }
}
