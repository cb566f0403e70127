//! The output folder: its plan, its runs and what they came to.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use super::error::LearnError;
use super::outcome::Outcome;
use super::plan::{Plan, Trial};

const PLAN: &str = "plan.json";
const RUNS: &str = "runs";
const RESULTS: &str = "results";

/// A locked output folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Folder {
    /// Makes the folder, or takes one that was made for the same plan.
    pub(super) fn open(path: &Path, plan: &Plan) -> Result<Self, LearnError> {
        let file = |action| LearnError::file(path, action);
        fs::create_dir_all(path).map_err(file("create"))?;
        let folder = Self { path: path.to_owned(), _lock: lock(path)? };
        let place = path.join(PLAN);
        match fs::read_to_string(&place) {
            Ok(text) => {
                let earlier: Value = serde_json::from_str(&text)
                    .map_err(|source| LearnError::Damaged { path: place, source })?;
                if earlier["program"] != plan.program.as_str() {
                    return Err(LearnError::OtherProgram(path.to_owned()));
                }
                if let Some(what) = plan.difference(&earlier) {
                    return Err(LearnError::OtherSettings { path: path.to_owned(), what });
                }
            }
            Err(_) => {
                if fs::read_dir(path).map_err(file("read"))?.next().is_some() {
                    return Err(LearnError::NoBenchmark(path.to_owned()));
                }
                folder.write(PLAN, &json(plan))?;
            }
        }
        for name in [RUNS, RESULTS] {
            let below = path.join(name);
            fs::create_dir_all(&below).map_err(LearnError::file(&below, "create"))?;
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of a run.
    pub(super) fn run_dir(&self, trial: Trial<'_>) -> PathBuf {
        self.path.join(RUNS).join(trial.name())
    }

    /// What the programs of a run print.
    pub(super) fn log(&self, trial: Trial<'_>) -> PathBuf {
        self.path.join(RUNS).join(format!("{}.log", trial.name()))
    }

    /// What a run came to, if it is done and did not fail.
    pub(super) fn finished(&self, trial: Trial<'_>) -> Result<Option<Outcome>, LearnError> {
        let path = self.path.join(result(trial));
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let outcome: Outcome =
            serde_json::from_str(&text).map_err(|source| LearnError::Damaged { path, source })?;
        Ok(Some(outcome).filter(|outcome| outcome.failure.is_none()))
    }

    /// Keeps what a run came to.
    pub(super) fn keep(&self, trial: Trial<'_>, outcome: &Outcome) -> Result<(), LearnError> {
        self.write(&result(trial), &json(outcome))
    }

    /// Removes what an earlier try of a run left.
    pub(super) fn clear(&self, trial: Trial<'_>) -> Result<(), LearnError> {
        let run_dir = self.run_dir(trial);
        if run_dir.exists() {
            // A supervisor whose benchmark was killed goes on, and holds its folder.
            let _unlocked_again = lock(&run_dir)?;
            fs::remove_dir_all(&run_dir).map_err(LearnError::file(&run_dir, "remove"))?;
        }
        Ok(())
    }

    /// Replaces a file as a whole.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), LearnError> {
        let (path, temporary) = (self.path.join(name), self.path.join(format!("{name}.tmp")));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(LearnError::file(&path, "write"))
    }
}

fn result(trial: Trial<'_>) -> String {
    format!("{RESULTS}/{}.json", trial.name())
}

/// Text of a file.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    text.unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}")) + "\n"
}

fn lock(path: &Path) -> Result<Flock<File>, LearnError> {
    let folder = File::open(path).map_err(LearnError::file(path, "open"))?;
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => LearnError::InUse(path.to_owned()),
        errno => LearnError::file(path, "lock")(errno.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::learn::plan::Planned;
    use crate::bench::learn::suite::Suite;

    fn plan(seeds: u32) -> Plan {
        let suite = Suite::find("classic").expect("it is there");
        let planned = |entry| Planned { entry, flags: Vec::new(), seeds };
        let environments = suite.entries.into_iter().map(planned).collect();
        Plan { suite: suite.name, program: "a".to_owned(), eval_episodes: 1, environments }
    }

    #[test]
    fn what_is_finished_is_found_again_and_what_failed_is_not() {
        let place = tempfile::tempdir().expect("temporary folder");
        let (path, plan) = (place.path().join("new/one"), plan(2));
        let folder = Folder::open(&path, &plan).expect("a new folder");
        let trials: Vec<_> = plan.trials().collect();
        assert_eq!(trials.len(), 12);
        let outcome = |trial: Trial<'_>, failure: Option<&str>| Outcome {
            failure: failure.map(str::to_owned),
            ..Outcome::new(trial)
        };
        folder.keep(trials[0], &outcome(trials[0], None)).expect("written");
        folder.keep(trials[1], &outcome(trials[1], Some("out of memory"))).expect("written");
        fs::create_dir_all(folder.run_dir(trials[1]).join("checkpoints")).expect("made");
        assert!(matches!(Folder::open(&path, &plan), Err(LearnError::InUse(_))));
        drop(folder);

        let folder = Folder::open(&path, &plan).expect("the same plan");
        assert_eq!(folder.finished(trials[0]).expect("read"), Some(outcome(trials[0], None)));
        assert_eq!(folder.finished(trials[1]).expect("read"), None, "it is tried again");
        assert_eq!(folder.finished(trials[2]).expect("read"), None);
        folder.clear(trials[1]).expect("removed");
        assert!(!folder.run_dir(trials[1]).exists());
        folder.clear(trials[2]).expect("nothing to remove");
        fs::write(path.join(result(trials[0])), "{").expect("written");
        let damaged = folder.finished(trials[0]).expect_err("half a file").to_string();
        assert!(damaged.contains("CartPole-v1-seed-1.json is damaged"), "{damaged}");
    }

    #[test]
    fn folders_of_others_are_refused() {
        let place = tempfile::tempdir().expect("temporary folder");
        drop(Folder::open(place.path(), &plan(2)).expect("an empty folder"));
        let error = Folder::open(place.path(), &plan(3)).expect_err("other seeds").to_string();
        assert!(error.contains("seeds: 2 there, 3 here") && error.contains("--output"), "{error}");
        let rebuilt = Plan { program: "b".to_owned(), ..plan(2) };
        let error = Folder::open(place.path(), &rebuilt).expect_err("another build");
        assert!(matches!(error, LearnError::OtherProgram(_)), "{error}");
        let runs = place.path().join(RUNS);
        fs::write(runs.join("thesis.txt"), "").expect("written");
        let error = Folder::open(&runs, &plan(2)).expect_err("somebody's files");
        assert!(matches!(error, LearnError::NoBenchmark(_)), "{error}");
        let file = Folder::open(&runs.join("thesis.txt"), &plan(2)).expect_err("a file");
        assert!(matches!(file, LearnError::File { .. }), "{file}");
    }

    #[test]
    fn a_run_that_is_still_going_is_not_removed() {
        let place = tempfile::tempdir().expect("temporary folder");
        let plan = plan(1);
        let folder = Folder::open(place.path(), &plan).expect("an empty folder");
        let trial = plan.trials().next().expect("a trial");
        fs::create_dir_all(folder.run_dir(trial)).expect("made");
        let held = lock(&folder.run_dir(trial)).expect("free");
        assert!(matches!(folder.clear(trial), Err(LearnError::InUse(_))));
        drop(held);
        folder.clear(trial).expect("free again");
    }
}
