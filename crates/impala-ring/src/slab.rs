//! The payload of the ring: the only code that turns a claimed or held slot into references to its bytes.
//!
//! Together with `protocol` this is the trusted core. `protocol` mints the tokens, loom checks that a
//! slot has one at a time; this file turns a token into references. Invariants, which the `SAFETY`
//! comments cite:
//! - **I1** From `base`, `K * block_bytes` bytes are readable and initialised for `'m`, writable if
//!   `access` says so, and aligned to a page: [`Slab::new`] checked it against the [`Region`].
//! - **I2** Who called [`Slab::new`] has promised that the bytes are reached through tokens of one ring
//!   alone, in every process, and never as atomic words; and that the words of that ring change through
//!   the protocol alone. In this process the unique borrow of the region for `'m` sees to the first.
//! - **I3** The ranges of `BlockLayout` lie in the block, and those of two (field, row, group) do not
//!   overlap (tested there: every byte of every field belongs to one group).
//! - **I4** A `Claim` means that its slot is CLAIMED and that nobody else has a token for it. Not
//!   `Clone`, minted by `Ring::claim` alone; a `&mut Claim` therefore stands for the sole access.
//! - **I5** A `Held` means that every slot of its block is HELD: nobody writes there until it is
//!   released, which consumes it.
//! - **I6** The acquire and release operations on the slot word order all accesses of one holder before
//!   those of the next.
//!
//! I2, I4 and I5 reach across processes, where no compiler can check them. So [`Slab::new`], `Ring::reclaim`
//! and `Ring::learner_died` are `unsafe`: the first promises I2, the others that a token is gone. [`super::HeapRing`]
//! needs no promise.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

use bytemuck::{AnyBitPattern, NoUninit};
use impala_shm::{Access, Region};

use super::error::RingError;
use super::layout::{BlockLayout, Layout};
use super::protocol::{Claim, Held, Ring};

/// Why ring, payload and layout do not fit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlabError {
    /// Groups of the ring and of the layout differ.
    #[error(
        "the ring has {ring} groups per block, the layout {layout}; make both from one configuration"
    )]
    Groups {
        /// G of the ring.
        ring: usize,
        /// G of the layout.
        layout: usize,
    },
    /// The payload is shorter than the blocks.
    #[error("{blocks} blocks need {need_bytes} bytes of payload, but there are {have_bytes}")]
    TooSmall {
        /// K.
        blocks: usize,
        /// Bytes of K blocks.
        need_bytes: usize,
        /// Bytes of the region.
        have_bytes: usize,
    },
    /// K blocks are larger than an address space.
    #[error(
        "{blocks} blocks of this layout do not fit the address space; ask for fewer blocks, or smaller ones"
    )]
    TooLarge {
        /// K.
        blocks: usize,
    },
    /// The ring cannot be made.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A second producer of one owner.
    #[error(
        "incarnation {incarnation} of actor {actor} writes already; give each producer an owner of its own"
    )]
    Seated {
        /// Number of the actor.
        actor: u16,
        /// Which incarnation of it.
        incarnation: u16,
    },
    /// A producer over memory that this process may only read.
    #[error("the payload is mapped read-only here; map it Access::ReadWrite to produce")]
    ReadOnly,
}

/// A ring with its payload, for one party: it becomes a producer or a consumer, and cannot be copied.
///
/// ```compile_fail,E0382
/// use impala_ring::{Consumer, Slab};
/// fn two(slab: Slab<'_>) {
///     let first = Consumer::new(slab);
///     let second = Consumer::new(slab);
/// }
/// ```
#[derive(Debug)]
pub struct Slab<'m, L = BlockLayout> {
    ring: Ring<'m>,
    /// What the owner of the memory says of its fields.
    layout: &'m L,
    /// Asked of it once, so that I3 rests on one answer.
    block_layout: &'m BlockLayout,
    base: NonNull<u8>,
    access: Access,
    payload: PhantomData<&'m mut Region>,
}

// SAFETY: the bytes belong to the process (I1); who may touch them is decided by tokens, not threads,
// and the words of the ring order them between threads (I6).
unsafe impl<L: Sync> Send for Slab<'_, L> {}
// SAFETY: as above; a `&Slab` without a token reaches no byte.
unsafe impl<L: Sync> Sync for Slab<'_, L> {}

impl<'m, L: Layout> Slab<'m, L> {
    /// Bytes of payload that `blocks` blocks need.
    ///
    /// # Errors
    /// [`SlabError::TooLarge`].
    pub fn payload_bytes(blocks: usize, layout: &L) -> Result<usize, SlabError> {
        blocks
            .checked_mul(layout.block_layout().block_bytes())
            .ok_or(SlabError::TooLarge { blocks })
    }

