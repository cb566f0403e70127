//! Tests of the ring through its public interface: producer, consumer and supervisor in one thread.
//!
//! Invariants, which the `SAFETY` comments cite:
//! - **T1** All slabs of a test are over one heap region and one ring in one control region. Where a test
//!   stores to a word of it, no bytes are looked at afterwards.
//! - **T2** The dead of a test were dropped or forgotten, or do no more than fail to commit.
#![allow(unsafe_code)]

mod faults;
mod flow;
mod turns;
mod wakes;

use std::time::Duration;

use super::*;
use impala_shm::Region;
use impala_shm::sync::AtomicU64;

const NOW: Duration = Duration::ZERO;
const SHAPE: RingShape = RingShape { blocks: 3, groups: 2 };
/// Fields of the blocks: who wrote it, some rows to look back at, one byte a row.
const TAG: usize = 0;
const SEEN: usize = 1;
const BYTE: usize = 2;

fn layout(groups: usize) -> BlockLayout {
    let fields = [(1, 8), (5, 16), (4, 2)];
    let fields = fields.map(|(rows, group_bytes)| FieldShape { rows, group_bytes });
    BlockLayout::new(groups, &fields).expect("valid")
}

/// The memory of a ring.
struct Arena {
    control: Region,
    payload: Region,
    layout: BlockLayout,
}

impl Arena {
    fn new() -> Self {
        let layout = layout(SHAPE.groups);
        let words = <Ring>::word_count(SHAPE) * 8;
        Self {
            control: Region::heap(words + <Ring>::wait_count() * 4),
            payload: Region::heap(Slab::payload_bytes(SHAPE.blocks, &layout).expect("small")),
            layout,
        }
    }

    fn slab(&mut self) -> Slab<'_> {
        let ring = ring_in(&self.control, SHAPE).expect("fits");
        slab_over(ring, &mut self.payload, &self.layout).expect("fits")
    }
}

fn slab_over<'m>(
    ring: Ring<'m>,
    payload: &'m mut Region,
    layout: &'m BlockLayout,
) -> Result<Slab<'m>, SlabError> {
    // SAFETY: T1.
    unsafe { Slab::new(ring, payload, layout) }
}

fn reclaim(ring: Ring<'_>, dead: Owner) -> Result<usize, RingError> {
    // SAFETY: T2.
    unsafe { ring.reclaim(dead) }
}

fn learner_died(ring: Ring<'_>, record: &mut CrashRecord) -> Result<LearnerLoss, RingError> {
    // SAFETY: T2.
    unsafe { ring.learner_died(record) }
}

fn words_in(control: &Region) -> &[AtomicU64] {
    control.words(0, <Ring>::word_count(SHAPE))
}

fn ring_in(control: &Region, shape: RingShape) -> Result<Ring<'_>, RingError> {
    let words = words_in(control);
    Ring::new(words, control.words32(words.len() * 8, <Ring>::wait_count()), shape)
}

fn owner(actor: u16, incarnation: u16) -> Owner {
    Owner::new(actor, incarnation).expect("in range")
}

fn consumer<'m>(slab: &Slab<'m>) -> Consumer<'m> {
    Consumer::new(slab.alias())
}

fn producer<'m>(slab: &Slab<'m>, actor: u16) -> Producer<'m> {
    Producer::new(slab.alias(), owner(actor, 1)).expect("writable")
}

fn commit_one(producer: &mut Producer<'_>) -> usize {
    let grant = producer.claim(NOW).expect("free");
    let slot = grant.index();
    grant.commit().expect("not fenced");
    slot
}

fn commit(producer: &mut Producer<'_>, slots: usize) {
    for _slot in 0..slots {
        commit_one(producer);
    }
}
