//! What the programs share that start many runs of `impala-supervisor`: `impala-sweep` and `impala-bench learn`.
//!
//! `child` starts programs and passes signals on to them, `folder` keeps what is done so that the same command goes on
//! where it was interrupted, `run_files` reads what a run left and `curve` its returns; `statistics` sums up, `table`
//! shows figures as text and on a page.

mod child;
mod curve;
mod folder;
mod program;
mod run_files;
mod statistics;
mod table;

pub use child::{Ended, Running, SystemError, Watch};
pub use curve::{Curve, Point, Reached, chart_of_seeds, over_seeds};
pub use folder::{Folder, FolderError, json};
pub use program::{PLAY, SUPERVISOR, beside, fingerprint};
pub use run_files::{last_metrics, last_words, read_json};
pub use statistics::Estimate;
pub use table::{Table, dash, interval, list, markdown, or_dash, score};