    /// Binds the payload to its ring. The region is borrowed uniquely for as long as the slab is used,
    /// so that its bytes are reached through claims and blocks of this ring only.
    ///
    /// Safe code has [`super::HeapRing`] instead:
    /// ```compile_fail,E0133
    /// use impala_ring::{BlockLayout, Ring, Slab};
    /// use impala_shm::Region;
    /// fn bind<'m>(ring: Ring<'m>, payload: &'m mut Region, layout: &'m BlockLayout) -> Slab<'m> {
    ///     Slab::new(ring, payload, layout).unwrap()
    /// }
    /// ```
    ///
    /// # Safety
    /// As long as anybody, in any process, has a slab over the memory of `payload`:
    /// - **S1** The ring's words change only through rings over these words, of this shape.
    /// - **S2** The memory of `payload` is reached, through any mapping, only by slabs of this ring with an
    ///   equal layout; or for the holder of a claim or of a block, while it waits.
    /// - **S3** What a producer or consumer holds is not used on both sides of a fork (a mapping that is
    ///   not inherited sees to that).
    ///
    /// # Errors
    /// [`SlabError`] if ring, layout and region do not fit each other.
    pub unsafe fn new(
        ring: Ring<'m>,
        payload: &'m mut Region,
        layout: &'m L,
    ) -> Result<Self, SlabError> {
        let (shape, block_layout) = (ring.shape(), layout.block_layout());
        if shape.groups != block_layout.groups() {
            return Err(SlabError::Groups { ring: shape.groups, layout: block_layout.groups() });
        }
        let need_bytes = Self::payload_bytes(shape.blocks, layout)?;
        let have_bytes = payload.len_bytes();
        if have_bytes < need_bytes {
            return Err(SlabError::TooSmall { blocks: shape.blocks, need_bytes, have_bytes });
        }
        let (base, access) = (payload.base(), payload.access());
        Ok(Self { ring, layout, block_layout, base, access, payload: PhantomData })
    }

    /// The same slab, for the ring's own use: what it has handed out goes by tokens.
    pub(super) const fn alias(&self) -> Self {
        let Self { ring, layout, block_layout, base, access, payload: PhantomData } = *self;
        Self { ring, layout, block_layout, base, access, payload: PhantomData }
    }

    /// The ring that decides who may touch which bytes.
    #[must_use]
    pub const fn ring(&self) -> Ring<'m> {
        self.ring
    }

    /// What the fields of a block are.
    #[must_use]
    pub const fn layout(&self) -> &'m L {
        self.layout
    }

    /// What this process may do with the payload.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// The bytes of a claimed slot.
    ///
    /// # Panics
    /// If the payload is mapped read-only.
    pub(super) fn slot<'a>(&self, claim: &'a mut Claim) -> SlotMut<'a, L>
    where
        'm: 'a,
    {
        assert_eq!(self.access, Access::ReadWrite, "{}", SlabError::ReadOnly);
        let groups = self.block_layout.groups();
        SlotMut {
            block: self.block_base(claim.slot() / groups),
            layout: self.layout,
            block_layout: self.block_layout,
            group: claim.slot() % groups,
            claim: PhantomData,
        }
    }

    /// The bytes of a held block.
    pub(super) fn block<'a>(&self, held: &'a Held) -> BlockRef<'a, L>
    where
        'm: 'a,
    {
        BlockRef {
            block: self.block_base(held.block()),
            layout: self.layout,
            block_layout: self.block_layout,
            index: held.block(),
            held: PhantomData,
        }
    }

    fn block_base(&self, block: usize) -> NonNull<u8> {
        assert!(block < self.ring.shape().blocks, "block {block}");
        // SAFETY: a block below K begins inside the payload (I1).
        unsafe { self.base.byte_add(block * self.block_layout.block_bytes()) }
    }
}

/// A claimed slot: its part of a block, writable. It keeps what its last holder wrote until it is overwritten.
#[derive(Debug)]
pub struct SlotMut<'a, L = BlockLayout> {
    block: NonNull<u8>,
    layout: &'a L,
    block_layout: &'a BlockLayout,
    group: usize,
    claim: PhantomData<&'a mut Claim>,
}

/// Most rows that [`Rows`] holds.
pub const MAX_ROWS: usize = 16;

/// Neighbouring rows of one field of one slot.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    rows: [&'a [u8]; MAX_ROWS],
    len: usize,
}

impl<'a> std::ops::Deref for Rows<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &[&'a [u8]] {
        &self.rows[..self.len]
    }
}

