//! The atomic types of the workspace: `std`'s, or loom's under `--cfg loom`. No other file names them.
//!
//! Protocol code (`ring::protocol`, `params::seqlock`) takes slices of these words, so that loom can
//! supply its own. `SeqCst` accesses are not used anywhere: loom treats them as `AcqRel`. Where a
//! store must be ordered before a later load, a `fence(SeqCst)` says so.

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

mod read_word;

pub use read_word::ReadWord;
