//! What a run says about itself, against what `docs/metrics.md` says of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use impala_rl::metrics::{
    ActorCounter, Descriptor, Kind, LINE, LearnerCounter, Phase, PolicyCounter, Table, TaskCounter,
};
use serde_json::Value;

use crate::pool::complete;
use crate::program::{last_metrics, number, resume, summary as read_summary};

const DOCS: &str = include_str!("../../docs/metrics.md");

/// Rows of the table below `heading`: name, unit, kind, meaning.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    DOCS.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(|cell| cell.trim_matches('`')).collect())
        .collect()
}

fn documented_as(heading: &str, words: &[Descriptor]) {
    let expected: Vec<Vec<&str>> = words
        .iter()
        .map(|word| {
            let unit = if word.unit.is_empty() { "-" } else { word.unit };
            let kind = if word.kind == Kind::Counter { "counter" } else { "gauge" };
            vec![word.name, unit, kind, word.meaning]
        })
        .collect();
    assert_eq!(rows(heading), expected, "{heading}");
}

#[test]
fn every_metric_is_documented_with_its_unit_and_meaning() {
    documented_as("## A line", LINE);
    documented_as("## The learner", LearnerCounter::DESCRIPTORS);
    documented_as("## A task", TaskCounter::DESCRIPTORS);
    documented_as("## The policy process", PolicyCounter::DESCRIPTORS);
    documented_as("## An actor", ActorCounter::DESCRIPTORS);
    let phases: Vec<String> =
        Phase::ALL.iter().map(|phase| format!("{} `{}`", *phase as u8, phase.name())).collect();
    let phases = format!("The phases are {}.", phases.join(", "));
    assert!(DOCS.lines().any(|line| line == phases), "{phases}");
}

/// Names of the numbers of a line, objects within as `outer.inner`.
fn names(line: &Value) -> BTreeSet<String> {
    let object = line.as_object().expect("an object");
    let mut names = BTreeSet::new();
    for (name, value) in object {
        match value.as_object() {
            Some(inner) => names.extend(inner.keys().map(|key| format!("{name}.{key}"))),
            None => _ = names.insert(name.clone()),
        }
    }
    names
}

#[test]
fn a_line_has_every_metric_and_nothing_else() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--actors", "2", "--total-frames", "100000", "--log-interval", "0.05"];
    let summary = complete(folder.path(), &flags);
    let line = last_metrics(folder.path()).expect("a line");
    let mut expected: BTreeSet<String> = LINE.iter().map(|word| word.name.to_owned()).collect();
    expected
        .extend(LearnerCounter::DESCRIPTORS.iter().map(|word| format!("learner.{}", word.name)));
    expected.insert("tasks".to_owned());
    let [task] = &line["tasks"].as_array().expect("a list")[..] else { panic!("one task: {line}") };
    let words = TaskCounter::DESCRIPTORS.iter().map(|word| word.name.to_owned());
    assert_eq!(names(task), words.collect::<BTreeSet<_>>());
    assert_eq!(number(task, "frames"), number(&summary, "frames"));
    assert_eq!(number(task, "return_mean_100"), number(&line["learner"], "return_mean_100"));
    for word in ActorCounter::DESCRIPTORS {
        if word.kind == Kind::Counter {
            expected.insert(format!("actors.{}", word.name));
        }
    }
    // Under `per_actor` stand words of the actor's table, and what the kernel says.
    let known = |name: &str| ActorCounter::DESCRIPTORS.iter().any(|word| word.name == name);
    let is_each = |name: &String| name.strip_prefix("per_actor.").is_some_and(known);
    let (each, others): (BTreeSet<String>, BTreeSet<String>) =
        names(&line).into_iter().partition(is_each);
    assert_eq!(others, expected);
    assert!(each.len() >= 10, "{each:?}");

    // None of what a run of CartPole must have is missing or out of range.
    let learner = &line["learner"];
    for name in [
        "baseline_loss",
        "entropy",
        "grad_norm",
        "learning_rate",
        "return_mean_100",
        "length_mean_100",
        "rho_mean",
        "c_mean",
        "forward_ns",
        "vtrace_ns",
        "backward_ns",
        "optimizer_ns",
        "publish_ns",
        "batching_ns",
        "checkpoint_ns",
    ] {
        assert!(number(learner, name) > 0.0, "{name} in {learner}");
    }
    assert!(number(learner, "rho_min") <= number(learner, "rho_mean"));
    assert!(number(learner, "rho_mean") <= number(learner, "rho_max"));
    assert!(number(learner, "c_min") <= number(learner, "c_mean"));
    assert!(
        number(learner, "c_mean") <= number(learner, "c_max") && number(learner, "c_max") <= 1.0
    );
    assert!(number(learner, "policy_loss") != 0.0 && number(learner, "total_loss") != 0.0);
    for name in ["env_ns", "infer_ns", "refresh_ns", "slot_wait_ns", "frames_acted"] {
        assert!(number(&line["actors"], name) > 0.0, "{name}");
        assert_eq!(line["per_actor"][name].as_array().map(Vec::len), Some(2), "{name}");
    }
    let memory = &line["memory"];
    for name in ["shared_bytes", "supervisor_bytes", "learner_bytes", "actors_bytes"] {
        assert!(number(memory, name) > 0.0, "{name} in {memory}");
    }
    let lags = line["lag_histogram"].as_array().expect("buckets");
    let counted: f64 = lags.iter().map(|bucket| bucket[2].as_f64().expect("a count")).sum();
    assert_eq!(counted, number(&summary, "unrolls_consumed"), "each unroll has a lag");
}

