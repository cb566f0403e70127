//! Learning is tested by learning.

use crate::pool::complete;
use crate::program::number;

#[test]
fn cartpole_is_solved() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let summary = complete(
        folder.path(),
        &["--stop-at-return", "475", "--total-frames", "1000000", "--seed", "1"],
    );
    assert_eq!(summary["status"], "solved", "{summary}");
    assert!(number(&summary, "return_mean_100") >= 475.0);
    assert!(number(&summary, "frames_to_target") <= 500_000.0, "{summary}");
}

#[test]
fn catch_is_learnt_from_pixels() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = [
        "--env",
        "Catch-v0",
        "--stop-at-return",
        "0.9",
        "--total-frames",
        "1000000",
        "--seed",
        "1",
    ];
    let summary = complete(folder.path(), &flags);
    assert_eq!(summary["status"], "solved", "{summary}");
}

#[test]
fn pendulum_is_swung_up() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--env", "Pendulum-v1", "--stop-at-return", "-300", "--seed", "1"];
    let summary = complete(folder.path(), &flags);
    assert_eq!(summary["status"], "solved", "{summary}");
    assert!(number(&summary, "frames_to_target") <= 3_000_000.0, "{summary}");
}

/// The defaults that every environment gets.
#[test]
fn environments_are_learnt_without_a_row() {
    for (env, target, frames) in [
        ("CartPole-v1", "400", "1000000"),
        ("Acrobot-v1", "-110", "500000"),
        ("MountainCar-v0", "-135", "1500000"),
        ("Pendulum-v1", "-300", "2000000"),
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = ["--env", env, "--env-defaults=false", "--seed", "1"];
        let flags = [&flags[..], &["--stop-at-return", target, "--total-frames", frames]].concat();
        let summary = complete(folder.path(), &flags);
        assert_eq!(summary["status"], "solved", "{env}: {summary}");
    }
}

/// Rewards of any size are learnt from alike, unless they are not scaled.
#[test]
fn the_size_of_rewards_needs_no_tuning() {
    for (scaled, status) in [("true", "solved"), ("false", "finished")] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let scaled = format!("--normalize-rewards={scaled}");
        let flags = ["--env", "Acrobot-v1", "--env-defaults=false", "--seed", "2", &scaled];
        // Which would make up for it.
        let flags = [&flags[..], &["--normalize-advantages=false"]].concat();
        let flags =
            [&flags[..], &["--stop-at-return", "-110", "--total-frames", "300000"]].concat();
        let summary = complete(folder.path(), &flags);
        assert_eq!(summary["status"], status, "{scaled}: {summary}");
    }
}

#[test]
fn frames_of_several_passes_count_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    // A block is one slot here: 4 environments by 32 steps.
    let flags = ["--passes", "3", "--batch", "4", "--total-frames", "50000", "--seed", "1"];
    let summary = complete(folder.path(), &flags);
    let blocks = number(&summary, "unrolls_consumed");
    assert_eq!(number(&summary, "updates"), 3.0 * blocks, "{summary}");
    let frames = number(&summary, "frames");
    // Steps that begin an episode are no frames.
    assert!(frames <= 128.0 * blocks && frames > 110.0 * blocks, "{summary}");
    // It learns: one that does not, stays at 22.
    assert!(number(&summary, "return_mean_100") > 60.0, "{summary}");
}

#[test]
fn a_learning_rate_of_zero_learns_nothing() {
    // The twin that must fail: a target that luck can reach would prove nothing above.
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--stop-at-return", "475", "--total-frames", "300000", "--learning-rate", "1e-12"];
    let summary = complete(folder.path(), &flags);
    assert_eq!(summary["status"], "finished", "{summary}");
    assert!(number(&summary, "return_mean_100") < 100.0, "{summary}");
}

#[test]
fn a_core_remembers_and_a_network_without_one_guesses() {
    // A short task, which is quick: the delays of the defaults are measured in docs/learning.md.
    let task = ["--env", "Recall-v0", "--env-arg", "cues=3", "--env-arg", "delay=2"];
    let goal = ["--stop-at-return", "0.95", "--stop-window", "300", "--total-frames", "400000"];
    let ends = |core: &str| {
        let folder = tempfile::tempdir().expect("temporary folder");
        complete(folder.path(), &[&task[..], &goal[..], &["--core", core]].concat())
    };
    let summary = ends("lstm");
    assert_eq!(summary["status"], "solved", "{summary}");
    // The twin that must fail; chance is a third.
    let summary = ends("none");
    assert_eq!(summary["status"], "finished", "{summary}");
    assert!(number(&summary, "return_mean_100") < 0.6, "{summary}");
}

#[test]
#[cfg(feature = "torch")]
fn libtorch_learns_as_well() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = [
        "--engine",
        "libtorch",
        "--stop-at-return",
        "475",
        "--total-frames",
        "1000000",
        "--seed",
        "2",
    ];
    let summary = complete(folder.path(), &flags);
    assert_eq!(summary["status"], "solved", "{summary}");
}
