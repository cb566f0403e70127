//! Central inference: one process runs the network for all actors.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::crash::{
    ENDLESS, MAX_WAIT, status, stop_and_check_counts, wait_for_frames, wait_for_pid,
};
use crate::pool::complete;
use crate::program::{
    Finished, Running, assert_refused, example, finish, last_metrics, number, send, start, summary,
    supervisor,
};
use crate::watch::wait_until;

const CENTRAL: [&str; 2] = ["--inference", "central"];

fn run(folder: &Path, flags: &str) -> Value {
    let flags = format!("--quiet --report=false --tensorboard=false --inference central {flags}");
    complete(folder, &flags.split_whitespace().collect::<Vec<_>>())
}

fn endless(folder: &Path, more: &[&str]) -> Running {
    start(folder, [&ENDLESS[..], &CENTRAL, more].concat())
}

fn policy_restarts(run: &Running) -> u64 {
    let status = status(run.pid()).expect("a status segment");
    let children = status["children"].as_array().expect("children");
    let policy = children.iter().find(|child| child["role"] == "policy");
    policy.and_then(|policy| policy["restarts"].as_u64()).expect("a policy process")
}

#[test]
fn central_inference_learns_cartpole() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let summary = run(folder.path(), "--stop-at-return 475 --total-frames 1000000 --seed 1");
    assert_eq!(summary["status"], "solved", "{summary}");
    let inference = &summary["inference"];
    assert!(number(inference, "batches") > 0.0, "{summary}");
    let mean = number(inference, "batch_rows_mean");
    assert!((4.0..=16.0).contains(&mean), "actors of 4 rows: {inference}");
    for name in ["busy_fraction", "answer_us_mean", "weights_age_ms_mean"] {
        assert!(number(inference, name) > 0.0, "{name}: {inference}");
    }
    let line = last_metrics(folder.path()).expect("a line");
    // What actors read of the page is what the policy process read.
    assert_eq!(number(&line["actors"], "param_refreshes"), 0.0, "{line}");
    assert!(number(&line["policy"], "param_refreshes") > 0.0, "{line}");
    assert!(number(&summary, "policy_lag_mean") < 20.0, "{summary}");
}

#[test]
fn the_state_of_a_core_travels_with_the_request() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let task = "--env Recall-v0 --env-arg cues=3 --env-arg delay=2";
    let goal = "--stop-at-return 0.95 --stop-window 300 --total-frames 400000";
    let summary = run(folder.path(), &format!("{task} {goal}"));
    assert_eq!(summary["status"], "solved", "{summary}");
}

#[test]
fn every_kind_of_network_and_observation_is_answered() {
    for flags in [
        // Pixels, and stacks of frames that begin with an episode.
        "--env Catch-v0 --total-frames 20000",
        "--env Catch-v0 --frame-stack 3 --total-frames 20000",
        "--env Catch-v0 --torso impala-deep --core lstm --envs-per-actor 3 --total-frames 2000",
        // Numbers that are normalised, and actions that are.
        "--env Pendulum-v1 --normalize-observations=true --total-frames 20000",
        "--env CartPole-v1 --frame-stack 2 --action-reward-inputs=true --total-frames 20000",
        // Batches smaller than what waits, and batches that wait for more.
        "--actors 3 --inference-batch 5 --total-frames 20000",
        "--actors 3 --inference-wait-us 500 --total-frames 20000",
        // Groups of several tasks share the desk of their actor.
        "--env CartPole-v1 --env Acrobot-v1 --pad-observations 6 --actors 1 --total-frames 20000",
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let summary = run(folder.path(), flags);
        assert_eq!(summary["status"], "finished", "{flags}: {summary}");
        assert_eq!(number(&summary, "actor_restarts"), 0.0, "{flags}: {summary}");
        assert_eq!(number(&summary["inference"], "policy_restarts"), 0.0, "{flags}: {summary}");
    }
}

/// A masked choice that is not allowed ends that environment: masks reach the sampler as ever.
#[test]
fn masks_and_hybrid_actions_are_those_of_local_inference() {
    for (name, flags) in [
        ("masked_env", "--env Lock-v0 --discount 0 --stop-at-return 9 --total-frames 400000"),
        ("hybrid_env", "--env Putt-v0 --total-frames 8000"),
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = example(name);
        command.arg("--run-dir").arg(folder.path()).args(CENTRAL).args(flags.split_whitespace());
        let Finished { status, stderr, .. } = finish(command);
        assert_eq!(status.code(), Some(0), "{name}: {stderr}");
        let wanted = if name == "masked_env" { "solved" } else { "finished" };
        assert_eq!(summary(folder.path())["status"], wanted, "{name}: {stderr}");
    }
}

#[test]
fn a_killed_policy_process_is_replaced_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = endless(folder.path(), &[]);
    let (mut victim, mut frames) = (0, 0.0);
    for _ in 0..5 {
        victim = wait_for_pid(running.pid(), "policy", victim);
        frames = wait_for_frames(folder.path(), frames);
        send(victim, Signal::SIGKILL);
    }
    wait_for_pid(running.pid(), "policy", victim);
    wait_for_frames(folder.path(), frames);
    let (summary, log) = stop_and_check_counts(running, folder.path(), 64.0);
    assert_eq!(number(&summary["inference"], "policy_restarts"), 5.0, "{log}");
    for key in ["actor_restarts", "learner_restarts", "unrolls_overwritten"] {
        assert_eq!(number(&summary, key), 0.0, "{key}: {log}");
    }
    // Each actor that waited at the end left one; nobody else lost any.
    assert!(number(&summary, "unrolls_abandoned") <= 3.0, "{log}");
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
}

