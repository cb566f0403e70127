//! Splits: environments of one actor that take turns, so that some step while it acts in others.

use std::path::Path;

use serde_json::Value;

use crate::faults::short_run;
use crate::gym::{gymnasium, supervised};
use crate::lockstep::{checksum, same};
use crate::pool::complete;
use crate::program::{assert_refused, finish, number, summary, supervisor};
use crate::remote;

fn run(folder: &Path, flags: &str) -> Value {
    let flags = format!("--quiet --report=false --tensorboard=false {flags}");
    complete(folder, &flags.split_whitespace().collect::<Vec<_>>())
}

/// Groups of a batch are what they are, whoever fills them and in whichever order.
#[test]
fn in_lockstep_splits_make_no_difference() {
    for flags in [
        "--env CartPole-v1 --batch 16 --total-frames 30000",
        "--env CartPole-v1 --batch 16 --total-frames 30000 --lag 2",
        "--env Recall-v0 --batch 16 --total-frames 30000",
    ] {
        same(
            flags,
            &[
                "--actors 4 --envs-per-actor 4",
                "--actors 2 --envs-per-actor 8 --splits 2",
                "--actors 1 --envs-per-actor 16 --splits 4",
                "--actors 1 --envs-per-actor 8 --splits 2",
            ],
        );
    }
}

/// What a worker writes while its actor does something else is what it would have written while the actor waits.
#[test]
fn steps_in_python_that_go_on_meanwhile_are_the_same_steps() {
    let Some(python) = gymnasium("splits of gym in lockstep") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = |name: &str, sizes: &str| {
        let run_dir = folder.path().join(name);
        let mut command = supervised(&python, &run_dir, "gym:CartPole-v1");
        let flags = "--schedule lockstep --batch 16 --total-frames 6000 --quiet --report=false";
        command.args(flags.split_whitespace()).args(sizes.split_whitespace());
        let finished = finish(command);
        assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
        checksum(&summary(&run_dir))
    };
    assert_eq!(run("whole", "--envs-per-actor 4"), run("split", "--envs-per-actor 8 --splits 2"));
}

/// The same on a server, whose answers are waited for later.
#[test]
fn steps_on_a_server_that_go_on_meanwhile_are_the_same_steps() {
    let Some(python) = remote::python("splits of a server in lockstep") else {
        return;
    };
    let server = remote::Server::of(&python, 0, &["gym:CartPole-v1"]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = |name: &str, sizes: &str| {
        let flags = "--schedule lockstep --actors 2 --batch 16 --total-frames 4000";
        let flags = format!("--env {} {flags} {sizes}", server.env());
        let run_dir = folder.path().join(name);
        run(&run_dir, &flags);
        checksum(&summary(&run_dir))
    };
    assert_eq!(run("whole", "--envs-per-actor 4"), run("split", "--envs-per-actor 8 --splits 2"));
}

#[test]
fn splits_learn_with_either_inference() {
    for inference in ["local", "central"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let goal = "--splits 2 --stop-at-return 475 --total-frames 1000000";
        let summary = run(folder.path(), &format!("--inference {inference} {goal}"));
        assert_eq!(summary["status"], "solved", "{inference}: {summary}");
        assert_eq!(number(&summary, "actor_restarts"), 0.0, "{inference}: {summary}");
    }
    // Two questions of one actor are open at a time, each with a state of its own.
    let folder = tempfile::tempdir().expect("temporary folder");
    let task = "--env Recall-v0 --env-arg cues=3 --env-arg delay=2 --splits 4 --inference central";
    let goal = "--stop-at-return 0.95 --stop-window 300 --total-frames 400000";
    let summary = run(folder.path(), &format!("{task} {goal}"));
    assert_eq!(summary["status"], "solved", "{summary}");
}

#[test]
fn splits_of_several_tasks_share_them_out_evenly() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = "--env CartPole-v1 --env Acrobot-v1 --pad-observations 6 --actors 3 --splits 2 \
                 --total-frames 60000";
    let summary = run(folder.path(), flags);
    let tasks = summary["tasks"].as_array().expect("tasks");
    for task in tasks {
        assert!(number(task, "frames") > 15_000.0, "{summary}");
    }
}

/// An actor that dies holds a slot for each split, and the pool gets all of them back.
#[test]
fn deaths_cost_the_slots_of_all_splits_and_no_more() {
    for inference in ["local", "central"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = format!(
            "--splits 4 --actors 3 --inference {inference} --total-frames 2000000 --chaos kill=20/s,seed=1"
        );
        let summary = run(folder.path(), &flags);
        assert_eq!(summary["status"], "finished", "{summary}");
        assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
        assert!(number(&summary["faults"], "injected") > 0.0, "{summary}");
    }
}

/// The failure of one split is mended while an unroll of another is open.
#[test]
fn a_failure_costs_the_unroll_of_its_split() {
    for remedy in ["restart", "drop"] {
        let faults = ["error=0.002", "nan-reward=0.002"];
        let flags = ["--splits", "2", "--on-bad-env", remedy];
        let (finished, summary, _) = short_run(&faults, &flags);
        assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
        assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
        let errors = number(&summary, "env_errors");
        assert!(errors > 2.0, "{summary}");
        assert_eq!(number(&summary, "unrolls_overwritten"), errors, "each costs one: {summary}");
        assert_eq!(number(&summary, "actor_restarts"), 0.0, "{}", finished.stderr);
    }
}

#[test]
fn what_does_not_go_with_splits_is_refused_on_one_line() {
    for (flags, parts) in [
        ("--splits 3", ["--splits 3", "--envs-per-actor 6"]),
        ("--splits 17", ["--splits 17", "from 1 to 16"]),
        ("--splits 2 --algorithm a3c --envs-per-actor 2", ["--splits 2", "leave it out"]),
        (
            "--splits 2 --schedule lockstep --actors 3 --batch 8 --envs-per-actor 4",
            ["--actors 2 or fewer", "--batch 12"],
        ),
    ] {
        let mut command = supervisor();
        command.args(flags.split_whitespace());
        assert_refused(&finish(command), flags, 2, &parts);
    }
}
