//! Experience replay: unrolls that were learnt from are kept for a while, and a part of each batch is drawn from them
//! (Espeholt et al. 2018, section 5.2.2).
//!
//! Groups of columns are kept as they lay in their blocks, in memory of the learner's own; the oldest makes room for the
//! newest. To be learnt from again, as many as an update takes are drawn with equal chances, each for itself, and laid out as a
//! block once more, so that engines and loss see no difference.

use std::time::Duration;

use crate::ring::{ClaimError, CommitError, TakeError};
use crate::rng::Rng;
use crate::unroll::{BlockLayout, BlockRef, Consumer, Field, GroupMut, Producer, ReadBlock};

/// Why a batch could not be laid out: its memory is corrupt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// No place to write.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// What was written cannot be handed over.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Or not be read.
    #[error(transparent)]
    Take(#[from] TakeError),
}

/// Groups that were learnt from, oldest first.
#[derive(Debug)]
struct Kept {
    /// Bytes of a group, all fields and rows one after the other.
    group_bytes: usize,
    capacity: usize,
    /// `[len][group_bytes]`, as a ring: the next one is written at `next`.
    bytes: Vec<u8>,
    next: usize,
}

impl Kept {
    fn new(layout: &BlockLayout, capacity: usize) -> Self {
        Self { group_bytes: layout.written_bytes(), capacity, bytes: Vec::new(), next: 0 }
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.group_bytes
    }

    /// Keeps a group of `block` in place of the oldest if there are as many as there may be.
    fn push(&mut self, block: &BlockRef<'_>, group: usize) {
        if self.len() < self.capacity {
            self.bytes.resize(self.bytes.len() + self.group_bytes, 0);
        }
        let start = self.next * self.group_bytes;
        let mut to = &mut self.bytes[start..start + self.group_bytes];
        let groups = block.layout().groups();
        for field in Field::ALL {
            let width = block.layout().group_range(field, 0, 0).len();
            let rows: &[u8] = block.field(field);
            for row in rows.chunks_exact((groups * width).max(1)) {
                let (part, rest) = to.split_at_mut(width);
                part.copy_from_slice(&row[group * width..(group + 1) * width]);
                to = rest;
            }
        }
        self.next = (self.next + 1) % self.capacity;
    }

    /// Writes a group that is kept into `slot`.
    fn write(&self, index: usize, slot: &mut GroupMut<'_>) {
        let mut from = &self.bytes[index * self.group_bytes..(index + 1) * self.group_bytes];
        for field in Field::ALL {
            let width = slot.layout().group_range(field, 0, 0).len();
            for row in 0..slot.layout().rows(field) {
                let (part, rest) = from.split_at(width);
                slot.row_mut(field, row).copy_from_slice(part);
                from = rest;
            }
        }
    }
}

/// What is kept, and where batches of it are laid out.
#[derive(Debug)]
pub struct Replay<'m> {
    kept: Kept,
    /// Groups that an update takes.
    groups: usize,
    producer: Producer<'m>,
    consumer: Consumer<'m>,
    rng: Rng,
}

impl<'m> Replay<'m> {
    /// Keeps up to `capacity` groups of blocks of `layout`. Batches are laid out in a ring of one block that nobody else has.
    ///
    /// # Panics
    /// If nothing may be kept.
    #[must_use]
    pub fn new(
        layout: &BlockLayout,
        capacity: usize,
        (producer, consumer): (Producer<'m>, Consumer<'m>),
        rng: Rng,
    ) -> Self {
        assert!(capacity > 0, "nothing to replay");
        let groups = consumer.ring().shape().groups;
        Self { kept: Kept::new(layout, capacity), groups, producer, consumer, rng }
    }

    /// How many groups are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the groups of a block that is learnt from.
    pub fn push(&mut self, block: &BlockRef<'_>) {
        for group in 0..block.layout().groups() {
            self.kept.push(block, group);
        }
    }

