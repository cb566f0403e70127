//! Where each field of an unroll lies in a block: pure arithmetic, no memory.
//!
//! A *block* is one training batch, time-major, each field one contiguous array, so that the learner's
//! tensors are views. A *group* is E neighbouring columns of a block: what one actor fills in one
//! unroll. `docs/memory-layout.md` has the picture; `ring::slab` puts bytes behind it.

mod layout;

pub use layout::{BlockLayout, Field, GroupHeader, LayoutError, MAX_FRAME_STACK, UnrollSpec};
