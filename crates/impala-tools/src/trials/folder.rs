//! The output folder of many runs: the plan, the run folders and the results.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use impala_metrics::atomic_file;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const PLAN: &str = "plan.json";
const RUNS: &str = "runs";
const RESULTS: &str = "results";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// It belongs to something else.
    #[error("{path} holds files and no {kind}; name a new folder with --output")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What it should hold.
        kind: &'static str,
    },
    /// It has results of other settings.
    #[error(
        "{path} was made with other settings ({what}); give them again, or name a new folder with --output"
    )]
    OtherSettings {
        /// The folder.
        path: PathBuf,
        /// The first difference.
        what: String,
    },
    /// It has results of another build.
    #[error(
        "{0} was begun with another build of impala-supervisor, and results of two builds are not mixed; \
         name a new folder with --output"
    )]
    OtherProgram(PathBuf),
    /// Somebody writes to it, or to a run's folder in it.
    #[error("{path} is in use by a process of another {kind}; wait for it to end, or end it")]
    InUse {
        /// The folder.
        path: PathBuf,
        /// What it should hold.
        kind: &'static str,
    },
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
    /// A file of it is not what was written.
    #[error("{path} is damaged: {source}; remove it, and its run is done again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl FolderError {
    /// For `map_err` on operations on files.
    pub fn file(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, action, source }
    }
}

/// A locked output folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kind: &'static str,
    _lock: Flock<File>,
}

impl Folder {
    /// Makes the folder, or takes one that was made for the same plan. `kind` says in messages what it should hold; the
    /// plan's `program` is a [`super::fingerprint`].
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn open(
        path: &Path,
        plan: &impl Serialize,
        kind: &'static str,
    ) -> Result<Self, FolderError> {
        let file = |action| FolderError::file(path, action);
        fs::create_dir_all(path).map_err(file("create"))?;
        let folder = Self { path: path.to_owned(), kind, _lock: lock(path, kind)? };
        let place = path.join(PLAN);
        match fs::read_to_string(&place) {
            Ok(text) => {
                let damaged = |source| FolderError::Damaged { path: place.clone(), source };
                let earlier: Value = serde_json::from_str(&text).map_err(damaged)?;
                let now = serde_json::to_value(plan).map_err(damaged)?;
                if earlier["program"] != now["program"] {
                    return Err(FolderError::OtherProgram(path.to_owned()));
                }
                if let Some(what) = difference("", &earlier, &now) {
                    return Err(FolderError::OtherSettings { path: path.to_owned(), what });
                }
            }
            Err(_) => {
                if fs::read_dir(path).map_err(file("read"))?.next().is_some() {
                    return Err(FolderError::Foreign { path: path.to_owned(), kind });
                }
                folder.write(PLAN, &json(plan))?;
            }
        }
        for name in [RUNS, RESULTS] {
            folder.make(name)?;
        }
        Ok(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of a run.
    #[must_use]
    pub fn run_dir(&self, run: &str) -> PathBuf {
        self.path.join(RUNS).join(run)
    }

    /// What the programs of a run print.
    #[must_use]
    pub fn log(&self, run: &str) -> PathBuf {
        self.path.join(RUNS).join(format!("{run}.log"))
    }

    /// What was kept under this name, if anything was.
    ///
    /// # Errors
    /// [`FolderError::Damaged`]
    pub fn kept<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FolderError> {
        let path = self.path.join(result(name));
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let kept = serde_json::from_str(&text);
        kept.map(Some).map_err(|source| FolderError::Damaged { path, source })
    }

    /// Keeps what a run came to.
    ///
    /// # Errors
    /// [`FolderError::File`]
    pub fn keep(&self, name: &str, outcome: &impl Serialize) -> Result<(), FolderError> {
        self.write(&result(name), &json(outcome))
    }

    /// Removes what an earlier try of a run left.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn clear(&self, run: &str) -> Result<(), FolderError> {
        let run_dir = self.run_dir(run);
        if run_dir.exists() {
            self.is_free(run)?;
            fs::remove_dir_all(&run_dir).map_err(FolderError::file(&run_dir, "remove"))?;
        }
        Ok(())
    }

    /// Nothing, if nobody holds the folder of a run: a supervisor whose starter was killed goes on, and does.
    ///
    /// # Errors
    /// [`FolderError::InUse`]
    pub fn is_free(&self, run: &str) -> Result<(), FolderError> {
        let _unlocked_again = lock(&self.run_dir(run), self.kind)?;
        Ok(())
    }

    /// Makes a folder in it, if it is not there.
    ///
    /// # Errors
    /// [`FolderError::File`]
    pub fn make(&self, name: &str) -> Result<(), FolderError> {
        let below = self.path.join(name);
        fs::create_dir_all(&below).map_err(FolderError::file(&below, "create"))
    }

    /// Replaces a file as a whole.
    ///
    /// # Errors
    /// [`FolderError::File`]
    pub fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.path.join(name);
        atomic_file::replace(&path, text.as_bytes()).map_err(FolderError::file(&path, "write"))
    }
}

