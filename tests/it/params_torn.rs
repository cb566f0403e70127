//! Nobody ever reads a mixture of two versions of the parameters, however fast they follow.
//!
//! All parameters of a version are equal, so one look at a copy tells whether it is whole.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use impala_rl::params::{ParamPublisher, ParamReader, Refresh, page_words};
use impala_rl::shm::seqlock::{Attempt, DefaultOrders, Reader, Writer, lock_words};
use impala_rl::shm::{Access, Inherit, Memory, Region};
use impala_rl::sync::{AtomicU64, Ordering, ReadWord};

/// More than this machine has cores, as a rule: readers are interrupted in the midst of a copy.
const READERS: usize = 4;
/// Copies that each reader takes.
const READS: u64 = if cfg!(miri) { 20 } else { 250_000 };
const PARAM_LEN: usize = if cfg!(miri) { 31 } else { 1_001 };
const FINGERPRINT: u64 = 0x70_72_6E;
/// Versions are f32 values as well, which are exact up to here.
const VERSIONS: u64 = 1 << 24;
/// After this a test has failed; nothing is asserted about the time below.
const WATCHDOG: Duration = Duration::from_secs(120);

#[expect(clippy::cast_precision_loss, reason = "exact below 2^24")]
fn value_of(version: u64) -> f32 {
    (version % VERSIONS) as f32
}

/// Publishes without a pause until all readers are through.
fn publish_at_full_speed(words: &[AtomicU64], through: impl Fn() -> bool) -> u64 {
    let mut publisher = ParamPublisher::new(words, PARAM_LEN, FINGERPRINT).expect("laid out");
    let mut params = vec![0.0; PARAM_LEN];
    while !through() {
        let version = publisher.latest_version() + 1;
        params.fill(value_of(version));
        publisher.publish(version, &params).expect("finite");
    }
    publisher.latest_version()
}

struct Seen {
    whole: u64,
    busy: u64,
}

/// Takes [`READS`] copies and looks at every parameter of each. It does not wait for new versions: the
/// writer may not have had the processor in between.
fn read_and_check(words: &[ReadWord]) -> Seen {
    let mut reader = ParamReader::new(words, PARAM_LEN, FINGERPRINT).expect("laid out");
    let mut out = vec![-1.0; PARAM_LEN];
    let mut last_version = 0;
    let mut seen = Seen { whole: 0, busy: 0 };
    let deadline = Instant::now() + WATCHDOG;
    while seen.whole < READS {
        match reader.refresh(0, &mut out) {
            Refresh::New(version) => {
                assert!(version >= last_version, "{version} after {last_version}");
                let expected = value_of(version);
                let torn = out.iter().position(|&value| value != expected);
                assert_eq!(torn, None, "a torn read of version {version}");
                last_version = version;
                seen.whole += 1;
            }
            Refresh::Busy => {
                assert!(out.iter().all(|value| value.is_nan()), "usable after Busy");
                seen.busy += 1;
            }
            Refresh::Unchanged => thread::yield_now(),
        }
        assert!(Instant::now() < deadline, "{} of {READS} reads in {WATCHDOG:?}", seen.whole);
    }
    seen
}

fn no_torn_reads(writable: &[AtomicU64], readable: &[ReadWord]) {
    ParamPublisher::new(writable, PARAM_LEN, FINGERPRINT).expect("a zeroed page");
    thread::scope(|scope| {
        let readers: Vec<_> =
            (0..READERS).map(|_| scope.spawn(|| read_and_check(readable))).collect();
        let through = || readers.iter().all(thread::ScopedJoinHandle::is_finished);
        let published = publish_at_full_speed(writable, through);
        let seen: Vec<Seen> =
            readers.into_iter().map(|reader| reader.join().expect("no torn read")).collect();
        let whole: u64 = seen.iter().map(|seen| seen.whole).sum();
        let busy: u64 = seen.iter().map(|seen| seen.busy).sum();
        assert_eq!(whole, READS * READERS as u64);
        println!("{published} versions published, {whole} reads whole, {busy} busy, 0 torn");
    });
}

#[test]
fn no_torn_reads_on_the_heap() {
    let region = Region::heap(page_words(PARAM_LEN) * size_of::<u64>());
    let words = region.words(0, page_words(PARAM_LEN));
    no_torn_reads(words, ReadWord::of(words));
}

#[test]
#[cfg_attr(miri, ignore = "maps shared memory")]
fn no_torn_reads_through_a_read_only_mapping() {
    let words = page_words(PARAM_LEN);
    let memory = Memory::create("params-torn", words * size_of::<u64>()).expect("room");
    let writable = memory.map(Access::ReadWrite, Inherit::No).expect("mapped");
    let readable = memory.map(Access::ReadOnly, Inherit::No).expect("mapped");
    no_torn_reads(writable.words(0, words), readable.read_words(0, words));
}

/// The checksum of a parameter page would hide a fault of the lock under it. Here there is none, and the
/// test goes on until mixtures were really copied, so that it is the lock that rejected them.
#[test]
fn the_lock_alone_rejects_the_mixtures_that_occur() {
    /// A copy long enough to be overtaken while the reader has the processor.
    const PAYLOAD_WORDS: usize = 4_096;
    let words: Vec<AtomicU64> = (0..lock_words(PAYLOAD_WORDS)).map(|_| AtomicU64::new(0)).collect();
    let deadline = Instant::now() + WATCHDOG;
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let reader = Reader::<DefaultOrders>::new(ReadWord::of(&words), PAYLOAD_WORDS);
            let (mut whole, mut mixtures) = (0_u64, 0_u64);
            while whole < 100 || mixtures < 3 {
                let mut mixed = false;
                let attempt = reader.try_read(0, |payload| {
                    let first = payload[0].load();
                    let differs = |word: &ReadWord| match word.load() == first {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    };
                    mixed = payload.iter().try_for_each(differs).is_break();
                    first
                });
                match attempt {
                    Attempt::New(version, first) => {
                        assert!(!mixed, "a torn read of version {version}");
                        assert_eq!(first, version);
                        whole += 1;
                    }
                    Attempt::Torn => mixtures += u64::from(mixed),
                    Attempt::Unchanged => thread::yield_now(),
                }
                assert!(Instant::now() < deadline, "{whole} whole, {mixtures} mixtures met");
            }
        });
        let mut writer = Writer::<DefaultOrders>::new(&words, PAYLOAD_WORDS);
        while !reading.is_finished() {
            let version = writer.latest_version() + 1;
            let writing = writer.begin(version).expect("rising");
            writing.payload().iter().for_each(|word| word.store(version, Ordering::Relaxed));
            writing.finish();
        }
        reading.join().expect("no torn read");
    });
}
