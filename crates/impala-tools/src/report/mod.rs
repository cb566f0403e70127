//! `impala-report`: turns a run folder into one HTML page with plots and a paragraph on the bottleneck.
//!
//! `run_data` reads the folder, `growing_run` that of a run which goes on, from `tail` to tail of its logs; `totals` adds its counters up, `bottleneck` draws the conclusion, `window_means` finds a
//! return that fell back, `tuned` compares with what was expected, `plots`, `tasks`, `stages` and `lags` decide what is drawn, `chart` and `bars` draw it as SVG within
//! the `frame` and with the axes of `scale`, `page` puts it together. Nothing here knows processes: a folder is all it takes.
//!
//! Other pages of this project are a [`document`] with the same [`LineChart`].

mod args;
mod bars;
mod bottleneck;
mod chart;
mod document;
mod frame;
mod growing_run;
mod inference;
mod lags;
mod page;
mod plots;
mod ranks;
mod run_data;
mod scale;
mod stages;
mod style;
mod tail;
mod tasks;
mod totals;
mod tuned;
mod verdict;
mod window_means;

pub use args::{command, main};
pub use chart::{LineChart, Series};
pub use document::document;
pub(crate) use growing_run::{GrowingRun, Look};
pub(crate) use page::{Section, sections, title};
pub(crate) use run_data::RunData;

use std::io;
use std::path::{Path, PathBuf};

use impala_metrics::atomic_file;

/// Name of the report in a run folder.
pub(crate) const REPORT_FILE: &str = "report.html";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The folder has no metrics.
    #[error("{path} is not a run folder: it has no {file}; name a folder that a run wrote")]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// There is nothing in it yet.
    #[error("{path} has no metrics yet; try again when the run has logged something")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Writes the report of one run into its folder; gives the file.
///
/// # Errors
/// [`ReportError`]
pub fn write_into(run_dir: &Path) -> Result<PathBuf, ReportError> {
    let run = RunData::load(run_dir)?;
    let path = run_dir.join(REPORT_FILE);
    write(&path, &page::html(&[run]))?;
    Ok(path)
}

/// Replaces a file as a whole.
fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    atomic_file::replace(path, text.as_bytes()).map_err(|source| ReportError::Io {
        path: path.to_owned(),
        action: "write",
        source,
    })
}
