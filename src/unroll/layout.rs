//! The byte layout of a block: where each field of its unrolls lies.

use std::ops::Range;

use crate::ring::{self, FieldShape};

/// Longest frame stack that a view can hold.
pub const MAX_FRAME_STACK: usize = ring::MAX_ROWS;

/// The sizes that a layout follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnrollSpec {
    /// T: transitions in an unroll.
    pub unroll: usize,
    /// B: columns of a block, the training batch.
    pub batch: usize,
    /// E: columns of a group, the environments of one actor.
    pub envs: usize,
    /// Bytes of one frame of one environment.
    pub frame_bytes: usize,
    /// k: frames that the network sees at once; frames are stored once.
    pub frame_stack: usize,
    /// W: 4-byte words of an action.
    pub action_words: usize,
    /// Bytes of the mask of one observation, 0 for none.
    pub mask_bytes: usize,
    /// S: numbers of the state of a recurrent core, 0 for none.
    pub state_len: usize,
    /// P: numbers of a gradient, where slots hold the gradient of each unroll in its place; 0 where they hold unrolls. With
    /// gradients `frame_bytes` may be 0: then no frames travel.
    pub gradient_len: usize,
}

impl UnrollSpec {
    /// One discrete action at each step, no masks, no core; the other sizes are still to be set.
    pub const PLAIN: Self = Self {
        unroll: 0,
        batch: 0,
        envs: 0,
        frame_bytes: 0,
        frame_stack: 0,
        action_words: 1,
        mask_bytes: 0,
        state_len: 0,
        gradient_len: 0,
    };

    /// Whether slots hold gradients.
    #[must_use]
    pub const fn holds_gradients(&self) -> bool {
        self.gradient_len > 0
    }

    /// Rows of a field, and bytes of one group's part of a row; `None` if they are beyond counting.
    fn shape(&self, field: Field) -> Option<FieldShape> {
        let rows = match field {
            Field::Header
            | Field::History
            | Field::CoreState
            | Field::FirstAction
            | Field::FirstReward
            | Field::Gradient
            | Field::Loss => 1,
            Field::Frame => self.unroll.checked_add(self.frame_stack)?,
            Field::Flags | Field::Mask | Field::EpisodeReturn | Field::EpisodeLength => {
                self.unroll.checked_add(1)?
            }
            Field::Action | Field::Reward | Field::LogProb => self.unroll,
        };
        let item_bytes = match field {
            Field::Header => {
                return Some(FieldShape { rows, group_bytes: size_of::<GroupHeader>() });
            }
            Field::Gradient => {
                let group_bytes = self.gradient_len.checked_mul(4)?;
                return Some(FieldShape { rows, group_bytes });
            }
            Field::Loss => {
                let group_bytes = if self.holds_gradients() { LOSS_WORDS * 8 } else { 0 };
                return Some(FieldShape { rows, group_bytes });
            }
            // What only the network and the loss look at stays with who computes the gradient.
            Field::History
            | Field::Mask
            | Field::CoreState
            | Field::FirstAction
            | Field::FirstReward
            | Field::Action
            | Field::LogProb
                if self.holds_gradients() =>
            {
                0
            }
            Field::Frame => self.frame_bytes,
            Field::History | Field::Flags => 1,
            Field::Mask => self.mask_bytes,
            Field::CoreState => self.state_len.checked_mul(4)?,
            Field::FirstAction | Field::Action => self.action_words.checked_mul(4)?,
            Field::FirstReward
            | Field::Reward
            | Field::LogProb
            | Field::EpisodeReturn
            | Field::EpisodeLength => 4,
        };
        Some(FieldShape { rows, group_bytes: self.envs.checked_mul(item_bytes)? })
    }
}

