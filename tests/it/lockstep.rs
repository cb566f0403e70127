//! Lockstep: the lag of every unroll, and runs that repeat themselves to the bit, whoever does what and when.

use std::fs;
use std::path::Path;

use impala_rl::policy::simd::{Level, Vectors};
use serde_json::Value;

use crate::gym::{gymnasium, supervised};
use crate::pool::complete;
use crate::program::{assert_refused, example, finish, number, summary, supervisor};

/// One group of one batch, as the example writes it.
struct Line {
    batch: u64,
    group: u64,
    actor: u64,
    stream: u64,
    sequence: u64,
    version: u64,
}

/// Runs with `flags`, and gives every group of every batch that was learnt from.
fn lines(flags: &str) -> Vec<Line> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let log = folder.path().join("batches.csv");
    let mut command = example("batch_log");
    command.env("BATCH_LOG", &log).arg("--run-dir").arg(folder.path().join("run"));
    command.args(["--schedule", "lockstep", "--quiet", "--report=false", "--tensorboard=false"]);
    let finished = finish({
        command.args(flags.split_whitespace());
        command
    });
    assert_eq!(finished.code(), Some(0), "{flags}: {}{}", finished.stdout, finished.stderr);
    let text = fs::read_to_string(log).expect("a log");
    text.lines()
        .map(|line| {
            let numbers: Vec<u64> = line.split(',').map(|n| n.parse().expect("a number")).collect();
            let [batch, group, actor, incarnation, stream, sequence, version] = numbers[..] else {
                panic!("{line}");
            };
            assert_eq!(incarnation, 1, "nobody was replaced");
            Line { batch, group, actor, stream, sequence, version }
        })
        .collect()
}

#[test]
fn the_lag_of_every_unroll_is_what_was_asked_for() {
    for (lag, actors, passes) in [(0, 3, 1), (1, 1, 1), (1, 4, 3), (4, 2, 1)] {
        let lines = lines(&format!(
            "--lag {lag} --actors {actors} --passes {passes} --batch 16 --envs-per-actor 4 \
             --unroll 8 --total-frames 20000"
        ));
        assert!(lines.len() > 400, "{} lines", lines.len());
        for (at, line) in lines.iter().enumerate() {
            assert_eq!((line.batch, line.group), (at as u64 / 4, at as u64 % 4));
            // The learner has learnt from `batch` batches; those of the beginning cannot be older.
            let learnt = (line.version - 1) / passes;
            assert_eq!(line.batch - learnt, line.batch.min(lag), "lag {lag}, batch {}", line.batch);
            assert_eq!((line.version - 1) % passes, 0, "between two passes");
            assert_eq!((line.stream, line.actor), (line.group, line.group % actors));
            assert_eq!(line.sequence, line.batch, "each group once in each batch");
        }
    }
}

pub(crate) fn checksum(summary: &Value) -> String {
    assert_eq!((&summary["reproducible"], &summary["because"]), (&Value::Bool(true), &Value::Null));
    summary["weights_sha256"].as_str().expect("weights were saved").to_owned()
}

/// Episodes without their times.
fn episodes(run_dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(run_dir.join("episodes.csv")).expect("episodes");
    let of = |line: &str| {
        let cells: Vec<_> = line.split(',').collect();
        format!("{} {} {}", cells[0], cells[2], cells[3])
    };
    text.lines().skip(1).map(of).collect()
}

