//! A folder that is gone when its owner is.

use std::path::{Path, PathBuf};

use super::error::BenchError;

/// A new folder for temporary files, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    pub(crate) fn new() -> Result<Self, BenchError> {
        let base = std::env::temp_dir();
        for attempt in 0_u32.. {
            // Another process's folder of the same name is only passed over.
            let name = format!("impala-bench-{}-{attempt}", std::process::id());
            let path = base.join(name);
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => {
                    made.map_err(BenchError::io(format!("create {}", path.display())))?;
                    return Ok(Self(path));
                }
            }
        }
        unreachable!("one of four billion names is free")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _left_to_the_system = std::fs::remove_dir_all(&self.0);
    }
}
