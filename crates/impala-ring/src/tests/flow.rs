//! Tests of the ring without faults.

use super::*;
use impala_shm::{Access, Inherit, Memory};

#[test]
fn claims_fill_the_fullest_open_block_first_and_its_holes_before_all() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let ring = slab.ring();
    let slots: Vec<_> =
        (0..4).map(|actor| producer(&slab, actor)).map(|mut p| commit_one(&mut p)).collect();
    assert_eq!(slots, [0, 1, 2, 3], "blocks are filled one after the other");

    let mut consumer = consumer(&slab);
    drop(consumer.try_take().expect("sound").expect("block 0 is complete"));
    let mut dying = producer(&slab, 4);
    assert_eq!(dying.claim(NOW).expect("free").index(), 0, "the lowest of the empty blocks");
    let mut other = producer(&slab, 5);
    assert_eq!(other.claim(NOW).expect("free").index(), 1);
    let mut third = producer(&slab, 6);
    assert_eq!(third.claim(NOW).expect("free").index(), 4);
    assert_eq!(reclaim(ring, owner(4, 1)), Ok(1));
    assert_eq!(
        producer(&slab, 7).claim(NOW).expect("free").index(),
        0,
        "the hole, by the next claim"
    );
    assert_eq!(reclaim(ring, owner(4, 1)), Ok(0), "taken back already");
}

#[test]
fn an_abandoned_grant_comes_back_with_its_slot() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let mut producer = producer(&slab, 1);
    let mut grant = producer.claim(NOW).expect("free");
    let slot = grant.index();
    grant.slot_mut().row_mut::<u8>(BYTE, 3).fill(7);
    drop(grant);
    let mut again = producer.claim(NOW).expect("kept");
    assert_eq!((again.index(), again.slot_mut().row::<u8>(BYTE, 3)), (slot, &[7, 7][..]));
    again.commit().expect("not fenced");
    assert_ne!(producer.claim(NOW).expect("free").index(), slot, "committed means gone");
}

#[test]
fn blocks_are_taken_in_the_order_in_which_they_were_seen_complete() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let mut actors = [0, 1].map(|actor| producer(&slab, actor));
    let mut fill = || actors.iter_mut().map(commit_one).max().expect("two") / SHAPE.groups;
    let mut consumer = consumer(&slab);
    assert_eq!((fill(), fill()), (0, 1));
    let first = consumer.try_take().expect("sound").expect("complete");
    assert_eq!(first.block().index(), 0);
    first.release().expect("held");
    assert_eq!(fill(), 0, "block 0 is complete again, but 1 was first");
    let second = consumer.try_take().expect("sound").expect("complete");
    let third = consumer.try_take().expect("sound").expect("two at a time");
    assert_eq!((second.block().index(), third.block().index()), (1, 0));
    assert!(consumer.try_take().expect("sound").is_none());
}

#[test]
fn a_closed_ring_gives_what_is_complete_and_nothing_else() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let mut actor = producer(&slab, 0);
    commit(&mut actor, 3);
    let mut consumer = consumer(&slab);
    slab.ring().close();
    assert_eq!(actor.claim(Duration::MAX).err(), Some(ClaimError::Closed));
    drop(consumer.take(Duration::MAX).expect("block 0 is complete"));
    assert_eq!(consumer.take(Duration::MAX).err(), Some(TakeError::Closed));
    assert_eq!(consumer.try_take().err(), Some(TakeError::Closed));
}

#[test]
fn waits_end_when_their_time_is_up() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let timeout = Duration::from_millis(2);
    assert_eq!(consumer(&slab).take(timeout).err(), Some(TakeError::TimedOut));
    let mut actors: Vec<_> = (0..7).map(|actor| producer(&slab, actor)).collect();
    let last = actors.pop().expect("seven");
    actors.iter_mut().for_each(|actor| drop(actor.claim(NOW).expect("free")));
    let mut last = last;
    assert_eq!(last.claim(timeout).err(), Some(ClaimError::TimedOut));
}

#[test]
fn no_more_is_in_flight_than_the_learner_allows() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let ring = slab.ring();
    let mut consumer = consumer(&slab);
    assert_eq!(ring.in_flight_limit(), usize::MAX, "none is set");
    consumer.limit_in_flight(3);
    let mut actors = [0, 1, 2].map(|actor| producer(&slab, actor));
    assert_eq!(actors.each_mut().map(commit_one), [0, 1, 2]);
    assert_eq!(actors[0].claim(NOW).err(), Some(ClaimError::HeldBack), "four slots are free");

    let held = consumer.try_take().expect("sound").expect("block 0 is complete");
    assert_eq!(actors[0].claim(NOW).err(), Some(ClaimError::HeldBack), "what is held counts");
    held.release().expect("held");
    let grant = actors[0].claim(NOW).expect("one is in flight");
    assert!(!grant.was_held_back());
    drop(grant);

    consumer.limit_in_flight(0);
    assert_eq!(ring.in_flight_limit(), SHAPE.groups, "less would never complete a block");
}

#[test]
fn actors_beyond_the_limit_are_the_reserve_until_it_rises() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let consumer = consumer(&slab);
    consumer.limit_in_flight(2);
    let mut third = producer(&slab, 2);
    assert_eq!(third.claim(NOW).err(), Some(ClaimError::HeldBack), "though nothing is in flight");
    assert!(producer(&slab, 1).claim(NOW).is_ok());
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| third.claim(Duration::from_secs(3600)).map(|g| g.was_held_back()));
        while !slab.ring().has_waiting_actors() {
            std::thread::yield_now();
        }
        consumer.limit_in_flight(3);
        assert_eq!(waiting.join().expect("no panic"), Ok(true), "woken by the higher limit");
    });
}

