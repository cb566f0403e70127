//! Gradients in place of trajectories: a3c and reinforce.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::gym::{gymnasium, supervised};
use crate::lockstep::same;
use crate::pool::complete;
use crate::program::{assert_refused, finish, number, summary, supervisor};

fn run(folder: &Path, flags: &str) -> Value {
    let flags = format!("--quiet --report=false --tensorboard=false {flags}");
    complete(folder, &flags.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn cartpole_is_solved_by_either() {
    for algorithm in ["a3c", "reinforce"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let goal = "--stop-at-return 475 --total-frames 500000 --seed 1";
        let summary = run(folder.path(), &format!("--algorithm {algorithm} {goal}"));
        assert_eq!(summary["status"], "solved", "{algorithm}: {summary}");
    }
}

#[test]
fn catch_is_learnt_from_gradients() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = "--algorithm a3c --env Catch-v0 --stop-at-return 0.9 --total-frames 1000000";
    let summary = run(folder.path(), flags);
    assert_eq!(summary["status"], "solved", "{summary}");
}

/// Names and numbers of the last checkpoint.
fn weights(run_dir: &Path) -> HashMap<String, Vec<f32>> {
    let checkpoints = fs::read_dir(run_dir.join("checkpoints")).expect("checkpoints");
    let last = checkpoints.map(|entry| entry.expect("an entry").path()).max().expect("one");
    let bytes = fs::read(last.join("weights.safetensors")).expect("weights");
    let (head, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(head.try_into().expect("eight bytes"));
    let (header, data) = rest.split_at(usize::try_from(length).expect("small"));
    let header: HashMap<String, Value> = serde_json::from_slice(header).expect("JSON");
    let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
    tensors
        .map(|(name, tensor)| {
            let at = |end: usize| {
                usize::try_from(tensor["data_offsets"][end].as_u64().expect("an offset"))
                    .expect("small")
            };
            let numbers = data[at(0)..at(1)].as_chunks::<4>().0;
            (name, numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
        })
        .collect()
}

/// The same experience, the same loss: it makes no difference where the gradient is computed. (But for the size of returns,
/// which actors learn of one update later.)
#[test]
fn gradients_of_actors_add_up_to_that_of_the_learner() {
    for (env, reduction) in [("CartPole-v1", "sum"), ("Catch-v0", "sum"), ("Pendulum-v1", "sum")] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let shared = format!(
            "--env {env} --schedule lockstep --actors 2 --envs-per-actor 4 --unroll 9 --passes 1 --minibatches 1 \
             --clip-range inf --kl-cost 0 --kl-target inf --normalize-advantages=false --normalize-rewards=false --correction none \
             --reduction {reduction} --optimizer rmsprop-torch --learning-rate 0.0001 --max-grad-norm inf \
             --learning-rate-decay none --total-frames 500"
        );
        let learner = folder.path().join("learner");
        let summary = run(&learner, &format!("{shared} --batch 8"));
        let actors = folder.path().join("actors");
        let gradients = run(&actors, &format!("{shared} --exchange gradients"));
        for key in ["frames", "updates", "episodes"] {
            assert_eq!(number(&summary, key), number(&gradients, key), "{env} {key}");
        }
        let (expected, found) = (weights(&learner), weights(&actors));
        let mut moved = 0.0_f32;
        for (name, expected) in &expected {
            for (a, b) in expected.iter().zip(&found[name]) {
                assert!((a - b).abs() < 2e-5 * a.abs().max(1.0), "{env} {name}: {a} and {b}");
                moved = moved.max(a.abs());
            }
        }
        assert!(moved > 0.0, "{env}: nothing was learnt");
    }
}

#[test]
fn they_repeat_themselves_to_the_bit_in_lockstep() {
    let numbers_of_actors = ["--actors 1", "--actors 2", "--actors 4"];
    for flags in [
        "--algorithm reinforce --gradients-per-update 4 --total-frames 30000",
        "--algorithm reinforce --env Acrobot-v1 --env-defaults=false --gradients-per-update 4 \
         --unroll 500 --total-frames 30000",
        "--algorithm a3c --gradients-per-update 4 --total-frames 30000",
        "--algorithm a3c --lag 1 --gradients-per-update 4 --total-frames 30000",
        // Rewards and observations are normalised by what the learner sees.
        "--algorithm a3c --env Pendulum-v1 --lag 1 --gradients-per-update 4 --total-frames 30000",
    ] {
        same(flags, &numbers_of_actors);
    }
}

#[test]
fn frames_count_what_was_learnt_from() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = "--algorithm reinforce --actors 2 --envs-per-actor 3 --total-frames 20000";
    let summary = run(folder.path(), flags);
    assert_eq!(number(&summary, "policy_lag_mean"), 0.0, "{summary}");
    // Every return that is reported is one that was learnt from, and nothing else was: rewards of CartPole are 1.
    let text = fs::read_to_string(folder.path().join("episodes.csv")).expect("episodes");
    let lengths = text.lines().skip(1).map(|line| line.rsplit(',').next().expect("a length"));
    let steps: u64 = lengths.map(|length| length.parse::<u64>().expect("a number")).sum();
    assert_eq!(steps as f64, number(&summary, "frames"), "{summary}");
    // Six episodes an update.
    assert_eq!(number(&summary, "episodes"), 6.0 * number(&summary, "updates"), "{summary}");
}

#[test]
fn deaths_stop_neither() {
    for flags in
        ["--algorithm a3c", "--algorithm a3c --gradients-per-update 3", "--algorithm reinforce"]
    {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = format!(
            "{flags} --actors 3 --total-frames 1000000000 --time-limit 4 --chaos kill=20/s,stop=2/s,seed=3"
        );
        let summary = run(folder.path(), &flags);
        assert_eq!(summary["status"], "time-limit", "{summary}");
        assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
        assert!(number(&summary["faults"], "injected") > 0.0, "{summary}");
        assert!(number(&summary, "frames") > 0.0, "{summary}");
    }
}

#[test]
fn a_run_of_gradients_is_continued() {
    let folder = tempfile::tempdir().expect("temporary folder");
    run(folder.path(), "--algorithm a3c --actors 2 --total-frames 20000");
    let mut command = supervisor();
    command.args(["--resume".as_ref(), folder.path().as_os_str()]);
    command.args(["--total-frames", "40000", "--quiet", "--report=false"]);
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let summary = summary(folder.path());
    assert!(number(&summary, "frames") >= 40_000.0, "{summary}");
}

#[test]
fn environments_in_python_are_acted_in_too() {
    let Some(python) = gymnasium("gym with gradients") else {
        return;
    };
    for algorithm in ["a3c", "reinforce"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = supervised(&python, folder.path(), "gym:CartPole-v1");
        let flags = format!("--algorithm {algorithm} --total-frames 5000 --quiet");
        command.args(flags.split_whitespace());
        let finished = finish(command);
        assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
        let summary = summary(folder.path());
        assert!(number(&summary, "frames") >= 5000.0, "{summary}");
    }
}

#[test]
fn what_does_not_go_together_is_refused_on_one_line() {
    for (flags, parts) in [
        ("--gradients-per-update 2", ["--gradients-per-update 2", "--exchange gradients"]),
        ("--returns monte-carlo", ["--returns monte-carlo", "--algorithm reinforce"]),
        ("--worker-max-grad-norm 1", ["--worker-max-grad-norm", "--max-grad-norm"]),
        ("--algorithm a3c --passes 2", ["--passes 2", "leave it out"]),
        ("--algorithm a3c --batch 7", ["--batch 7", "--gradients-per-update"]),
        ("--algorithm a3c --gradients-per-update 2 --batch 4", ["--batch 4", "leave it out"]),
        ("--algorithm a3c --gradients-per-update 0", ["--gradients-per-update 0", "from 1 to"]),
        (
            "--algorithm reinforce --actors 4 --gradients-per-update 2",
            ["--actors 2 or fewer", "--gradients-per-update 4"],
        ),
        ("--correction some", ["some", "vtrace, one-step, epsilon, none"]),
    ] {
        let mut command = supervisor();
        command.args(flags.split_whitespace());
        assert_refused(&finish(command), flags, 2, &parts);
    }
}