#[test]
fn a_killed_actor_does_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("temporary folder");
    // A batch of all rows, waited for as long as it takes: the dead are not waited for longer.
    let running = endless(folder.path(), &["--core", "lstm", "--inference-wait-us", "2000"]);
    let (mut victim, mut frames) = (0, 0.0);
    for _ in 0..5 {
        victim = wait_for_pid(running.pid(), "actor-1", victim);
        frames = wait_for_frames(folder.path(), frames);
        send(victim, Signal::SIGKILL);
    }
    wait_for_pid(running.pid(), "actor-1", victim);
    wait_for_frames(folder.path(), frames);
    let (summary, log) = stop_and_check_counts(running, folder.path(), 64.0);
    assert_eq!(number(&summary, "actor_restarts"), 5.0, "{log}");
    assert_eq!(number(&summary["inference"], "policy_restarts"), 0.0, "{log}");
}

/// Whether it computes or waits for requests: nobody acts without it.
#[test]
fn hang_of_the_policy_process_is_found_and_no_actor_is_blamed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = endless(folder.path(), &["--actor-hang-timeout", "2"]);
    let mut victim = 0;
    for replaced in 1..=2 {
        victim = wait_for_pid(running.pid(), "policy", victim);
        let frames = wait_for_frames(folder.path(), 0.0);
        send(victim, Signal::SIGSTOP);
        wait_until("it is replaced", MAX_WAIT, || policy_restarts(&running) == replaced);
        wait_for_frames(folder.path(), frames);
    }
    let (summary, log) = stop_and_check_counts(running, folder.path(), 64.0);
    assert_eq!(number(&summary, "hang_kills"), 2.0, "{log}");
    assert_eq!(number(&summary, "actor_restarts"), 0.0, "{log}");
    assert!(log.contains("policy: hangs: no progress for 2."), "{log}");
}

#[test]
fn a_run_ends_while_its_actors_wait_for_answers() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = endless(folder.path(), &[]);
    wait_for_frames(folder.path(), 0.0);
    send(wait_for_pid(running.pid(), "policy", 0), Signal::SIGSTOP);
    let asking = || {
        let line = last_metrics(folder.path()).expect("a line");
        let phases = line["per_actor"]["phase"].as_array().expect("a list").clone();
        phases.iter().all(|phase| phase.as_u64() == Some(5))
    };
    wait_until("all actors wait", MAX_WAIT, asking);
    let (summary, log) = stop_and_check_counts(running, folder.path(), 64.0);
    assert_eq!(summary["status"], "interrupted", "{log}");
    // They left by themselves; who stood still had to be killed.
    assert!(log.contains("policy did not leave in time"), "{log}");
    assert!(!log.contains("actor-0 did not leave in time"), "{log}");
}

#[test]
fn chaos_hits_the_policy_process_too() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let chaos = "--chaos kill=20/s,stop=4/s,seed=3 --time-limit 5";
    let summary = run(folder.path(), &format!("--total-frames 1000000000 {chaos}"));
    assert_eq!(summary["status"], "time-limit", "{summary}");
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    let faults = &summary["faults"];
    assert!(number(faults, "policies_killed") > 0.0, "{summary}");
    assert!(number(faults, "actors_killed") > 0.0, "{summary}");
    assert!(number(&summary["inference"], "policy_restarts") > 0.0, "{summary}");
    assert!(number(&summary, "frames") > 0.0, "{summary}");
}

#[test]
fn a_run_is_continued_with_the_inference_it_had_or_another() {
    let folder = tempfile::tempdir().expect("temporary folder");
    run(folder.path(), "--actors 2 --total-frames 20000");
    for (flags, frames, central) in [
        (&["--total-frames", "40000"][..], 40_000.0, true),
        (&["--total-frames", "60000", "--inference", "local"], 60_000.0, false),
        (&["--total-frames", "80000", "--inference", "central"], 80_000.0, true),
    ] {
        let mut command = supervisor();
        command.arg("--resume").arg(folder.path()).args(flags);
        let finished = finish(command);
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        let summary = summary(folder.path());
        assert!(number(&summary, "frames") >= frames, "{summary}");
        assert_eq!(summary["inference"].is_object(), central, "{summary}");
    }
}

#[test]
fn what_does_not_go_with_central_inference_is_refused_on_one_line() {
    for (flags, parts) in [
        ("--inference central --schedule lockstep", ["--schedule lockstep", "--inference local"]),
        ("--inference central --algorithm a2c", ["--schedule lockstep", "--inference local"]),
        ("--inference central --algorithm a3c", ["--exchange gradients", "--inference local"]),
        (
            "--inference central --algorithm reinforce",
            ["--exchange gradients", "--inference local"],
        ),
        ("--inference central --exchange gradients", ["--exchange gradients", "--inference local"]),
        ("--inference-batch 4", ["--inference-batch 4", "--inference central"]),
        ("--inference-wait-us 4", ["--inference-wait-us 4", "--inference central"]),
        ("--inference central --inference-batch 0", ["--inference-batch 0", "from 1 to"]),
        ("--inference central --inference-wait-us 2e6", ["--inference-wait-us 2000000", "from 0"]),
        ("--inference some", ["some", "local, central"]),
    ] {
        let mut command = supervisor();
        command.args(flags.split_whitespace());
        assert_refused(&finish(command), flags, 2, &parts);
    }
}
