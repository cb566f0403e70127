//! The real `impala-bench`, at sizes that end soon. What it measures is not judged, only that it does.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::{Finished, finish, number, sibling};
use crate::python::python_with;

fn run(flags: &str) -> Finished {
    let mut command = Command::new(sibling("impala-bench"));
    command.args(flags.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command)
}

/// Runs the program with `flags`, which it must refuse in words that hold `says`.
fn refused(flags: &str, says: &str) {
    let finished = run(flags);
    assert_eq!(finished.code(), Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains(says), "{}", finished.stderr);
}

/// Runs the program with `flags` and gives its one JSON object.
fn bench(flags: &str) -> Value {
    let finished = run(flags);
    assert_eq!(finished.code(), Some(0), "{flags}: {}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.stdout.lines().count(), 1, "one object: {}", finished.stdout);
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// Median of a figure, after a look at its spread: finite, ordered, and above zero.
fn positive(object: &Value, key: &str) -> f64 {
    let [min, median, max] = ["min", "median", "max"].map(|part| number(&object[key], part));
    assert!(min.is_finite() && max.is_finite(), "{key}: {object}");
    assert!(0.0 < min && min <= median && median <= max, "{key}: {object}");
    median
}

const SMALL: &str = "--repeats 2 --effort-ms 1 --seconds 0.7 --json";
const POOL: &str =
    "--env CartPole-v1 --engine native --actors 2 --envs-per-actor 8 --unroll 8 --batch 16";

const ACTOR: &[&str] = &["env_step", "inference", "sampling", "claim_commit", "refresh"];
const LEARNER: &[&str] =
    &["batching", "forward", "vtrace_loss", "backward", "optimizer", "publish"];

/// Checks the parts, and gives the smallest time of a frame.
fn check_parts(report: &Value) -> f64 {
    let parts = &report["us_per_frame"];
    let mut sums = [0.0; 2];
    for (sum, role, names) in [(0, "actor", ACTOR), (1, "learner", LEARNER)] {
        let object = parts[role].as_object().expect("an object");
        assert_eq!(object.len(), names.len(), "{object:?}");
        for name in names {
            positive(&parts[role], name);
            sums[sum] += number(&parts[role][name], "min");
        }
        let [min, max] = ["min", "max"].map(|part| number(&parts["total"][role], part));
        assert!(sums[sum] <= min * 1.000_001 && min <= max, "{role}: {parts}");
    }
    for whole in ["acting_loop", "learning_loop", "frame"] {
        positive(&parts["total"], whole);
    }
    let frame = number(&parts["total"]["frame"], "min");
    assert!(sums[0] + sums[1] <= frame * 1.000_001);
    frame
}

fn check_configuration(report: &Value) {
    let configuration = &report["configuration"];
    assert_eq!(configuration["env"], "CartPole-v1");
    assert_eq!(configuration["engine"], "native");
    assert_eq!((number(configuration, "actors"), number(configuration, "batch")), (2.0, 16.0));
    assert_eq!(number(configuration, "parameters"), 4_675.0);
    assert_eq!(number(report, "repeats"), 2.0);
    assert!(number(&report["machine"], "cores") >= 1.0);
}

#[test]
fn parts_add_up() {
    let report = bench(&format!("parts {SMALL} -- {POOL}"));
    assert_eq!(report["benchmark"], "parts");
    check_configuration(&report);
    check_parts(&report);
}

#[test]
fn the_limit_follows_from_the_parts() {
    let report = bench(&format!("limit {SMALL} -- {POOL}"));
    check_configuration(&report);
    let frame_us = check_parts(&report);
    let limit = &report["limit"];
    for name in ["frames_per_s", "loops_frames_per_s", "roofline_frames_per_s"] {
        positive(limit, name);
    }
    for name in
        ["peak_flops_per_s", "copy_bytes_per_s", "cached_copy_bytes_per_s", "cores_together"]
    {
        positive(limit, name);
    }
    let most = number(&report["machine"], "cores") * 1e6 / frame_us;
    assert!(number(&limit["frames_per_s"], "max") <= most * 1.000_001, "{limit}");
    // 4-64-64-(2 + 1): multiply-adds count twice.
    assert_eq!(number(&limit["frame"], "act_flops"), 2.0 * (256.0 + 4096.0 + 192.0));
    assert_eq!(number(&limit["frame"], "observation_bytes"), 16.0);
    assert_eq!(number(&limit["frame"], "observation_writes"), 9.0 / 8.0);
}

#[test]
fn the_pool_is_measured_beside_its_limit() {
    let report = bench(&format!("pool {SMALL} -- {POOL}"));
    check_configuration(&report);
    check_parts(&report);
    let pool = &report["pool"];
    for name in [
        "frames_per_s",
        "wall_frames_per_s",
        "efficiency",
        "cpu_efficiency",
        "loops_efficiency",
        "roofline_fraction",
        "ring_bytes_per_s",
    ] {
        positive(pool, name);
    }
    // Two counters are not read at one moment, so it may seem a block more.
    let share = positive(pool, "learned_share");
    assert!(0.5 < share && share < 1.2, "{pool}");
    assert!(number(&pool["policy_lag"], "min") >= 0.0);
    let [fastest, slowest] =
        ["max", "min"].map(|part| number(&report["limit"]["frames_per_s"], part));
    let [most, least] = ["max", "min"].map(|part| number(&pool["frames_per_s"], part));
    let efficiency = positive(pool, "efficiency");
    assert!(least / fastest <= efficiency && efficiency <= most / slowest, "{pool}");
    // Shares of the learner's time are a whole.
    let shares = pool["learner_share"].as_object().expect("an object");
    assert_eq!(shares.len(), LEARNER.len() + 2);
    assert!(shares.values().all(|share| number(share, "max") <= 1.5), "{shares:?}");
}

#[test]
fn every_transport_moves_the_same_load() {
    let report = bench("transport --repeats 1 --seconds 0.3 --json --actors 2 --load cartpole");
    let loads = report["loads"].as_array().expect("a list");
    let [load] = &loads[..] else {
        panic!("one load: {report}");
    };
    assert_eq!(load["name"], "cartpole");
    // Four groups of 64 environments make a batch of 256.
    let batch_bytes = number(load, "batch_bytes");
    assert_eq!(batch_bytes, 4.0 * number(load, "unroll_bytes"));
    for transport in ["ring", "ipc_channel", "socket_pair", "memcpy"] {
        let figures = &load[transport];
        for name in ["batching_ns", "writer_bytes_per_cpu_s", "reader_bytes_per_cpu_s"] {
            positive(figures, name);
        }
        let bytes = positive(figures, "blocks_per_s") * batch_bytes;
        assert!((bytes / positive(figures, "bytes_per_s") - 1.0).abs() < 1e-6, "{figures}");
    }
    positive(load, "write_fraction");
}

#[test]
fn scaling_measures_each_number_of_actors() {
    let report =
        bench("scaling --repeats 1 --effort-ms 1 --seconds 0.5 --json --actors 1,3 -- --batch 16");
    let rows = report["scaling"].as_array().expect("a list");
    let actors: Vec<f64> = rows.iter().map(|row| number(&row["configuration"], "actors")).collect();
    assert_eq!(actors, [1.0, 3.0]);
    for row in rows {
        positive(&row["pool"], "frames_per_s");
    }
}

#[test]
fn a_wrong_flag_is_refused() {
    refused("parts -- --actor 4", "--actors");
}

#[test]
fn environments_are_measured_alone() {
    let report = bench(&format!("env {SMALL} -- {POOL}"));
    positive(&report["environments"], "pooled_steps_per_s");
    assert!(report["environments"]["ratio"].is_null(), "{report}");
}

#[test]
fn environments_in_python_take_turns_with_a_bare_loop() {
    let test = "environments_in_python_take_turns_with_a_bare_loop";
    let Some(python) = python_with(test, "gymnasium") else { return };
    let python = python.display();
    let flags = "--env gym:CartPole-v1 --actors 2 --envs-per-actor 4 --python";
    let report = bench(&format!("env {SMALL} -- {flags} {python}"));
    let report = &report["environments"];
    let [pooled, bare] = ["pooled_steps_per_s", "bare_steps_per_s"];
    for key in [pooled, bare, "ratio", "asked_steps_per_s", "asked_ratio"] {
        positive(report, key);
    }
    let highest = number(&report[pooled], "max") / number(&report[bare], "min");
    assert!(number(&report["ratio"], "max") <= highest * 1.000_001, "{report}");

    let flags = "env --repeats 1 -- --env gym:NoSuchThing-v0 --python";
    refused(&format!("{flags} {python}"), "NoSuchThing");
}
