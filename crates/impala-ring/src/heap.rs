//! A ring on the heap of one process, for tests, benchmarks and examples; unlike with a ring over shared memory,
//! callers need no `unsafe`.
//!
//! Invariants, which the `SAFETY` comment cites:
//! - **H1** A [`HeapRing`] alone has its regions; nothing gives away a reference to its words.
//! - **H2** Slabs exist while it is borrowed uniquely by one [`HeapSeats`]; they are aliases of one slab.
//! - **H3** Heap memory is not shared with a forked child, which has copies of all of it.
#![allow(unsafe_code)]

use super::consumer::Consumer;
use super::layout::{BlockLayout, Layout};
use super::producer::Producer;
use super::protocol::{Ring, RingShape};
use super::slab::{Slab, SlabError};
use super::word::Owner;
use impala_shm::Region;
use impala_shm::sync::Ordering;

const WORD_BYTES: usize = size_of::<u64>();

/// The memory of a ring, on the heap.
///
/// ```
/// use std::time::Duration;
/// use impala_ring::{BlockLayout, FieldShape, HeapRing, Owner};
///
/// // Blocks of one slot with one field: two rows of one f32.
/// let layout = BlockLayout::new(1, &[FieldShape { rows: 2, group_bytes: 4 }])?;
/// let mut memory = HeapRing::new(2, layout)?;
/// let mut seats = memory.seats()?;
/// let mut actor = seats.producer(Owner::new(0, 1)?)?;
/// let mut learner = seats.consumer();
/// let mut grant = actor.claim(Duration::ZERO)?;
/// grant.slot_mut().row_mut::<f32>(0, 1).fill(2.5);
/// grant.commit()?;
/// assert_eq!(learner.take(Duration::ZERO)?.block().field::<f32>(0), [0.0, 2.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HeapRing<L = BlockLayout> {
    control: Region,
    payload: Region,
    layout: L,
    shape: RingShape,
}

impl<L: Layout> HeapRing<L> {
    /// An empty ring of `blocks` blocks, zeroed.
    ///
    /// # Errors
    /// [`SlabError`] if there can be no ring of so many blocks.
    pub fn new(blocks: usize, layout: L) -> Result<Self, SlabError> {
        let shape = RingShape { blocks, groups: layout.block_layout().groups() };
        let payload_bytes = Slab::payload_bytes(blocks, &layout)?;
        if blocks == 0 {
            return Err(super::RingError::Shape(shape).into());
        }
        let control_bytes = <Ring>::word_count(shape) * WORD_BYTES + <Ring>::wait_count() * 4;
        Ok(Self {
            control: Region::heap(control_bytes),
            payload: Region::heap(payload_bytes),
            layout,
            shape,
        })
    }

    /// Overwrites the payload: what was there before must not matter to anybody.
    pub fn scribble(&mut self, byte: u8) {
        let words = self.payload.words(0, self.payload.len_bytes() / WORD_BYTES);
        let scribble = u64::from_ne_bytes([byte; WORD_BYTES]);
        words.iter().for_each(|word| word.store(scribble, Ordering::Relaxed));
    }

    /// The places of the parties, which may be in several threads.
    ///
    /// One at a time, so that nobody is given a place twice:
    /// ```compile_fail,E0499
    /// fn twice(memory: &mut impala_ring::HeapRing) {
    ///     let first = memory.seats().unwrap();
    ///     let second = memory.seats().unwrap();
    ///     drop(first);
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SlabError`] if there can be no ring of this shape.
    pub fn seats(&mut self) -> Result<HeapSeats<'_, L>, SlabError> {
        let Self { control, payload, layout, shape } = self;
        let words = control.words(0, <Ring>::word_count(*shape));
        let waits = control.words32(words.len() * WORD_BYTES, <Ring>::wait_count());
        let ring = Ring::new(words, waits, *shape)?;
        // SAFETY: the ring's words and the payload are reached by this slab and its aliases alone (H1, H2),
        // and a fork shares neither (H3).
        let slab = unsafe { Slab::new(ring, payload, layout) }?;
        Ok(HeapSeats { slab, seated: Vec::new() })
    }
}

/// Gives the parties of a [`HeapRing`] their places.
#[derive(Debug)]
pub struct HeapSeats<'m, L = BlockLayout> {
    slab: Slab<'m, L>,
    seated: Vec<Owner>,
}

impl<'m, L: Layout> HeapSeats<'m, L> {
    /// A producer that writes as `owner`.
    ///
    /// # Errors
    /// [`SlabError::Seated`] if there was one of this owner before: a new process needs a new incarnation.
    pub fn producer(&mut self, owner: Owner) -> Result<Producer<'m, L>, SlabError> {
        if self.seated.contains(&owner) {
            let (actor, incarnation) = (owner.actor(), owner.incarnation());
            return Err(SlabError::Seated { actor, incarnation });
        }
        self.seated.push(owner);
        Producer::new(self.slab.alias(), owner)
    }

    /// A consumer. There is one at a time: two would never have the same block, but they would take each
    /// other's changes for a corrupt ring.
    pub fn consumer(&mut self) -> Consumer<'m, L> {
        Consumer::new(self.slab.alias())
    }

    /// The ring.
    #[must_use]
    pub const fn ring(&self) -> Ring<'m> {
        self.slab.ring()
    }
}
