//! Finds the runs on this machine by their status segments, and reads these again and again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use impala_metrics::{RunId, StatusRecord, StatusSegment, StatusView, list};

/// Rates are over at least this long, if there are readings that old.
const SPAN: Duration = Duration::from_secs(1);
/// Readings that are kept for rates.
const MAX_READINGS: usize = 64;

/// A run that is or was watched.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(super) id: RunId,
    pub(super) run_dir: PathBuf,
    /// Its supervisor has gone; the last reading stays.
    pub(crate) ended: bool,
    view: StatusView,
    tick: u64,
    readings: Vec<(Instant, StatusRecord)>,
}

impl Run {
    /// The newest reading, and one about a second older to take differences with.
    pub(crate) fn readings(&self) -> Option<(&StatusRecord, &StatusRecord)> {
        let (at, newest) = self.readings.last()?;
        let old = self.readings.iter().rev().find(|(then, _)| *at - *then >= SPAN);
        Some((newest, &old.or(self.readings.first())?.1))
    }

    /// How many readings there are.
    pub(super) const fn count(&self) -> usize {
        self.readings.len()
    }

    /// Returns false if what was read is no status of this build: then there is nothing to show.
    fn read(&mut self, now: Instant) -> bool {
        self.ended = !self.id.is_alive();
        let Some((tick, bytes)) = self.view.read(self.tick) else { return true };
        let Ok(status) = serde_json::from_slice(&bytes) else { return false };
        self.tick = tick;
        self.readings.push((now, status));
        if self.readings.len() > MAX_READINGS {
            self.readings.remove(0);
        }
        true
    }

    /// How it ended, from its summary.
    pub(super) fn ending(&self) -> String {
        let text = std::fs::read_to_string(self.run_dir.join("summary.json")).unwrap_or_default();
        let summary: Json = serde_json::from_str(&text).unwrap_or_default();
        summary["status"].as_str().map_or_else(|| "gone".to_owned(), |s| s.replace('-', " "))
    }
}

/// Which runs are watched.
#[derive(Debug, Default)]
enum Wanted {
    #[default]
    All,
    /// Those whose segment, process id or folder is or ends with this.
    Named(String),
    /// Those in this folder, whatever it is called.
    Folder(PathBuf),
}

/// All runs that are watched, in the order in which they appeared.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    wanted: Wanted,
    pub(crate) all: Vec<Run>,
}

impl Runs {
    /// Watches the runs whose segment, process id or folder is or ends with `wanted`; all without one.
    pub(super) fn new(wanted: Option<String>) -> Self {
        Self { wanted: wanted.map_or(Wanted::All, Wanted::Named), all: Vec::new() }
    }

    /// Watches the runs in one folder: one at a time, because a run locks its folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Self { wanted: Wanted::Folder(full), all: Vec::new() }
    }

    /// The run that appeared last; those before it are forgotten.
    pub(crate) fn newest(&mut self) -> Option<&Run> {
        self.all.drain(..self.all.len().saturating_sub(1));
        self.all.last()
    }

    /// Reads every run anew; looks for new ones.
    pub(crate) fn refresh(&mut self) {
        let now = Instant::now();
        for entry in list().unwrap_or_default() {
            let known = self.all.iter().any(|run| run.name == entry.name);
            if known || !entry.alive {
                continue;
            }
            // Another user's, or of another version, or gone since: not ours to show.
            let Ok(view) = StatusSegment::attach(&entry.name) else { continue };
            let run_dir = view.run_dir();
            if self.is_wanted(&entry.name, entry.id.pid, &run_dir) {
                self.all.push(Run {
                    name: entry.name,
                    id: entry.id,
                    run_dir,
                    ended: false,
                    view,
                    tick: 0,
                    readings: Vec::new(),
                });
            }
        }
        self.all.retain_mut(|run| run.read(now));
    }

    fn is_wanted(&self, name: &str, pid: u32, run_dir: &Path) -> bool {
        match &self.wanted {
            Wanted::All => true,
            Wanted::Named(wanted) => {
                let wanted = wanted.trim_end_matches('/');
                let is_folder = run_dir.to_string_lossy().ends_with(wanted);
                name == wanted || pid.to_string() == wanted || is_folder
            }
            Wanted::Folder(folder) => {
                // A run may have been given a path from where it was started.
                let full = Path::new("/proc").join(pid.to_string()).join("cwd").join(run_dir);
                full.canonicalize().is_ok_and(|full| full == *folder)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_metrics::MetricsRecord;

    #[test]
    fn a_run_is_wanted_by_name_pid_or_folder() {
        let runs = |wanted: &str| Runs::new(Some(wanted.to_owned()));
        for wanted in ["impala-7-9", "7", "runs/A-001", "A-001/", "/x/runs/A-001"] {
            let folder = Path::new("/x/runs/A-001");
            assert!(runs(wanted).is_wanted("impala-7-9", 7, folder), "{wanted}");
        }
        assert!(!runs("8").is_wanted("impala-7-9", 7, Path::new("/x/runs/A-001")));
        assert!(Runs::new(None).is_wanted("impala-7-9", 7, Path::new("")));
    }

    #[test]
    fn a_folder_is_the_same_by_any_path() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let runs = Runs::in_folder(&folder.path().join("../").join(folder.path()));
        let pid = std::process::id();
        assert!(runs.is_wanted("impala-7-9", pid, folder.path()));
        assert!(!runs.is_wanted("impala-7-9", pid, Path::new("/")));
        let here = std::env::current_dir().expect("a folder");
        assert!(Runs::in_folder(&here).is_wanted("impala-7-9", pid, Path::new(".")), "from there");
    }

    #[test]
    fn a_segment_is_found_read_and_outlived() {
        // No other test of this process may have made one of the same name.
        let id = RunId::of_this_process().expect("/proc");
        let name = format!("{id}-top");
        let mut segment =
            StatusSegment::create(&name, std::path::Path::new("/runs/top-test")).expect("room");
        let mut runs = Runs::new(Some("runs/top-test".to_owned()));
        runs.refresh();
        assert_eq!(runs.all.len(), 1, "found by its folder");
        assert!(runs.all[0].readings().is_none(), "nothing was published yet");
        // Of a build that knows other numbers, or none: nothing to show, and no reason to fall over.
        for foreign in ["{\"frames\":1}", "{\"metrics\":{\"wall_s\":\"x\"}}", "[]", "nonsense"] {
            segment.publish(foreign.as_bytes()).expect("fits");
            runs.refresh();
            assert!(runs.all.is_empty(), "{foreign}");
        }
        for frames in [1, 2] {
            let metrics = MetricsRecord { frames, ..MetricsRecord::default() };
            let status = StatusRecord { metrics, ..StatusRecord::default() };
            segment.publish(&serde_json::to_vec(&status).expect("numbers")).expect("fits");
            runs.refresh();
        }
        runs.refresh();
        let (newest, old) = runs.all[0].readings().expect("two readings");
        assert_eq!((newest.metrics.frames, old.metrics.frames), (2, 1));
        assert_eq!(runs.all[0].count(), 2, "the same status is read once");
        drop(segment);
        runs.refresh();
        assert_eq!(runs.all.len(), 1, "it stays");
    }
}
