//! PopArt: values of any size, learnt by outputs of one size.

use serde_json::Value;

use crate::pool::complete;
use crate::program::{assert_refused, finish, last_metrics, number, resume, supervisor};

fn task(line: &Value) -> &Value {
    &line["tasks"][0]
}

#[test]
fn rewards_of_any_size_are_learnt_alike() {
    for scale in ["0.001", "1000"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = format!(
            "--popart --reward-scale {scale} --env-defaults=false --stop-at-return 450 --total-frames 400000 --quiet"
        );
        let summary = complete(folder.path(), &flags.split_whitespace().collect::<Vec<_>>());
        assert_eq!(summary["status"], "solved", "{scale}: {summary}");
        let line = last_metrics(folder.path()).expect("a line");
        let scale: f64 = scale.parse().expect("a number");
        // A pole that stands is worth about 100 rewards with a discount of 0.99, and more with 0.995.
        let mean = number(task(&line), "value_mean") / scale;
        assert!((5.0..250.0).contains(&mean), "{line}");
        assert!(number(task(&line), "value_deviation") > 0.0, "{line}");
        assert_eq!(number(task(&line), "reward_factor"), 0.0, "it is in place of it");
    }
}

#[test]
fn a_run_goes_on_with_its_statistics() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let flags = ["--popart", "--actors", "2", "--total-frames", "60000", "--quiet"];
    complete(&run_dir, &flags);
    let updates = |line: &Value| number(task(line), "value_updates");
    let before = last_metrics(&run_dir).expect("a line");
    assert_eq!(updates(&before), number(&before["learner"], "updates"), "{before}");
    let more = resume(&run_dir, &["--total-frames", "70000", "--quiet"]).wait();
    assert_eq!(more.code(), Some(0), "{}", more.stderr);
    let after = last_metrics(&run_dir).expect("a line");
    assert!(updates(&after) > updates(&before), "{before} {after}");
    let apart = number(task(&after), "value_mean") - number(task(&before), "value_mean");
    assert!(apart.abs() < 20.0, "it does not begin anew: {before} {after}");
}

#[test]
fn what_does_not_go_together_is_refused_on_one_line() {
    for (flags, parts) in [
        ("--popart --env CartPole-v1 --env CartPole-v1", ["several tasks", "--normalize-rewards"]),
        ("--popart --normalize-rewards", ["--normalize-rewards", "leave one out"]),
        ("--popart --algorithm a3c", ["--exchange gradients", "--normalize-rewards"]),
        ("--popart --baseline-cost 0", ["--baseline-cost 0", "leave one out"]),
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = supervisor();
        command.args(flags.split_whitespace()).arg("--run-dir").arg(folder.path().join("run"));
        assert_refused(&finish(command), flags, 2, &parts);
    }
}
