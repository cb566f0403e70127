//! Tests of the control channel between the supervisor and a child.

use super::*;
use proptest::prelude::*;
use serde::ser::SerializeTuple as _;

fn wakeup() -> Arc<EventFd> {
    Arc::new(EventFd::new().expect("an eventfd"))
}

fn received(parent: &mut ParentEnd) -> Vec<FromChild> {
    let mut all = Vec::new();
    assert_eq!(parent.drain(100, |message| all.push(message)), Drained::Empty);
    all
}

#[test]
fn messages_arrive_in_order_and_raise_the_eventfd() {
    let wakeup = wakeup();
    let (mut parent, child) = pair(&wakeup).expect("channels");
    child.ready();
    child.log(Level::Warn, "slow");
    child.failed("no such file", true);
    child.finished("target");
    assert_eq!(wakeup.read().expect("written"), 4);
    let expected = [
        FromChild::Ready,
        FromChild::Log { level: Level::Warn, line: "slow".into() },
        FromChild::Failed { reason: "no such file".into(), permanent: true },
        FromChild::Finished { reason: "target".into() },
    ];
    assert_eq!(received(&mut parent), expected);
}

#[test]
fn a_request_waits_to_be_taken_before_it_is_sent_again() {
    let (mut parent, mut child) = pair(&wakeup()).expect("channels");
    for _ in 0..100 {
        parent.send(ToChild::Checkpoint);
    }
    parent.send(ToChild::Stop);
    assert_eq!(child.poll(), Some(ToChild::Checkpoint));
    assert_eq!(child.poll(), Some(ToChild::Stop));
    assert_eq!(child.poll(), None);
    assert_eq!(received(&mut parent), []);
    parent.send(ToChild::Checkpoint);
    child.next_look = Instant::now();
    assert_eq!(child.poll(), Some(ToChild::Checkpoint));
}

#[test]
fn one_turn_reads_no_more_than_it_was_told() {
    let (mut parent, child) = pair(&wakeup()).expect("channels");
    for _ in 0..5 {
        child.ready();
    }
    let mut count = 0;
    assert_eq!(parent.drain(3, |_| count += 1), Drained::More);
    assert_eq!(count, 3);
    assert_eq!(received(&mut parent).len(), 2);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let (mut parent, child) = pair(&wakeup()).expect("channels");
    child.log(Level::Info, &"ä".repeat(400_000));
    child.log(Level::Info, &format!("x{}", "ä".repeat(TEXT_BYTES)));
    let lengths: Vec<usize> = received(&mut parent)
        .into_iter()
        .map(|message| match message {
            FromChild::Log { line, .. } => line.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lengths, [TEXT_BYTES, TEXT_BYTES - 1]);
}

#[test]
fn the_dead_neither_block_nor_fail() {
    let (mut parent, mut child) = pair(&wakeup()).expect("channels");
    child.ready();
    child.link.as_mut().expect("linked").rx = ipc::channel().expect("channel").1;
    parent.send(ToChild::Stop);
    drop(child);
    assert_eq!(received(&mut parent), [FromChild::Ready]);
    assert_eq!(received(&mut parent), []);

    let (parent, mut child) = pair(&wakeup()).expect("channels");
    drop(parent);
    child.ready();
    assert_eq!(child.poll(), Some(ToChild::Stop));
    let mut alone = ChildControl::detached();
    alone.ready();
    assert_eq!(alone.poll(), None);
}

/// Bytes that are sent as they are, to be read as something else.
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never read as itself"))
    }
}

proptest! {
    /// Whatever the bytes of a message: the supervisor reads on, and the next one arrives.
    #[test]
    fn nonsense_is_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let (mut parent, _child) = pair(&wakeup()).expect("channels");
        let (tx, rx) = ipc::channel::<Raw>().expect("channel");
        tx.send(Raw(bytes)).expect("send");
        let ready = Raw(vec![0]); // the first variant
        tx.send(ready).expect("send");
        parent.rx = rx.to_opaque().to();
        let mut last = None;
        prop_assert_eq!(parent.drain(10, |message| last = Some(message)), Drained::Empty);
        prop_assert_eq!(last, Some(FromChild::Ready));
    }
}
