//! Tests of wake-ups: who is woken when a slot or a block changes. The periodic rescan would hide a missing wake-up, so
//! these tests wait without it.

use std::thread;
use std::time::Instant;

use super::*;
use impala_shm::futex;
use impala_shm::sync::{AtomicU32, Ordering};

/// A sleeper that is not woken sleeps on; then the test has failed.
const HANG: Duration = Duration::from_secs(60);
const AN_HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy)]
enum Who {
    Learner,
    Actor,
}

/// Sleeps on an event as `wait_for` does, and ends when it is woken.
fn sleep(ring: Ring<'_>, who: Who) {
    let event = match who {
        Who::Learner => ring.block_ready(),
        Who::Actor => ring.slot_free(),
    };
    let found = event.wait(|| None::<()>, |word, heard| futex::wait_while(word, heard, AN_HOUR));
    assert!(found.is_none());
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > HANG {
            eprintln!("gave up waiting until {what}");
            // A panic would wait for the sleeper.
            std::process::abort();
        }
        thread::yield_now();
    }
}

/// What must wake somebody, ready to be done.
type Cause<'m> = Box<dyn FnOnce() + 'm>;

/// Prepares a ring, lets somebody fall asleep, and does what must wake them.
fn wakes(who: Who, prepare: for<'m> fn(Slab<'m>) -> Cause<'m>) {
    let mut arena = Arena::new();
    let layout = arena.layout.clone();
    let ring = ring_in(&arena.control, SHAPE).expect("fits");
    let slab = slab_over(ring, &mut arena.payload, &layout).expect("fits");
    let waits = arena.control.words32(words_in(&arena.control).len() * 8, <Ring>::wait_count());
    // Counts and numbers of waiters take turns, a cache line each.
    let waiters: &AtomicU32 = match who {
        Who::Learner => &waits[16],
        Who::Actor => &waits[3 * 16],
    };
    let cause = prepare(slab);
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| sleep(ring, who));
        until("it is counted as waiting", || waiters.load(Ordering::Relaxed) == 1);
        cause();
        until("it is woken", || sleeper.is_finished());
    });
    assert_eq!(waiters.load(Ordering::Relaxed), 0);
}

fn fill_block(slab: &Slab<'_>) {
    commit(&mut producer(slab, 0), SHAPE.groups);
}

#[test]
fn the_last_commit_of_a_block_wakes_the_learner() {
    wakes(Who::Learner, |slab| {
        commit(&mut producer(&slab, 0), SHAPE.groups - 1);
        Box::new(move || commit(&mut producer(&slab, 1), 1))
    });
}

#[test]
fn a_release_wakes_actors() {
    wakes(Who::Actor, |slab| {
        fill_block(&slab);
        let block = consumer(&slab).take(NOW).expect("complete");
        Box::new(move || block.release().expect("held"))
    });
    wakes(Who::Actor, |slab| {
        fill_block(&slab);
        let block = consumer(&slab).take(NOW).expect("complete");
        Box::new(move || drop(block))
    });
}

#[test]
fn a_reclaim_wakes_actors() {
    wakes(Who::Actor, |slab| {
        let _dead_with_it = producer(&slab, 0).claim(NOW).expect("free").index();
        Box::new(move || assert_eq!(reclaim(slab.ring(), owner(0, 1)), Ok(1)))
    });
}

#[test]
fn a_dropped_batch_wakes_actors() {
    wakes(Who::Actor, |slab| {
        let mut record = CrashRecord::new(SHAPE);
        let alias = slab.alias();
        let mut die = move || {
            let slab = &alias;
            std::mem::forget(consumer(slab).take(NOW).expect("complete"));
            learner_died(slab.ring(), &mut record).expect("sound words")
        };
        fill_block(&slab);
        assert_eq!(die().requeued, 2);
        Box::new(move || assert_eq!(die().dropped, 2))
    });
}

#[test]
fn closing_wakes_everybody() {
    for who in [Who::Learner, Who::Actor] {
        wakes(who, |slab| Box::new(move || slab.ring().close()));
    }
}

/// All of the above with the real waits: each party has to wait for the other in every round.
#[test]
fn a_ring_of_one_slot_goes_back_and_forth() {
    const ROUNDS: usize = if cfg!(miri) { 20 } else { 1_000 };
    let shape = RingShape { blocks: 1, groups: 1 };
    let layout = layout(1);
    let control = Region::heap(4096);
    let mut payload = Region::heap(layout.block_bytes());
    let words = control.words(0, <Ring>::word_count(shape));
    let waits = control.words32(words.len() * 8, <Ring>::wait_count());
    let ring = Ring::new(words, waits, shape).expect("fits");
    let slab = slab_over(ring, &mut payload, &layout).expect("fits");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut actor = producer(&slab, 0);
            for round in 0..ROUNDS {
                let mut grant = actor.claim(HANG).expect("released in time");
                grant.slot_mut().row_mut::<u64>(TAG, 0)[0] = round as u64;
                grant.commit().expect("not fenced");
            }
        });
        let mut learner = consumer(&slab);
        for round in 0..ROUNDS {
            let block = learner.take(HANG).expect("committed in time");
            assert_eq!(block.block().field::<u64>(TAG)[0], round as u64);
        }
    });
    assert_eq!(ring.slot_counts().consumed, ROUNDS as u64);
}
