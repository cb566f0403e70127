//! Typed views of the bytes of a slot and of a block. Shapes are those of [`Field`]; `E` is the group's width.

use bytemuck::{AnyBitPattern, NoUninit, Pod};

use super::layout::{BlockLayout, Field, GroupHeader};
use crate::ring::{self, Rows, SlotMut};

/// One claimed slot: E columns of a block, writable. The slot keeps what its last holder wrote until it
/// is overwritten.
#[derive(Debug)]
pub struct GroupMut<'a> {
    slot: SlotMut<'a, BlockLayout>,
}

/// All that one acting step reads and writes, at once. Step `t` acts on observation `t` and brings about
/// observation `t + 1`.
#[derive(Debug)]
pub struct StepMut<'a> {
    /// Frames `t .. t + k`: observation `t`. Each `[E][frame]`.
    pub rows: Rows<'a>,
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
    /// The group in a claimed slot.
    #[must_use]
    pub const fn new(slot: SlotMut<'a, BlockLayout>) -> Self {
        Self { slot }
    }

    /// Where the fields lie.
    #[must_use]
    pub const fn layout(&self) -> &BlockLayout {
        self.slot.layout()
    }

    /// Who filled the group, and with which weights.
    pub fn header_mut(&mut self) -> &mut GroupHeader {
        &mut self.row_mut::<GroupHeader>(Field::Header, 0)[0]
    }

    /// `[E]`: how many of the `k - 1` frames before observation 0 belong to its episode.
    pub(crate) fn history_mut(&mut self) -> &mut [u8] {
        self.slot.row_mut(Field::History.index(), 0)
    }

    /// `[E][frame]` frame `row`, `0 .. T + k`.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub(crate) fn frame(&self, row: usize) -> &[u8] {
        self.slot.row(Field::Frame.index(), row)
    }

    /// `[E][frame]` frame `row`, `0 .. T + k`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn frame_mut(&mut self, row: usize) -> &mut [u8] {
        self.slot.row_mut(Field::Frame.index(), row)
    }

    /// `[E]` flags of observation `t`, `0 ..= T`.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub(crate) fn flags(&self, t: usize) -> &[u8] {
        self.slot.row(Field::Flags.index(), t)
    }

    /// `[E]` flags of observation `t`, `0 ..= T`.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn flags_mut(&mut self, t: usize) -> &mut [u8] {
        self.slot.row_mut(Field::Flags.index(), t)
    }

    /// The group's part of row `row` of any field: `[E]`, or one item for the header.
    ///
    /// # Panics
    /// If there is no such row, or its bytes are not a whole number of `T`.
    #[must_use]
    pub(crate) fn row<T: AnyBitPattern>(&self, field: Field, row: usize) -> &[T] {
        self.slot.row(field.index(), row)
    }

    /// The same, to write.
    ///
    /// # Panics
    /// If there is no such row, or its bytes are not a whole number of `T`.
    pub fn row_mut<T: AnyBitPattern + NoUninit>(&mut self, field: Field, row: usize) -> &mut [T] {
        self.slot.row_mut(field.index(), row)
    }

    /// All parts of step `t`, `0 .. T`.
    ///
    /// # Panics
    /// If `t` is not below T.
    pub fn step(&mut self, t: usize) -> StepMut<'_> {
        let stack = self.layout().spec().frame_stack;
        let (rows, parts) = self.slot.read_and_write(
            (Field::Frame.index(), t..t + stack),
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
            ]
            .map(|(field, row): (Field, usize)| (field.index(), row)),
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
    block: ring::BlockRef<'a, BlockLayout>,
}

impl<'a> BlockRef<'a> {
    /// The batch in a block.
    #[must_use]
    pub const fn new(block: ring::BlockRef<'a, BlockLayout>) -> Self {
        Self { block }
    }