/// What a block stores. `T` transitions, `T + 1` observations, `B` columns; `k` is the frame stack.
///
/// Observation `t` is seen through frames `t .. t + k`; the newest is frame `t + k - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `[G]` [`GroupHeader`]: who filled the group, and with which weights.
    Header,
    /// `[T + k][B][frame]` u8 or f32.
    Frame,
    /// `[B]` u8: how many of the `k - 1` frames before observation 0 belong to its episode.
    History,
    /// `[T + 1][B]` u8: bits of [`crate::env::flag`], describing observation `t`.
    Flags,
    /// `[T + 1][B][outputs]` u8: which choices are allowed at observation `t`; no bytes without masks.
    Mask,
    /// `[B][S]` f32: state of the recurrent core before observation 0; no bytes without a core.
    CoreState,
    /// `[B][W]` words: action that led to observation 0; nothing of meaning where that is a first one.
    FirstAction,
    /// `[B]` f32: reward that came with observation 0, likewise.
    FirstReward,
    /// `[T][B][W]` words: action taken at observation `t`, discrete as i32, continuous as f32.
    Action,
    /// `[T][B]` f32: reward of transition `t`.
    Reward,
    /// `[T][B]` f32: log-probability of the action under the behaviour policy.
    LogProb,
    /// `[T + 1][B]` f32: sum of rewards of the episode that ended in observation `t`; else undefined.
    EpisodeReturn,
    /// `[T + 1][B]` u32: steps of the episode that ended in observation `t`; else undefined.
    EpisodeLength,
    /// `[G][P]` f32: the gradient of each group's unroll; no bytes in blocks of unrolls.
    Gradient,
    /// `[G]`, [`LOSS_WORDS`] words each: sums of the loss that it is the gradient of; no bytes in blocks of unrolls.
    Loss,
}

/// 8-byte words of the sums of a loss.
pub const LOSS_WORDS: usize = 13;

impl Field {
    /// All fields, in the order in which they lie in a block.
    pub const ALL: [Self; 15] = [
        Self::Header,
        Self::Frame,
        Self::History,
        Self::Flags,
        Self::Mask,
        Self::CoreState,
        Self::FirstAction,
        Self::FirstReward,
        Self::Action,
        Self::Reward,
        Self::LogProb,
        Self::EpisodeReturn,
        Self::EpisodeLength,
        Self::Gradient,
        Self::Loss,
    ];

    /// Its number in a [`ring::BlockLayout`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// What an actor says of the group it filled; one cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct GroupHeader {
    /// Which actor.
    pub actor: u32,
    /// Which incarnation of it, from 1.
    pub incarnation: u32,
    /// Number of the unroll within that incarnation and `stream`, from 0, without gaps.
    pub sequence: u64,
    /// Version of the weights that acted.
    pub policy_version: u64,
    /// Which environments: their unrolls follow each other, within an incarnation, by `sequence`.
    pub stream: u32,
    /// Which task they are of.
    pub task: u32,
    /// Zero.
    pub reserved: [u64; 4],
}

/// A combination of sizes that cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A size is 0.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// B is no multiple of E.
    #[error("batch {batch} is not a multiple of the {envs} environments per actor; try batch {}", (batch / envs + 1) * envs)]
    BatchNotMultiple {
        /// B.
        batch: usize,
        /// E.
        envs: usize,
    },
    /// The frame stack is too long.
    #[error("frame stack {0} is above the limit of {MAX_FRAME_STACK}")]
    FrameStack(usize),
    /// The block is larger than an address space.
    #[error("one block of this unroll, batch and observation would not fit the address space")]
    TooLarge,
}

/// Offsets of all fields of one block, in bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockLayout {
    spec: UnrollSpec,
    fields: ring::BlockLayout,
}

impl ring::Layout for BlockLayout {
    fn block_layout(&self) -> &ring::BlockLayout {
        &self.fields
    }
}

impl BlockLayout {
    /// Lays out a block.
    ///
    /// # Errors
    /// [`LayoutError`] if a size is 0, B is no multiple of E, or the block is too large.
    pub fn new(spec: UnrollSpec) -> Result<Self, LayoutError> {
        for (name, size) in [
            ("unroll", spec.unroll),
            ("batch", spec.batch),
            ("envs-per-actor", spec.envs),
            ("the bytes of a frame", spec.frame_bytes.max(spec.gradient_len)),
            ("the frame stack", spec.frame_stack),
            ("the words of an action", spec.action_words),
        ] {
            if size == 0 {
                return Err(LayoutError::Zero(name));
            }
        }
        if spec.frame_stack > MAX_FRAME_STACK {
            return Err(LayoutError::FrameStack(spec.frame_stack));
        }
        if !spec.batch.is_multiple_of(spec.envs) {
            return Err(LayoutError::BatchNotMultiple { batch: spec.batch, envs: spec.envs });
        }
        let shapes = Field::ALL.map(|field| spec.shape(field));
        let shapes: Option<Vec<FieldShape>> = shapes.into_iter().collect();
        let fields =
            shapes.and_then(|shapes| ring::BlockLayout::new(spec.batch / spec.envs, &shapes).ok());
        Ok(Self { spec, fields: fields.ok_or(LayoutError::TooLarge)? })
    }

