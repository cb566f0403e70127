//! Tests of the status segment: reading by name, removal, and damaged segments.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn name(test: &str) -> String {
    format!("{}-{test}", RunId::of_this_process().expect("/proc"))
}

#[test]
fn a_status_is_read_by_name_until_the_segment_is_dropped() {
    let name = name("read");
    let mut segment = StatusSegment::create(&name, Path::new("/runs/7")).expect("room");
    let mode = segment_path(&name).metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let view = StatusSegment::attach(&name).expect("the same user");
    assert_eq!(view.id(), RunId::of_this_process().ok());
    assert_eq!(view.run_dir(), Path::new("/runs/7"));
    assert_eq!(view.read(0), None);
    let longest = vec![b'x'; MAX_STATUS_BYTES];
    for (tick, status) in [(1, &b"{}"[..]), (2, b""), (3, &longest), (4, b"{\"frames\": 1}")] {
        segment.publish(status).expect("fits");
        assert_eq!(view.read(tick - 1), Some((tick, status.to_vec())));
        assert_eq!(view.read(tick), None);
    }
    let too_long = segment.publish(&[0; MAX_STATUS_BYTES + 1]);
    assert!(matches!(too_long, Err(StatusError::TooLong { .. })));
    drop(segment);
    assert!(!segment_path(&name).exists());
    assert!(matches!(StatusSegment::attach(&name), Err(StatusError::Shmem { .. })));
    assert_eq!(view.read(3).map(|(tick, _)| tick), Some(4), "the view outlives it");
}

#[test]
fn a_disowned_segment_stays() {
    let name = name("disown");
    let mut segment = StatusSegment::create(&name, Path::new("/")).expect("room");
    segment.disown();
    assert!(matches!(segment.publish(b"{}"), Err(StatusError::Disowned)));
    drop(segment);
    assert!(segment_path(&name).exists());
    std::fs::remove_file(segment_path(&name)).expect("mine");
}

#[test]
fn a_child_that_forgot_to_disown_removes_nothing() {
    let name = name("forgot");
    let mut segment = StatusSegment::create(&name, Path::new("/")).expect("room");
    segment.owner_pid = 1;
    drop(segment);
    assert!(segment_path(&name).exists());
    std::fs::remove_file(segment_path(&name)).expect("mine");
}

#[test]
fn bad_segments_are_refused() {
    for bad in ["status", "impala-1", "../impala-1-2", "impala-1-2-/../x"] {
        assert!(matches!(StatusSegment::attach(bad), Err(StatusError::Name(_))), "{bad}");
        assert!(matches!(StatusSegment::create(bad, Path::new("/")), Err(StatusError::Name(_))));
    }
    let name = name("bad");
    std::fs::write(segment_path(&name), [0; 64]).expect("room");
    assert!(matches!(StatusSegment::attach(&name), Err(StatusError::Format(_))));
    std::fs::write(segment_path(&name), vec![0; SEGMENT_BYTES]).expect("room");
    assert!(matches!(StatusSegment::attach(&name), Err(StatusError::Format(_))));
    std::fs::remove_file(segment_path(&name)).expect("mine");
    let long = "x".repeat(MAX_RUN_DIR_BYTES + 1);
    let too_long = StatusSegment::create(&name, Path::new(&long));
    assert!(matches!(too_long, Err(StatusError::TooLong { .. })));
    let _first = StatusSegment::create(&name, Path::new("/")).expect("room");
    let second = StatusSegment::create(&name, Path::new("/"));
    assert!(matches!(second, Err(StatusError::Shmem { doing: "create", .. })));
}

#[test]
fn scribbled_lengths_are_cut() {
    let words: Vec<_> = (0..3).map(|_| AtomicU64::new(u64::MAX)).collect();
    assert_eq!(load_bytes(ReadWord::of(&words)), [255; 16]);
}
