//! The ring against a plain reference, over random sequences of everything that can happen to it.
//!
//! One thread: what is checked is that each call does what the documentation says, deaths included.
//! Interleavings are the business of the model and loom tests in `crates/impala-ring`.
//!
//! Invariants, which the `SAFETY` comments cite:
//! - **D1** A producer is dropped, and blocks are forgotten, before what they held is taken back; there is
//!   one thread.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use impala_rl::ring::{
    ClaimError, CrashRecord, LearnerLoss, Occupancy, Owner, RingShape, TakeError,
};
use impala_rl::unroll::{
    BlockLayout, BlockRef, Consumer, Field, GroupMut, HeapRing, HeapSeats, Producer, ReadBlock,
    UnrollSpec,
};
use proptest::prelude::*;

const CASES: u32 = if cfg!(miri) { 4 } else { 400 };
const EVENTS_MAX: usize = if cfg!(miri) { 40 } else { 250 };
const NOW: Duration = Duration::ZERO;

#[derive(Debug, Clone)]
enum Event {
    /// An actor claims and writes, and keeps the slot.
    Write(u16),
    /// An actor commits, after it has claimed and written if it had not.
    Commit(u16),
    /// An actor dies, is reaped, and comes back.
    ActorDies(u16),
    Take,
    /// One of the held blocks is released.
    Release(usize),
    /// The learner dies with all that it holds, is reaped, and comes back.
    LearnerDies,
}

fn events(actors: u16) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..actors).prop_map(Event::Write),
        8 => (0..actors).prop_map(Event::Commit),
        1 => (0..actors).prop_map(Event::ActorDies),
        3 => Just(Event::Take),
        3 => (0..usize::MAX).prop_map(Event::Release),
        1 => Just(Event::LearnerDies),
    ];
    prop::collection::vec(event, 1..EVENTS_MAX)
}

/// What one incarnation of one actor wrote, and as which of its unrolls.
type Stamp = (u16, u16, u64);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Free,
    Claimed(Stamp),
    Ready(Stamp),
    Held(Stamp),
}

/// The ring, as its documentation describes it.
#[derive(Debug)]
struct Reference {
    shape: RingShape,
    slots: Vec<Slot>,
    /// Whether the data in the slot was returned by a dead learner before.
    requeued: Vec<bool>,
    /// Complete blocks in the order in which the learner saw them.
    seen: VecDeque<usize>,
    consumed: u64,
    reclaimed: u64,
    dropped: u64,
}

impl Reference {
    fn new(shape: RingShape) -> Self {
        Self {
            shape,
            slots: vec![Slot::Free; shape.slots()],
            requeued: vec![false; shape.slots()],
            seen: VecDeque::new(),
            consumed: 0,
            reclaimed: 0,
            dropped: 0,
        }
    }

    fn block(&self, block: usize) -> std::ops::Range<usize> {
        block * self.shape.groups..(block + 1) * self.shape.groups
    }

    fn slot_of(&self, actor: u16) -> Option<usize> {
        self.slots.iter().position(|slot| matches!(slot, Slot::Claimed((a, ..)) if *a == actor))
    }

    /// Where a claim must go.
    fn best_free(&self, actor: u16) -> Option<usize> {
        let filled = |block: &usize| {
            let slots = &self.slots[self.block(*block)];
            slots.iter().filter(|slot| matches!(slot, Slot::Claimed(_) | Slot::Ready(_))).count()
        };
        let open = |block: &usize| self.slots[self.block(*block)].contains(&Slot::Free);
        let best = (0..self.shape.blocks).filter(open).rev().max_by_key(filled)?;
        let turned = (0..self.shape.groups).map(|i| (usize::from(actor) + i) % self.shape.groups);
        turned
            .map(|group| self.block(best).start + group)
            .find(|&slot| self.slots[slot] == Slot::Free)
    }