/// Runs all of `variants` of one run at the same time, so that they disturb each other, and holds that they come to the
/// same. Gives the checksum.
pub(crate) fn same(flags: &str, variants: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = |(nth, variant): (usize, &&str)| {
        let run_dir = folder.path().join(nth.to_string());
        let flags = format!("--schedule lockstep --quiet --report=false {flags} {variant}");
        let summary = complete(&run_dir, &flags.split_whitespace().collect::<Vec<_>>());
        let counts = ["frames", "updates", "episodes"].map(|key| number(&summary, key));
        (checksum(&summary), counts.map(f64::to_bits), episodes(&run_dir))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> =
            variants.iter().enumerate().map(|each| scope.spawn(move || run(each))).collect();
        running.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    for (result, variant) in results.iter().zip(variants) {
        assert!(*result == results[0], "{flags}: {variant:?} and {:?} differ", variants[0]);
    }
    assert!(!results[0].2.is_empty(), "no episodes");
    results[0].0.clone()
}

const NUMBERS_OF_ACTORS: &[&str] = &["--actors 1", "--actors 2", "--actors 4", "--actors 4 --pin"];

#[test]
fn repeats_are_equal_to_the_bit() {
    let flags = "--total-frames 30000 --batch 16";
    let first = same(flags, &[""; 20]);
    for env in ["Catch-v0", "Pendulum-v1"] {
        same(&format!("--env {env} --total-frames 20000 --batch 16"), &[""; 20]);
    }
    for lag in ["--lag 0", "--lag 1"] {
        let again = same(&format!("{flags} {lag}"), &[""; 5]);
        assert_eq!(again == first, lag == "--lag 0", "{lag}");
    }
    assert_ne!(same(&format!("{flags} --seed 2"), &[""]), first);
}

#[test]
fn the_number_of_actors_makes_no_difference() {
    for flags in [
        "--env CartPole-v1 --batch 16 --total-frames 40000",
        "--env CartPole-v1 --batch 16 --total-frames 40000 --lag 3",
        "--env Catch-v0 --batch 64 --total-frames 30000",
        // A core, whose state is carried from unroll to unroll.
        "--env Recall-v0 --envs-per-actor 4 --batch 16 --total-frames 30000",
        // Observations, rewards and advantages are normalised, and there are several passes.
        "--env Pendulum-v1 --envs-per-actor 4 --batch 16 --total-frames 30000",
        "--env CartPole-v1 --env-defaults=false --envs-per-actor 4 --batch 16 --total-frames 20000 \
         --kl-target 0.01 --stop-passes-at-kl 0.02",
    ] {
        same(flags, NUMBERS_OF_ACTORS);
    }
}

/// With every level that this machine has; what it lacks is refused.
#[test]
fn vectors_of_each_width_repeat_themselves_and_are_named() {
    for vectors in [Vectors::Baseline, Vectors::Avx2, Vectors::Avx512] {
        let name = vectors.to_string();
        let flags = format!("--vectors {name} --total-frames 20000 --batch 16");
        if !Level::all().iter().any(|level| level.name().starts_with(&name)) {
            let mut command = supervisor();
            command.args(flags.split_whitespace());
            assert_refused(&finish(command), &flags, 2, &["--vectors", &name]);
            continue;
        }
        same(&flags, &["", "--actors 2"]);
        let folder = tempfile::tempdir().expect("temporary folder");
        let run_dir = folder.path().join("run");
        let summary = complete(&run_dir, &flags.split_whitespace().collect::<Vec<_>>());
        let named = summary["vectors"].as_str().expect("a name");
        assert!(named.starts_with(&name), "{named} instead of {name}");
    }
}

/// Blocks that are large enough for several threads.
#[test]
fn the_number_of_threads_makes_no_difference() {
    let threads = ["--learner-threads 1", "--learner-threads 2", "--learner-threads 5"];
    for env in ["CartPole-v1", "Catch-v0", "Pendulum-v1", "Recall-v0"] {
        let sizes = "--unroll 32 --batch 128 --envs-per-actor 32 --total-frames 60000";
        same(&format!("--env {env} {sizes}"), &threads);
    }
}

#[test]
fn environments_in_python_repeat_themselves_too() {
    let Some(python) = gymnasium("gym in lockstep") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = |name: &str| {
        let run_dir = folder.path().join(name);
        let mut command = supervised(&python, &run_dir, "gym:CartPole-v1");
        let flags = "--schedule lockstep --batch 16 --total-frames 6000 --quiet --report=false";
        command.args(flags.split_whitespace());
        let finished = finish(command);
        assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
        checksum(&summary(&run_dir))
    };
    assert_eq!(run("first"), run("second"));
}

#[test]
fn what_breaks_it_is_said() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = |name: &str, flags: &str| {
        complete(&folder.path().join(name), &flags.split_whitespace().collect::<Vec<_>>())
    };
    let because = |summary: &Value, word: &str| {
        assert_eq!(summary["reproducible"], false, "{summary}");
        assert!(summary["because"].as_str().is_some_and(|text| text.contains(word)), "{summary}");
        assert!(summary["weights_sha256"].is_string(), "{summary}");
    };
    because(&run("async", "--total-frames 2000 --quiet"), "timing");
    let timed = "--schedule lockstep --total-frames 1000000000000 --time-limit 0.5 --quiet";
    because(&run("timed", timed), "time limit");
}

#[test]
fn deaths_stop_no_run_in_lockstep() {
    for (seed, lag) in [(1, 0), (2, 1), (3, 4)] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = format!(
            "--schedule lockstep --lag {lag} --actors 3 --batch 16 --seed {seed} --quiet \
             --total-frames 4000000 --chaos kill=20/s,stop=2/s,seed={seed}"
        );
        let summary = complete(folder.path(), &flags.split_whitespace().collect::<Vec<_>>());
        assert_eq!(summary["status"], "finished", "{summary}");
        assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
        assert!(number(&summary["faults"], "injected") > 0.0, "{summary}");
        assert_eq!(summary["reproducible"], false, "{summary}");
        assert!(summary["because"].as_str().is_some_and(|text| text.contains("replaced")));
    }
}

#[test]
fn what_does_not_go_together_is_refused_on_one_line() {
    for (flags, parts) in [
        ("--lag 4", ["--lag 4", "--schedule lockstep"]),
        ("--schedule async --lag 0", ["--lag 0", "--schedule lockstep"]),
        ("--schedule lockstep --lag -1", ["'-1'", "whole number"]),
        ("--schedule lockstep --lag 1025", ["--lag 1025", "from 0 to 1024"]),
        ("--schedule lockstep --actors 3 --batch 8", ["--actors 2 or fewer", "--batch 12"]),
        ("--schedule lockstep --publish-every 2", ["--publish-every 2", "leave it out"]),
        ("--schedule sometimes", ["sometimes", "async, lockstep"]),
    ] {
        let mut command = supervisor();
        command.args(flags.split_whitespace());
        assert_refused(&finish(command), flags, 2, &parts);
    }
}

/// What learns is what acted, statistics of observations and all.
#[test]
fn no_importance_ratio_of_a2c_is_further_from_1_than_rounding() {
    for env in ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "Catch-v0"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = format!(
            "--algorithm a2c --env {env} --actors 2 --batch 64 --envs-per-actor 16 --quiet \
             --total-frames 100000 --log-interval 0.05 --report=false"
        );
        let summary = complete(folder.path(), &flags.split_whitespace().collect::<Vec<_>>());
        assert_eq!(number(&summary, "policy_lag_mean"), 0.0, "{summary}");
        let metrics = fs::read_to_string(folder.path().join("metrics.jsonl")).expect("metrics");
        let mut seen = 0;
        for line in metrics.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON lines");
            let learner = &line["learner"];
            if number(learner, "updates") > 0.0 {
                seen += 1;
                for ratio in ["rho_min", "rho_max"].map(|key| number(learner, key)) {
                    assert!((ratio - 1.0).abs() < 2e-5, "{env}: {ratio}");
                }
            }
        }
        assert!(seen > 0, "no update in {metrics}");
    }
}
