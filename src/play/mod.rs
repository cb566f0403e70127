//! `impala-play`: plays episodes with the weights of a checkpoint, prints the returns, and shows the episodes.
//!
//! [`Policy`] acts on observations that it is handed, for whoever deploys what was trained; `state` is what it remembers of an episode, `stacks` lays
//! frames out for it. `source` finds the weights.
//! `agent` is the same policy code that actors run, fed from a small stack of frames instead of the ring.
//! `evaluate` plays episodes, `canvas` is a small image, `draw` paints environments on it from what they
//! observe, `show` puts it on a terminal and into a GIF, `output` is the file of results, `args` is the command line.

mod agent;
mod args;
mod canvas;
mod draw;
mod error;
mod evaluate;
mod output;
mod policy;
mod show;
mod source;
mod stacks;
mod state;

pub use agent::Choice;
pub use args::{command, main};
pub use error::PlayError;
pub use policy::Policy;
pub use state::Seen;