impl<'a, L> SlotMut<'a, L> {
    /// What the fields of a block are.
    #[must_use]
    pub const fn layout(&self) -> &'a L {
        self.layout
    }

    /// The slot's part of one row of a field.
    ///
    /// # Panics
    /// If there is no such row, or its bytes are not a whole number of `T`.
    #[must_use]
    pub fn row<T: AnyBitPattern>(&self, field: usize, row: usize) -> &[T] {
        let bytes = self.bytes(field, row);
        // SAFETY: initialised bytes of this slot (I1, I3) that nobody writes while `self`, which stands
        // for the claim, is borrowed (I4).
        bytemuck::cast_slice(unsafe { bytes.as_ref() })
    }

    /// The same, to write.
    ///
    /// # Panics
    /// If there is no such row, or its bytes are not a whole number of `T`.
    pub fn row_mut<T: AnyBitPattern + NoUninit>(&mut self, field: usize, row: usize) -> &mut [T] {
        let [bytes] = self.rows_mut([(field, row)]);
        bytemuck::cast_slice_mut(bytes)
    }

    /// Several rows (`(field, row)`) at once, to write.
    ///
    /// # Panics
    /// If there is no such row, or one is named twice.
    pub(crate) fn rows_mut<const N: usize>(&mut self, rows: [(usize, usize); N]) -> [&mut [u8]; N] {
        for (i, row) in rows.iter().enumerate() {
            assert!(!rows[..i].contains(row), "{row:?} twice");
        }
        rows.map(|(field, row)| {
            let mut bytes = self.bytes(field, row);
            // SAFETY: initialised, writable bytes of this slot (I1, I3); no other reference to them
            // exists, because `self` is borrowed uniquely (I4) and the rows differ (I3).
            unsafe { bytes.as_mut() }
        })
    }

    /// Some rows of a field to read, and other rows to write.
    ///
    /// # Panics
    /// If there is no such row, one is named twice, or more than [`MAX_ROWS`] are to be read.
    pub fn read_and_write<const N: usize>(
        &mut self,
        (read_field, read): (usize, Range<usize>),
        write: [(usize, usize); N],
    ) -> (Rows<'_>, [&mut [u8]; N]) {
        for (field, row) in write {
            assert!(field != read_field || !read.contains(&row), "row {row} read and written");
        }
        let mut rows = Rows { rows: [&[]; MAX_ROWS], len: read.len() };
        for (slot, row) in rows.rows[..read.len()].iter_mut().zip(read) {
            let bytes = self.bytes(read_field, row);
            // SAFETY: initialised bytes of this slot (I1, I3); the only references made beside this are
            // to other rows (checked above, I3), and `self` is borrowed uniquely (I4).
            *slot = unsafe { bytes.as_ref() };
        }
        (rows, self.rows_mut(write))
    }

    fn bytes(&self, field: usize, row: usize) -> NonNull<[u8]> {
        part(self.block, self.block_layout.group_range(field, row, self.group))
    }
}

/// A held block: all its slots, readable.
#[derive(Debug)]
pub struct BlockRef<'a, L = BlockLayout> {
    block: NonNull<u8>,
    layout: &'a L,
    block_layout: &'a BlockLayout,
    index: usize,
    held: PhantomData<&'a Held>,
}

// By hand: a derive would ask it of L too.
impl<L> Clone for BlockRef<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for BlockRef<'_, L> {}

impl<'a, L> BlockRef<'a, L> {
    /// What the fields of a block are.
    #[must_use]
    pub const fn layout(&self) -> &'a L {
        self.layout
    }

    /// Which block, below K.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// A field of all slots, `[rows][G][group]`, 64-byte aligned.
    ///
    /// # Panics
    /// If there is no such field, or its bytes are not a whole number of `T`.
    #[must_use]
    pub fn field<T: AnyBitPattern>(&self, field: usize) -> &'a [T] {
        let bytes = part(self.block, self.block_layout.field_range(field));
        // SAFETY: initialised bytes of the block (I1, I3) that nobody writes for `'a`, for which the
        // token is borrowed (I5).
        bytemuck::cast_slice(unsafe { bytes.as_ref() })
    }
}

// SAFETY: no more than a `&mut [u8]` of these bytes would be, which may move between threads (I4, I6).
unsafe impl<L: Sync> Send for SlotMut<'_, L> {}
// SAFETY: as for `&&mut [u8]`.
unsafe impl<L: Sync> Sync for SlotMut<'_, L> {}
// SAFETY: no more than a `&[u8]` of these bytes (I5, I6).
unsafe impl<L: Sync> Send for BlockRef<'_, L> {}
// SAFETY: as above.
unsafe impl<L: Sync> Sync for BlockRef<'_, L> {}

fn part(block: NonNull<u8>, range: Range<usize>) -> NonNull<[u8]> {
    // SAFETY: ranges of the layout lie in the block, and the block in the payload (I1, I3).
    let first = unsafe { block.byte_add(range.start) };
    NonNull::slice_from_raw_parts(first, range.len())
}