    /// A batch of groups, each drawn from all that are kept; `None` while these are fewer.
    ///
    /// # Errors
    /// [`ReplayError`] if its memory is corrupt.
    pub fn draw(&mut self) -> Result<Option<ReadBlock<'m>>, ReplayError> {
        let len = self.kept.len();
        if len < self.groups {
            return Ok(None);
        }
        for _ in 0..self.groups {
            let mut grant = self.producer.claim(Duration::ZERO)?;
            self.kept.write(self.rng.below(len), &mut GroupMut::new(grant.slot_mut()));
            grant.commit()?;
        }
        Ok(Some(self.consumer.take(Duration::ZERO)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Owner;
    use crate::unroll::{HeapRing, UnrollSpec};

    const SPEC: UnrollSpec = UnrollSpec {
        unroll: 3,
        batch: 4,
        envs: 2,
        frame_bytes: 5,
        frame_stack: 2,
        action_words: 2,
        mask_bytes: 3,
        state_len: 2,
        gradient_len: 0,
    };

    /// Fills all of a group with bytes that tell its number, the field and the row.
    fn fill(slot: &mut GroupMut<'_>, number: u64) {
        for (nth, field) in Field::ALL.into_iter().enumerate() {
            for row in 0..slot.layout().rows(field) {
                let mark = (number * 31 + nth as u64 * 7 + row as u64).to_le_bytes()[0];
                slot.row_mut::<u8>(field, row).fill(mark);
            }
        }
        slot.header_mut().sequence = number;
    }

    #[test]
    fn groups_come_back_as_they_were_and_the_oldest_go() {
        const CAPACITY: usize = 5;
        let layout = BlockLayout::new(SPEC).expect("valid");
        let drawn = BlockLayout::new(UnrollSpec { batch: 6, ..SPEC }).expect("valid");
        let (mut ring, mut own) = (
            HeapRing::new(2, layout.clone()).expect("small"),
            HeapRing::new(1, drawn).expect("small"),
        );
        let (mut seats, mut own) = (ring.seats().expect("fits"), own.seats().expect("fits"));
        let owner = Owner::new(0, 1).expect("small");
        let (mut actor, mut learner) = (seats.producer(owner).expect("first"), seats.consumer());
        let places = (own.producer(owner).expect("first"), own.consumer());
        let mut replay = Replay::new(&layout, CAPACITY, places, Rng::new(1, 0));
        let mut number = 0;
        let mut seen = [0_u32; 12];
        for round in 0..6_usize {
            for _ in 0..2 {
                let mut grant = actor.claim(Duration::ZERO).expect("free");
                fill(&mut GroupMut::new(grant.slot_mut()), number);
                grant.commit().expect("not fenced");
                number += 1;
            }
            let held = learner.take(Duration::ZERO).expect("complete");
            replay.push(&BlockRef::new(held.block()));
            held.release().expect("held");
            assert_eq!(replay.len(), (2 * (round + 1)).min(CAPACITY));
            if round == 0 {
                assert!(replay.draw().expect("whole").is_none(), "two of three");
                continue;
            }
            for _ in 0..100 {
                let held = replay.draw().expect("whole").expect("enough");
                let block = BlockRef::new(held.block());
                for (group, header) in block.headers().iter().enumerate() {
                    let of = header.sequence;
                    assert!((number.saturating_sub(CAPACITY as u64)..number).contains(&of));
                    seen[usize::try_from(of).expect("small")] += 1;
                    for (nth, field) in Field::ALL.into_iter().enumerate().skip(1) {
                        let width = block.layout().group_range(field, 0, 0).len();
                        let bytes: &[u8] = block.field(field);
                        for row in 0..block.layout().rows(field) {
                            let at = (row * 3 + group) * width;
                            let mark = (of * 31 + nth as u64 * 7 + row as u64).to_le_bytes()[0];
                            assert!(bytes[at..at + width].iter().all(|&byte| byte == mark));
                        }
                    }
                }
                held.release().expect("held");
            }
        }
        // Each of the last five had its turn about as often: 300 draws of five.
        assert!(seen[7..].iter().all(|&times| times > 30), "{seen:?}");
    }
}