#[test]
fn rows_are_read_and_written_in_their_places() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let mut actors = [0, 1].map(|actor| producer(&slab, actor));
    for (actor, tag) in actors.iter_mut().zip([10_u8, 20]) {
        let mut grant = actor.claim(NOW).expect("free");
        let mut slot = grant.slot_mut();
        slot.row_mut::<u64>(TAG, 0).fill(tag.into());
        (0..2)
            .for_each(|row| slot.row_mut(SEEN, row).fill(tag + u8::try_from(row).expect("small")));
        for t in 0..3_u8 {
            let row = usize::from(t);
            let write = [(SEEN, row + 2), (BYTE, row + 1)];
            let (seen, [next, byte]) = slot.read_and_write((SEEN, row..row + 2), write);
            assert_eq!([seen[0][15], seen[1][15]], [tag + t, tag + t + 1]);
            assert_eq!((seen.len(), seen[0].len(), next.len()), (2, 16, 16));
            next.fill(tag + t + 2);
            byte.fill(tag + t);
        }
        assert_eq!(
            (slot.row::<u8>(SEEN, 4)[0], slot.row::<u8>(BYTE, 3)),
            (tag + 4, &[tag + 2; 2][..])
        );
        grant.commit().expect("not fenced");
    }

    let mut consumer = consumer(&slab);
    let held = consumer.take(NOW).expect("complete");
    let block = held.block();
    assert_eq!(block.field::<u64>(TAG), [10, 20]);
    assert_eq!(block.field::<u8>(BYTE)[4..8], [10, 10, 20, 20]);
    let last = block.field::<u8>(SEEN)[4 * 32..].iter().step_by(8).collect::<Vec<_>>();
    assert_eq!(last, [&14, &14, &24, &24]);
}

#[test]
fn parts_that_do_not_fit_are_refused_at_the_start() {
    let control = Region::heap(4096);
    let words = words_in(&control);
    let short =
        Ring::<DefaultOrders>::new(&words[1..], control.words32(0, <Ring>::wait_count()), SHAPE);
    assert!(matches!(short, Err(RingError::Memory { what: "64-bit words", .. })), "{short:?}");
    for shape in [RingShape { blocks: 0, ..SHAPE }, RingShape { groups: usize::MAX / 2, ..SHAPE }] {
        assert_eq!(ring_in(&control, shape).err(), Some(RingError::Shape(shape)));
    }

    let (layout, wide) = (layout(SHAPE.groups), layout(3));
    let ring = ring_in(&control, SHAPE).expect("fits");
    let need_bytes = Slab::payload_bytes(SHAPE.blocks, &layout).expect("small");
    let mut payload = Region::heap(need_bytes - 1);
    let groups = slab_over(ring, &mut payload, &wide).err();
    assert_eq!(groups, Some(SlabError::Groups { ring: 2, layout: 3 }));
    let small = slab_over(ring, &mut payload, &layout).err();
    let have_bytes = need_bytes - 1;
    assert_eq!(small, Some(SlabError::TooSmall { blocks: 3, need_bytes, have_bytes }));
    let huge = Slab::payload_bytes(usize::MAX, &layout);
    assert_eq!(huge, Err(SlabError::TooLarge { blocks: usize::MAX }));

    let memory = Memory::create("read-only", need_bytes).expect("small");
    let mut payload = memory.map(Access::ReadOnly, Inherit::No).expect("mapped");
    let slab = slab_over(ring, &mut payload, &layout).expect("fits");
    assert_eq!(Producer::new(slab, owner(0, 1)).err(), Some(SlabError::ReadOnly));
}

#[test]
fn a_heap_ring_has_one_producer_for_each_owner_and_starts_with_what_was_scribbled() {
    let mut memory = HeapRing::new(2, layout(SHAPE.groups)).expect("small");
    memory.scribble(0x5A);
    let mut seats = memory.seats().expect("fits");
    let mut actor = seats.producer(owner(0, 1)).expect("the first");
    assert_eq!(
        seats.producer(owner(0, 1)).err(),
        Some(SlabError::Seated { actor: 0, incarnation: 1 })
    );
    let mut successor = seats.producer(owner(0, 2)).expect("another incarnation");
    assert_ne!(commit_one(&mut actor), commit_one(&mut successor));
    let mut learner = seats.consumer();
    let block = learner.take(NOW).expect("complete");
    assert_eq!(block.block().field::<u8>(BYTE)[0], 0x5A);
    let none = HeapRing::new(0, layout(SHAPE.groups)).err();
    let shape = RingShape { blocks: 0, groups: 2 };
    assert_eq!(none, Some(SlabError::Ring(RingError::Shape(shape))));
}

/// Wrong, but nothing that two consumers do can give both a block.
#[test]
fn two_consumers_never_hold_one_block() {
    let mut memory = HeapRing::new(3, layout(SHAPE.groups)).expect("small");
    let mut seats = memory.seats().expect("fits");
    commit(&mut seats.producer(owner(0, 1)).expect("the first"), 4);
    let (mut one, mut other) = (seats.consumer(), seats.consumer());
    let first = one.take(NOW).expect("complete");
    let second = other.take(NOW).expect("complete");
    assert_ne!(first.block().index(), second.block().index());
    assert_eq!(one.take(NOW).err(), Some(TakeError::TimedOut));
    drop((first, second));
}
