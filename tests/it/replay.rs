//! Replay: what was learnt from is learnt from again.

use crate::lockstep::same;
use crate::pool::complete;
use crate::program::{assert_refused, finish, last_metrics, number, supervisor};

#[test]
fn half_of_each_batch_is_replayed_and_no_frame_counts_twice() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = "--replay-fraction 0.5 --replay-unrolls 100 --total-frames 100000 --quiet";
    let summary = complete(folder.path(), &flags.split_whitespace().collect::<Vec<_>>());
    let metrics = last_metrics(folder.path()).expect("a line");
    let learner = &metrics["learner"];
    let of = |key: &str| number(learner, key);
    // Two groups of four columns in CartPole's row. The first batch has nothing to draw from.
    assert_eq!(of("unrolls_replayed"), of("unrolls_consumed") - 2.0, "{learner}");
    assert_eq!(of("replay_unrolls"), 100.0, "{learner}");
    // 25 groups are kept, of the last 13 batches: what is drawn is about 7 versions older than what is fresh.
    let age = of("replay_lag_sum") / of("unrolls_replayed");
    let fresh = number(&summary, "policy_lag_mean");
    assert!(age > fresh + 4.0 && age < fresh + 10.0, "{age} and {fresh}");
    // Steps that begin an episode are no frames, and 128 is the most that a fresh group has.
    let frames = number(&summary, "frames");
    assert!(frames <= 128.0 * of("unrolls_consumed"), "{summary}");
}

#[test]
fn it_is_learnt_from() {
    for (env, flags, target) in [
        ("CartPole-v1", "", "475"),
        ("Catch-v0", "", "0.9"),
        ("CartPole-v1", "--env-defaults=false", "400"),
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = format!(
            "--env {env} {flags} --replay-fraction 0.5 --replay-unrolls 1000 --stop-at-return {target} \
             --total-frames 1000000 --quiet"
        );
        let summary = complete(folder.path(), &flags.split_whitespace().collect::<Vec<_>>());
        assert_eq!(summary["status"], "solved", "{env}: {summary}");
    }
}

#[test]
fn lockstep_with_replay_repeats_itself_to_the_bit() {
    let flags = "--batch 16 --replay-fraction 0.5 --replay-unrolls 400 --total-frames 30000";
    let replayed = same(flags, &["--actors 1", "--actors 2", "--actors 4"]);
    let threads = ["--learner-threads 1", "--learner-threads 2"];
    assert_eq!(same(flags, &threads), replayed);
    assert_ne!(same("--batch 16 --total-frames 30000", &[""]), replayed);
}

#[test]
fn a_learner_that_dies_begins_with_nothing_and_the_run_goes_on() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = "--replay-fraction 0.75 --replay-unrolls 100000 --total-frames 1000000000 --time-limit 4 \
                 --chaos kill=10/s,seed=4 --quiet";
    let summary = complete(folder.path(), &flags.split_whitespace().collect::<Vec<_>>());
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    assert!(number(&summary, "learner_restarts") > 0.0, "{summary}");
    assert!(number(&summary, "frames") > 0.0, "{summary}");
}

#[test]
fn what_does_not_go_together_is_refused_on_one_line() {
    for (flags, code, parts) in [
        ("--replay-fraction 1", 2, ["--replay-fraction 1", "from 0 to 0.99"]),
        ("--replay-fraction 0.5 --replay-unrolls 4", 2, ["--replay-unrolls 8 or more", "draws"]),
        ("--algorithm a3c --replay-fraction 0.5", 2, ["--replay-fraction 0.5", "leave it out"]),
        (
            "--env Synthetic-v0 --replay-fraction 0.5 --replay-unrolls 1000000000",
            2,
            ["memory", "--replay-unrolls"],
        ),
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = supervisor();
        command.args(flags.split_whitespace()).arg("--run-dir").arg(folder.path().join("run"));
        assert_refused(&finish(command), flags, code, &parts);
    }
}
