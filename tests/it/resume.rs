//! Runs that are killed as a whole, and go on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use impala_rl::rng::Rng;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::crash::wait_for_pid;
use crate::program::{children_of, is_alive, last_metrics, number, resume, send, start, summary};
use crate::watch::wait_until;

const MAX_WAIT: Duration = Duration::from_secs(120);

/// Kills; `IMPALA_KILLS=20` for the long form.
fn kills() -> u32 {
    std::env::var("IMPALA_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4)
}

fn newest_checkpoint(run_dir: &Path) -> f64 {
    let names = fs::read_dir(run_dir.join("checkpoints")).into_iter().flatten().flatten();
    let frames = names.filter_map(|entry| entry.file_name().to_str()?.parse::<f64>().ok());
    frames.fold(0.0, f64::max)
}

fn frames(run_dir: &Path) -> f64 {
    last_metrics(run_dir).map_or(0.0, |metrics| number(&metrics, "frames"))
}

/// Returns of the finished episodes after `skip` of them.
fn episodes(run_dir: &Path, skip: usize) -> Vec<String> {
    let text = fs::read_to_string(run_dir.join("episodes.csv")).expect("episodes");
    let returns = text.lines().skip(1 + skip).filter_map(|line| line.split(',').nth(2));
    returns.map(str::to_owned).collect()
}

/// How many episodes are in one list only, in whatever order: blocks may overtake each other.
fn distance(a: &[String], b: &[String]) -> usize {
    let mut left = b.to_vec();
    let common = a.iter().filter(|episode| {
        left.iter().position(|other| other == *episode).map(|at| left.swap_remove(at)).is_some()
    });
    let common = common.count();
    a.len() + b.len() - 2 * common
}

/// With weights that stay what they are, the same streams of random numbers give the same episodes.
#[test]
fn a_resumed_run_does_not_see_its_first_episodes_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--actors", "1", "--total-frames", "8000", "--learning-rate", "1e-30"];
    let begin = |name: &str| {
        let run_dir = folder.path().join(name);
        let finished = start(&run_dir, flags).wait();
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        run_dir
    };
    let (run_dir, again) = (begin("run"), begin("again"));
    let first = episodes(&run_dir, 0);
    assert!(first.len() > 100, "{}", first.len());
    let same = distance(&first[..100], &episodes(&again, 0)[..100]);
    assert!(same <= 20, "one seed, one stream: {same}");
    let mut before = vec![first[..100].to_vec()];
    for total in ["16000", "24000"] {
        let seen = episodes(&run_dir, 0).len();
        let finished = resume(&run_dir, &["--total-frames", total]).wait();
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        let resumed = episodes(&run_dir, seen)[..100].to_vec();
        let nearest = before.iter().map(|seen| distance(seen, &resumed)).min();
        assert!(nearest >= Some(40), "the same episodes again: {nearest:?} of 200 differ");
        before.push(resumed);
    }
}

#[test]
fn a_run_survives_being_killed_as_a_whole() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let often = ["--checkpoint-interval", "0.05", "--log-interval", "0.05", "--report=false"];
    let first = ["--actors", "2", "--total-frames", "1000000000"];
    let mut running = start(&run_dir, [&first[..], &often].concat());
    let mut rng = Rng::new(3, 0);
    let mut saved = 0.0;
    for kill in 0..kills() {
        // Some random number of frames after a checkpoint of this incarnation; before it, the log is the last one's.
        wait_until("it saves", MAX_WAIT, || newest_checkpoint(&run_dir) > saved);
        let moment = newest_checkpoint(&run_dir) + rng.below(3000) as f64;
        wait_until("it learns on", MAX_WAIT, || frames(&run_dir) > moment);
        saved = newest_checkpoint(&run_dir);
        let pids: Vec<u32> =
            children_of(running.pid()).into_iter().chain([running.pid()]).collect();
        pids.iter().for_each(|&pid| send(pid, Signal::SIGKILL));
        drop(running);
        wait_until("all are gone", MAX_WAIT, || !pids.iter().any(|&pid| is_alive(pid)));
        let newest = newest_checkpoint(&run_dir);
        assert!(newest >= saved, "kill {kill}: checkpoint {saved} was lost, {newest} is left");
        running = resume(&run_dir, &often);
        saved = newest;
    }
    wait_until("it saves", MAX_WAIT, || newest_checkpoint(&run_dir) > saved);
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    assert!(number(&summary(&run_dir), "frames") > saved);

    // The logs are one curve: neither frames nor time go back.
    let metrics = fs::read_to_string(run_dir.join("metrics.jsonl")).expect("metrics");
    let points: Vec<(f64, f64)> = metrics
        .lines()
        .map(|line| {
            let line = serde_json::from_str(line).expect("whole lines");
            (number(&line, "frames"), number(&line, "wall_s"))
        })
        .collect();
    assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{points:?}");
    let episodes = fs::read_to_string(run_dir.join("episodes.csv")).expect("episodes");
    let learnt: Vec<f64> = episodes
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().and_then(|n| n.parse().ok()).expect("frames"))
        .collect();
    assert!(learnt.is_sorted() && learnt.len() > 10, "{learnt:?}");
    assert_eq!(episodes.matches("frames,").count(), 1, "one header");
}

