//! The run folder: made, locked, and written so that no reader sees half a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::metrics::atomic_file;

/// Where a run without `--run-dir` puts its folder.
const DEFAULT_PARENT: &str = "runs";
/// The resolved configuration; a folder that holds one is a run's.
pub(super) const CONFIG_FILE: &str = "config.toml";
/// The folder of the checkpoints within that of the run.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// What the run came to.
pub(super) const SUMMARY_FILE: &str = "summary.json";

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunDirError {
    /// The system refused.
    #[error(
        "run folder {path}: cannot {action}: {source}; choose a folder you can write with --run-dir"
    )]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Another supervisor, or a process it left behind, holds it.
    #[error(
        "run folder {path} is in use by another run; wait for it to end or choose another --run-dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// It has a run in it already.
    #[error(
        "run folder {path} already holds a run; continue it with --resume {path} or choose another --run-dir"
    )]
    HoldsRun {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run in it.
    #[error("{path} holds no run to resume: it has no {CONFIG_FILE}")]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
}

/// A locked run folder.
///
/// The lock is on the folder itself, so it leaves no file behind. Forked children inherit it: the
/// folder is free again when the last process of the run is gone.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl RunDir {
    /// Makes (or takes, if it is empty of runs) the folder of a new run; numbered below `runs/` if none
    /// was asked for.
    ///
    /// # Errors
    /// [`RunDirError`]
    pub(crate) fn create(requested: Option<&Path>, env_id: &str) -> Result<Self, RunDirError> {
        let path = match requested {
            Some(path) => {
                fs::create_dir_all(path).map_err(io_error(path, "create"))?;
                path.to_owned()
            }
            None => next_numbered(Path::new(DEFAULT_PARENT), env_id)?,
        };
        let run_dir = Self::lock(path)?;
        if run_dir.path.join(CONFIG_FILE).exists() {
            return Err(RunDirError::HoldsRun { path: run_dir.path });
        }
        Ok(run_dir)
    }

    /// File for what the environments of an actor print, if they run in a process of their own.
    #[must_use]
    pub(crate) fn worker_log(&self, actor: u16) -> PathBuf {
        self.path.join(format!("worker-{actor}.log"))
    }

    /// Takes the folder of an earlier run.
    ///
    /// # Errors
    /// [`RunDirError`]
    pub(crate) fn resume(path: &Path) -> Result<Self, RunDirError> {
        if !path.join(CONFIG_FILE).is_file() {
            return Err(RunDirError::NoRun { path: path.to_owned() });
        }
        Self::lock(path.to_owned())
    }

    /// Takes the folder of a rank other than 0 in that of an earlier run, which may have had fewer.
    ///
    /// # Errors
    /// [`RunDirError`]
    pub(crate) fn of_rank(run: &Path, rank: usize) -> Result<Self, RunDirError> {
        let path = folder_of_rank(run, rank);
        fs::create_dir_all(&path).map_err(io_error(&path, "create"))?;
        Self::lock(path)
    }

    fn lock(path: PathBuf) -> Result<Self, RunDirError> {
        let folder = File::open(&path).map_err(io_error(&path, "open"))?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(RunDirError::InUse { path }),
            Err((_, errno)) => Err(RunDirError::Io { path, action: "lock", source: errno.into() }),
        }
    }

    /// The folder.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the checkpoints; not made before there is one.
    #[must_use]
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Replaces a file as a whole.
    ///
    /// # Errors
    /// [`RunDirError::Io`]
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), RunDirError> {
        let path = self.path.join(name);
        atomic_file::replace(&path, text.as_bytes()).map_err(io_error(&path, "write"))
    }

    /// Opens a file to append lines to.
    ///
    /// # Errors
    /// [`RunDirError::Io`]
    pub(crate) fn append(&self, name: &str) -> Result<File, RunDirError> {
        let path = self.path.join(name);
        OpenOptions::new().create(true).append(true).open(&path).map_err(io_error(&path, "open"))
    }
}

/// Where a rank other than 0 writes.
pub(super) fn folder_of_rank(run: &Path, rank: usize) -> PathBuf {
    run.join(format!("rank-{rank}"))
}

/// Makes `parent/<env>-NNN` with the first number that is free.
fn next_numbered(parent: &Path, env_id: &str) -> Result<PathBuf, RunDirError> {
    fs::create_dir_all(parent).map_err(io_error(parent, "create"))?;
    let stem: String = env_id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .collect();
    let mut number = 1_u32;
    loop {
        let path = parent.join(format!("{stem}-{number:03}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => {
                return Err(RunDirError::Io { path, action: "create", source });
            }
        }
    }
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> RunDirError {
    let path = path.to_owned();
    move |source| RunDirError::Io { path, action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_serves_one_run_at_a_time() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let path = parent.path().join("a/b");
        let run_dir = RunDir::create(Some(&path), "X").expect("fresh");
        assert!(matches!(RunDir::create(Some(&path), "X"), Err(RunDirError::InUse { .. })));
        run_dir.write(CONFIG_FILE, "seed = 1\n").expect("writable");
        drop(run_dir);
        assert!(matches!(RunDir::create(Some(&path), "X"), Err(RunDirError::HoldsRun { .. })));
        assert!(RunDir::resume(&path).is_ok());
        assert!(matches!(RunDir::resume(parent.path()), Err(RunDirError::NoRun { .. })));
        let names: Vec<_> = fs::read_dir(&path)
            .expect("listed")
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .collect();
        assert_eq!(names, [CONFIG_FILE], "no lock file, no temporary file");
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let file = parent.path().join("file");
        fs::write(&file, "x").expect("written");
        let error =
            RunDir::create(Some(&file.join("below")), "X").expect_err("below a file").to_string();
        assert!(error.contains("--run-dir"), "{error}");
    }

    #[test]
    fn numbers_count_up() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let name = |n: &Path| n.file_name().and_then(|n| n.to_str()).map(str::to_owned);
        assert_eq!(
            name(&next_numbered(parent.path(), "a/b:c").expect("made")).as_deref(),
            Some("a-b-c-001")
        );
        assert_eq!(
            name(&next_numbered(parent.path(), "a/b:c").expect("made")).as_deref(),
            Some("a-b-c-002")
        );
    }
}