fn result(name: &str) -> String {
    format!("{RESULTS}/{name}.json")
}

/// Text of a file.
pub fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    text.unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}")) + "\n"
}

fn lock(path: &Path, kind: &'static str) -> Result<Flock<File>, FolderError> {
    let folder = File::open(path).map_err(FolderError::file(path, "open"))?;
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => FolderError::InUse { path: path.to_owned(), kind },
        errno => FolderError::file(path, "lock")(errno.into()),
    })
}

/// The first value in which an earlier plan differs, in words.
fn difference(at: &str, earlier: &Value, now: &Value) -> Option<String> {
    match (earlier, now) {
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().find_map(|(key, value)| {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                difference(&at, value, b.get(key).unwrap_or(&Value::Null))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(index, (a, b))| difference(&format!("{at}[{index}]"), a, b))
        }
        (Value::Array(a), Value::Array(b)) if a.iter().chain(b).any(Value::is_object) => {
            Some(format!("{at}: {} of them there, {} here", a.len(), b.len()))
        }
        _ => (earlier != now).then(|| format!("{at}: {earlier} there, {now} here")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KIND: &str = "benchmark of learning";

    fn plan(seeds: u32) -> Value {
        json!({ "program": "a", "environments": [{ "env": "A", "seeds": seeds }] })
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let place = tempfile::tempdir().expect("temporary folder");
        let path = place.path().join("new/one");
        let folder = Folder::open(&path, &plan(2), KIND).expect("a new folder");
        folder.keep("A-seed-1", &"done").expect("written");
        fs::create_dir_all(folder.run_dir("A-seed-2").join("checkpoints")).expect("made");
        let error = Folder::open(&path, &plan(2), KIND).expect_err("twice");
        assert!(matches!(error, FolderError::InUse { .. }), "{error}");
        drop(folder);

        let folder = Folder::open(&path, &plan(2), KIND).expect("the same plan");
        let kept = |name: &str| folder.kept::<String>(name);
        assert_eq!(kept("A-seed-1").expect("read").as_deref(), Some("done"));
        assert_eq!(kept("A-seed-2").expect("read"), None);
        folder.clear("A-seed-2").expect("removed");
        assert!(!folder.run_dir("A-seed-2").exists());
        folder.clear("A-seed-3").expect("nothing to remove");
        fs::write(path.join(result("A-seed-1")), "{").expect("written");
        let damaged = kept("A-seed-1").expect_err("half a file").to_string();
        assert!(damaged.contains("A-seed-1.json is damaged"), "{damaged}");
    }

    #[test]
    fn folders_of_others_are_refused() {
        let place = tempfile::tempdir().expect("temporary folder");
        drop(Folder::open(place.path(), &plan(2), KIND).expect("an empty folder"));
        let error = Folder::open(place.path(), &plan(3), KIND).expect_err("seeds").to_string();
        assert!(error.contains("seeds: 2 there, 3 here") && error.contains("--output"), "{error}");
        let mut rebuilt = plan(2);
        rebuilt["program"] = "b".into();
        let error = Folder::open(place.path(), &rebuilt, KIND).expect_err("another build");
        assert!(matches!(error, FolderError::OtherProgram(_)), "{error}");
        let runs = place.path().join(RUNS);
        fs::write(runs.join("thesis.txt"), "").expect("written");
        let error = Folder::open(&runs, &plan(2), KIND).expect_err("somebody's files");
        assert!(error.to_string().contains("no benchmark of learning"), "{error}");
        let file = Folder::open(&runs.join("thesis.txt"), &plan(2), KIND).expect_err("a file");
        assert!(matches!(file, FolderError::File { .. }), "{file}");
    }

    #[test]
    fn a_run_that_is_still_going_is_not_removed() {
        let place = tempfile::tempdir().expect("temporary folder");
        let folder = Folder::open(place.path(), &plan(1), KIND).expect("an empty folder");
        fs::create_dir_all(folder.run_dir("A-seed-1")).expect("made");
        let held = lock(&folder.run_dir("A-seed-1"), KIND).expect("free");
        assert!(matches!(folder.clear("A-seed-1"), Err(FolderError::InUse { .. })));
        drop(held);
        folder.clear("A-seed-1").expect("free again");
    }

    #[test]
    fn the_first_difference_between_plans_is_named() {
        let found = |a: &Value, b: &Value| difference("", a, b);
        assert_eq!(found(&plan(2), &plan(2)), None);
        let two = json!({ "program": "a", "environments": [{}, {}] });
        for (earlier, says) in [
            (plan(3), "environments[0].seeds: 3 there, 2 here"),
            (two, "environments: 2 of them there, 1 here"),
            (json!({ "program": "a", "environments": 5 }), "environments: 5 there"),
        ] {
            let what = found(&earlier, &plan(2)).expect("different");
            assert!(what.contains(says), "{what}");
        }
    }
}
