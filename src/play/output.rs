//! The result file of `impala-play` (`--output`): opened before the episodes, named when it is complete.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::error::PlayError;
use crate::metrics::AtomicFile;

/// The file, opened before the evaluation begins and named once it is complete.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    file: AtomicFile,
}

impl Output {
    /// Makes sure that `path` can be written.
    pub(super) fn create(path: &Path) -> Result<Self, PlayError> {
        let file = AtomicFile::create(path)
            .map_err(|e| PlayError::Write { path: path.to_owned(), problem: e.to_string() })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes `line` and gives the file its name.
    pub(super) fn finish(mut self, line: &str) -> Result<(), PlayError> {
        writeln!(self.file, "{line}")
            .and_then(|()| self.file.commit())
            .map_err(|e| PlayError::Write { path: self.path, problem: e.to_string() })
    }
}
