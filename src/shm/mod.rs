//! Shared memory that cannot be truncated, overbooked or left behind, and waiting on words in it.
//!
//! Knows nothing of what lies in it. A [`Memory`] is a sealed memfd: it has no name in `/dev/shm`, its
//! pages are really there before anybody maps it, and it is gone when the last process that holds it is
//! gone, however that ended. A [`Region`] is a mapping of it, or plain heap memory in tests.

pub mod futex;
mod memory;
mod region;

pub use memory::{Memory, ShmError};
pub use region::{Access, Inherit, Region};
