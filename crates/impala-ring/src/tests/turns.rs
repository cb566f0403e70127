//! Tests of blocks in turn (lockstep): which producer fills which group, also after deaths.

use super::*;

const BOTH: OwnGroups = OwnGroups { first: 0, step: 1 };

fn claim_own(producer: &mut Producer<'_>, own: OwnGroups) -> Option<usize> {
    match producer.claim_in_turn(own, NOW) {
        Ok(grant) => {
            let slot = grant.index();
            grant.commit().expect("not fenced");
            Some(slot)
        }
        Err(ClaimError::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn groups_are_dealt_by_a_fixed_rule() {
    let dealt = |first, step, groups| OwnGroups { first, step }.of(groups).collect::<Vec<_>>();
    assert_eq!(dealt(0, 1, 3), [0, 1, 2]);
    assert_eq!(dealt(1, 2, 5), [1, 3]);
    assert_eq!(dealt(2, 3, 2), [] as [usize; 0]);
    let own = OwnGroups { first: 1, step: 2 };
    assert!(own.of(9).enumerate().all(|(place, group)| own.place_of(group) == place));
}

#[test]
fn one_block_is_open_at_a_time_and_each_slot_is_filled_once() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let mut consumer = consumer(&slab);
    let own = [0, 1].map(|first| OwnGroups { first, step: 2 });
    let mut actors = [0, 1].map(|actor| producer(&slab, actor));
    assert_eq!(claim_own(&mut actors[0], own[0]), None, "none is open");
    assert_eq!(consumer.take_in_turn(NOW).err(), Some(TakeError::TimedOut));
    for number in 0..7_usize {
        consumer.open_next();
        consumer.open_next();
        let first = number % SHAPE.blocks * SHAPE.groups;
        assert_eq!(claim_own(&mut actors[1], own[1]), Some(first + 1), "its own, not the first");
        assert_eq!(claim_own(&mut actors[1], own[1]), None, "no second time");
        assert_eq!(consumer.take_in_turn(NOW).err(), Some(TakeError::TimedOut), "half a block");
        assert_eq!(claim_own(&mut actors[0], own[0]), Some(first));
        let held = consumer.take_in_turn(NOW).expect("complete");
        assert_eq!(held.block().index(), number % SHAPE.blocks);
        if number % 2 == 0 {
            // Acting and learning overlap.
            consumer.open_next();
            held.release().expect("held");
        } else {
            held.release().expect("held");
            assert_eq!(claim_own(&mut actors[0], own[0]), None, "free, and not its turn");
        }
    }
    assert!(slab.ring().slot_counts().holds());
}

#[test]
fn who_waits_for_a_turn_is_woken() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let consumer = consumer(&slab);
    let ring = slab.ring();
    let mut actor = producer(&slab, 0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let long = Duration::from_secs(3600);
            actor.claim_in_turn(BOTH, long).map(|grant| grant.index())
        });
        while !ring.block_opened().has_waiters() {
            std::thread::yield_now();
        }
        consumer.open_next();
        assert_eq!(waiting.join().expect("no panic"), Ok(0));
    });
    ring.close();
    assert_eq!(actor.claim_in_turn(BOTH, NOW).err(), Some(ClaimError::Closed));
}

#[test]
fn a_successor_fills_what_its_predecessor_left() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let mut consumer = consumer(&slab);
    consumer.open_next();
    let mut first = producer(&slab, 0);
    assert_eq!(claim_own(&mut first, BOTH), Some(0));
    assert_eq!(first.claim_in_turn(BOTH, NOW).expect("open").index(), 1);
    assert_eq!(reclaim(slab.ring(), owner(0, 1)), Ok(1));
    let mut second = Producer::new(slab.alias(), owner(0, 2)).expect("writable");
    assert_eq!(claim_own(&mut second, BOTH), Some(1));
    assert_eq!(claim_own(&mut second, BOTH), None);
    assert!(consumer.take_in_turn(NOW).is_ok());
}

/// What a dead learner held is read when the turn comes round to its place; nothing is filled twice.
#[test]
fn what_a_dead_learner_held_waits_for_its_place() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let mut record = CrashRecord::new(SHAPE);
    let mut actor = producer(&slab, 0);
    let mut before = consumer(&slab);
    before.open_next();
    assert_eq!([(); 2].map(|()| claim_own(&mut actor, BOTH)), [Some(0), Some(1)]);
    std::mem::forget(before.take_in_turn(NOW).expect("complete"));
    drop(before);
    let loss = learner_died(slab.ring(), &mut record).expect("sound");
    assert_eq!((loss.requeued, loss.dropped), (2, 0));

    let mut after = consumer(&slab);
    let mut taken = Vec::new();
    for _ in 0..SHAPE.blocks {
        after.open_next();
        while claim_own(&mut actor, BOTH).is_some() {}
        taken.push(after.take_in_turn(NOW).expect("complete").block().index());
    }
    assert_eq!(taken, [1, 2, 0]);
    let counts = slab.ring().slot_counts();
    assert!(counts.holds(), "{counts:?}");
    assert_eq!(counts.consumed, 6);
}
