//! loom tests of the ring's protocol, in every interleaving up to a bound on preemptions.
//!
//! The payload of a slot is one loom cell, so an access that nothing orders is reported as a race and
//! not as a wrong number. Every model also runs with one entry of [`Orders`] weakened (see `twins`): there
//! loom must find the fault, which shows that the model could have found it.
//!
//! loom 0.7 decides which steps to reorder by the *last* access to an atomic alone, so a thread that
//! loads a word before it changes it hides the loads of others (tokio-rs/loom issues 166 and 392): most
//! of what happens here. Hence [`World::turn`] before each step of a model: relaxed changes of one word
//! that all share, which loom reorders in every way. They order nothing among the other words.

mod models;
mod twins;

use std::sync::{Arc, Mutex};

use loom::cell::UnsafeCell;
use loom::thread;

use super::orders::{DefaultOrders, Orders};
use super::protocol::{Claim, FirstSeen, Held, Ring, RingShape};
use super::recovery::CrashRecord;
use super::turns::OwnGroups;
use super::word::{Owner, State};
use impala_shm::EventCount;
use impala_shm::sync::{AtomicU32, AtomicU64, Ordering};
use models::{
    close, commit_then_take, last_two_commits, late_claim, learner_dies, open_then_claim,
    reclaim_then_claim, release_then_claim, two_claimers, wake_actors, wake_in_turn, wake_learner,
};

/// A learner that only looks makes this many tries: enough to miss once and to find.
const LOOKS: usize = 2;

/// A ring with one cell of payload a slot. Shared by `std`'s `Arc`: loom's would order things itself.
struct World {
    words: Vec<AtomicU64>,
    waits: Vec<AtomicU32>,
    shape: RingShape,
    payload: Vec<UnsafeCell<()>>,
    /// What a block is to be filled with, where blocks are filled in turn.
    page: UnsafeCell<()>,
    turnstile: AtomicU64,
}

impl World {
    fn new(groups: usize) -> Arc<Self> {
        let shape = RingShape { blocks: 1, groups };
        Arc::new(Self {
            words: (0..Ring::<DefaultOrders>::word_count(shape))
                .map(|_| AtomicU64::new(0))
                .collect(),
            waits: (0..Ring::<DefaultOrders>::wait_count()).map(|_| AtomicU32::new(0)).collect(),
            shape,
            payload: (0..groups).map(|_| UnsafeCell::new(())).collect(),
            page: UnsafeCell::new(()),
            turnstile: AtomicU64::new(0),
        })
    }

    fn ring<O: Orders>(&self) -> Ring<'_, O> {
        Ring::new(&self.words, &self.waits, self.shape).expect("fits")
    }

    fn turn(&self) {
        self.turnstile.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self, slot: usize) {
        self.payload[slot].with_mut(|_| ());
    }

    fn read_block(&self) {
        self.payload.iter().for_each(|cell| cell.with(|_| ()));
    }

    /// Claims and writes, if there is a slot; dies there if not told to commit.
    fn produce<O: Orders>(&self, actor: u16, commit: bool) -> bool {
        let ring = self.ring::<O>();
        self.turn();
        let Some(claim) = ring.claim(owner(actor)).expect("sound words") else {
            return false;
        };
        self.write(claim.slot());
        if commit {
            self.turn();
            if ring.commit(claim).expect("not fenced") {
                ring.block_ready().notify(|_| ());
            }
        }
        true
    }

    /// Puts out what the next block is to be filled with, and opens it.
    fn open<O: Orders>(&self) {
        self.page.with_mut(|_| ());
        self.turn();
        self.ring::<O>().open_next_turn();
        self.ring::<O>().block_opened().notify(|_| ());
    }

    /// Claims the slot of group 0 if it is its turn, and writes it by what was put out for it.
    fn claim_in_turn<O: Orders>(&self) -> Option<Claim> {
        self.turn();
        let own = OwnGroups { first: 0, step: 1 };
        let claim = self.ring::<O>().try_claim_in_turn(owner(0), own).expect("sound words")?;
        self.page.with(|_| ());
        self.write(claim.slot());
        Some(claim)
    }

    fn look<O: Orders>(&self, seen: &mut FirstSeen) -> Option<Held> {
        let ring = self.ring::<O>();
        self.turn();
        let block = ring.oldest_ready_block(seen).expect("sound words")?;
        self.turn();
        let held = ring.take(block).expect("ready");
        self.read_block();
        Some(held)
    }

    fn take<O: Orders>(&self) -> Option<Held> {
        let mut seen = FirstSeen::new(self.shape);
        (0..LOOKS).find_map(|_| self.look::<O>(&mut seen))
    }

    fn release<O: Orders>(&self, held: Held) {
        let ring = self.ring::<O>();
        self.turn();
        ring.release(held).expect("held");
        ring.slot_free().notify(|_| ());
    }
}