    /// The sizes that this follows from.
    #[must_use]
    pub const fn spec(&self) -> &UnrollSpec {
        &self.spec
    }

    /// Bytes from one block to the next.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.fields.block_bytes()
    }

    /// Bytes of all fields of one group.
    #[must_use]
    pub(crate) fn written_bytes(&self) -> usize {
        let of = |field| self.rows(field) * self.group_range(field, 0, 0).len();
        Field::ALL.into_iter().map(of).sum()
    }

    /// G: groups (slots) of a block.
    #[must_use]
    pub const fn groups(&self) -> usize {
        self.fields.groups()
    }

    /// Rows (time steps) of a field.
    #[must_use]
    pub fn rows(&self, field: Field) -> usize {
        self.fields.shape(field.index()).rows
    }

    /// All bytes of a field, relative to the block.
    #[must_use]
    pub fn field_range(&self, field: Field) -> Range<usize> {
        self.fields.field_range(field.index())
    }

    /// The bytes of row `row` of `field` that belong to `group`, relative to the block.
    ///
    /// # Panics
    /// If there is no such row or group.
    #[must_use]
    pub fn group_range(&self, field: Field, row: usize, group: usize) -> Range<usize> {
        self.fields.group_range(field.index(), row, group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> UnrollSpec {
        UnrollSpec {
            unroll: 5,
            batch: 6,
            envs: 2,
            frame_bytes: 12,
            frame_stack: 3,
            action_words: 2,
            mask_bytes: 5,
            state_len: 3,
            gradient_len: 0,
        }
    }

    #[test]
    fn blocks_of_gradients_hold_no_unrolls() {
        let spec = UnrollSpec { gradient_len: 10, frame_bytes: 0, ..spec() };
        let layout = BlockLayout::new(spec).expect("valid");
        let bytes = |field| layout.group_range(field, 0, 0).len();
        for field in [Field::Frame, Field::Action, Field::LogProb, Field::CoreState, Field::Mask] {
            assert_eq!(bytes(field), 0, "{field:?}");
        }
        assert_eq!((bytes(Field::Gradient), bytes(Field::Loss)), (40, LOSS_WORDS * 8));
        // What the learner keeps account of.
        assert_eq!((bytes(Field::Flags), bytes(Field::Reward)), (2, 8));
    }

    #[test]
    fn every_byte_of_every_field_belongs_to_one_group() {
        every_byte_belongs_to_one_group(spec());
        every_byte_belongs_to_one_group(UnrollSpec { gradient_len: 7, ..spec() });
    }

    fn every_byte_belongs_to_one_group(spec: UnrollSpec) {
        let layout = BlockLayout::new(spec).expect("valid");
        let mut owners = vec![0_u32; layout.block_bytes()];
        for field in Field::ALL {
            for row in 0..layout.rows(field) {
                for group in 0..layout.groups() {
                    let range = layout.group_range(field, row, group);
                    assert!(layout.field_range(field).start <= range.start);
                    assert!(range.end <= layout.field_range(field).end);
                    owners[range].iter_mut().for_each(|n| *n += 1);
                }
            }
            assert!(owners[layout.field_range(field)].iter().all(|&n| n == 1), "{field:?}");
            assert_eq!(layout.field_range(field).start % 64, 0);
        }
        assert!(owners.iter().all(|&n| n <= 1), "fields overlap");
    }

    #[test]
    fn sizes_that_make_no_sense_are_named() {
        let zero = UnrollSpec { unroll: 0, ..spec() };
        assert_eq!(BlockLayout::new(zero), Err(LayoutError::Zero("unroll")));
        let odd = UnrollSpec { batch: 7, ..spec() };
        let message = BlockLayout::new(odd).expect_err("7 is odd").to_string();
        assert!(message.contains("try batch 8"), "{message}");
        let huge = UnrollSpec { unroll: usize::MAX / 8, ..spec() };
        assert_eq!(BlockLayout::new(huge), Err(LayoutError::TooLarge));
    }
}
