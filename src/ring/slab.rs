//! The bytes behind the ring: the only door from an index to payload.
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
//! and `Ring::learner_died` are `unsafe`: the first promises I2, the others that a token is gone. Of the
//! product only `pool::memory::seat` calls them; [`super::HeapRing`] needs no promise.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

use super::error::RingError;
use super::protocol::{Claim, Held, Ring};
use crate::shm::{Access, Region};
use crate::unroll::{BlockLayout, Field, MAX_FRAME_STACK};

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
        "{blocks} blocks of this layout do not fit the address space; lower --blocks or --batch"
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
        "life {incarnation} of actor {actor} writes already; give each producer an owner of its own"
    )]
    Seated {
        /// Number of the actor.
        actor: u16,
        /// Which life of it.
        incarnation: u16,
    },
    /// A producer over memory that this process may only read.
    #[error("the payload is mapped read-only here; map it Access::ReadWrite to produce")]
    ReadOnly,
}

/// A ring with its payload, for one party: it becomes a producer or a consumer, and cannot be copied.
///
/// ```compile_fail,E0382
/// use impala::ring::{Consumer, Slab};
/// fn two(slab: Slab<'_>) {
///     let first = Consumer::new(slab);
///     let second = Consumer::new(slab);
/// }
/// ```
#[derive(Debug)]
pub struct Slab<'m> {
    ring: Ring<'m>,
    layout: &'m BlockLayout,
    base: NonNull<u8>,
    access: Access,
    payload: PhantomData<&'m mut Region>,
}

// SAFETY: the bytes belong to the process (I1); who may touch them is decided by tokens, not threads,
// and the words of the ring order them between threads (I6).
unsafe impl Send for Slab<'_> {}
// SAFETY: as above; a `&Slab` without a token reaches no byte.
unsafe impl Sync for Slab<'_> {}

impl<'m> Slab<'m> {
    /// Bytes of payload that `blocks` blocks need.
    ///
    /// # Errors
    /// [`SlabError::TooLarge`].
    pub fn payload_bytes(blocks: usize, layout: &BlockLayout) -> Result<usize, SlabError> {
        blocks.checked_mul(layout.block_bytes()).ok_or(SlabError::TooLarge { blocks })
    }

    /// Binds the payload to its ring. The region is borrowed uniquely for as long as the slab is used,
    /// so that its bytes are reached through claims and blocks of this ring only.
    ///
    /// Safe code has [`super::HeapRing`] and `PoolMemory::seat` instead:
    /// ```compile_fail,E0133
    /// use impala::{ring::{Ring, Slab}, shm::Region, unroll::BlockLayout};
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
        layout: &'m BlockLayout,
    ) -> Result<Self, SlabError> {
        let shape = ring.shape();
        if shape.groups != layout.groups() {
            return Err(SlabError::Groups { ring: shape.groups, layout: layout.groups() });
        }
        let need_bytes = Self::payload_bytes(shape.blocks, layout)?;
        let have_bytes = payload.len_bytes();
        if have_bytes < need_bytes {
            return Err(SlabError::TooSmall { blocks: shape.blocks, need_bytes, have_bytes });
        }
        let (base, access) = (payload.base(), payload.access());
        Ok(Self { ring, layout, base, access, payload: PhantomData })
    }

    /// The same slab, for the ring's own use: what it has handed out goes by tokens.
    pub(super) const fn alias(&self) -> Self {
        let Self { ring, layout, base, access, payload: PhantomData } = *self;
        Self { ring, layout, base, access, payload: PhantomData }
    }

    /// The ring that decides who may touch which bytes.
    #[must_use]
    pub const fn ring(&self) -> Ring<'m> {
        self.ring
    }

    /// Where the fields of a block lie.
    #[must_use]
    pub const fn layout(&self) -> &'m BlockLayout {
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
    pub(super) fn group<'a>(&self, claim: &'a mut Claim) -> GroupBytes<'a>
    where
        'm: 'a,
    {
        assert_eq!(self.access, Access::ReadWrite, "{}", SlabError::ReadOnly);
        let groups = self.layout.groups();
        GroupBytes {
            block: self.block_base(claim.slot() / groups),
            layout: self.layout,
            group: claim.slot() % groups,
            claim: PhantomData,
        }
    }

    /// The bytes of a held block.
    pub(super) fn block<'a>(&self, held: &'a Held) -> BlockBytes<'a>
    where
        'm: 'a,
    {
        BlockBytes { block: self.block_base(held.block()), layout: self.layout, held: PhantomData }
    }

    fn block_base(&self, block: usize) -> NonNull<u8> {
        assert!(block < self.ring.shape().blocks, "block {block}");
        // SAFETY: a block below K begins inside the payload (I1).
        unsafe { self.base.byte_add(block * self.layout.block_bytes()) }
    }
}

