//! Why a benchmark of learning ended before its last run, or with runs that failed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use impala_rl::supervisor::ExitKind;

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
    /// The output folder belongs to something else.
    #[error("{0} holds files and no benchmark of learning; name a new folder with --output")]
    NoBenchmark(PathBuf),
    /// The output folder has results of other settings.
    #[error(
        "{path} was made with other settings ({what}); give them again, or name a new folder with --output"
    )]
    OtherSettings {
        /// The folder.
        path: PathBuf,
        /// The first difference.
        what: String,
    },
    /// The output folder has results of another build.
    #[error(
        "{0} was begun with another build of impala-supervisor, and results of two builds are not mixed; \
         name a new folder with --output"
    )]
    OtherProgram(PathBuf),
    /// Somebody writes to the folder.
    #[error("{0} is in use by a process of another benchmark; wait for it to end, or end it")]
    InUse(PathBuf),
    /// The system refused a file.
    #[error("cannot {action} {path}: {source}; name a folder that you can write with --output")]
    File {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A file of the output folder is not what was written.
    #[error("{path} is damaged: {source}; remove it, and its run is done again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A program does not start, or signals cannot be waited for.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// Why not.
        source: io::Error,
    },
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
    /// For `map_err` on operations on files.
    pub(super) fn file(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, action, source }
    }

    /// For `map_err` on anything else that the system may refuse.
    pub(super) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }

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
            Self::NoBenchmark(_)
            | Self::OtherSettings { .. }
            | Self::OtherProgram(_)
            | Self::File { .. }
            | Self::Damaged { .. } => ExitKind::RunFolder,
            Self::InUse(_) => ExitKind::RunFolderInUse,
            Self::System { .. } | Self::Interrupted { .. } => ExitKind::Internal,
        };
        kind.into()
    }
}