    /// Which block, below K.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.block.index()
    }

    /// Where the fields lie.
    #[must_use]
    pub const fn layout(&self) -> &'a BlockLayout {
        self.block.layout()
    }

    /// All items of a field in the order of [`Field`]'s shapes, 64-byte aligned.
    ///
    /// # Panics
    /// If the bytes of the field are not a whole number of `T`.
    #[must_use]
    pub fn field<T: AnyBitPattern>(&self, field: Field) -> &'a [T] {
        self.block.field(field.index())
    }

    /// `[G]`: who filled each group, and with which weights.
    #[must_use]
    pub fn headers(&self) -> &'a [GroupHeader] {
        self.field(Field::Header)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ring::Owner;
    use crate::unroll::{HeapRing, UnrollSpec};

    #[test]
    fn a_step_shows_its_parts_in_their_places() {
        let layout = BlockLayout::new(UnrollSpec {
            unroll: 3,
            batch: 4,
            envs: 2,
            frame_bytes: 8,
            frame_stack: 2,
            ..UnrollSpec::PLAIN
        });
        let mut memory = HeapRing::new(3, layout.expect("valid")).expect("small");
        let mut seats = memory.seats().expect("fits");
        for (actor, tag) in [10_u8, 20].into_iter().enumerate() {
            let owner = Owner::new(u16::try_from(actor).expect("small"), 1).expect("in range");
            let mut actor = seats.producer(owner).expect("the first");
            let mut grant = actor.claim(Duration::ZERO).expect("free");
            let mut group = GroupMut::new(grant.slot_mut());
            group.header_mut().sequence = tag.into();
            group.history_mut().fill(1);
            (0..2)
                .for_each(|row| group.frame_mut(row).fill(tag + u8::try_from(row).expect("small")));
            for t in 0..3_u8 {
                let step = group.step(t.into());
                let seen: Vec<_> = step.rows.iter().map(|frame| frame[15]).collect();
                assert_eq!(seen, [tag + t, tag + t + 1]);
                assert_eq!((step.rows[0].len(), step.next_frame.len()), (16, 16));
                step.next_frame.fill(tag + t + 2);
                step.actions.fill((tag + t).into());
                step.log_probs.fill(f32::from(tag + t) + 0.25);
                step.rewards.fill(f32::from(tag + t) + 0.5);
                step.next_flags.fill(tag + t);
                step.next_returns.fill(f32::from(tag + t) + 0.75);
                step.next_lengths.fill((tag + t).into());
            }
            assert_eq!((group.frame(4)[0], group.flags(3)), (tag + 4, &[tag + 2, tag + 2][..]));
            grant.commit().expect("not fenced");
        }

        let mut consumer = seats.consumer();
        let held = consumer.take(Duration::ZERO).expect("complete");
        let view = BlockRef::new(held.block());
        let columns = |tag_of: fn(u8) -> f32| {
            (0..3).flat_map(|t| [10, 10, 20, 20].map(|tag| tag_of(tag + t))).collect::<Vec<_>>()
        };
        let sequences: Vec<_> = view.headers().iter().map(|header| header.sequence).collect();
        assert_eq!(sequences, [10, 20]);
        assert_eq!(view.field::<u8>(Field::History), [1; 4]);
        assert_eq!(view.field::<f32>(Field::Reward), columns(|tag| f32::from(tag) + 0.5));
        assert_eq!(view.field::<f32>(Field::LogProb), columns(|tag| f32::from(tag) + 0.25));
        let returns = view.field::<f32>(Field::EpisodeReturn);
        assert_eq!(returns[4..], columns(|tag| f32::from(tag) + 0.75));
        assert_eq!(view.field::<i32>(Field::Action)[..4], [10, 10, 20, 20]);
        assert_eq!(view.field::<u32>(Field::EpisodeLength)[12..], [12, 12, 22, 22]);
        assert_eq!(view.field::<u8>(Field::Flags)[4..8], [10, 10, 20, 20]);
        let newest = view.field::<u8>(Field::Frame)[4 * 32..].iter().step_by(8);
        assert_eq!(newest.collect::<Vec<_>>(), [&14, &14, &24, &24]);
    }
}
