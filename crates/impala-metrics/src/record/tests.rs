//! Tests of records: against the names in the documentation, and against lines that are damaged or from another build.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::*;
use crate::table::{ActorCounter, LearnerCounter, PolicyCounter, Table, TaskCounter};
use crate::{Counters, LearnerCounters};
use impala_shm::sync::AtomicU64;

fn keys(object: &Json) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

/// The first parts of the names with a dot, and the names without one.
fn expected(prefix: &str) -> BTreeSet<String> {
    let names = LINE.iter().filter_map(|word| word.name.strip_prefix(prefix));
    names.map(|name| name.split('.').next().unwrap_or(name).to_owned()).collect()
}

#[test]
fn a_record_has_the_documented_names_and_no_others() {
    let line = serde_json::to_value(MetricsRecord::default()).expect("numbers");
    let mut outer = expected("");
    outer.extend(["learner", "tasks", "actors"].map(str::to_owned));
    assert_eq!(keys(&line), outer);
    for part in ["ring", "memory", "cpu"] {
        assert_eq!(keys(&line[part]), expected(&format!("{part}.")), "{part}");
    }
    let names = |words: &[Descriptor], counters: bool| -> BTreeSet<String> {
        let wanted = words.iter().filter(|word| !counters || word.kind == Kind::Counter);
        wanted.map(|word| word.name.to_owned()).collect()
    };
    assert_eq!(keys(&line["learner"]), names(LearnerCounter::DESCRIPTORS, false));
    let task = serde_json::to_value(TaskRecord::default()).expect("numbers");
    assert_eq!(keys(&task), names(TaskCounter::DESCRIPTORS, false));
    assert!(line.get("policy").is_none(), "there is none");
    let policy = serde_json::to_value(PolicyRecord::default()).expect("numbers");
    assert_eq!(keys(&policy), names(PolicyCounter::DESCRIPTORS, false));
    assert_eq!(keys(&line["actors"]), names(ActorCounter::DESCRIPTORS, true));
    let mut each = expected("per_actor.");
    assert_eq!(each.len(), 2, "what the kernel says");
    each.extend(names(ActorCounter::DESCRIPTORS, false));
    let lists = keys(&line["per_actor"]);
    assert!(lists.is_subset(&each) && lists.len() > 10, "{lists:?}");
    assert!(lists.contains("rss_bytes") && lists.contains("cpu_ns"), "{lists:?}");
}

#[test]
fn words_become_fields_by_their_kind() {
    let words: Vec<AtomicU64> = (0..LearnerCounters::WORDS).map(|_| AtomicU64::new(0)).collect();
    let learner = LearnerCounters::new(&words);
    for (at, &word) in LearnerCounter::ALL.iter().enumerate() {
        match LearnerCounter::DESCRIPTORS[at].kind {
            Kind::Real => learner.set_f64(word, at as f64 + 0.5),
            Kind::Counter | Kind::Gauge => learner.set(word, at as u64),
        }
    }
    let record = LearnerRecord::of(&learner.snapshot());
    let json = serde_json::to_value(&record).expect("numbers");
    for (at, word) in LearnerCounter::DESCRIPTORS.iter().enumerate() {
        let expected = at as f64 + if word.kind == Kind::Real { 0.5 } else { 0.0 };
        assert_eq!(json[word.name].as_f64(), Some(expected), "{}", word.name);
    }
}

#[test]
fn actors_are_summed_and_listed() {
    let words: Vec<AtomicU64> =
        (0..2 * Counters::<ActorCounter>::WORDS).map(|_| AtomicU64::new(0)).collect();
    let actors = [0, 1].map(|index| Counters::<ActorCounter>::nth(&words, index));
    for (at, &word) in ActorCounter::ALL.iter().enumerate() {
        actors[0].set(word, at as u64);
        actors[1].set(word, 100);
    }
    let snapshots = actors.map(|actor| actor.snapshot());
    let sums = serde_json::to_value(ActorsRecord::sum(&snapshots)).expect("numbers");
    let lists = PerActorRecord::of(&snapshots, vec![7, 8], vec![9, 10]);
    assert_eq!(
        (lists.actors(), &lists.rss_bytes[..], &lists.cpu_ns[..]),
        (2, &[7, 8][..], &[9, 10][..])
    );
    let lists = serde_json::to_value(lists).expect("numbers");
    for (at, word) in ActorCounter::DESCRIPTORS.iter().enumerate() {
        let is_counter = word.kind == Kind::Counter;
        assert_eq!(sums.get(word.name).is_some(), is_counter, "{}", word.name);
        if is_counter {
            assert_eq!(sums[word.name], at as u64 + 100, "{}", word.name);
        }
        if let Some(list) = lists.get(word.name) {
            assert_eq!(*list, serde_json::json!([at as u64, 100]), "{}", word.name);
        }
    }
}

#[test]
fn lines_of_other_builds_are_read_as_far_as_they_go() {
    let read = |text: &str| serde_json::from_str::<MetricsRecord>(text);
    let line = read(
        r#"{"wall_s": 1, "frames": 2, "learner": {"wait_ns": 3, "entropy": null}, "new": [1]}"#,
    )
    .expect("enough of a line");
    assert_eq!((line.wall_s, line.frames, line.learner.wait_ns), (1.0, 2, 3));
    assert!(line.learner.entropy.is_nan() && line.return_mean.is_none());
    assert_eq!((line.ring, line.per_actor.actors()), (RingRecord::default(), 0));
    for text in ["", "{", "{}", "[]", "7", r#"{"frames": 2}"#, r#"{"wall_s": 1, "frames": "two"}"#]
    {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_written_is_read() {
    let line = MetricsRecord {
        wall_s: 1.5,
        frames: u64::MAX,
        return_mean: Some(-0.25),
        ring: RingRecord { free: 1, claimed: 2, ready: 3, held: 4 },
        learner: LearnerRecord { rho_max: 1e-300, updates: 5, ..LearnerRecord::default() },
        per_actor: PerActorRecord { phase: vec![2, 3], ..PerActorRecord::default() },
        lag_histogram: vec![[0, 0, 9], [8, 9, 1]],
        ..MetricsRecord::default()
    };
    let text = serde_json::to_string(&line).expect("numbers");
    assert_eq!(serde_json::from_str::<MetricsRecord>(&text).expect("our own"), line);
    let undefined = LearnerRecord { policy_loss: f64::NAN, ..LearnerRecord::default() };
    let text = serde_json::to_string(&undefined).expect("numbers");
    assert!(text.contains(r#""policy_loss":null"#), "{text}");
    assert!(serde_json::from_str::<LearnerRecord>(&text).expect("ours").policy_loss.is_nan());
}
