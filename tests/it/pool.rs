//! Whole runs: what they write, how they end, how they continue.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{
    children_of, finish, is_alive, last_metrics, number, segments_of, start, summary, supervisor,
};
use crate::watch::wait_until;

const MAX_WAIT: Duration = Duration::from_secs(120);

/// Keys of `summary.json` that scripts rely on.
const SUMMARY_KEYS: &[&str] = &[
    "status",
    "frames",
    "updates",
    "episodes",
    "wall_s",
    "frames_per_s",
    "return_mean_100",
    "frames_to_target",
    "seconds_to_target",
    "start_to_first_frame_s",
    "last_frame_to_summary_s",
    "actor_restarts",
    "learner_restarts",
    "unrolls_produced",
    "unrolls_consumed",
    "unrolls_abandoned",
    "slot_counts",
    "faults",
    "params_published",
    "policy_lag_mean",
    "ring_bytes_per_frame",
    "weight_bytes_per_frame",
    "weights_sha256",
    "reproducible",
    "because",
];

/// Runs with `flags` in `run_dir` to the end, which must be in order, and gives the summary.
pub(crate) fn complete(run_dir: &Path, flags: &[&str]) -> Value {
    let finished = start(run_dir, flags).wait();
    assert_eq!(finished.code(), Some(0), "{flags:?}: {}{}", finished.stdout, finished.stderr);
    summary(run_dir)
}

fn has_frames(run_dir: &Path) -> bool {
    last_metrics(run_dir).is_some_and(|metrics| number(&metrics, "frames") > 0.0)
}

/// Data in flight is bounded by what the learner needs, not by the number of actors.
#[test]
fn lag_does_not_grow_with_the_number_of_actors() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let lag = |name: &str, flags: &[&str]| {
        let flags = [&["--actors", "24", "--total-frames", "200000"], flags].concat();
        let run_dir = folder.path().join(name);
        let summary = complete(&run_dir, &flags);
        (number(&summary, "policy_lag_mean"), last_metrics(&run_dir).expect("a line"))
    };
    let (bounded, metrics) = lag("bounded", &[]);
    assert!(bounded < 6.0, "24 actors lag {bounded} updates");
    let admission = metrics["actors"]["admission_wait_ns"].as_f64();
    assert!(admission.is_some_and(|ns| ns > 0.0), "nobody was held back: {metrics}");
    let limit = metrics["learner"]["in_flight_limit"].as_f64();
    assert!(limit.is_some_and(|slots| slots >= 6.0), "three blocks of two slots: {metrics}");
    let (free, _) = lag("free", &["--max-lag", "100"]);
    assert!(free > bounded, "without a bound: {free}, with one: {bounded}");
}

#[test]
fn a_run_leaves_what_it_should() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let summary =
        complete(&run_dir, &["--actors", "2", "--total-frames", "60000", "--log-interval", "0.05"]);
    for key in SUMMARY_KEYS {
        assert!(summary.get(key).is_some(), "{key} is missing in {summary}");
    }
    assert_eq!(summary["status"], "finished");
    assert!(number(&summary, "frames") >= 60_000.0);
    assert_eq!(number(&summary, "params_published"), number(&summary, "updates") + 1.0);
    assert!(number(&summary, "unrolls_produced") >= number(&summary, "unrolls_consumed"));
    let speed = number(&summary, "frames") / number(&summary, "wall_s");
    assert!((number(&summary, "frames_per_s") / speed - 1.0).abs() < 1e-6);

    let mut names: Vec<String> = fs::read_dir(&run_dir)
        .expect("listed")
        .map(|e| e.expect("entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    let events = names.iter().position(|name| name.starts_with("events.out.tfevents."));
    names.remove(events.expect("TensorBoard events"));
    assert_eq!(
        names,
        [
            "checkpoints",
            "config.toml",
            "environment.json",
            "episodes.csv",
            "metrics.jsonl",
            "report.html",
            "summary.json"
        ]
    );
    let metrics = fs::read_to_string(run_dir.join("metrics.jsonl")).expect("metrics");
    let frames: Vec<f64> = metrics
        .lines()
        .map(|line| number(&serde_json::from_str(line).expect("JSON lines"), "frames"))
        .collect();
    assert!(frames.is_sorted() && frames.last() == Some(&number(&summary, "frames")), "{frames:?}");
    let episodes = fs::read_to_string(run_dir.join("episodes.csv")).expect("episodes");
    assert_eq!(episodes.lines().next(), Some("frames,seconds,return,length"));
    assert_eq!((episodes.lines().count() - 1) as f64, number(&summary, "episodes"));
}

#[test]
fn the_time_limit_ends_a_run() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let summary = complete(
        folder.path(),
        &["--actors", "1", "--total-frames", "1000000000000", "--time-limit", "0.5"],
    );
    assert_eq!(summary["status"], "time-limit");
}

