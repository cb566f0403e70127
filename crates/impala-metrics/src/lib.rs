//! Metrics of a run: counters in shared memory, and the records, files and status segment that they are published in.
//!
//! [`counters`]: one padded block of words a process, one writer each; whoever maps them samples
//! them. They outlive the process, so that a killed actor loses nothing. [`table`] names them.
//! [`record`]: all of it at one moment, as it is written and read. [`histogram`]: where a mean hides too
//! much. [`status`]: the small named segment by which other programs read a run, [`status_record`]: what
//! it holds, [`run_id`]: how they find it, and how what dead runs left is removed. [`atomic_file`]: files that are
//! read while a run replaces them. [`human`]: numbers as people read them.

pub mod atomic_file;
pub mod counters;
pub mod histogram;
pub mod human;
pub mod rank_record;
pub mod record;
pub mod run_id;
pub mod status;
pub mod status_record;
pub mod table;
pub mod tensorboard;

pub use atomic_file::AtomicFile;
pub use counters::{
    ActorCounters, Counters, LearnerCounters, PolicyCounters, Snapshot, TaskCounters,
};
pub use histogram::{Histogram, HistogramSnapshot};
pub use rank_record::{RANKS_FILE, RankRecord};
pub use record::{
    ActorsRecord, CpuRecord, LINE, LearnerRecord, MemoryRecord, MetricsRecord, PerActorRecord,
    PolicyRecord, RingRecord, TaskRecord,
};
pub use run_id::{RunEntry, RunId, list, sweep};
pub use status::{StatusError, StatusSegment, StatusView};
pub use status_record::{ChildRecord, FaultsRecord, PoolRecord, StatusRecord};
pub use table::{
    ActorCounter, Descriptor, Kind, LearnerCounter, Phase, PolicyCounter, Table, TaskCounter,
};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
