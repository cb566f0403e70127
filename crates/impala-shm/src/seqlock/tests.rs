//! Tests of the seqlock in one thread: versions, abandoned writes, and reads that are overtaken.

use super::*;

fn page(payload_words: usize) -> Vec<AtomicU64> {
    (0..lock_words(payload_words)).map(|_| AtomicU64::new(0)).collect()
}

fn publish(writer: &mut Writer<'_>, version: u64) {
    let writing = writer.begin(version).expect("rising");
    for word in writing.payload() {
        word.store(version, Ordering::Relaxed);
    }
    writing.finish();
}

fn reader(words: &[AtomicU64], payload_words: usize) -> Reader<'_> {
    Reader::new(ReadWord::of(words), payload_words)
}

fn words_of(payload: &[ReadWord]) -> Vec<u64> {
    payload.iter().map(ReadWord::load).collect()
}

#[test]
fn buffers_start_on_lines() {
    for payload_words in [0, 1, 7, 8, 9, 2_305] {
        assert_eq!(lock_words(payload_words) % LINE_WORDS, 0);
        let words = page(payload_words);
        let laid_out = Page::new(&words, payload_words);
        for index in 0..BUFFERS {
            let (seq, payload) = laid_out.buffer(index);
            let offset = words.iter().position(|word| std::ptr::eq(word, seq));
            assert_eq!(offset.expect("inside") % LINE_WORDS, 0);
            assert_eq!(payload.len(), payload_words);
        }
    }
}

#[test]
fn versions_rise_and_start_above_zero() {
    let words = page(3);
    let mut writer = Writer::<DefaultOrders>::new(&words, 3);
    let reader = reader(&words, 3);
    assert_eq!(reader.try_read(0, words_of), Attempt::Unchanged);
    assert_eq!(writer.begin(0).err(), Some(NotNewer { version: 0, latest: 0 }));
    for version in [1, 2, 5, 6, 7, 900, MAX_VERSION - 1, MAX_VERSION] {
        publish(&mut writer, version);
        assert_eq!(writer.begin(version).err(), Some(NotNewer { version, latest: version }));
        assert_eq!(reader.try_read(version - 1, words_of), Attempt::New(version, vec![version; 3]));
        assert_eq!(reader.try_read(version, words_of), Attempt::Unchanged);
    }
    assert!(writer.begin(MAX_VERSION + 1).is_err());
}

#[test]
fn an_abandoned_version_is_never_seen() {
    let words = page(2);
    let reader = reader(&words, 2);
    publish(&mut Writer::new(&words, 2), 1);
    for _ in 0..BUFFERS + 1 {
        // Each of these dies with half of version 2 written.
        let mut writer = Writer::<DefaultOrders>::new(&words, 2);
        let writing = writer.begin(2).expect("rising");
        writing.payload()[0].store(77, Ordering::Relaxed);
        assert_eq!(reader.try_read(0, words_of), Attempt::New(1, vec![1, 1]));
    }
    let mut successor = Writer::new(&words, 2);
    assert_eq!(successor.latest_version(), 1);
    publish(&mut successor, 2);
    assert_eq!(reader.try_read(1, words_of), Attempt::New(2, vec![2, 2]));
}

#[test]
fn a_copy_survives_three_publishes_and_is_rejected_by_the_fourth() {
    for (publishes, torn) in [(3, false), (4, true)] {
        let words = page(2);
        let mut writer = Writer::new(&words, 2);
        let reader = reader(&words, 2);
        publish(&mut writer, 1);
        let attempt = reader.try_read(0, |payload| {
            let first = payload[0].load();
            (2..2 + publishes).for_each(|version| publish(&mut writer, version));
            [first, payload[1].load()]
        });
        let expected = if torn { Attempt::Torn } else { Attempt::New(1, [1, 1]) };
        assert_eq!(attempt, expected);
    }
}

#[test]
fn a_half_written_overwrite_is_rejected() {
    let words = page(2);
    let mut writer = Writer::new(&words, 2);
    let reader = reader(&words, 2);
    (1..=4).for_each(|version| publish(&mut writer, version));
    let attempt = reader.try_read(0, |payload| {
        (5..=7).for_each(|version| publish(&mut writer, version));
        let writing = writer.begin(8).expect("rising");
        writing.payload()[0].store(8, Ordering::Relaxed);
        words_of(payload)
    });
    assert_eq!(attempt, Attempt::Torn);
}