#[test]
fn the_summary_says_how_long_start_and_end_took() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let before = Instant::now();
    let summary = complete(folder.path(), &["--actors", "2", "--total-frames", "60000"]);
    // A clock tick is at most 10 ms, and the start of the process is known to one.
    let whole_s = before.elapsed().as_secs_f64() + 0.01;
    let documented = rows("## Start and end");
    let times: Vec<f64> = documented.iter().map(|row| number(&summary, row[0])).collect();
    assert_eq!(times.len(), 2, "{documented:?}");
    assert!(times.iter().all(|&time| time > 0.0), "{times:?}");
    let line = last_metrics(folder.path()).expect("a line");
    let moment = |name| number(&line["learner"], name);
    let learning_s = moment("last_frame_s") - moment("first_frame_s");
    assert!(learning_s > 0.0, "{line}");
    let sum = times[0] + learning_s + times[1];
    assert!(sum <= whole_s, "{times:?} and {learning_s} between, of {whole_s}");

    // A run that goes on has a start of its own.
    let before = Instant::now();
    let resumed = resume(folder.path(), &["--total-frames", "120000"]).wait();
    assert_eq!(resumed.code(), Some(0), "{}", resumed.stderr);
    let whole_s = before.elapsed().as_secs_f64() + 0.01;
    let again = number(&read_summary(folder.path()), "start_to_first_frame_s");
    assert!(0.0 < again && again <= whole_s, "{again} of {whole_s}");
}

#[test]
fn a_run_without_a_frame_has_no_such_times() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--env", "Synthetic-v0", "--env-arg", "reset-cost-us=60000000"];
    let summary = complete(folder.path(), &[&flags[..], &["--time-limit", "0.3"]].concat());
    assert_eq!(number(&summary, "frames"), 0.0);
    for row in rows("## Start and end") {
        assert!(summary[row[0]].is_null(), "{}: {summary}", row[0]);
    }
}

#[test]
fn short_runs_have_curves_too() {
    let folder = tempfile::tempdir().expect("temporary folder");
    // The log interval is longer than the run.
    complete(folder.path(), &["--total-frames", "200000", "--log-interval", "60"]);
    let text = std::fs::read_to_string(folder.path().join("metrics.jsonl")).expect("metrics");
    assert!(text.lines().count() >= 4, "{} lines", text.lines().count());
    let wall = |line: &str| {
        let line = serde_json::from_str(line).expect("JSON");
        Duration::from_secs_f64(number(&line, "wall_s"))
    };
    let times: Vec<_> = text.lines().map(wall).collect();
    assert!(times.is_sorted(), "{times:?}");
}