    /// Which block a take must give.
    fn next_block(&mut self) -> Option<usize> {
        for block in 0..self.shape.blocks {
            let complete =
                self.slots[self.block(block)].iter().all(|slot| matches!(slot, Slot::Ready(_)));
            if !complete {
                self.seen.retain(|&seen| seen != block);
            } else if !self.seen.contains(&block) {
                self.seen.push_back(block);
            }
        }
        self.seen.pop_front()
    }

    fn free(&mut self, slot: usize) {
        self.slots[slot] = Slot::Free;
        self.requeued[slot] = false;
    }

    fn learner_dies(&mut self) -> LearnerLoss {
        self.seen.clear();
        let mut loss = LearnerLoss::default();
        for block in 0..self.shape.blocks {
            let held = |slot: &usize| matches!(self.slots[*slot], Slot::Held(_));
            let held: Vec<_> = self.block(block).filter(held).collect();
            let fatal = held.iter().any(|&slot| self.requeued[slot]);
            for slot in held {
                match self.slots[slot] {
                    Slot::Held(stamp) if !fatal => {
                        self.slots[slot] = Slot::Ready(stamp);
                        self.requeued[slot] = true;
                        loss.requeued += 1;
                    }
                    _ => {
                        self.free(slot);
                        self.dropped += 1;
                        loss.dropped += 1;
                    }
                }
            }
        }
        loss
    }

    fn occupancy(&self) -> Occupancy {
        let count =
            |wanted: fn(&Slot) -> bool| self.slots.iter().filter(|slot| wanted(slot)).count();
        Occupancy {
            free: count(|slot| matches!(slot, Slot::Free)),
            claimed: count(|slot| matches!(slot, Slot::Claimed(_))),
            ready: count(|slot| matches!(slot, Slot::Ready(_))),
            held: count(|slot| matches!(slot, Slot::Held(_))),
        }
    }
}

/// The ring itself, and its parties.
struct Real<'m> {
    seats: HeapSeats<'m>,
    actors: Vec<Actor<'m>>,
    learner: Consumer<'m>,
    held: Vec<ReadBlock<'m>>,
    record: CrashRecord,
}

struct Actor<'m> {
    producer: Producer<'m>,
    sequence: u64,
}

impl<'m> Actor<'m> {
    fn new(seats: &mut HeapSeats<'m>, number: u16, incarnation: u16) -> Self {
        let owner = Owner::new(number, incarnation).expect("in range");
        Self { producer: seats.producer(owner).expect("a new incarnation"), sequence: 0 }
    }

    fn stamp(&self) -> Stamp {
        (self.producer.owner().actor(), self.producer.owner().incarnation(), self.sequence)
    }
}

fn check(shape: RingShape, actors: u16, events: &[Event]) -> Result<(), TestCaseError> {
    let spec = UnrollSpec {
        unroll: 2,
        batch: shape.groups,
        envs: 1,
        frame_bytes: 8,
        frame_stack: 1,
        ..UnrollSpec::PLAIN
    };
    let layout = BlockLayout::new(spec).expect("valid");
    let mut memory = HeapRing::new(shape.blocks, layout).expect("small");
    let mut seats = memory.seats().expect("fits");
    let ring = seats.ring();

    let mut reference = Reference::new(shape);
    let mut real = Real {
        actors: (0..actors).map(|actor| Actor::new(&mut seats, actor, 1)).collect(),
        learner: seats.consumer(),
        seats,
        held: Vec::new(),
        record: CrashRecord::new(shape),
    };
    for event in events {
        step(&mut real, &mut reference, event)?;
        let counts = ring.slot_counts();
        prop_assert!(counts.holds(), "{counts:?}");
        prop_assert_eq!(
            (counts.consumed, counts.reclaimed, counts.dropped),
            (reference.consumed, reference.reclaimed, reference.dropped)
        );
        prop_assert_eq!(ring.occupancy().expect("sound words"), reference.occupancy());
    }
    Ok(())
}

