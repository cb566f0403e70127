//! Reads a run folder for plots; of a long run only some lines.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::ReportError;
use super::window_means::{WindowMean, window, window_means};
use impala_metrics::MetricsRecord;

/// Lines of metrics that are looked at; counters lose nothing when lines between are skipped.
pub(super) const MAX_LINES: usize = 1500;
/// Episodes that are looked at.
const MAX_EPISODES: usize = 200_000;

/// Means of windows of episodes that are looked at; there are two for each of so many parts of the run.
const MAX_MEANS: usize = 50_000;

/// A number of a line.
pub(super) type Figure = fn(&MetricsRecord) -> f64;

/// One finished episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Episode {
    pub(super) frames: f64,
    pub(super) seconds: f64,
    pub(super) episode_return: f64,
    pub(super) length: f64,
    /// Number of its task.
    pub(super) task: usize,
}

/// A run, as its folder tells it.
#[derive(Debug)]
pub(crate) struct RunData {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) config: toml::Table,
    pub(super) summary: Option<Json>,
    /// Lines of `metrics.jsonl`, in order; at least one.
    pub(super) lines: Vec<MetricsRecord>,
    pub(super) episodes: Vec<Episode>,
    /// Mean returns of full windows, of all episodes: between those that are looked at a best mean would be lost.
    pub(super) means: Vec<WindowMean>,
    /// Whether it runs, by who knows more than its folder.
    pub(super) state: Option<String>,
}

impl RunData {
    /// Reads a run folder. A run that is still going, or was killed, is as good as a finished one.
    ///
    /// # Errors
    /// [`ReportError`] if it is not a run folder.
    pub(crate) fn load(path: &Path) -> Result<Self, ReportError> {
        let text = |file: &'static str| {
            fs::read_to_string(path.join(file))
                .map_err(|_| ReportError::NoRun { path: path.to_owned(), file })
        };
        let config: toml::Table = text("config.toml")?.parse().unwrap_or_default();
        let metrics = text("metrics.jsonl")?;
        let lines: Vec<MetricsRecord> = thinned(&metrics, MAX_LINES)
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if lines.is_empty() {
            return Err(ReportError::Empty { path: path.to_owned() });
        }
        let episodes = text("episodes.csv").unwrap_or_default();
        let block = episodes.lines().count().div_ceil(MAX_MEANS).max(1);
        // A mean over tasks whose returns have different sizes says nothing.
        let several = has_several_tasks(&config);
        let of_one_task = episodes.lines().filter_map(episode).filter(|_| !several);
        let means = window_means(of_one_task, window(&config), block);
        Ok(Self {
            name: name_of(path),
            path: path.to_owned(),
            config,
            summary: text("summary.json").ok().and_then(|text| serde_json::from_str(&text).ok()),
            lines,
            episodes: thinned(&episodes, MAX_EPISODES).filter_map(episode).collect(),
            means,
            state: None,
        })
    }

    /// Says whether it runs.
    pub(crate) fn set_state(&mut self, state: &str) {
        self.state = Some(state.to_owned());
    }

    /// Its summary, if it is of this run: not of the run before this one was resumed.
    pub(crate) fn own_summary(&self) -> Option<&Json> {
        let frames = self.last().frames as f64;
        let summary = self.summary.as_ref();
        summary.filter(|summary| summary["frames"].as_f64().is_some_and(|at| at >= frames))
    }

    /// The newest line.
    pub(super) fn last(&self) -> &MetricsRecord {
        &self.lines[self.lines.len() - 1]
    }

    /// Pairs of two numbers of each line, after the first update: gauges say nothing before it.
    pub(super) fn gauge(&self, x: Figure, y: Figure) -> Vec<(f64, f64)> {
        let learnt = self.lines.iter().filter(|line| line.learner.updates > 0);
        let pairs = learnt.map(|line| (x(line), y(line)));
        pairs.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    }

    /// The names of its tasks.
    pub(super) fn tasks(&self) -> Vec<String> {
        match self.config.get("env") {
            Some(toml::Value::Array(tasks)) => {
                tasks.iter().filter_map(|id| id.as_str()).map(str::to_owned).collect()
            }
            _ => vec![self.setting("env")],
        }
    }

    /// The return that a task is to reach.
    pub(super) fn target(&self, task: usize) -> Option<f64> {
        let target = self.config.get("stop-at-return")?;
        match target.as_array().map_or(Some(target), |each| each.get(task))? {
            toml::Value::Float(target) => Some(*target),
            toml::Value::Integer(target) => Some(*target as f64),
            _ => None,
        }
    }

    /// A setting, as text.
    pub(super) fn setting(&self, key: &str) -> String {
        match self.config.get(key) {
            Some(toml::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "-".to_owned(),
        }
    }
}

/// What a run is called: its folder, however it was named.
pub(super) fn name_of(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    full.file_name()
        .map_or_else(|| full.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Whether a run has several tasks, by its settings.
pub(super) fn has_several_tasks(config: &toml::Table) -> bool {
    config.get("env").is_some_and(toml::Value::is_array)
}

/// Lines of `text`, the last among them, at most about `most`.
fn thinned(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let count = text.lines().count();
    let every = count.div_ceil(most).max(1);
    text.lines()
        .enumerate()
        .filter(move |(at, _)| at % every == 0 || at + 1 == count)
        .map(|(_, l)| l)
}

/// A line of `episodes.csv`.
pub(super) fn episode(line: &str) -> Option<Episode> {
    let mut fields = line.split(',').map(|field| field.parse::<f64>().ok());
    Some(Episode {
        frames: fields.next()??,
        seconds: fields.next()??,
        episode_return: fields.next()??,
        length: fields.next()??,
        // A run of one task says nothing of it.
        task: line.split(',').nth(4).and_then(|task| task.parse().ok()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_thinned_and_keep_their_ends() {
        let text: String = (0..1000).map(|n| format!("{n}\n")).collect();
        let kept: Vec<_> = thinned(&text, 100).collect();
        assert!((90..=101).contains(&kept.len()), "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), ("0", "999"));
        assert_eq!(thinned(&text, 5000).count(), 1000);
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let error = RunData::load(folder.path()).expect_err("empty").to_string();
        assert!(error.contains("config.toml"), "{error}");
        fs::write(folder.path().join("config.toml"), "env = \"X\"").expect("written");
        let line = "{\"wall_s\":1,\"frames\":1}\n{\"fra";
        fs::write(folder.path().join("metrics.jsonl"), line).expect("written");
        let run = RunData::load(folder.path()).expect("one line is a run");
        assert_eq!((run.lines.len(), run.setting("env")), (1, "X".to_owned()));
        fs::write(folder.path().join("metrics.jsonl"), "").expect("written");
        assert!(matches!(RunData::load(folder.path()), Err(ReportError::Empty { .. })));
    }
}
