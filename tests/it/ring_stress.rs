//! Actors, a learner and a supervisor at full speed, with deaths, over heap memory and over shared memory.
//!
//! Roles are threads here. A death is a thread that ends with its slot or its block still held; joining it
//! is the reap. Every byte is a function of who wrote it, as which of its unrolls, and where it lies, and
//! the learner computes all of them again: torn, stale, mixed or lost data cannot pass. At the end the
//! counts must be exact, unroll by unroll.
//!
//! Invariants, which the `SAFETY` comments cite:
//! - **D1** Each test has one control and one payload memory, which are only ever reached by [`ring_in`] and
//!   by slabs of that ring and one layout.
//! - **D2** What a party held is taken back after its thread was joined: its producer is gone, its blocks
//!   were released or forgotten, and the next one is started later.
#![allow(unsafe_code)]

mod pattern;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use impala_rl::ring::{ClaimError, CrashRecord, Owner, Ring, RingShape, TakeError};
use impala_rl::shm::{Access, Inherit, Memory, Region};
use impala_rl::unroll::{
    BlockLayout, BlockRef, Consumer, GroupHeader, GroupMut, HeapRing, HeapSeats, Producer, Slab,
    UnrollSpec,
};
use pattern::{check, header_of, mix, write};

const ACTORS: u16 = 4;
const SHAPE: RingShape = RingShape { blocks: 3, groups: 2 };
const SPEC: UnrollSpec = UnrollSpec {
    unroll: 3,
    batch: 4,
    envs: 2,
    frame_bytes: 24,
    frame_stack: 2,
    ..UnrollSpec::PLAIN
};
/// Miri is a thousand times slower.
const BLOCKS_TO_CONSUME: u64 = if cfg!(miri) { 8 } else { 50_000 };
/// One unroll in so many is given up by its actor, and one kills it.
const UNROLLS_PER_FAULT: u64 = if cfg!(miri) { 4 } else { 40 };
/// One block in so many kills the learner.
const BLOCKS_PER_DEATH: u64 = if cfg!(miri) { 3 } else { 20 };
/// A run that takes longer hangs. Not a measure of speed.
const WATCHDOG: Duration = Duration::from_secs(300);
const FOREVER: Duration = Duration::MAX;

