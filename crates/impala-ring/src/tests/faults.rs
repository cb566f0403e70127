//! Tests of deaths, of commits after a slot was taken back, and of corrupt words.

use super::*;
use impala_shm::sync::Ordering;

#[test]
fn a_slot_that_was_taken_back_cannot_be_committed() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let mut late = producer(&slab, 1);
    let grant = late.claim(NOW).expect("free");
    let slot = grant.index();
    assert_eq!(reclaim(slab.ring(), owner(1, 1)), Ok(1));
    assert_eq!(grant.commit(), Err(CommitError::Fenced { slot }));
    let counts = slab.ring().slot_counts();
    assert!(counts.holds() && counts.reclaimed == 1, "{counts:?}");
}

#[test]
fn a_batch_that_kills_two_learners_is_dropped_and_one_that_kills_one_is_not() {
    let mut arena = Arena::new();
    let slab = arena.slab();
    let ring = slab.ring();
    let mut record = CrashRecord::new(SHAPE);
    let mut actor = producer(&slab, 0);
    let mut die_with_a_block = |expected: LearnerLoss| {
        std::mem::forget(consumer(&slab).try_take().expect("sound").expect("complete"));
        assert_eq!(learner_died(ring, &mut record), Ok(expected));
        assert!(ring.slot_counts().holds());
    };
    let requeued = LearnerLoss { requeued: 2, dropped: 0 };
    let dropped = LearnerLoss { requeued: 0, dropped: 2 };

    commit(&mut actor, 2);
    die_with_a_block(requeued);
    // It was innocent: the next learner gets through, and the block starts anew.
    drop(consumer(&slab).try_take().expect("sound").expect("complete"));
    commit(&mut actor, 2);
    die_with_a_block(requeued);
    die_with_a_block(dropped);
    let counts = ring.slot_counts();
    assert_eq!((counts.consumed, counts.dropped, counts.requeued), (2, 2, 4));
    assert_eq!(ring.occupancy(), Ok(Occupancy { free: 6, ..Occupancy::default() }));
}

#[test]
fn a_death_between_counting_and_freeing_is_put_right_and_a_larger_error_is_reported() {
    let mut arena = Arena::new();
    let control = std::mem::replace(&mut arena.control, Region::heap(1));
    let ring = ring_in(&control, SHAPE).expect("fits");
    let consumed = &words_in(&control)[SHAPE.slots() * 8];
    let mut record = CrashRecord::new(SHAPE);
    consumed.store(1, Ordering::Relaxed);
    assert_eq!(learner_died(ring, &mut record), Ok(LearnerLoss::default()));
    assert_eq!(ring.slot_counts().consumed, 0);
    consumed.store(2, Ordering::Relaxed);
    assert!(!ring.slot_counts().holds());
    assert_eq!(learner_died(ring, &mut record), Err(RingError::CountMismatch { surplus: 2 }));
}

#[test]
fn a_word_that_nobody_writes_is_reported_by_whoever_meets_it() {
    let mut arena = Arena::new();
    let layout = arena.layout.clone();
    let ring = ring_in(&arena.control, SHAPE).expect("fits");
    let slab = slab_over(ring, &mut arena.payload, &layout).expect("fits");
    let (slot, word) = (1, 0x0BAD_0000_0000_0007);
    let corrupt = RingError::Corrupt { slot, word };
    let mut actor = producer(&slab, 0);
    let _first = commit_one(&mut actor);
    let grant = actor.claim(NOW).expect("free");
    assert_eq!(grant.index(), slot);
    words_in(&arena.control)[slot * 8].store(word, Ordering::Relaxed);

    assert_eq!(grant.commit(), Err(CommitError::Ring(corrupt)));
    assert_eq!(actor.claim(NOW).err(), Some(ClaimError::Ring(corrupt)));
    assert_eq!(consumer(&slab).take(NOW).err(), Some(TakeError::Ring(corrupt)));
    assert_eq!(reclaim(ring, owner(0, 1)), Err(corrupt));
    assert_eq!(learner_died(ring, &mut CrashRecord::new(SHAPE)), Err(corrupt));
    assert_eq!(ring.occupancy(), Err(corrupt));
    assert_eq!(ring.slot_word(slot), Err(corrupt));
}

#[test]
fn a_held_slot_that_is_no_longer_held_stops_its_release() {
    let mut arena = Arena::new();
    let layout = arena.layout.clone();
    let ring = ring_in(&arena.control, SHAPE).expect("fits");
    let slab = slab_over(ring, &mut arena.payload, &layout).expect("fits");
    let mut actor = producer(&slab, 0);
    commit(&mut actor, 2);
    let block = consumer(&slab).take(NOW).expect("complete");
    words_in(&arena.control)[8].store(0, Ordering::Relaxed);
    assert_eq!(block.release(), Err(RingError::Corrupt { slot: 1, word: 0 }));
}
