//! loom models of [`super`]: all payload words of a version hold its number, so that a mixture of versions, or a
//! payload under the wrong version, shows.

use super::{Attempt, DefaultOrders, Orders, Reader, Writer, lock_words};
use crate::sync::{AtomicU64, Ordering, ReadWord};
use loom::thread;
use std::sync::{Arc, Mutex};

/// Two words are enough to tear.
const PAYLOAD_WORDS: usize = 2;

/// A fresh page. Leaked (some 100 bytes an execution), so that a writer made in one thread can be
/// moved to another: a writer made there would load `latest`, which hides races from loom (see
/// [`Writer`]).
fn page() -> &'static [AtomicU64] {
    (0..lock_words(PAYLOAD_WORDS)).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak()
}

fn writer<O: Orders>(words: &'static [AtomicU64]) -> Writer<'static, O> {
    Writer::new(words, PAYLOAD_WORDS)
}

fn fill<O: Orders>(writer: &mut Writer<'_, O>, version: u64) {
    let writing = writer.begin(version).expect("rising");
    for word in writing.payload() {
        word.store(version, Ordering::Relaxed);
    }
    writing.finish();
}

fn read<O: Orders>(reader: &Reader<'_, O>, have_version: u64) -> Attempt<()> {
    let attempt = reader.try_read(have_version, |payload| [payload[0].load(), payload[1].load()]);
    match attempt {
        Attempt::New(version, words) => {
            assert_eq!(words, [version; PAYLOAD_WORDS], "torn read accepted");
            assert!(version > have_version, "version went back");
            Attempt::New(version, ())
        }
        Attempt::Unchanged => Attempt::Unchanged,
        Attempt::Torn => Attempt::Torn,
    }
}

/// Explores every interleaving: these models are small enough to set no bound on preemptions. A
/// model that has one execution explores nothing and proves nothing.
fn model(name: &str, run: impl Fn() + Sync + Send + 'static) {
    let executions = Arc::new(Mutex::new(0_u64));
    let counted = Arc::clone(&executions);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = None;
    builder.check(move || {
        *counted.lock().expect("counter") += 1;
        run();
    });
    let executions = *executions.lock().expect("counter");
    println!("{name}: {executions} executions");
    assert!(executions > 1, "nothing was explored");
}

/// Version 1 is there; a writer publishes `publishes` more while a reader makes `reads` tries.
fn one_writer_one_reader<O: Orders + Send + 'static>(name: &str, publishes: u64, reads: usize) {
    model(name, move || {
        let words = page();
        let mut writer = writer::<O>(words);
        fill(&mut writer, 1);
        let writing = thread::spawn(move || {
            (2..2 + publishes).for_each(|version| fill(&mut writer, version));
        });
        let reader = Reader::<O>::new(ReadWord::of(words), PAYLOAD_WORDS);
        let mut have_version = 0;
        for _ in 0..reads {
            match read(&reader, have_version) {
                Attempt::New(version, ()) => have_version = version,
                // Four publishes are needed to reach the buffer that a reader is on.
                Attempt::Torn => assert!(publishes >= 4, "rejected without an overwrite"),
                Attempt::Unchanged => assert!(have_version > 0, "a published version was not seen"),
            }
        }
        writing.join().expect("writer");
        // What is there now is whole and current, whatever the reader met before.
        if have_version < 1 + publishes {
            assert_eq!(read(&reader, have_version), Attempt::New(1 + publishes, ()));
        }
    });
}

#[test]
fn loom_publishes_are_read_whole_and_in_order() {
    one_writer_one_reader::<DefaultOrders>("three publishes, three reads", 3, 3);
}

#[test]
fn loom_an_overwritten_buffer_is_rejected() {
    one_writer_one_reader::<DefaultOrders>("four publishes, two reads", 4, 2);
}

