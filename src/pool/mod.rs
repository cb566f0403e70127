//! A run of the supervisor: configuration, shared memory, processes, run folder, from the command line to the exit
//! code.
//!
//! Wires what the other modules are: children get environments, policy, ring and parameter page; the
//! supervisor gets a [`crate::supervisor::Pool`]. Everything that can be wrong with a command is found
//! before anything is forked or written.

mod app;
pub mod chaos;
mod console;
mod continued_logs;
mod hangs;
mod launcher;
mod line;
mod line_log;
mod memory;
mod metrics_log;
#[cfg(feature = "mpi")]
mod mpi;
mod never_works;
mod peers;
mod processes;
mod published;
mod reproducible;
mod roles;
mod run;
mod run_dir;
mod status;
mod summary;
mod tensorboard;
mod tracebacks;
mod trainer;
mod tuned;
mod tuning;

pub use app::{Program, command, main};
pub use memory::{MemoryPlan, PageError, PoolMemory, Seat};
pub use roles::give_way;
pub use run_dir::RunDirError;
pub use summary::{
    InferenceSummary, InjectedFaults, SlotCountsSummary, Status, Summary, TaskSummary,
};
pub use trainer::{TrainError, Trainer};
pub use tuned::TunedSummary;
pub use tuning::TuneError;
