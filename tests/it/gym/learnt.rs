//! Environments in Python that are learnt: images, stacks of frames, masks, several choices, numbers.

use std::path::Path;

use serde_json::Value;

use super::{gymnasium, supervised};
use crate::play::evaluation;
use crate::program::{finish, last_metrics, number, resume, summary};
use crate::python::run_python;

/// Runs to the end, which must be in order, and gives the summary.
fn trained(python: &Path, run_dir: &Path, env: &str, flags: &[&str]) -> Value {
    let mut command = supervised(python, run_dir, &format!("gym:impala_test_envs:{env}"));
    command.args(flags);
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let summary = summary(run_dir);
    assert_eq!(number(&summary, "env_errors"), 0.0, "{summary} {}", finished.stderr);
    assert_eq!(number(&summary, "actor_restarts"), 0.0, "{summary} {}", finished.stderr);
    summary
}

#[test]
fn a_stack_of_frames_shows_which_way_things_move() {
    let Some(python) = gymnasium("gym images") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = |name: &str, flags: &[&str]| {
        let network = ["--torso", "cnn", "--conv", "8x3/1", "--hidden", "32", "--batch", "16"];
        let sizes = ["--envs-per-actor", "8", "--unroll", "16", "--learning-rate", "0.003"];
        let flags = [&network[..], &sizes, flags].concat();
        trained(&python, &folder.path().join(name), "Drifting-v0", &flags)
    };
    let stop = ["--stop-at-return", "6.5", "--total-frames", "600000", "--frame-stack", "2"];
    let stacked = run("stacked", &stop);
    assert_eq!(stacked["status"], "solved", "{stacked}");
    // Without a stack it is 7 guesses, of which half are right.
    let alone = run("alone", &["--total-frames", "60000", "--frame-stack", "1"]);
    assert!(number(&alone, "return_mean_100") < 5.0, "{alone}");

    // What was learnt is there when it is played, in a worker of its own.
    let run_dir = folder.path().join("stacked");
    let played = evaluation(&[run_dir.to_str().expect("UTF-8"), "-n", "20", "--greedy"]);
    assert!(number(&played, "return_mean") > 6.0, "{played}");
    assert_eq!(number(&played, "length_mean"), 8.0, "{played}");
}

#[test]
fn masks_and_several_choices_are_learnt() {
    let Some(python) = gymnasium("gym locks") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    // The locks have nothing to do with each other. What is forbidden raises an exception.
    let flags = ["--discount", "0", "--stop-at-return", "9", "--total-frames", "500000"];
    let summary = trained(&python, folder.path(), "Locks-v0", &flags);
    assert_eq!(summary["status"], "solved", "{summary}");
}

#[test]
fn numbers_stay_inside_their_bounds() {
    let Some(python) = gymnasium("gym numbers") else {
        return;
    };
    for bounds in ["clip", "squash"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        // The environment contains an assertion that the action is one of its space.
        let flags = ["--env-arg", "action=box", "--action-bounds", bounds];
        let summary = trained(
            &python,
            folder.path(),
            "Spaces-v0",
            &[&flags[..], &["--total-frames", "20000"]].concat(),
        );
        assert_eq!(summary["status"], "finished", "{summary}");
        let metrics = last_metrics(folder.path()).expect("metrics");
        assert_eq!(number(&metrics["learner"], "updates_skipped_nonfinite"), 0.0, "{metrics}");
    }
}

#[test]
fn actions_of_parts_are_learnt_played_and_continued() {
    let Some(python) = gymnasium("gym hybrid actions") else {
        return;
    };
    // Each to a mean of 10 steps, of which a random policy gets the last number at most. Where a number must be
    // exact, smaller steps keep the policy from running away from the data.
    for (action, learning_rate, goal, chance) in [
        ("dict", "0.0005", "8", 3.5),
        ("nested", "0.0005", "4.5", 1.5),
        ("shifted-ints", "0.002", "9", 4.0),
        ("wide-ints", "0.002", "9", 7.5),
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let run_dir = folder.path().join("run");
        let env_arg = format!("action={action}");
        let flags = ["--env-arg", &env_arg, "--discount", "0", "--stop-at-return", goal];
        let sizes = ["--total-frames", "1000000", "--learning-rate", learning_rate];
        let flags = [&flags[..], &sizes].concat();
        let summary = trained(&python, &run_dir, "Copycat-v0", &flags);
        assert_eq!(summary["status"], "solved", "{action}: {summary}");
        let path = run_dir.to_str().expect("UTF-8");
        let played = evaluation(&[path, "-n", "40", "--greedy"]);
        let goal: f64 = goal.parse().expect("a number");
        assert!(number(&played, "return_mean") > goal.midpoint(chance), "{action}: {played}");
        let observations = folder.path().join("observations.json");
        let width = if action == "nested" { 5 } else { 2 };
        std::fs::write(&observations, format!("{:?}", vec![vec![0.5; width]; 3])).expect("written");
        let example = include_str!("../../../examples/load_checkpoint.py");
        let file = observations.to_str().expect("UTF-8");
        if let Some(printed) = run_python("gym hybrid", example, &[path, "--observations", file]) {
            let words = if action == "nested" { 5 } else { 2 };
            let found: Value = serde_json::from_str(&printed).expect("JSON");
            let rows = found["actions"].as_array().expect("rows");
            let right = |row: &Value| row.as_array().is_some_and(|row| row.len() == words);
            assert!(rows.len() == 3 && rows.iter().all(right), "{action}: {found}");
        }
        let learnt = number(&summary, "frames");
        let more = (learnt + 5000.0).to_string();
        let finished =
            resume(&run_dir, &["--total-frames", &more, "--stop-at-return", "inf"]).wait();
        assert_eq!(finished.code(), Some(0), "{action}: {}", finished.stderr);
        assert!(number(&crate::program::summary(&run_dir), "return_mean_100") > chance, "{action}");
    }
}

#[test]
fn masks_of_parts_forbid_what_they_say() {
    let Some(python) = gymnasium("gym hybrid masks") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    // What is forbidden raises an exception, which `trained` would see.
    let flags = ["--env-arg", "action=dict", "--env-arg", "mask=true", "--discount", "0"];
    let stop =
        ["--stop-at-return", "8.5", "--total-frames", "1000000", "--learning-rate", "0.0005"];
    let summary = trained(&python, folder.path(), "Copycat-v0", &[&flags[..], &stop].concat());
    assert_eq!(summary["status"], "solved", "{summary}");
}
