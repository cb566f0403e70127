//! Reads the logs of a run that still goes on, again and again. Each look reads what was added, and keeps a bounded
//! part of it however long the logs become: every line of metrics, then every second one, and so on.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::ReportError;
use super::run_data::{Episode, MAX_LINES, RunData, episode, has_several_tasks, name_of};
use super::tail::{Lines, SmallFile, Tail};
use super::window_means::{WindowMeans, window};
use impala_metrics::MetricsRecord;

/// Episodes that are kept; up to twice as many for a while.
const MAX_EPISODES: usize = 20_000;
/// Means of windows of episodes that are kept.
const MAX_MEANS: usize = 20_000;
/// Read of each log at one look.
const BUDGET_BYTES: u64 = 4 * 1024 * 1024;

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// All was read.
    Read,
    /// A part was read: bytes that are left, and bytes of both logs.
    Part {
        /// Not read yet.
        left: u64,
        /// All of them.
        all: u64,
    },
    /// The folder is no longer there.
    Gone,
    /// A log is there and cannot be read.
    Unreadable(String),
}

/// A run, as far as its folder was read.
#[derive(Debug)]
pub(crate) struct GrowingRun {
    name: String,
    path: PathBuf,
    config_file: SmallFile,
    summary_file: SmallFile,
    config: toml::Table,
    summary: Option<Json>,
    metrics_log: Tail,
    episodes_log: Tail,
    metrics: Metrics,
    episodes: Episodes,
}

impl GrowingRun {
    /// A run folder, of which nothing was read yet.
    ///
    /// # Errors
    /// [`ReportError`] if it is not a run folder.
    pub(crate) fn open(path: &Path) -> Result<Self, ReportError> {
        const CONFIG: &str = "config.toml";
        if !path.join(CONFIG).is_file() {
            return Err(ReportError::NoRun { path: path.to_owned(), file: CONFIG });
        }
        Ok(Self {
            name: name_of(path),
            path: path.to_owned(),
            config_file: SmallFile::new(path.join(CONFIG)),
            summary_file: SmallFile::new(path.join("summary.json")),
            config: toml::Table::new(),
            summary: None,
            metrics_log: Tail::new(path.join("metrics.jsonl")),
            episodes_log: Tail::new(path.join("episodes.csv")),
            metrics: Metrics::default(),
            episodes: Episodes::default(),
        })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its folder, as it was named.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is new. What was read stays, whatever became of the folder.
    pub(crate) fn look(&mut self) -> Look {
        if !self.path.is_dir() {
            return Look::Gone;
        }
        if let Some(text) = self.config_file.changed() {
            self.config = text.parse().unwrap_or_default();
            // Other settings make other means of the same episodes.
            let several = has_several_tasks(&self.config);
            self.episodes = Episodes::new((!several).then(|| window(&self.config)));
            self.episodes_log = Tail::new(self.path.join("episodes.csv"));
        }
        if let Some(text) = self.summary_file.changed() {
            self.summary = serde_json::from_str(&text).ok();
        }
        let metrics = self.metrics_log.read(BUDGET_BYTES, &mut self.metrics);
        let episodes = self.episodes_log.read(BUDGET_BYTES, &mut self.episodes);
        let (mut left, mut all) = (0, 0);
        for (log, read) in [("metrics.jsonl", metrics), ("episodes.csv", episodes)] {
            match read {
                Ok((more, length)) => (left, all) = (left + more, all + length),
                // A run that has just started has neither.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Look::Unreadable(format!("cannot read its {log}: {error}")),
            }
        }
        if left > 0 { Look::Part { left, all } } else { Look::Read }
    }

    /// What was read, to be drawn; `None` before the first line of metrics. It is to be given back.
    pub(crate) fn lend(&mut self) -> Option<RunData> {
        self.metrics.add_newest();
        if self.metrics.lines.is_empty() {
            return None;
        }
        Some(RunData {
            name: self.name.clone(),
            path: self.path.clone(),
            config: self.config.clone(),
            summary: self.summary.clone(),
            lines: std::mem::take(&mut self.metrics.lines),
            episodes: std::mem::take(&mut self.episodes.kept),
            means: std::mem::take(&mut self.episodes.means.means),
            state: None,
        })
    }

    /// Takes back what was lent.
    pub(crate) fn give_back(&mut self, data: RunData) {
        self.metrics.lines = data.lines;
        self.episodes.kept = data.episodes;
        self.episodes.means.means = data.means;
    }
}

/// Which of many are kept.
#[derive(Debug, Default)]
struct Thinning {
    seen: u64,
    /// The power of two whose multiples are kept.
    doublings: u32,
}

impl Thinning {
    /// Whether the next one is kept.
    const fn keeps(&mut self) -> bool {
        let at = self.seen;
        self.seen += 1;
        at.trailing_zeros() >= self.doublings
    }