/// A writer dies in version 3; after it was reaped a successor publishes version 3.
#[test]
fn loom_a_dead_writer_hurts_nobody_and_a_successor_goes_on() {
    model("death and successor, four reads", || {
        let words = page();
        let mut dying = writer::<DefaultOrders>(words);
        fill(&mut dying, 1);
        let writing = thread::spawn(move || {
            fill(&mut dying, 2);
            let half = dying.begin(3).expect("rising");
            half.payload()[0].store(33, Ordering::Relaxed);
            dying
        });
        let reading = thread::spawn(move || {
            let reader = Reader::<DefaultOrders>::new(ReadWord::of(words), PAYLOAD_WORDS);
            let mut have_version = 0;
            for _ in 0..4 {
                match read(&reader, have_version) {
                    Attempt::New(version, ()) => have_version = version,
                    Attempt::Torn => panic!("a death stopped a reader"),
                    Attempt::Unchanged => {}
                }
            }
            have_version
        });
        // The join stands for the wait that reaps the dead writer. The successor goes on from the
        // state that it would find on the page; see `page` for why it does not look here.
        let mut successor = writing.join().expect("dying writer");
        assert_eq!(successor.latest_version(), 2);
        fill(&mut successor, 3);
        assert!((1..=3).contains(&reading.join().expect("reader")));
        let reader = Reader::<DefaultOrders>::new(ReadWord::of(words), PAYLOAD_WORDS);
        assert_eq!(read(&reader, 0), Attempt::New(3, ()));
    });
}

/// A reader may still be on version 1 while a writer dies in its buffer and a successor, which
/// goes on from the same state, writes it again.
#[test]
fn loom_a_slow_reader_rejects_two_writers_of_its_buffer() {
    model("slow reader, death, successor", || {
        let words = page();
        let mut writer = writer::<DefaultOrders>(words);
        fill(&mut writer, 1);
        let writing = thread::spawn(move || {
            (2..=4).for_each(|version| fill(&mut writer, version));
            let half = writer.begin(5).expect("rising");
            half.payload()[0].store(55, Ordering::Relaxed);
            fill(&mut writer, 5);
        });
        let reader = Reader::<DefaultOrders>::new(ReadWord::of(words), PAYLOAD_WORDS);
        read(&reader, 0);
        writing.join().expect("writers");
        assert_eq!(read(&reader, 0), Attempt::New(5, ()));
    });
}

// The twins: each weakens one ordering, and its model must fail.

struct NoFenceAfterMark;
impl Orders for NoFenceAfterMark {
    fn after_mark() {}
}

struct NoFenceBeforeCheck;
impl Orders for NoFenceBeforeCheck {
    fn before_check() {}
}

struct RelaxedLatest;
impl Orders for RelaxedLatest {
    const LATEST: Ordering = Ordering::Relaxed;
}

struct NoFenceAfterLatest;
impl Orders for NoFenceAfterLatest {
    fn after_latest() {}
}

/// One try against `publishes` overwrites; accepting a mixture is the only way to fail.
fn twin<O: Orders + Send + 'static>(publishes: u64) {
    model("twin", move || {
        let words = page();
        let mut writer = writer::<O>(words);
        fill(&mut writer, 1);
        let writing = thread::spawn(move || {
            (2..2 + publishes).for_each(|version| fill(&mut writer, version));
        });
        read(&Reader::<O>::new(ReadWord::of(words), PAYLOAD_WORDS), 0);
        writing.join().expect("writer");
    });
}

#[test]
fn loom_twin_with_every_ordering_holds() {
    twin::<DefaultOrders>(1);
    twin::<DefaultOrders>(4);
}

#[test]
#[should_panic(expected = "torn read accepted")]
fn loom_twin_without_the_release_fence_after_the_mark_tears() {
    twin::<NoFenceAfterMark>(4);
}

#[test]
#[should_panic(expected = "torn read accepted")]
fn loom_twin_without_the_acquire_fence_before_the_check_tears() {
    twin::<NoFenceBeforeCheck>(4);
}

#[test]
#[should_panic(expected = "torn read accepted")]
fn loom_twin_with_a_relaxed_latest_tears() {
    twin::<RelaxedLatest>(1);
}

#[test]
#[should_panic(expected = "torn read accepted")]
fn loom_twin_without_the_acquire_fence_after_latest_tears() {
    twin::<NoFenceAfterLatest>(1);
}
