//! `impala-play` with the weights of a real run.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::pool::complete;
use crate::program::{Finished, finish, number};

fn play(arguments: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impala-play"));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command)
}

/// Plays, which must go well, and gives what it found.
pub(crate) fn evaluation(arguments: &[&str]) -> Value {
    let finished = play(&[arguments, &["--json"]].concat());
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("one JSON object")
}

#[test]
fn trained_weights_play_better_than_fresh_ones() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let train = |name: &str, rate: &str, frames: &str| {
        let run_dir = folder.path().join(name);
        complete(&run_dir, &["--total-frames", frames, "--learning-rate", rate, "--report=false"]);
        run_dir.to_str().expect("UTF-8").to_owned()
    };
    let (trained, fresh) = (train("trained", "0.002", "40000"), train("fresh", "1e-12", "1000"));
    let (good, bad) = (evaluation(&[&trained, "-n", "40"]), evaluation(&[&fresh, "-n", "40"]));
    assert!(number(&good, "return_mean") > 2.0 * number(&bad, "return_mean"), "{good} {bad}");
    for found in [&good, &bad] {
        let returns: Vec<f64> =
            found["returns"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
        assert_eq!(returns.len(), 40);
        let mean = returns.iter().sum::<f64>() / 40.0;
        assert!((mean - number(found, "return_mean")).abs() < 1e-9);
        let least = returns.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(least, number(found, "return_min"));
        assert!(number(found, "return_std") > 0.0 && number(found, "length_mean") >= mean - 1e-9);
    }

    let (least, most) = (number(&good, "return_min"), number(&good, "return_max"));
    let quartiles = ["return_q25", "return_median", "return_q75"].map(|key| number(&good, key));
    assert!([&[least][..], &quartiles, &[most]].concat().is_sorted(), "{good}");
    assert_eq!(number(&good, "seed"), 0.0);

    // The same object in a file, which is there when it is whole.
    let file = folder.path().join("evaluation.json");
    let place = file.to_str().expect("UTF-8");
    let finished = play(&[&trained, "-n", "40", "--output", place]);
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let written: Value = serde_json::from_slice(&fs::read(&file).expect("written")).expect("JSON");
    assert_eq!(written, good);
    assert!(finished.stdout.contains("median"), "{}", finished.stdout);
    for bad in [folder.path().to_str().expect("UTF-8"), "/nowhere/evaluation.json"] {
        let finished = play(&[&trained, "--output", bad]);
        assert_eq!(finished.code(), Some(3), "{}", finished.stderr);
        assert!(finished.stderr.contains(bad) && finished.stderr.lines().count() == 1);
        assert!(finished.stdout.is_empty(), "nothing was played: {}", finished.stdout);
    }

    // The seed decides everything; greedy actions are others; a checkpoint is as good as its run.
    assert_eq!(evaluation(&[&trained, "-n", "40"]), good);
    assert_ne!(evaluation(&[&trained, "-n", "40", "--seed", "7"])["returns"], good["returns"]);
    let greedy = evaluation(&[&trained, "-n", "40", "--greedy"]);
    assert_ne!(greedy["returns"], good["returns"]);
    let checkpoint = good["checkpoint"].as_str().expect("a path");
    assert_eq!(evaluation(&[checkpoint, "-n", "40"])["returns"], good["returns"]);

    let gif = folder.path().join("play.gif");
    let shown = play(&[
        &trained,
        "-n",
        "1",
        "--render",
        "--fps",
        "0",
        "--gif",
        gif.to_str().expect("UTF-8"),
    ]);
    assert_eq!(shown.code(), Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains('\u{2580}') && shown.stdout.contains("1 episodes"));
    let mut images =
        gif::DecodeOptions::new().read_info(File::open(&gif).expect("there")).expect("GIF");
    let mut seen = Vec::new();
    while let Some(frame) = images.read_next_frame().expect("whole") {
        seen.push(frame.buffer.to_vec());
    }
    assert!(seen.len() > 5 && seen.windows(2).any(|pair| pair[0] != pair[1]), "it moves");
}

#[test]
fn what_cannot_be_played_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().to_str().expect("UTF-8");
    let refused = |code, part: &str| {
        let finished = play(&[path]);
        assert_eq!(finished.code(), Some(code), "{}", finished.stderr);
        assert!(finished.stderr.contains(part), "{part} in {}", finished.stderr);
    };
    refused(3, "neither a run folder");
    fs::write(Path::new(path).join("config.toml"), "env = \"CartPole-v1\"\n").expect("written");
    refused(8, "no usable checkpoint");
    fs::write(Path::new(path).join("config.toml"), "env = \"Cartpole\"\n").expect("written");
    refused(2, "Cartpole");
}