#[test]
fn a_resumed_run_learns_as_well() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let first =
        start(&run_dir, ["--total-frames", "25000", "--seed", "3", "--report=false"]).wait();
    assert_eq!(first.code(), Some(0), "{}", first.stderr);
    let flags = ["--total-frames", "1000000", "--stop-at-return", "475"];
    let resumed = resume(&run_dir, &flags).wait();
    assert_eq!(resumed.code(), Some(0), "{}", resumed.stderr);
    let summary = summary(&run_dir);
    assert_eq!(summary["status"], "solved", "{summary}");
    assert!(number(&summary, "frames_to_target") <= 500_000.0, "{summary}");
}

/// Acrobot without its row of tuned defaults: its observations are normalised.
const NORMALISED: &[&str] = &[
    "--env",
    "Acrobot-v1",
    "--env-defaults=false",
    "--actors",
    "2",
    "--log-interval",
    "0.05",
    "--report=false",
];

/// What each line of metrics says of the observations that the statistics come from.
fn observations_seen(run_dir: &Path) -> Vec<f64> {
    let text = fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap_or_default();
    // The last line of a run that goes on may be half written.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| number(&line["learner"], "observations_seen")).collect()
}

/// The mean of observations that the newest checkpoint normalises by.
fn saved_mean(run_dir: &Path) -> Vec<f32> {
    let folder = format!("checkpoints/{:012}", newest_checkpoint(run_dir));
    let bytes = fs::read(run_dir.join(folder).join("weights.safetensors")).expect("weights");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("a finished checkpoint");
    let mean = tensors.tensor("normalize.mean").expect("observations are normalised");
    let numbers = mean.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
    numbers.map(f32::from_le_bytes).collect()
}

fn assert_is_mean(mean: &[f32]) {
    assert_eq!(mean.len(), 6, "one for each number of an observation");
    assert!(mean.iter().all(|m| m.is_finite() && *m != 0.0), "{mean:?}");
}

#[test]
fn a_resumed_run_goes_on_with_the_statistics_of_observations() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let first = start(&run_dir, [NORMALISED, &["--total-frames", "30000"]].concat()).wait();
    assert_eq!(first.code(), Some(0), "{}", first.stderr);
    let before = observations_seen(&run_dir);
    let seen = *before.last().expect("metrics");
    assert!(seen >= 30_000.0, "{seen}");
    assert_is_mean(&saved_mean(&run_dir));

    let resumed = resume(&run_dir, &["--total-frames", "40000"]).wait();
    assert_eq!(resumed.code(), Some(0), "{}", resumed.stderr);
    // The counter is 0 until the new learner has met its first block.
    let all = observations_seen(&run_dir);
    let after: Vec<f64> = all[before.len()..].iter().copied().filter(|n| *n > 0.0).collect();
    assert!(!after.is_empty() && after.iter().all(|n| *n > seen), "{seen}, then {after:?}");
    // Far fewer than 30,000 frames were learnt: a count from 0 would not have come so far.
    assert!(after[after.len() - 1] >= seen + 5_000.0, "{seen}, then {after:?}");
    assert_is_mean(&saved_mean(&run_dir));
}

#[test]
fn a_killed_learner_leaves_the_statistics_of_observations() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let running = start(&run_dir, [NORMALISED, &["--total-frames", "1000000000"]].concat());
    let seen = || observations_seen(&run_dir).last().copied().unwrap_or(0.0);
    wait_until("observations are seen", MAX_WAIT, || seen() > 20_000.0);
    let victim = wait_for_pid(running.pid(), "learner", 0);
    send(victim, Signal::SIGKILL);
    let successor = |line: &Value| number(&line["learner"], "incarnation") >= 2.0;
    wait_until("another learner learns", MAX_WAIT, || {
        last_metrics(&run_dir).is_some_and(|line| successor(&line))
    });
    let at_start = seen();
    wait_until("it sees more", MAX_WAIT, || seen() > at_start + 2_000.0);
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    assert_eq!(number(&summary(&run_dir), "learner_restarts"), 1.0, "{}", finished.stderr);
    let all = observations_seen(&run_dir);
    assert!(all.is_sorted() && all[all.len() - 1] > 20_000.0, "it started again: {all:?}");
    assert_is_mean(&saved_mean(&run_dir));
}
