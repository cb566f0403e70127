//! A run from the command line to the exit code: configuration, memory, processes, run folder.
//!
//! Wires what the other modules are: children get environments, policy, ring and parameter page; the
//! supervisor gets a [`crate::supervisor::Pool`]. Everything that can be wrong with a command is found
//! before anything is forked or written.

mod app;
mod console;
mod continued_logs;
mod line;
mod memory;
mod metrics_log;
mod processes;
mod published;
mod roles;
mod run;
mod run_dir;
mod status;
mod summary;
mod tensorboard;

pub use app::main;
pub use line::LINE;
pub use memory::{MemoryPlan, PoolMemory};
pub use roles::{network_spec, policy_of};
pub use run_dir::{RunDir, RunDirError};
pub use summary::{Status, Summary};
