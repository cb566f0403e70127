//! What the processes of a run tell about themselves, without locks and without system calls.
//!
//! [`counters`]: one padded block of words a process, one writer each; whoever maps them samples
//! them. They outlive the process, so that a killed actor loses nothing. [`table`] names them.
//! [`histogram`]: where a mean hides too much. [`status`]: the small named segment by which other
//! programs read a run, [`run_id`]: how they find it, and how what dead runs left is removed.

pub mod counters;
pub mod histogram;
pub mod run_id;
pub mod status;
pub mod table;
pub mod tensorboard;

pub use counters::{ActorCounters, Counters, LearnerCounters, Snapshot, Value};
pub use histogram::{Histogram, HistogramSnapshot};
pub use run_id::{RunEntry, RunId, list, sweep};
pub use status::{StatusError, StatusSegment, StatusView};
pub use table::{Actor, Descriptor, Kind, Learner, Phase, Table};
