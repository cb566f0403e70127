//! Memory shared by several processes, which cannot be truncated, overcommitted or left behind, and lock-free protocols
//! over its words.
//!
//! A [`Memory`] is a sealed memfd: it has no name in `/dev/shm`, its pages are really there before anybody maps it, and
//! it is gone when the last process that holds it is gone, however that ended. A [`Region`] is a mapping of it, or plain
//! heap memory in tests. Over its words:
//! - [`seqlock`]: one writer publishes whole versions, any number of readers copy them, and nobody waits;
//! - [`request`]: one asks and one answers, and either may be replaced meanwhile;
//! - [`EventCount`]: sleep until something changed, without a system call when nobody sleeps ([`futex`]).
//!
//! Each party may die at any instruction: no word of another party is ever left half written, and nobody waits for the
//! dead. The protocols are modelled with loom (`--cfg loom`), each of their orderings with a twin that is too weak and
//! must fail. Nothing here knows what lies in the memory.

#[doc(hidden)]
pub mod kill_point;

pub mod event_count;
pub mod request;
pub mod seqlock;
pub mod sync;

#[cfg(not(loom))]
pub mod futex;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod region;

pub use event_count::EventCount;
#[cfg(not(loom))]
pub use memory::{Memory, ShmError};
#[cfg(not(loom))]
pub use region::{Access, Inherit, Region};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
