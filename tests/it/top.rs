//! `impala-top` against a real run.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{Finished, finish, number, segments_of, start};
use crate::watch::wait_until;

fn top(arguments: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impala-top"));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{arguments:?}: {}", finished.stderr);
    finished
}

/// What it says of the run `pid`, if it has seen it learn.
fn figures(pid: &str) -> Option<Value> {
    let all: Value = serde_json::from_str(&top(&["--json", pid]).stdout).expect("one JSON object");
    let figures = all["runs"].get(0)?.get("figures")?.clone();
    (figures["frames"].as_f64()? > 0.0).then_some(figures)
}

#[test]
fn a_run_is_seen_and_not_touched() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let running = start(&run_dir, ["--actors", "2", "--total-frames", "1000000000"]);
    let pid = running.pid().to_string();
    let mut seen = None;
    wait_until("the run is seen to learn", Duration::from_secs(120), || {
        // All actors have been timed once.
        seen = figures(&pid).filter(|f| number(&f["actors"][1], "frames_per_s") > 0.0);
        seen.is_some()
    });
    let seen = seen.expect("waited for");
    assert_eq!(seen["env"], "CartPole-v1");
    assert_eq!(seen["actors"].as_array().map(Vec::len), Some(2));
    assert!(number(&seen, "frames_per_s") > 0.0, "{seen}");
    let learner = &seen["learner"];
    let busy = ["wait", "forward", "backward", "vtrace"].map(|stage| number(learner, stage));
    assert!(busy.iter().sum::<f64>() > 0.0 && busy.iter().all(|share| *share <= 1.0), "{seen}");
    assert!(number(learner, "rss_bytes") > 0.0 && learner["state"] == "running", "{seen}");
    let ring = &seen["ring"];
    assert!(
        ["free", "claimed", "ready", "held"].map(|s| number(ring, s)).iter().sum::<f64>() > 0.0
    );

    let text = top(&["-b", "-n", "2", "-d", "0.1", &pid]).stdout;
    for part in ["Frames:", "Learner:", "Ring:", "[ACTOR]", "CartPole-v1"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(text.matches("Learner:").count(), 2, "two looks: {text}");
    let by_folder = top(&["-b", "-n", "1", run_dir.to_str().expect("UTF-8")]).stdout;
    assert!(by_folder.contains(&pid), "{by_folder}");

    // Watched while it ends: the last look is still there, and says how it ended.
    let mut watch = Command::new(env!("CARGO_BIN_EXE_impala-top"));
    watch.args(["-b", "-n", "40", "-d", "0.2", &pid]).stdin(Stdio::null());
    watch.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watching = watch.spawn().expect("starts");
    let mut said = BufReader::new(watching.stdout.take().expect("piped"));
    let mut watched = String::new();
    while !watched.contains("Learner:") {
        assert_ne!(said.read_line(&mut watched).expect("UTF-8"), 0, "{watched}");
    }
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    said.read_to_string(&mut watched).expect("UTF-8");
    assert!(watching.wait().expect("ends by itself").success());
    assert!(segments_of(pid.parse().expect("a pid")).is_empty(), "the segment is gone");
    assert!(watched.contains("interrupted"), "{watched}");
    assert!(figures(&pid).is_none(), "a run that is over is not found anew");
}

#[test]
fn bad_flags_are_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impala-top"));
    command.args(["-d", "0"]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(2));
    assert!(finished.stderr.contains("0.1"), "{}", finished.stderr);
}
