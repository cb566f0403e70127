//! Environments that fail, and batches that kill the learner: contained, counted, survived.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::crash::MAX_WAIT;
use crate::program::{Finished, Running, example, finish, last_metrics, number, summary};
use crate::watch::wait_until;

/// The run's command; each fault is `name=probability`, in each step of an actor.
fn faulty(run_dir: &Path, faults: &[&str], flags: &[&str]) -> std::process::Command {
    let mut command = example("faulty_env");
    command.args(["--env", "Faulty-v0", "--actors", "2", "--log-interval", "0.05", "--run-dir"]);
    command.arg(run_dir).args(faults.iter().flat_map(|fault| ["--env-arg", fault])).args(flags);
    command
}

/// 15,000 frames, 8 in each step of an actor.
pub(crate) fn short_run(faults: &[&str], flags: &[&str]) -> (Finished, Value, Value) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = [&["--total-frames", "15000"], flags].concat();
    let finished = finish(faulty(folder.path(), faults, &flags));
    let metrics = last_metrics(folder.path()).expect("metrics");
    (finished, summary(folder.path()), metrics)
}

fn assert_in_order(finished: &Finished, summary: &Value, metrics: &Value) {
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    assert!(number(summary, "frames") >= 15_000.0, "{summary}");
    assert_eq!(number(&metrics["learner"], "updates_skipped_nonfinite"), 0.0, "{metrics}");
}

#[test]
fn fault_env_errors_and_bad_numbers_are_mended_in_place() {
    for remedy in ["restart", "drop"] {
        let faults =
            ["error=0.002", "nan-reward=0.002", "inf-observation=0.002", "bad-action=0.002"];
        let (finished, summary, metrics) = short_run(&faults, &["--on-bad-env", remedy]);
        assert_in_order(&finished, &summary, &metrics);
        let errors = number(&summary, "env_errors");
        assert!(errors > 4.0, "{summary}");
        assert_eq!(number(&summary, "unrolls_overwritten"), errors, "each costs one: {summary}");
        assert_eq!(number(&summary, "actor_restarts"), 0.0, "{}", finished.stderr);
        // One that is being mended at the end leaves its slot to be reclaimed.
        assert!(number(&summary, "unrolls_abandoned") <= 2.0, "{summary}");
        assert!(finished.stderr.contains("; the unroll is dropped"), "{}", finished.stderr);
    }
}

#[test]
fn fault_env_rewards_whose_loss_is_infinite_cost_updates_and_no_weights() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--total-frames", "30000", "--normalize-rewards=false"];
    let finished = finish(faulty(folder.path(), &["huge-reward=0.002"], &flags));
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code(), Some(0), "{said}");
    let summary = summary(folder.path());
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    let metrics = last_metrics(folder.path()).expect("metrics");
    let learner = &metrics["learner"];
    assert!(number(learner, "updates_skipped_nonfinite") > 0.0, "{learner}");
    assert!(number(learner, "updates") > 0.0, "{learner}");
    assert_eq!(number(&summary, "params_published"), number(&summary, "updates") + 1.0);
    for name in ["policy_loss", "baseline_loss", "entropy", "grad_norm"] {
        assert!(number(learner, name).is_finite(), "{name} in {learner}");
    }
    let checkpoints = fs::read_dir(folder.path().join("checkpoints")).expect("checkpoints");
    let mut saved = 0;
    for checkpoint in checkpoints {
        let path = checkpoint.expect("an entry").path().join("weights.safetensors");
        let bytes = fs::read(path).expect("weights");
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("a finished checkpoint");
        for (name, tensor) in tensors.tensors() {
            let numbers = tensor.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
            let finite = numbers.map(f32::from_le_bytes).all(f32::is_finite);
            assert!(finite, "{name} is not finite");
            saved += 1;
        }
    }
    assert!(saved > 0, "there are checkpoints");
}

#[test]
fn fault_env_from_which_nothing_can_be_learnt_ends_the_run() {
    let (finished, summary, metrics) =
        short_run(&["huge-reward=1"], &["--normalize-rewards=false"]);
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code(), Some(14), "{said}");
    for part in ["an update is not finite: it is skipped", "100 updates in a row", "--reward-scale"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(number(&metrics["learner"], "updates_skipped_nonfinite"), 100.0, "{metrics}");
    assert_eq!(
        (&summary["status"], &summary["slot_counts"]["conserved"]),
        (&"failed".into(), &true.into())
    );
}

#[test]
fn fault_env_panics_and_crashes_cost_one_process() {
    let (finished, summary, metrics) = short_run(&["panic=0.005", "abort=0.002"], &[]);
    assert_in_order(&finished, &summary, &metrics);
    let (panics, restarts) = (number(&summary, "env_panics"), number(&summary, "actor_restarts"));
    assert!(panics > 0.0 && panics <= restarts + 2.0, "{summary} {}", finished.stderr);
    assert!(number(&summary, "unrolls_abandoned") <= restarts + 2.0, "{summary}");
    for part in ["panicked at ", "as asked for", "killed by SIGABRT; in phase step; 1 slots freed"]
    {
        assert!(finished.stderr.contains(part), "{part}: {}", finished.stderr);
    }
}

