//! `impala-sweep`: trains with many combinations of settings, with several seeds each, and compares them on one page.
//!
//! `file` and `args` say what is fixed and what is tried, `search` makes the combinations, `halving` the budgets, and
//! `plan` checks all of it before the first run. `runner` starts the runs, several at a time, and `outcome` reads what they
//! came to. `score` judges, `report` sums up, `tables` and `page` show it. Folder, children, curves and statistics are those of
//! [`impala_rl::trials`], which `impala-bench learn` uses as well. Nothing else in the product knows this crate.

mod args;
mod error;
mod file;
mod halving;
mod outcome;
mod page;
mod plan;
mod program;
mod progress;
mod report;
mod runner;
mod score;
mod search;
mod tables;

pub use args::SweepArgs;
pub use error::SweepError;
pub use outcome::Outcome;
pub use program::{command, main};
pub use score::Metric;