#[test]
fn a_run_does_not_end_with_a_kill_because_unrolls_take_minutes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let env = ["--env", "Synthetic-v0", "--env-arg", "shape=4", "--env-arg", "stack=1"];
    let slow = ["--env-arg", "step-cost-us=200000", "--unroll", "1000", "--envs-per-actor", "1"];
    let pool = ["--actors", "2", "--batch", "2", "--time-limit", "1"];
    let finished = start(&run_dir, [&env[..], &slow, &pool].concat()).wait();
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    assert!(!finished.stderr.contains("SIGKILL"), "{}", finished.stderr);
    assert_eq!(summary(&run_dir)["slot_counts"]["conserved"], true);
}

#[test]
fn an_interrupted_run_saves_and_continues() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let more: &[&str] = &["--log-interval", "0.05"];
        let before =
            run_dir.join("summary.json").exists().then(|| number(&summary(&run_dir), "frames"));
        let running = if before.is_none() {
            start(&run_dir, [&["--actors", "2", "--total-frames", "1000000000"], more].concat())
        } else {
            // The folder is where it stood; the flags come from its configuration.
            crate::program::resume(&run_dir, more)
        };
        wait_until("frames are learnt", MAX_WAIT, || {
            last_metrics(&run_dir).is_some_and(|m| number(&m, "frames") > before.unwrap_or(0.0))
        });
        running.signal(signal);
        let finished = running.wait();
        assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
        let summary = summary(&run_dir);
        assert_eq!(summary["status"], "interrupted");
        assert!(number(&summary, "frames") > before.unwrap_or(0.0));
    }
    let checkpoints = fs::read_dir(run_dir.join("checkpoints")).expect("listed").count();
    assert_eq!(checkpoints, 2, "one of each interruption");
}

#[test]
fn another_network_does_not_continue_a_run() {
    let folder = tempfile::tempdir().expect("temporary folder");
    complete(folder.path(), &["--actors", "1", "--total-frames", "5000"]);
    let mut command = supervisor();
    command.arg("--resume").arg(folder.path()).args(["--hidden", "32", "--total-frames", "10000"]);
    let finished = finish(command);
    assert_eq!(finished.code(), Some(8), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("another network") && finished.stderr.contains("torso.0.weight"),
        "{}",
        finished.stderr
    );
}

#[test]
fn two_runs_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let [left, right] = ["left", "right"].map(|name| folder.path().join(name));
    let flags = ["--actors", "2", "--total-frames", "1000000000", "--log-interval", "0.05"];
    let (one, two) = (start(&left, flags), start(&right, flags));
    wait_until("both learn", MAX_WAIT, || has_frames(&left) && has_frames(&right));
    // One dies by force; the other does not even notice.
    let (pid, children) = (one.pid(), children_of(one.pid()));
    drop(one);
    wait_until("the killed run is gone", MAX_WAIT, || {
        !children.iter().any(|&child| is_alive(child)) && segments_of(pid).is_empty()
    });
    assert_eq!(segments_of(two.pid()).len(), 1);
    let frames = last_metrics(&right).map(|m| number(&m, "frames"));
    wait_until("the other goes on", MAX_WAIT, || {
        last_metrics(&right).map(|m| number(&m, "frames")) > frames
    });
    two.signal(Signal::SIGTERM);
    assert_eq!(two.wait().code(), Some(0));
    assert_eq!(number(&summary(&right), "actor_restarts"), 0.0);
}

#[test]
fn the_example_environment_is_learnt() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = crate::program::example("custom_env");
    command.args([
        "--env",
        "Treasure-v0",
        "--actors",
        "2",
        "--stop-at-return",
        "0.95",
        "--total-frames",
        "500000",
    ]);
    command.arg("--run-dir").arg(folder.path());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    assert_eq!(summary(folder.path())["status"], "solved");
}
