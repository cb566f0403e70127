//! Errors of `impala-export`: why nothing was exported.

use std::path::PathBuf;

use impala_rl::play::PlayError;
use impala_rl::supervisor::ExitKind;

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Neither file was asked for.
    #[error("nothing to write; name a file with --onnx or --safetensors")]
    Nothing,
    /// There is no policy to export.
    #[error(transparent)]
    Policy(#[from] PlayError),
    /// A file cannot be written.
    #[error("cannot write {path}: {problem}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
}

impl ExportError {
    /// The exit code of the program.
    #[must_use]
    pub const fn exit(&self) -> ExitKind {
        match self {
            Self::Nothing => ExitKind::Usage,
            Self::Policy(error) => error.exit(),
            Self::Write { .. } => ExitKind::RunFolder,
        }
    }
}