    /// Takes every second one out once there are twice as many as `most`. The next one is kept: its number is even.
    fn make_room<T>(&mut self, kept: &mut Vec<T>, most: usize) {
        if kept.len() >= 2 * most {
            let mut at = 0;
            kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.doublings += 1;
        }
    }
}

/// Lines of metrics.
#[derive(Debug, Default)]
struct Metrics {
    lines: Vec<MetricsRecord>,
    thinning: Thinning,
    /// The newest line, if it was not kept.
    newest: String,
    /// It stands in `lines` all the same, as the last of them.
    has_newest: bool,
}

impl Metrics {
    fn add_newest(&mut self) {
        if !self.has_newest && !self.newest.is_empty() {
            self.lines.extend(serde_json::from_str::<MetricsRecord>(&self.newest).ok());
            self.has_newest = true;
        }
    }

    fn drop_newest(&mut self) {
        if std::mem::take(&mut self.has_newest) {
            self.lines.pop();
        }
        self.newest.clear();
    }
}

impl Lines for Metrics {
    fn restart(&mut self) {
        *self = Self::default();
    }

    fn line(&mut self, line: &str) {
        self.drop_newest();
        if self.thinning.keeps() {
            self.thinning.make_room(&mut self.lines, MAX_LINES);
            self.lines.extend(serde_json::from_str::<MetricsRecord>(line).ok());
        } else {
            self.newest.push_str(line);
        }
    }
}

/// Lines of `episodes.csv`.
#[derive(Debug, Default)]
struct Episodes {
    kept: Vec<Episode>,
    thinning: Thinning,
    means: WindowMeans,
    /// Episodes of a window; none if means of them say nothing.
    window: Option<usize>,
}

impl Episodes {
    fn new(window: Option<usize>) -> Self {
        Self { window, means: WindowMeans::new(window.unwrap_or(1), 1), ..Self::default() }
    }
}

impl Lines for Episodes {
    fn restart(&mut self) {
        *self = Self::new(self.window);
    }

