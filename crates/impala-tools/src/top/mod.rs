//! `impala-top`: shows live figures of the runs on this machine.
//!
//! `runs` finds and reads the status segments, `figures` turns two readings into rates, `table` writes them
//! as text, `screen` shows that on a terminal and takes keys, `args` is the command line. It maps segments
//! read-only and sends nothing to anyone: a run cannot tell whether it is watched. The page of `impala-report --serve`
//! shows the same figures.

mod args;
mod figures;
mod runs;
mod screen;
mod table;

pub use args::{command, main};
pub(crate) use figures::Figures;
pub(crate) use runs::Runs;
pub(crate) use table::{actor_cells, head};