#[test]
fn fault_env_failures_end_the_run_if_they_must() {
    for (fault, says) in [
        ("error=0.01", "environment Faulty-v0 failed: as asked for"),
        ("nan-reward=0.01", "a reward that is not finite"),
        ("inf-observation=0.01", "an observation that is not finite"),
        ("panic=0.01", "an environment panicked"),
    ] {
        let (finished, summary, _) = short_run(&[fault], &["--on-bad-env", "fail"]);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert_eq!(finished.code(), Some(12), "{fault}: {said}");
        assert!(said.contains(says), "{fault}: {said}");
        // The learner was asked to stop and saved: more than what is published.
        assert!(!said.contains("saved the last published weights"), "{fault}: {said}");
        assert_eq!(
            (&summary["status"], &summary["slot_counts"]["conserved"]),
            (&"failed".into(), &true.into())
        );
    }
}

#[test]
fn fault_env_that_never_works_ends_the_run_soon() {
    for fault in ["error=1", "panic=1"] {
        let (finished, summary, _) = short_run(&[fault], &[]);
        assert_eq!(finished.code(), Some(15), "{}", finished.stderr);
        let reason = summary["reason"].as_str().expect("text");
        assert!(reason.contains("no environment of Faulty-v0 works"), "{reason}");
        assert_eq!(number(&summary, "frames"), 0.0);
    }
}

#[test]
fn fault_env_that_spins_is_replaced() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--total-frames", "1000000000", "--actor-hang-timeout", "1"];
    let running = Running::of(faulty(folder.path(), &["spin=0.0004"], &flags));
    wait_until("two were replaced", MAX_WAIT, || {
        last_metrics(folder.path()).is_some_and(|metrics| number(&metrics, "restarts") >= 2.0)
    });
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let told = |part| finished.stderr.contains(part);
    assert!(told("hangs: no progress for 1.") && told(" s in phase step"), "{}", finished.stderr);
    let summary = summary(folder.path());
    assert!(number(&summary, "hang_kills") >= 2.0, "{summary}");
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
}

#[test]
fn fault_batch_that_kills_the_learner_is_dropped_the_second_time() {
    let folder = tempfile::tempdir().expect("temporary folder");
    // Two groups in a batch, and few frames, so that most batches are not poisonous.
    let sizes = "--total-frames 1000000000 --envs-per-actor 4 --unroll 16 --batch 8";
    let flags: Vec<_> = sizes.split(' ').collect();
    let running = Running::of(faulty(folder.path(), &["poison=0.0004"], &flags));
    let mut deaths = 0.0;
    wait_until("four died", MAX_WAIT, || {
        deaths = crate::crash::status(running.pid())
            .map_or(0.0, |status| number(&status["children"][0], "restarts"));
        deaths >= 4.0
    });
    let frames = crate::crash::wait_for_frames(folder.path(), 0.0);
    crate::crash::wait_for_frames(folder.path(), frames);
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code(), Some(0), "{said}");
    let summary = summary(folder.path());
    let groups = 2.0;
    let poisonous = number(&summary, "unrolls_poisonous");
    assert!(poisonous >= groups && poisonous % groups == 0.0, "{summary}");
    assert!(said.contains("0 requeued, 2 dropped"), "{said}");
    assert!(number(&summary, "unrolls_requeued") >= poisonous, "first once more: {summary}");
    assert!(2.0 * poisonous / groups <= number(&summary, "learner_restarts") + 1.0, "{summary}");
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    counts_never_go_back(folder.path());
}

#[test]
fn fault_learner_killed_again_and_again_goes_on_counting() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = crate::program::start(
        folder.path(),
        crate::crash::ENDLESS.into_iter().chain(["--publish-every", "3"]),
    );
    let mut victim = 0;
    let mut frames = 0.0;
    for _ in 0..15 {
        victim = crate::crash::wait_for_pid(running.pid(), "learner", victim);
        frames = crate::crash::wait_for_frames(folder.path(), frames);
        crate::program::send(victim, Signal::SIGKILL);
    }
    crate::crash::wait_for_pid(running.pid(), "learner", victim);
    crate::crash::wait_for_frames(folder.path(), frames);
    let (summary, log) = crate::crash::stop_and_check_counts(running, folder.path(), 64.0);
    assert_eq!(number(&summary, "learner_restarts"), 15.0, "{log}");
    assert_eq!(number(&summary, "actor_restarts"), 0.0, "actors act on: {log}");
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    // What a dead learner held is used, but if it was held at two deaths.
    let known = ["unrolls_consumed", "unrolls_in_ring", "unrolls_poisonous"];
    let sum: f64 = known.iter().map(|key| number(&summary, key)).sum();
    assert_eq!(number(&summary, "unrolls_produced"), sum, "{summary}");
    counts_never_go_back(folder.path());
}

/// Frames and updates in the metrics never go back, whoever died.
pub(crate) fn counts_never_go_back(run_dir: &Path) {
    let metrics = fs::read_to_string(run_dir.join("metrics.jsonl")).expect("metrics");
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let counts: Vec<_> = lines
        .map(|line| {
            ["frames", "updates", "version", "params_published"]
                .map(|key| number(&line["learner"], key))
        })
        .collect();
    assert!(counts.len() > 2, "{metrics}");
    for pair in counts.windows(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(|(before, after)| before <= after), "{pair:?}");
    }
}