/// Where the bytes are.
trait Backend: Sync {
    /// Gives an actor its own view of the ring.
    fn actor<R>(&self, owner: Owner, party: impl FnOnce(Producer<'_>) -> R) -> R;
    /// Gives a learner its own view of the ring.
    fn learner<R>(&self, party: impl FnOnce(Consumer<'_>) -> R) -> R;
    /// Gives the supervisor its own view of the ring, but not of the bytes.
    fn supervisor<R>(&self, party: impl FnOnce(Ring<'_>) -> R) -> R;
}

/// All parties use the same memory at the same address.
struct Heap<'m>(Mutex<HeapSeats<'m>>);

impl<'m> Heap<'m> {
    fn seats(&self) -> MutexGuard<'_, HeapSeats<'m>> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Backend for Heap<'_> {
    fn actor<R>(&self, owner: Owner, party: impl FnOnce(Producer<'_>) -> R) -> R {
        let producer = self.seats().producer(owner).expect("a new incarnation");
        party(producer)
    }

    fn learner<R>(&self, party: impl FnOnce(Consumer<'_>) -> R) -> R {
        let consumer = self.seats().consumer();
        party(consumer)
    }

    fn supervisor<R>(&self, party: impl FnOnce(Ring<'_>) -> R) -> R {
        let ring = self.seats().ring();
        party(ring)
    }
}

/// Each party maps the memory anew, at its own address and with its own rights, as processes do.
struct Shared {
    control: Memory,
    payload: Memory,
    layout: BlockLayout,
}

impl Shared {
    fn join<R>(&self, access: Access, party: impl FnOnce(Slab<'_>) -> R) -> R {
        let mut payload = self.payload.map(access, Inherit::No).expect("mapped");
        self.supervisor(|ring| {
            // SAFETY: D1, and nothing forks.
            let slab = unsafe { Slab::new(ring, &mut payload, &self.layout) };
            party(slab.expect("fits"))
        })
    }
}

impl Backend for Shared {
    fn actor<R>(&self, owner: Owner, party: impl FnOnce(Producer<'_>) -> R) -> R {
        self.join(Access::ReadWrite, |slab| party(Producer::new(slab, owner).expect("writable")))
    }

    fn learner<R>(&self, party: impl FnOnce(Consumer<'_>) -> R) -> R {
        self.join(Access::ReadOnly, |slab| party(Consumer::new(slab)))
    }

    fn supervisor<R>(&self, party: impl FnOnce(Ring<'_>) -> R) -> R {
        party(ring_in(&self.control.map(Access::ReadWrite, Inherit::No).expect("mapped")))
    }
}

fn control_bytes() -> usize {
    <Ring>::word_count(SHAPE) * 8 + <Ring>::wait_count() * 4
}

fn ring_in(control: &Region) -> Ring<'_> {
    let words = <Ring>::word_count(SHAPE);
    let waits = control.words32(words * 8, <Ring>::wait_count());
    Ring::new(control.words(0, words), waits, SHAPE).expect("fits")
}

#[test]
fn stress_on_heap_memory() {
    let layout = BlockLayout::new(SPEC).expect("valid");
    let mut memory = HeapRing::new(SHAPE.blocks, layout).expect("small");
    run(&Heap(Mutex::new(memory.seats().expect("fits"))));
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no shared mappings")]
fn stress_on_shared_memory() {
    let layout = BlockLayout::new(SPEC).expect("valid");
    let payload_bytes = Slab::payload_bytes(SHAPE.blocks, &layout).expect("small");
    let control = Memory::create("stress-control", control_bytes()).expect("small");
    let payload = Memory::create("stress-payload", payload_bytes).expect("small");
    run(&Shared { control, payload, layout });
}

/// How a party ended.
enum Exit {
    /// How many unrolls it committed, and whether it left a slot behind.
    Actor { owner: Owner, committed: u64, left_slot: bool, died: bool },
    /// What it read and released, and how many slots it left behind.
    Learner { consumed: Vec<GroupHeader>, left_slots: usize, died: bool },
}

fn act(mut producer: Producer<'_>) -> Exit {
    let owner = producer.owner();
    let mut random = mix(u64::from(owner.actor()) << 16 | u64::from(owner.incarnation()));
    let (mut committed, mut left_slot) = (0, false);
    loop {
        let mut grant = match producer.claim(FOREVER) {
            Ok(grant) => grant,
            Err(ClaimError::Closed) => {
                return Exit::Actor { owner, committed, left_slot, died: false };
            }
            Err(error) => panic!("{error}"),
        };
        random = mix(random);
        let header = header_of(owner, committed);
        match random % UNROLLS_PER_FAULT {
            0 => {
                write(&mut GroupMut::new(grant.slot_mut()), &header, |rows| rows / 2);
                return Exit::Actor { owner, committed, left_slot: true, died: true };
            }
            1 => {
                // Given up: the next claim has the same slot.
                write(&mut GroupMut::new(grant.slot_mut()), &header, |rows| rows / 2);
                left_slot = true;
            }
            _ => {
                write(&mut GroupMut::new(grant.slot_mut()), &header, |rows| rows);
                grant.commit().expect("not fenced");
                committed += 1;
                left_slot = false;
            }
        }
    }
}

fn learn(mut consumer: Consumer<'_>, incarnation: u64, blocks: u64) -> Exit {
    let ring = consumer.ring();
    let mut random = mix(incarnation);
    let mut consumed = Vec::new();
    loop {
        let block = match consumer.take(FOREVER) {
            Ok(block) => block,
            Err(TakeError::Closed) => {
                return Exit::Learner { consumed, left_slots: 0, died: false };
            }
            Err(error) => panic!("{error}"),
        };
        check(&BlockRef::new(block.block()));
        random = mix(random);
        if random.is_multiple_of(BLOCKS_PER_DEATH) {
            std::mem::forget(block);
            return Exit::Learner { consumed, left_slots: SHAPE.groups, died: true };
        }
        consumed.extend_from_slice(BlockRef::new(block.block()).headers());
        block.release().expect("held");
        if ring.slot_counts().consumed >= blocks * SHAPE.groups as u64 {
            ring.close();
        }
    }
}

/// Sends how a party ended; `None` for a panic.
fn report(exits: &Sender<Option<Exit>>, party: impl FnOnce() -> Exit) {
    let exit = catch_unwind(AssertUnwindSafe(party)).ok();
    exits.send(exit).expect("the supervisor waits");
}

/// The supervisor: reaps, returns what the dead held, starts them again, and keeps a tally of its own.
struct Run<'scope, 'env, B> {
    scope: &'scope Scope<'scope, 'env>,
    backend: &'env B,
    exits: (Sender<Option<Exit>>, Receiver<Option<Exit>>),
    actors: HashMap<u16, ScopedJoinHandle<'scope, ()>>,
    learner: Option<ScopedJoinHandle<'scope, ()>>,
    deadline: Instant,
}

#[derive(Default)]
struct Tally {
    /// Unrolls that each incarnation committed.
    committed: HashMap<(u32, u32), u64>,
    /// How often each unroll was consumed.
    consumed: HashMap<(u32, u32, u64), u64>,
    reclaimed: u64,
    requeued: u64,
    dropped: u64,
    learner_incarnations: u64,
}

impl<'scope, B: Backend> Run<'scope, '_, B> {
    fn start_actor(&mut self, owner: Owner) {
        let (backend, exits) = (self.backend, self.exits.0.clone());
        let party = move || {
            report(&exits, || backend.actor(owner, act));
        };
        self.actors.insert(owner.actor(), self.scope.spawn(party));
    }

    fn start_learner(&mut self, incarnation: u64) {
        let (backend, exits) = (self.backend, self.exits.0.clone());
        let party = move || {
            let learn = |consumer: Consumer<'_>| learn(consumer, incarnation, BLOCKS_TO_CONSUME);
            report(&exits, || backend.learner(learn));
        };
        self.learner = Some(self.scope.spawn(party));
    }

    /// The next party to end. Reaped: its thread has ended.
    fn reap(&mut self, ring: Ring<'_>) -> Exit {
        let max_wait = self.deadline.saturating_duration_since(Instant::now());
        let Ok(Some(exit)) = self.exits.1.recv_timeout(max_wait) else {
            // A panic here would wait for threads that wait for each other.
            let slots: Vec<_> = (0..SHAPE.slots()).map(|slot| ring.slot_word(slot)).collect();
            eprintln!("a party panicked or hangs: {:?} {slots:#?}", ring.slot_counts());
            std::process::abort();
        };
        let thread = match &exit {
            Exit::Actor { owner, .. } => self.actors.remove(&owner.actor()),
            Exit::Learner { .. } => self.learner.take(),
        };
        thread.expect("started").join().expect("no panic");
        exit
    }

    fn supervise(&mut self, ring: Ring<'_>) -> Tally {
        let mut counts = Tally::default();
        let mut record = CrashRecord::new(SHAPE);
        (0..ACTORS).for_each(|actor| self.start_actor(Owner::new(actor, 1).expect("in range")));
        self.start_learner(0);
        while !self.actors.is_empty() || self.learner.is_some() {
            match self.reap(ring) {
                Exit::Actor { owner, committed, left_slot, died } => {
                    let incarnation = (owner.actor().into(), owner.incarnation().into());
                    counts.committed.insert(incarnation, committed);
                    counts.reclaimed += u64::from(left_slot);
                    // SAFETY: D2.
                    let freed = unsafe { ring.reclaim(owner) };
                    assert_eq!(freed, Ok(usize::from(left_slot)), "{owner:?}");
                    if died {
                        let next = Owner::new(owner.actor(), owner.incarnation() + 1);
                        self.start_actor(next.expect("in range"));
                    }
                }
                Exit::Learner { consumed, left_slots, died } => {
                    for header in consumed {
                        let unroll = (header.actor, header.incarnation, header.sequence);
                        *counts.consumed.entry(unroll).or_default() += 1;
                    }
                    // SAFETY: D2.
                    let loss = unsafe { ring.learner_died(&mut record) }.expect("sound words");
                    assert_eq!(loss.requeued + loss.dropped, left_slots);
                    counts.requeued += loss.requeued as u64;
                    counts.dropped += loss.dropped as u64;
                    counts.learner_incarnations += 1;
                    if died {
                        self.start_learner(counts.learner_incarnations);
                    }
                }
            }
        }
        counts
    }
}

fn run<B: Backend>(backend: &B) {
    backend.supervisor(|ring| {
        let counts = std::thread::scope(|scope| {
            let deadline = Instant::now() + WATCHDOG;
            let (actors, learner) = (HashMap::new(), None);
            Run { scope, backend, exits: channel(), actors, learner, deadline }.supervise(ring)
        });

        let found = ring.slot_counts();
        assert!(found.holds(), "{found:?}");
        let consumed: u64 = counts.consumed.values().sum();
        assert_eq!(
            (found.consumed, found.reclaimed, found.dropped, found.requeued),
            (consumed, counts.reclaimed, counts.dropped, counts.requeued)
        );
        assert!(consumed >= BLOCKS_TO_CONSUME * SHAPE.groups as u64);
        assert!(counts.consumed.values().all(|&times| times == 1), "an unroll was trained on twice");
        for (actor, incarnation, sequence) in counts.consumed.keys() {
            assert!(*sequence < counts.committed[&(*actor, *incarnation)], "never committed");
        }
        // What was committed is consumed, dropped, or waits in a block that never became complete.
        let left = ring.occupancy().expect("sound words");
        assert_eq!((left.claimed, left.held), (0, 0), "{left:?}");
        let committed: u64 = counts.committed.values().sum();
        assert_eq!(committed, consumed + counts.dropped + left.ready as u64);
        println!(
            "{committed} unrolls in {} actor incarnations, {consumed} consumed in {} learner incarnations, {found:?}",
            counts.committed.len(),
            counts.learner_incarnations
        );
        // Without deaths the run would have shown little.
        assert!(counts.reclaimed > 0 && counts.requeued > 0, "no deaths");
    });
}