/// One round of waiting, W1 to W6, up to the sleep itself.
struct Round<T> {
    found: Option<T>,
    /// The count that it would sleep on, as it saw it.
    asleep: Option<u32>,
}

impl<T> Round<T> {
    fn wait<O: Orders>(event: &EventCount<'_, O>, look: impl FnOnce() -> Option<T>) -> Self {
        let mut asleep = None;
        let found = event.wait(look, |word, heard| {
            // The kernel compares, and queues in the same step. The sleeper stays counted.
            asleep = (word.load(Ordering::Relaxed) == heard).then_some(heard);
            event.sleeps_on();
        });
        Self { found, asleep }
    }

    /// To be called when all who could notify are done: who sleeps on a count that did not move sleeps on.
    /// (If it moved after the comparison, the wake-up that follows each move found the sleeper.)
    fn was_not_left_asleep(&self, count: u32) {
        assert_ne!(self.asleep, Some(count), "lost wake-up");
    }
}

fn owner(actor: u16) -> Owner {
    Owner::new(actor, 1).expect("in range")
}

fn spawn<T: 'static>(world: &Arc<World>, run: fn(&World) -> T) -> thread::JoinHandle<T> {
    let world = Arc::clone(world);
    thread::spawn(move || run(&world))
}

/// Runs a model; `run` says whether the execution came to what the model is about. One that never
/// does would prove nothing.
fn explore(name: &str, run: impl Fn() -> bool + Send + Sync + 'static) {
    let counts = Arc::new(Mutex::new((0_u64, 0_u64)));
    let counted = Arc::clone(&counts);
    loom::model(move || {
        counted.lock().expect("counts").0 += 1;
        let to_the_point = run();
        counted.lock().expect("counts").1 += u64::from(to_the_point);
    });
    let (executions, to_the_point) = *counts.lock().expect("counts");
    println!("{name}: {executions} executions, {to_the_point} to the point");
    assert!(to_the_point > 0, "{name} never came to the point");
}

#[test]
fn loom_two_claimers() {
    two_claimers::<DefaultOrders>();
}

#[test]
fn loom_commit_then_take() {
    commit_then_take::<DefaultOrders>();
}

#[test]
fn loom_last_two_commits() {
    last_two_commits::<DefaultOrders>();
}

#[test]
fn loom_release_then_claim() {
    release_then_claim::<DefaultOrders>();
}

#[test]
fn loom_reclaim_then_claim() {
    reclaim_then_claim::<DefaultOrders>();
}

#[test]
fn loom_learner_dies() {
    learner_dies::<DefaultOrders>("requeue, take, release, claim", 1);
    learner_dies::<DefaultOrders>("drop, claim", 2);
}

#[test]
fn loom_no_lost_wake_up() {
    wake_learner::<DefaultOrders>("wake the learner, one actor", 1);
    wake_learner::<DefaultOrders>("wake the learner, two actors", 2);
    wake_actors::<DefaultOrders>("wake actors, one actor", 1);
    wake_actors::<DefaultOrders>("wake actors, two actors", 2);
    close::<DefaultOrders>();
}

#[test]
fn loom_blocks_in_turn() {
    open_then_claim::<DefaultOrders>();
    late_claim::<DefaultOrders>();
    wake_in_turn::<DefaultOrders>();
}
