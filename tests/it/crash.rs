//! Deaths by force, of every kind of process, in the middle of real runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use impala_rl::rng::Rng;
use nix::sys::signal::Signal;

use crate::program::{
    Running, children_of, is_alive, last_metrics, number, segments_of, send, start, summary,
};
use crate::watch::wait_until;

pub(crate) const MAX_WAIT: Duration = Duration::from_secs(120);
pub(crate) const ENDLESS: [&str; 6] =
    ["--actors", "3", "--total-frames", "1000000000", "--log-interval", "0.05"];

pub(crate) fn wait_for_frames(run_dir: &Path, more_than: f64) -> f64 {
    let mut frames = 0.0;
    wait_until("frames are learnt", MAX_WAIT, || {
        frames = last_metrics(run_dir).map_or(0.0, |metrics| number(&metrics, "frames"));
        frames > more_than
    });
    frames
}

/// Stops the run in order and checks the counts: what was produced was consumed, or is still in the ring.
pub(crate) fn stop_and_check_counts(
    running: Running,
    run_dir: &Path,
    slots: f64,
) -> (serde_json::Value, String) {
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let summary = summary(run_dir);
    let left = number(&summary, "unrolls_produced") - number(&summary, "unrolls_consumed");
    assert!((0.0..=slots).contains(&left), "{summary}");
    (summary, finished.stdout + &finished.stderr)
}

/// What the status segment of a run says.
pub(crate) fn status(supervisor: u32) -> Option<serde_json::Value> {
    let name = segments_of(supervisor).pop()?.file_name()?.to_str()?.to_owned();
    let view = impala_rl::metrics::StatusSegment::attach(&name).ok()?;
    let (_, bytes) = view.read(0)?;
    serde_json::from_slice(&bytes).ok()
}

/// The pid that the status segment names for a role.
fn pid_of(supervisor: u32, role: &str) -> Option<u32> {
    let status = status(supervisor)?;
    let children = status["children"].as_array()?;
    let child =
        children.iter().find(|child| child["role"] == role && child["state"] == "running")?;
    u32::try_from(child["pid"].as_u64()?).ok()
}

pub(crate) fn wait_for_pid(supervisor: u32, role: &str, other_than: u32) -> u32 {
    let mut found = None;
    wait_until("the child runs", MAX_WAIT, || {
        found = pid_of(supervisor, role).filter(|&pid| pid != other_than && is_alive(pid));
        found.is_some()
    });
    found.expect("found")
}

#[test]
fn a_killed_actor_is_replaced_and_the_counts_hold() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = start(folder.path(), ENDLESS);
    let mut victim = 0;
    let mut frames = 0.0;
    for _ in 0..5 {
        victim = wait_for_pid(running.pid(), "actor-1", victim);
        frames = wait_for_frames(folder.path(), frames);
        send(victim, Signal::SIGKILL);
    }
    wait_for_pid(running.pid(), "actor-1", victim);
    wait_for_frames(folder.path(), frames);
    let (summary, log) = stop_and_check_counts(running, folder.path(), 64.0);
    assert_eq!(number(&summary, "actor_restarts"), 5.0, "{log}");
    let (lost, restarts) =
        (number(&summary, "unrolls_abandoned"), number(&summary, "actor_restarts"));
    assert!(lost <= restarts, "at most the one in hand each time: {log}");
}

#[test]
fn a_killed_learner_continues_from_what_it_published() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = start(folder.path(), ENDLESS);
    let mut victim = 0;
    let mut frames = 0.0;
    for _ in 0..3 {
        victim = wait_for_pid(running.pid(), "learner", victim);
        frames = wait_for_frames(folder.path(), frames);
        send(victim, Signal::SIGKILL);
    }
    wait_for_pid(running.pid(), "learner", victim);
    wait_for_frames(folder.path(), frames);
    let (summary, log) = stop_and_check_counts(running, folder.path(), 64.0);
    assert_eq!(number(&summary, "learner_restarts"), 3.0, "{log}");
    assert!(
        number(&summary, "updates") >= number(&summary, "params_published") - 2.0,
        "versions never start again"
    );
    let metrics = fs::read_to_string(folder.path().join("metrics.jsonl")).expect("metrics");
    let updates: Vec<u64> = metrics
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["learner"]["updates"]
                .as_u64()
                .expect("a count")
        })
        .collect();
    assert!(updates.is_sorted(), "the count of updates went back");
}

#[test]
fn nothing_outlives_a_killed_supervisor() {
    let mut rng = Rng::new(std::process::id().into(), 0);
    for _ in 0..20 {
        let folder = tempfile::tempdir().expect("temporary folder");
        let run_dir = folder.path().join("run");
        let running = start(&run_dir, ENDLESS.into_iter().chain(["--checkpoint-interval", "0.01"]));
        let pid = running.pid();
        // From the first instructions of the program to the middle of training.
        let moment = Instant::now() + Duration::from_micros(rng.below(400_000) as u64);
        let mut family = Vec::new();
        while Instant::now() < moment {
            family.extend(children_of(pid));
            std::hint::spin_loop();
        }
        family.extend(children_of(pid));
        // One of them is stopped: it must go all the same. But for the janitor, the first of them:
        // nobody can clean up who does not run.
        let janitor = family.first().copied();
        if let Some(&stopped) = family.last().filter(|&&last| Some(last) != janitor) {
            send(stopped, Signal::SIGSTOP);
        }
        family.extend(children_of(pid));
        drop(running);
        family.sort_unstable();
        family.dedup();
        wait_until("all processes are gone", Duration::from_secs(20), || {
            !family.iter().any(|&child| is_alive(child))
        });
        let leftovers = || {
            let folders = [run_dir.clone(), run_dir.join("checkpoints")];
            let entries =
                folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
            entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "tmp")).count()
        };
        wait_until("names are gone", Duration::from_secs(20), || {
            segments_of(pid).is_empty() && leftovers() == 0
        });
    }
}

#[test]
fn a_stop_without_a_learner_still_saves() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = start(folder.path(), ENDLESS);
    let frames = wait_for_frames(folder.path(), 0.0);
    send(wait_for_pid(running.pid(), "learner", 0), Signal::SIGKILL);
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let saved: Vec<String> = fs::read_dir(folder.path().join("checkpoints"))
        .expect("a checkpoint")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert!(saved[0].parse::<f64>().expect("a number of frames") >= frames);
}