/// The bytes of one slot, for its only writer.
#[derive(Debug)]
pub(super) struct GroupBytes<'a> {
    block: NonNull<u8>,
    layout: &'a BlockLayout,
    group: usize,
    claim: PhantomData<&'a mut Claim>,
}

/// Frame rows `t .. t + k` of one group, oldest first: what the network sees of observation `t`.
#[derive(Debug, Clone, Copy)]
pub struct FrameRows<'a> {
    rows: [&'a [u8]; MAX_FRAME_STACK],
    len: usize,
}

impl<'a> std::ops::Deref for FrameRows<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &[&'a [u8]] {
        &self.rows[..self.len]
    }
}

impl GroupBytes<'_> {
    pub(super) const fn layout(&self) -> &BlockLayout {
        self.layout
    }

    /// The group's part of one row of a field.
    ///
    /// # Panics
    /// If there is no such row.
    pub(super) fn row(&self, field: Field, row: usize) -> &[u8] {
        let bytes = self.bytes(field, row);
        // SAFETY: initialised bytes of this slot (I1, I3) that nobody writes while `self`, which stands
        // for the claim, is borrowed (I4).
        unsafe { bytes.as_ref() }
    }

    /// The same, to write.
    ///
    /// # Panics
    /// If there is no such row.
    pub(super) fn row_mut(&mut self, field: Field, row: usize) -> &mut [u8] {
        let [bytes] = self.rows_mut([(field, row)]);
        bytes
    }

    /// Several rows at once, to write.
    ///
    /// # Panics
    /// If there is no such row, or one is named twice.
    pub(super) fn rows_mut<const N: usize>(&mut self, rows: [(Field, usize); N]) -> [&mut [u8]; N] {
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

    /// Frame rows `read` to read, and other rows to write.
    ///
    /// # Panics
    /// If there is no such row, one is named twice, or `read` has more than [`MAX_FRAME_STACK`] rows.
    pub(super) fn frames_and_rows_mut<const N: usize>(
        &mut self,
        read: Range<usize>,
        write: [(Field, usize); N],
    ) -> (FrameRows<'_>, [&mut [u8]; N]) {
        for (field, row) in write {
            assert!(field != Field::Frame || !read.contains(&row), "frame {row} read and written");
        }
        let mut frames = FrameRows { rows: [&[]; MAX_FRAME_STACK], len: read.len() };
        for (slot, row) in frames.rows[..read.len()].iter_mut().zip(read) {
            let bytes = self.bytes(Field::Frame, row);
            // SAFETY: initialised bytes of this slot (I1, I3); the only references made beside this are
            // to other rows (checked above, I3), and `self` is borrowed uniquely (I4).
            *slot = unsafe { bytes.as_ref() };
        }
        (frames, self.rows_mut(write))
    }

    fn bytes(&self, field: Field, row: usize) -> NonNull<[u8]> {
        part(self.block, self.layout.group_range(field, row, self.group))
    }
}

/// The bytes of one block, for its only reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockBytes<'a> {
    block: NonNull<u8>,
    layout: &'a BlockLayout,
    held: PhantomData<&'a Held>,
}

impl<'a> BlockBytes<'a> {
    pub(super) const fn layout(&self) -> &'a BlockLayout {
        self.layout
    }

    /// All bytes of a field.
    pub(super) fn field(&self, field: Field) -> &'a [u8] {
        let bytes = part(self.block, self.layout.field_range(field));
        // SAFETY: initialised bytes of the block (I1, I3) that nobody writes for `'a`, for which the
        // token is borrowed (I5).
        unsafe { bytes.as_ref() }
    }
}

// SAFETY: no more than a `&mut [u8]` of these bytes would be, which may move between threads (I4, I6).
unsafe impl Send for GroupBytes<'_> {}
// SAFETY: as for `&&mut [u8]`.
unsafe impl Sync for GroupBytes<'_> {}
// SAFETY: no more than a `&[u8]` of these bytes (I5, I6).
unsafe impl Send for BlockBytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for BlockBytes<'_> {}

fn part(block: NonNull<u8>, range: Range<usize>) -> NonNull<[u8]> {
    // SAFETY: ranges of the layout lie in the block, and the block in the payload (I1, I3).
    let first = unsafe { block.byte_add(range.start) };
    NonNull::slice_from_raw_parts(first, range.len())
}
