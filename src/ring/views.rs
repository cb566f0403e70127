//! What the bytes of a slot and of a block mean. Shapes are those of [`Field`]; `E` is the group's width.

use bytemuck::{AnyBitPattern, NoUninit, Pod};

pub use super::slab::FrameRows;
use super::slab::{BlockBytes, GroupBytes};
use crate::unroll::{BlockLayout, Field, GroupHeader};

/// One claimed slot: E columns of a block, writable. The slot keeps what its last holder wrote until it
/// is overwritten.
#[derive(Debug)]
pub struct GroupMut<'a> {
    bytes: GroupBytes<'a>,
}

/// All that one acting step reads and writes, at once. Step `t` acts on observation `t` and brings about
/// observation `t + 1`.
#[derive(Debug)]
pub struct StepMut<'a> {
    /// Frames `t .. t + k`: observation `t`. Each `[E][frame]`.
    pub rows: FrameRows<'a>,
    /// `[E]` flags of observation `t`.
    pub flags: &'a [u8],
    /// `[E][outputs]` mask of observation `t`; empty without masks.
    pub mask: &'a [u8],
    /// `[E][W]` words of the actions taken at observation `t`.
    pub actions: &'a mut [i32],
    /// `[E]` log-probabilities of these actions under the behaviour policy.
    pub log_probs: &'a mut [f32],
    /// `[E][frame]` frame `t + k`: the newest of observation `t + 1`.
    pub next_frame: &'a mut [u8],
    /// `[E]` rewards of transition `t`.
    pub rewards: &'a mut [f32],
    /// `[E]` flags of observation `t + 1`.
    pub next_flags: &'a mut [u8],
    /// `[E][outputs]` mask of observation `t + 1`; empty without masks.
    pub next_mask: &'a mut [u8],
    /// `[E]` returns of episodes that end in observation `t + 1`.
    pub next_returns: &'a mut [f32],
    /// `[E]` lengths of episodes that end in observation `t + 1`, in steps.
    pub next_lengths: &'a mut [u32],
}

impl<'a> GroupMut<'a> {
    pub(super) const fn new(bytes: GroupBytes<'a>) -> Self {
        Self { bytes }
    }

    /// Where the fields lie.
    #[must_use]
    pub const fn layout(&self) -> &BlockLayout {
        self.bytes.layout()
    }

    /// Who filled the group, and with which weights.
    pub fn header_mut(&mut self) -> &mut GroupHeader {
        &mut self.row_mut::<GroupHeader>(Field::Header, 0)[0]
    }

    /// `[E]`: how many of the `k - 1` frames before observation 0 belong to its episode.
    pub fn history_mut(&mut self) -> &mut [u8] {
        self.bytes.row_mut(Field::History, 0)
    }

    /// `[E][frame]` frame `row`, `0 .. T + k`.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn frame(&self, row: usize) -> &[u8] {
        self.bytes.row(Field::Frame, row)
    }

    /// `[E][frame]` frame `row`, `0 .. T + k`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn frame_mut(&mut self, row: usize) -> &mut [u8] {
        self.bytes.row_mut(Field::Frame, row)
    }

    /// `[E]` flags of observation `t`, `0 ..= T`.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn flags(&self, t: usize) -> &[u8] {
        self.bytes.row(Field::Flags, t)
    }

    /// `[E]` flags of observation `t`, `0 ..= T`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn flags_mut(&mut self, t: usize) -> &mut [u8] {
        self.bytes.row_mut(Field::Flags, t)
    }

    /// The group's part of row `row` of any field: `[E]`, or one item for the header.
    ///
    /// # Panics
    /// If there is no such row, or its bytes are no whole number of `T`.
    #[must_use]
    pub fn row<T: AnyBitPattern>(&self, field: Field, row: usize) -> &[T] {
        bytemuck::cast_slice(self.bytes.row(field, row))
    }

    /// The same, to write.
    ///
    /// # Panics
    /// If there is no such row, or its bytes are no whole number of `T`.
    pub fn row_mut<T: AnyBitPattern + NoUninit>(&mut self, field: Field, row: usize) -> &mut [T] {
        bytemuck::cast_slice_mut(self.bytes.row_mut(field, row))
    }

    /// All parts of step `t`, `0 .. T`.
    ///
    /// # Panics
    /// If `t` is not below T.
    pub fn step(&mut self, t: usize) -> StepMut<'_> {
        let stack = self.layout().spec().frame_stack;
        let (rows, parts) = self.bytes.frames_and_rows_mut(
            t..t + stack,
            [
                (Field::Flags, t),
                (Field::Mask, t),
                (Field::Action, t),
                (Field::LogProb, t),
                (Field::Frame, t + stack),
                (Field::Reward, t),
                (Field::Flags, t + 1),
                (Field::Mask, t + 1),
                (Field::EpisodeReturn, t + 1),
                (Field::EpisodeLength, t + 1),
            ],
        );
        let [flags, mask, actions, log_probs, parts @ ..] = parts;
        let [next_frame, rewards, next_flags, next_mask, next_returns, next_lengths] = parts;
        StepMut {
            rows,
            flags,
            mask,
            actions: typed(actions),
            log_probs: typed(log_probs),
            next_frame,
            rewards: typed(rewards),
            next_flags,
            next_mask,
            next_returns: typed(next_returns),
            next_lengths: typed(next_lengths),
        }
    }
}

fn typed<T: Pod>(bytes: &mut [u8]) -> &mut [T] {
    bytemuck::cast_slice_mut(bytes)
}

/// One held block: a training batch, readable.
#[derive(Debug, Clone, Copy)]
pub struct BlockRef<'a> {
    bytes: BlockBytes<'a>,
    index: usize,
}

impl<'a> BlockRef<'a> {
    pub(super) const fn new(bytes: BlockBytes<'a>, index: usize) -> Self {
        Self { bytes, index }
    }

    /// Which block, below K.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Where the fields lie.
    #[must_use]
    pub const fn layout(&self) -> &'a BlockLayout {
        self.bytes.layout()
    }

    /// All items of a field in the order of [`Field`]'s shapes, 64-byte aligned.
    ///
    /// # Panics
    /// If the bytes of the field are no whole number of `T`.
    #[must_use]
    pub fn field<T: AnyBitPattern>(&self, field: Field) -> &'a [T] {
        bytemuck::cast_slice(self.bytes.field(field))
    }

    /// `[G]`: who filled each group, and with which weights.
    #[must_use]
    pub fn headers(&self) -> &'a [GroupHeader] {
        self.field(Field::Header)
    }
}
