//! Writes `metrics.jsonl`: one JSON object for each log interval.

use std::fs::File;

use super::console::Console;
use super::line_log::LineLog;
use super::run_dir::RunDir;
use crate::metrics::MetricsRecord;

/// Name of the file in the run folder.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";

/// The open file, if it could be opened.
#[derive(Debug)]
pub(super) struct MetricsLog(Option<LineLog<File>>);

impl MetricsLog {
    pub(super) fn open(run_dir: &RunDir, console: &Console) -> Self {
        let file = run_dir.append(METRICS_FILE);
        if let Err(error) = &file {
            console.warn(&error.to_string());
        }
        Self(file.ok().map(|file| LineLog::new(METRICS_FILE, file)))
    }

    /// Appends one line.
    pub(super) fn write(&mut self, line: &MetricsRecord, console: &Console) {
        // Of numbers and lists of numbers alone, which cannot fail to become text.
        if let Some(log) = &mut self.0
            && let Ok(text) = serde_json::to_string(line)
        {
            log.push(&text);
            if let Some(news) = log.flush() {
                console.warn(&news);
            }
        }
    }
}
