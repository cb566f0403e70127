//! A lock-free ring of batch blocks in memory that processes share: producers write in place, one consumer reads in
//! place, and each of them may be killed at any instruction.
//!
//! A ring is K blocks of G slots. A *block* is one batch; a *slot* is one producer's part of it. A producer (an
//! *actor*) claims a slot, writes it at its leisure, and commits it. A block whose slots are all committed can be taken
//! by the consumer (the *learner*), read, and released. Nothing is copied, and nothing is locked. What the bytes mean is
//! the business of a [`Layout`]; the ring knows fields, rows and groups only.
//!
//! What it promises:
//! - The learner never sees a slot that is not completely written by one incarnation of one actor.
//! - A party may die anywhere, at any instruction. The supervisor, having reaped it, returns what it
//!   held ([`Ring::reclaim`], [`Ring::learner_died`]); all others go on meanwhile.
//! - Nothing is lost unseen: at any quiet point the sum of all generations is consumed + reclaimed + dropped
//!   ([`Ring::slot_counts`]).
//! - Blocks are taken in any order, so one slow actor holds up one block, not the run; or, where the consumer asks for it,
//!   in turn, each producer filling its own groups of the one block that is open ([`Consumer::take_in_turn`]).
//! - A word that no party can have written stops the run ([`RingError::Corrupt`]); it is never guessed at.
//!
//! How it is built, from the inside out: `word` (what a slot may do, pure), `orders` (every memory
//! ordering), `protocol` (claim to release, over words and indices) with `turns` (one block open at a time) and `recovery` (deaths); then, not under loom, `waiting` (clock and futex), `slab` (the bytes), `producer` and
//! `consumer`, and `heap` (a ring within one process). loom runs the part before the semicolon. `unsafe` are
//! `slab` and `heap` alone; what a caller must promise, it promises by an `unsafe` call.

#![cfg_attr(loom, allow(dead_code, reason = "loom runs the protocol, without what surrounds it"))]

mod error;
mod orders;
mod protocol;
mod recovery;
mod turns;
mod word;

#[cfg(not(loom))]
mod consumer;
#[cfg(not(loom))]
mod heap;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod producer;
#[cfg(not(loom))]
mod slab;
#[cfg(not(loom))]
mod waiting;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod model_tests;
#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(not(loom))]
pub use consumer::{Consumer, ReadBlock, TakeError};
pub use error::RingError;
#[cfg(not(loom))]
pub use heap::{HeapRing, HeapSeats};
#[cfg(not(loom))]
pub use layout::{BlockLayout, FieldShape, Layout, LayoutError};
pub use orders::{DefaultOrders, Orders};
#[cfg(not(loom))]
pub use producer::{ClaimError, Producer, WriteGrant};
pub use protocol::{CommitError, Ring, RingShape};
pub use recovery::{CrashRecord, LearnerLoss, Occupancy, SlotCounts};
#[cfg(not(loom))]
pub use slab::{BlockRef, MAX_ROWS, Rows, Slab, SlabError, SlotMut};
pub use turns::OwnGroups;
#[cfg(not(loom))]
pub use waiting::RESCAN_MS;
pub use word::{IllegalTransition, Owner, SlotWord, State, Transition};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
