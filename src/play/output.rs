//! The file that `--output` names: written beside its place, then renamed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::agent::PlayError;

/// A file that has its name only once it is whole.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Output {
    /// Makes sure that `path` can be written.
    pub(super) fn create(path: &Path) -> Result<Self, PlayError> {
        let failed = |problem: String| PlayError::Write { path: path.to_owned(), problem };
        if path.is_dir() {
            return Err(failed("it is a folder; name a file".to_owned()));
        }
        let name = path.file_name().ok_or_else(|| failed("it names no file".to_owned()))?;
        let mut name = name.to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|e| failed(e.to_string()))?;
        Ok(Self { path: path.to_owned(), temporary, file })
    }

    /// Writes `line` and gives the file its name.
    pub(super) fn finish(mut self, line: &str) -> Result<(), PlayError> {
        let written = writeln!(self.file, "{line}").and_then(|()| self.file.sync_all());
        written
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .map_err(|e| PlayError::Write { path: self.path.clone(), problem: e.to_string() })
    }
}

impl Drop for Output {
    /// What was not finished is not left behind; after a rename there is nothing to remove.
    fn drop(&mut self) {
        let _gone_already = fs::remove_file(&self.temporary);
    }
}
