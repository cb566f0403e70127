//! The content of slots and blocks: where each field of an unroll lies, and typed views of the bytes.
//!
//! A *block* is one training batch, time-major, each field one contiguous array, so that the learner's
//! tensors are views. A *group* is E neighbouring columns of a block: what one actor fills in one
//! unroll, in one slot of the ring. `docs/memory-layout.md` has the picture; [`crate::ring`] puts bytes behind it.

mod layout;
mod views;

pub use layout::{
    BlockLayout, Field, GroupHeader, LOSS_WORDS, LayoutError, MAX_FRAME_STACK, UnrollSpec,
};
pub use views::{BlockRef, GroupMut, StepMut};

/// An actor's end of a ring of unrolls.
pub type Producer<'m> = crate::ring::Producer<'m, BlockLayout>;
/// The learner's end of a ring of unrolls.
pub type Consumer<'m> = crate::ring::Consumer<'m, BlockLayout>;
/// A ring of unrolls with its bytes, for one party.
pub type Slab<'m> = crate::ring::Slab<'m, BlockLayout>;
/// A ring of unrolls within one process.
pub type HeapRing = crate::ring::HeapRing<BlockLayout>;
/// Gives the parties of a [`HeapRing`] their places.
pub type HeapSeats<'m> = crate::ring::HeapSeats<'m, BlockLayout>;
/// A batch of unrolls that the learner holds.
pub type ReadBlock<'m> = crate::ring::ReadBlock<'m, BlockLayout>;