    fn line(&mut self, line: &str) {
        let Some(episode) = episode(line) else { return };
        if self.window.is_some() {
            self.means.push(episode);
            self.means.bound(MAX_MEANS);
        }
        if self.thinning.keeps() {
            self.thinning.make_room(&mut self.kept, MAX_EPISODES);
            self.kept.push(episode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    fn folder(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("config.toml"), config).expect("written");
        folder
    }

    fn append(folder: &Path, file: &str, text: &str) {
        let path = folder.join(file);
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn lines(range: std::ops::Range<u64>) -> String {
        range.fold(String::new(), |mut text, at| {
            let _infallible = writeln!(text, "{{\"wall_s\":{at},\"frames\":{}}}", at * 10);
            text
        })
    }

    /// Frames of the first and the newest line, and how many are kept.
    fn ends(run: &mut GrowingRun) -> (u64, u64, usize) {
        let data = run.lend().expect("lines");
        let found = (data.lines[0].frames, data.last().frames, data.lines.len());
        run.give_back(data);
        found
    }

    #[test]
    fn a_run_grows_and_is_the_report_s_data() {
        let folder = folder("env = \"X\"\nstop-window = 2");
        let mut run = GrowingRun::open(folder.path()).expect("a run folder");
        assert_eq!(run.look(), Look::Read);
        assert!(run.lend().is_none(), "nothing is logged yet");
        append(folder.path(), "metrics.jsonl", &lines(1..4));
        append(folder.path(), "metrics.jsonl", "{\"wall_s\":9,\"fra");
        append(
            folder.path(),
            "episodes.csv",
            "frames,seconds,return,length\n1,0.1,5,5\n2,0.2,7,7\n",
        );
        assert_eq!(run.look(), Look::Read);
        assert_eq!(ends(&mut run), (10, 30, 3));
        append(folder.path(), "metrics.jsonl", "mes\":90}\n");
        assert_eq!(run.look(), Look::Read);
        assert_eq!(ends(&mut run), (10, 90, 4));
        let (grown, whole) =
            (run.lend().expect("lines"), RunData::load(folder.path()).expect("a run"));
        assert_eq!((&grown.lines, &grown.episodes), (&whole.lines, &whole.episodes));
        assert_eq!((&grown.means, &grown.config), (&whole.means, &whole.config));
    }

    #[test]
    fn an_endless_log_takes_bounded_room_and_keeps_both_ends() {
        let folder = folder("env = \"X\"");
        let mut run = GrowingRun::open(folder.path()).expect("a run folder");
        let mut at = 0;
        for step in [1, 2_999, 1, 1, 7_000, 1, 90_000] {
            append(folder.path(), "metrics.jsonl", &lines(at..at + step));
            at += step;
            assert_eq!(run.look(), Look::Read);
            let (first, newest, kept) = ends(&mut run);
            assert_eq!((first, newest), (0, (at - 1) * 10));
            assert!(kept <= 2 * MAX_LINES + 1, "{kept} of {at}");
            assert!(kept as u64 >= at.min(MAX_LINES as u64), "{kept} of {at}");
        }
    }

    #[test]
    fn a_run_that_is_resumed_deleted_or_made_anew_is_followed() {
        let folder = folder("env = \"X\"");
        let path = folder.path().to_owned();
        let mut run = GrowingRun::open(&path).expect("a run folder");
        append(&path, "metrics.jsonl", &lines(0..9));
        run.look();
        // As a resumed run does it: a file beside it that takes its place, and then more.
        fs::write(path.join("new"), lines(0..4)).expect("written");
        fs::rename(path.join("new"), path.join("metrics.jsonl")).expect("renamed");
        append(&path, "metrics.jsonl", &lines(50..52));
        run.look();
        assert_eq!(ends(&mut run), (0, 510, 6));
        fs::remove_dir_all(&path).expect("removed");
        assert_eq!(run.look(), Look::Gone);
        assert_eq!(ends(&mut run), (0, 510, 6), "what was read stays");
        fs::create_dir(&path).expect("made");
        assert_eq!(run.look(), Look::Read);
        fs::write(path.join("config.toml"), "env = \"Y\"").expect("written");
        append(&path, "metrics.jsonl", &lines(0..2));
        run.look();
        assert_eq!(ends(&mut run), (0, 10, 2));
        assert_eq!(run.lend().expect("lines").setting("env"), "Y");
    }

    #[test]
    fn what_is_no_run_or_no_log_is_said() {
        let none = tempfile::tempdir().expect("temporary folder");
        let error = GrowingRun::open(none.path()).expect_err("no run").to_string();
        assert!(error.contains("config.toml"), "{error}");
        let folder = folder("not toml [");
        fs::create_dir(folder.path().join("metrics.jsonl")).expect("made");
        let mut run = GrowingRun::open(folder.path()).expect("a run folder");
        let Look::Unreadable(said) = run.look() else { panic!("a folder is no log") };
        assert!(said.contains("metrics.jsonl"), "{said}");
    }
}
