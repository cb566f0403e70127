//! A checkpoint, read in Python: `examples/load_checkpoint.py` must compute the same logits.

use std::fs;
use std::path::Path;

use impala_rl::build;
use impala_rl::config::{Config, Engine, file};
use impala_rl::env::Registry;
use impala_rl::learner::checkpoint::{Checkpoint, list};
use impala_rl::policy::frames::StackedFrames;
use impala_rl::rng::Rng;
use serde_json::Value;

use crate::pool::complete;
use crate::python::run_python;

const EXAMPLE: &str = include_str!("../../examples/load_checkpoint.py");
/// Observations that are compared.
const ROWS: usize = 64;

/// Trains with `flags`, and compares the logits of random observations.
fn same_logits(test: &str, flags: &[&str], is_bytes: bool, shape: &[usize]) {
    let folder = tempfile::tempdir().expect("temporary folder");
    complete(folder.path(), &[flags, &["--report=false"]].concat());
    let registry = Registry::builtin();
    let settings = file::read(&folder.path().join("config.toml")).expect("a configuration");
    let config = Config::resolve(&settings, &registry).expect("valid");
    let (network, parameters) = build::network(&config).expect("a network");
    let newest = list(&folder.path().join("checkpoints")).expect("listed").pop().expect("one");
    let checkpoint = Checkpoint::load(&newest, &parameters).expect("whole");
    let mut policy =
        build::policy(config.pool.engine, &network, &parameters, ROWS).expect("an engine");
    policy.load(&checkpoint.parameters);

    let mut rng = Rng::new(5, 0);
    let len: usize = shape.iter().product();
    let bytes: Vec<u8> = (0..ROWS * len).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
    let numbers: Vec<f32> = bytes
        .iter()
        .map(|&byte| if is_bytes { f32::from(byte) / 255.0 } else { f32::from(byte) / 40.0 - 3.0 })
        .collect();
    let row: &[u8] = if is_bytes { &bytes } else { bytemuck::cast_slice(&numbers) };
    let mut logits = vec![0.0; ROWS * network.logits()];
    let (rows, valid) = ([row], [1; ROWS]);
    let frames = StackedFrames::of_step(&network.observation, &rows, &valid);
    policy.logits(&frames.into(), &mut logits).expect("runs");

    let observations = folder.path().join("observations.json");
    fs::write(&observations, nested(&numbers, shape).to_string()).expect("written");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let arguments = [text(folder.path()), "--observations".to_owned(), text(&observations)];
    let arguments = arguments.each_ref().map(String::as_str);
    let Some(printed) = run_python(test, EXAMPLE, &arguments) else { return };
    let found: Value = serde_json::from_str(&printed).expect("JSON");
    let theirs = found["logits"].as_array().expect("rows").iter().flat_map(|row| {
        row.as_array().expect("a row").iter().map(|logit| logit.as_f64().expect("a number"))
    });
    let theirs: Vec<f64> = theirs.collect();
    assert_eq!(theirs.len(), logits.len());
    let mut largest = 0.0_f64;
    for (ours, theirs) in logits.iter().zip(&theirs) {
        largest = largest.max((f64::from(*ours) - theirs).abs());
    }
    assert!(largest <= 1e-5, "logits differ by {largest}");
    assert!(logits.iter().any(|logit| logit.abs() > 0.01), "not all logits are about zero");
    assert_eq!(config.pool.engine, Engine::Native);
}

/// `[ROWS][shape...]` as nested lists.
fn nested(numbers: &[f32], shape: &[usize]) -> Value {
    fn level(numbers: &[f32], shape: &[usize]) -> Value {
        match shape {
            [] => Value::from(f64::from(numbers[0])),
            [first, rest @ ..] => {
                numbers.chunks(numbers.len() / first).map(|n| level(n, rest)).collect()
            }
        }
    }
    numbers.chunks(shape.iter().product()).map(|row| level(row, shape)).collect()
}

#[test]
fn an_mlp_computes_the_same_in_python() {
    let flags = ["--actors", "2", "--total-frames", "20000"];
    same_logits("an_mlp_computes_the_same_in_python", &flags, false, &[4]);
}

#[test]
fn means_and_deviations_are_the_same_in_python() {
    let flags = ["--env", "Pendulum-v1", "--actors", "2", "--total-frames", "200000"];
    same_logits("means_and_deviations_are_the_same_in_python", &flags, false, &[3]);
}

#[test]
fn a_cnn_computes_the_same_in_python() {
    let flags = ["--env", "Catch-v0", "--actors", "2", "--total-frames", "20000"];
    same_logits("a_cnn_computes_the_same_in_python", &flags, true, &[1, 10, 5]);
}