fn step(
    real: &mut Real<'_>,
    reference: &mut Reference,
    event: &Event,
) -> Result<(), TestCaseError> {
    match *event {
        Event::Write(actor) | Event::Commit(actor) => {
            let held = reference.slot_of(actor);
            let expected = held.or_else(|| reference.best_free(actor));
            let this = &mut real.actors[usize::from(actor)];
            let stamp = this.stamp();
            let Some(slot) = expected else {
                prop_assert_eq!(this.producer.claim(NOW).err(), Some(ClaimError::TimedOut));
                return Ok(());
            };
            let mut grant = this.producer.claim(NOW).expect("free");
            prop_assert_eq!(grant.index(), slot);
            if held.is_none() {
                let mut group = GroupMut::new(grant.slot_mut());
                let header = group.header_mut();
                (header.actor, header.incarnation) = (stamp.0.into(), stamp.1.into());
                header.sequence = stamp.2;
                group.row_mut::<f32>(Field::Reward, 1).fill(f32::from(stamp.0));
                reference.slots[slot] = Slot::Claimed(stamp);
            }
            if matches!(event, Event::Commit(_)) {
                grant.commit().expect("not fenced");
                reference.slots[slot] = Slot::Ready(stamp);
                this.sequence += 1;
            }
        }
        Event::ActorDies(actor) => {
            let this = &mut real.actors[usize::from(actor)];
            let dead = this.producer.owner();
            *this = Actor::new(&mut real.seats, actor, dead.incarnation() + 1);
            let slot = reference.slot_of(actor);
            // SAFETY: the dead producer was overwritten above (D1).
            let freed = unsafe { real.seats.ring().reclaim(dead) };
            prop_assert_eq!(freed.expect("sound words"), usize::from(slot.is_some()));
            if let Some(slot) = slot {
                reference.free(slot);
                reference.reclaimed += 1;
            }
        }
        Event::Take => {
            let Some(expected) = reference.next_block() else {
                prop_assert_eq!(real.learner.take(NOW).err(), Some(TakeError::TimedOut));
                return Ok(());
            };
            let block = real.learner.take(NOW).expect("complete");
            prop_assert_eq!(BlockRef::new(block.block()).index(), expected);
            let rewards: &[f32] = BlockRef::new(block.block()).field(Field::Reward);
            for (group, slot) in reference.block(expected).enumerate() {
                let Slot::Ready(stamp) = reference.slots[slot] else {
                    return Err(TestCaseError::fail("the reference took what is not ready"));
                };
                let header = BlockRef::new(block.block()).headers()[group];
                prop_assert_eq!(
                    (header.actor, header.incarnation, header.sequence),
                    (stamp.0.into(), stamp.1.into(), stamp.2)
                );
                prop_assert_eq!(rewards[reference.shape.groups + group], f32::from(stamp.0));
                reference.slots[slot] = Slot::Held(stamp);
            }
            real.held.push(block);
        }
        Event::Release(which) => {
            if real.held.is_empty() {
                return Ok(());
            }
            let block = real.held.swap_remove(which % real.held.len());
            let slots = reference.block(BlockRef::new(block.block()).index());
            reference.consumed += slots.len() as u64;
            slots.for_each(|slot| reference.free(slot));
            block.release().expect("held");
        }
        Event::LearnerDies => {
            real.held.drain(..).for_each(std::mem::forget);
            real.learner = real.seats.consumer();
            // SAFETY: the blocks were forgotten above (D1).
            let loss = unsafe { real.seats.ring().learner_died(&mut real.record) };
            prop_assert_eq!(loss.expect("sound words"), reference.learner_dies());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]

    #[test]
    fn the_ring_does_what_its_documentation_says(
        (blocks, groups, actors) in (1_usize..=4, 1_usize..=3, 1_u16..=5),
        events in events(5),
    ) {
        let keep = |event: &&Event| match event {
            Event::Write(actor) | Event::Commit(actor) | Event::ActorDies(actor) => *actor < actors,
            _ => true,
        };
        let events: Vec<_> = events.iter().filter(keep).cloned().collect();
        check(RingShape { blocks, groups }, actors, &events)?;
    }
}
