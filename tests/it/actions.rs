//! Several choices, masks and numbers, through the pool from end to end.

use crate::pool::complete;
use crate::program::{example, finish, last_metrics, number, summary};

#[test]
fn locks_are_learnt_and_what_is_forbidden_is_never_done() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = example("masked_env");
    command.args(["--env", "Lock-v0", "--actors", "2", "--stop-at-return", "9"]);
    // The locks have nothing to do with each other.
    command.args(["--discount", "0", "--total-frames", "500000", "--run-dir"]).arg(folder.path());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let summary = summary(folder.path());
    assert_eq!(summary["status"], "solved", "{summary}");
    // The environment panics when a forbidden choice is made.
    assert_eq!(number(&summary, "actor_restarts"), 0.0, "{}", finished.stderr);
}

#[test]
fn an_observation_that_forbids_everything_costs_one_unroll() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = example("masked_env");
    command.args(["--env", "Lock-v0", "--actors", "2", "--env-arg", "dead-end=0.001"]);
    command.args(["--total-frames", "20000", "--run-dir"]).arg(folder.path());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let summary = summary(folder.path());
    let errors = number(&summary, "env_errors");
    assert!(errors > 2.0, "{summary}");
    assert_eq!(number(&summary, "unrolls_overwritten"), errors, "each costs one: {summary}");
    assert_eq!(number(&summary, "actor_restarts"), 0.0, "{}", finished.stderr);
    assert!(finished.stderr.contains("allows no action"), "{}", finished.stderr);
}

#[test]
fn a_choice_and_a_number_are_learnt_together() {
    let engines: &[&str] =
        if cfg!(feature = "torch") { &["native", "libtorch"] } else { &["native"] };
    for engine in engines {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = example("hybrid_env");
        command.args(["--env", "Putt-v0", "--actors", "2", "--engine", engine, "--discount", "0"]);
        command.args(["--stop-at-return", "8", "--total-frames", "1000000", "--run-dir"]);
        command.arg(folder.path());
        let finished = finish(command);
        assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
        let summary = summary(folder.path());
        assert_eq!(summary["status"], "solved", "{engine}: {summary}");
    }
}

#[test]
fn both_kinds_of_bounds_act_and_learn() {
    for bounds in ["clip", "squash"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = ["--env", "Pendulum-v1", "--action-bounds", bounds, "--total-frames", "60000"];
        let summary = complete(folder.path(), &flags);
        assert_eq!(summary["status"], "finished", "{summary}");
        assert_eq!(number(&summary, "env_errors"), 0.0, "{summary}");
        let metrics = last_metrics(folder.path()).expect("metrics");
        assert_eq!(number(&metrics["learner"], "updates_skipped_nonfinite"), 0.0, "{metrics}");
        // The entropy is that of a Gaussian whose deviation is still near 1.
        let entropy = number(&metrics["learner"], "entropy");
        assert!((-1.0..3.5).contains(&entropy), "{entropy}");
    }
}
