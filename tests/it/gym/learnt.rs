//! Environments in Python that are learnt: images, stacks of frames, masks, several choices, numbers.

use std::path::Path;

use serde_json::Value;

use super::{gymnasium, supervised};
use crate::play::evaluation;
use crate::program::{finish, last_metrics, number, summary};

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
