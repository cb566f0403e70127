//! `metrics.jsonl`: one object per log interval.

use std::fs::File;
use std::io::Write as _;

use serde_json::Value as Json;

use super::console::Console;
use super::run_dir::RunDir;

/// Name of the file in the run folder.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";

/// The open file; closed for good, with one warning, when it can no longer be written.
#[derive(Debug)]
pub(super) struct MetricsLog(Option<File>);

impl MetricsLog {
    pub(super) fn open(run_dir: &RunDir, console: &Console) -> Self {
        let file = run_dir.append(METRICS_FILE);
        if let Err(error) = &file {
            console.warn(&error.to_string());
        }
        Self(file.ok())
    }

    /// Appends one line, with one system call, so that a kill leaves whole lines.
    pub(super) fn write(&mut self, line: &Json, console: &Console) {
        if let Some(file) = &mut self.0 {
            let mut text = line.to_string();
            text.push('\n');
            if let Err(error) = file.write_all(text.as_bytes()) {
                console.warn(&format!("{METRICS_FILE} is no longer written: {error}"));
                self.0 = None;
            }
        }
    }
}
