//! Errors of `impala-sweep`: why it ended before its last run, or that some runs failed.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use impala_rl::config::ConfigError;
use impala_rl::supervisor::ExitKind;
use impala_rl::trials::{FolderError, SystemError};

/// Exit code of a sweep some of whose runs failed; that of `impala-bench learn` as well.
const SOME_FAILED: u8 = 1;

/// Why a sweep ended before its last run, or with runs that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The file of a sweep cannot be read.
    #[error("cannot read the sweep {path:?}: {source}; check the path")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file of a sweep is wrong.
    #[error("{path:?}, line {line}: {problem}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What, and what to do.
        problem: String,
    },
    /// A `--set` that cannot be read.
    #[error("--set {text:?}: {problem}")]
    BadSet {
        /// What was typed.
        text: String,
        /// What, and what to do.
        problem: String,
    },
    /// The fixed settings of the file are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The flags after `--` are not those of the supervisor.
    #[error("{0}; the flags after -- are those of impala-supervisor")]
    Flags(String),
    /// Nothing varies.
    #[error(
        "there is nothing to try: add a table [grid] or [random] to the file, or --set KEY=VALUE,VALUE"
    )]
    NothingToTry,
    /// A setting that the sweep sets itself, or that stands twice.
    #[error("{key}: {problem}")]
    OwnSetting {
        /// Which.
        key: String,
        /// What to do.
        problem: &'static str,
    },
    /// Halving that cannot be.
    #[error("[halving]: {0}")]
    Halving(String),
    /// More combinations than anybody runs.
    #[error(
        "{trials} combinations are more than {most}; try fewer values, or draw some with [random]"
    )]
    TooMany {
        /// How many.
        trials: usize,
        /// How many may be.
        most: usize,
    },
    /// A combination that `impala-supervisor` would refuse.
    #[error("{trial} ({varied}): {problem}")]
    Refused {
        /// Its name.
        trial: String,
        /// What it tries.
        varied: String,
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
    #[error("interrupted; the same command with --output {path} goes on where it stopped")]
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

impl SweepError {
    /// What the process returns.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        let kind = match self {
            Self::SomeFailed { .. } => return SOME_FAILED.into(),
            Self::Unreadable { .. }
            | Self::BadFile { .. }
            | Self::BadSet { .. }
            | Self::Config(_)
            | Self::Flags(_)
            | Self::NothingToTry
            | Self::OwnSetting { .. }
            | Self::Halving(_)
            | Self::TooMany { .. }
            | Self::Refused { .. } => ExitKind::Usage,
            Self::Folder(FolderError::InUse { .. }) => ExitKind::RunFolderInUse,
            Self::Folder(_) => ExitKind::RunFolder,
            Self::System(_) | Self::Interrupted { .. } => ExitKind::Internal,
        };
        kind.into()
    }
}
