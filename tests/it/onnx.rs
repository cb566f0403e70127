//! A policy outside of the pool: `play::Policy` acts as the pool does, and its ONNX model computes the same in onnxruntime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use impala_rl::build;
use impala_rl::config::{Config, file};
use impala_rl::env::{Actions, Dtype, Registry};
use impala_rl::learner::checkpoint::CheckpointError;
use impala_rl::play::{Choice, PlayError, Policy, Seen};
use impala_rl::policy::frames::StackedFrames;
use impala_rl::rng::Rng;
use serde_json::Value;

use crate::pool::complete;
use crate::program::{Finished, assert_refused, example, finish};
use crate::python::{python_with, run_python};

/// Observations that are compared.
pub(crate) const ROWS: usize = 64;

/// Feeds a model a file of raw observations, and those of its other inputs; prints all outputs as JSON.
const RUN: &str = "
import json, sys
import numpy as np, onnxruntime
onnxruntime.set_default_logger_severity(3)
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
kinds = {'tensor(float)': np.float32, 'tensor(uint8)': np.uint8, 'tensor(bool)': np.bool_}
feed = {}
for given, path in zip(session.get_inputs(), sys.argv[2:]):
    raw = np.frombuffer(open(path, 'rb').read(), kinds[given.type])
    feed[given.name] = raw.reshape([-1, *given.shape[1:]])
names = [o.name for o in session.get_outputs()]
found = dict(zip(names, session.run(None, feed)))
# One observation alone, too: the axis over observations is free.
alone = session.run(None, {name: array[:1] for name, array in feed.items()})
for name, one in zip(names, alone):
    assert np.allclose(one, found[name][:1], atol=1e-5), name
print(json.dumps({name: array.reshape(-1).tolist() for name, array in found.items()}))
";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Observations as environments might give them, raw.
fn observations(policy: &Policy) -> Vec<u8> {
    let observation = &policy.spec().observation;
    let mut rng = Rng::new(5, 0);
    let count = ROWS * observation.stacked_len();
    match observation.dtype {
        Dtype::U8 => (0..count).map(|_| rng.next_u64().to_le_bytes()[0]).collect(),
        Dtype::F32 => (0..count).flat_map(|_| (rng.unit_f32() * 4.0 - 2.0).to_le_bytes()).collect(),
    }
}

/// Masks that allow about half, and always the first of each choice.
fn masks(policy: &Policy) -> Vec<u8> {
    if !policy.spec().masks {
        return Vec::new();
    }
    let mut rng = Rng::new(6, 0);
    let row = |_| {
        let sizes = policy.spec().action.sizes().iter();
        sizes
            .flat_map(|&size| 0..size)
            .map(|at| u8::from(at == 0 || rng.unit_f32() < 0.5))
            .collect::<Vec<_>>()
    };
    (0..ROWS).flat_map(row).collect()
}

fn numbers(found: &Value, name: &str) -> Vec<f64> {
    let list = found[name].as_array().unwrap_or_else(|| panic!("no {name} in {found}"));
    list.iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn assert_close(what: &str, ours: &[f32], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let apart = ours.iter().zip(theirs).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
    assert!(apart <= 1e-5, "{what} differ by {apart}");
    assert!(ours.iter().any(|x| x.abs() > 1e-3), "{what} are not all about zero");
}

/// The policy in `run_dir`, through Rust and through onnxruntime.
fn same_everywhere(test: &str, run_dir: &Path) {
    let mut policy = Policy::load(run_dir, 3).expect("a policy");
    let (observations, masks) = (observations(&policy), masks(&policy));
    // Aligned as f32, whatever they are.
    let aligned: Vec<u32> = observations
        .chunks(4)
        .map(|word| {
            let mut bytes = [0; 4];
            bytes[..word.len()].copy_from_slice(word);
            u32::from_ne_bytes(bytes)
        })
        .collect();
    let observed = &bytemuck::cast_slice::<u32, u8>(&aligned)[..observations.len()];
    let mut rng = Rng::new(7, 0);
    let rewards: Vec<f32> = (0..ROWS).map(|_| rng.unit_f32() * 4.0 - 2.0).collect();
    // What is remembered of some steps of as many episodes, the first of which begins again.
    let mut state = vec![0.0; ROWS * policy.state_len()];
    for _ in 0..3 {
        let seen = Seen { observations: observed, masks: &masks, state: &state, ..Seen::default() };
        state = policy.act(&seen, Choice::Sampled).expect("acts").1.to_vec();
    }
    let own = policy.state_len();
    state[..own].fill(0.0);
    let seen = Seen {
        observations: observed,
        masks: &masks,
        state: &state,
        rewards: &rewards,
        ..Seen::default()
    };
    let logits = policy.logits(&seen).expect("runs").to_vec();
    let values = policy.values(&seen).expect("runs").to_vec();
    let (choices, words) = (policy.spec().action.sizes().len(), policy.spec().action.words());
    let (actions, next) = policy.act(&seen, Choice::Greedy).expect("acts");
    let both: Vec<i32> = match actions {
        Actions::Discrete(words) | Actions::Hybrid(words) => words.to_vec(),
        Actions::Continuous(numbers) => bytemuck::cast_slice(numbers).to_vec(),
    };
    let next = next.to_vec();

    let Some(python) = python_with(test, "onnxruntime") else { return };
    drop(python);
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let model = file("policy.onnx", &impala_export::onnx(&policy));
    let mut files = vec![model, file("observations", &observations)];
    if own > 0 {
        files.push(file("state", bytemuck::cast_slice(&state)));
    }
    if policy.network().action_reward_inputs {
        files.push(file("reward", bytemuck::cast_slice(&rewards)));
    }
    if !masks.is_empty() {
        files.push(file("masks", &masks));
    }
    let arguments: Vec<&str> = files.iter().map(|path| text(path)).collect();
    let printed = run_python(test, RUN, &arguments).expect("it is there");
    let found: Value = serde_json::from_str(&printed).expect("JSON");
    assert_close("logits", &logits, &numbers(&found, "logits"));
    assert_close("values", &values, &numbers(&found, "value"));
    if own > 0 {
        assert_close("states", &next, &numbers(&found, "next_state"));
    }
    let (counted, within) = if found["action"].is_null() {
        (numbers(&found, "choices"), numbers(&found, "numbers"))
    } else if choices > 0 {
        (numbers(&found, "action"), Vec::new())
    } else {
        (Vec::new(), numbers(&found, "action"))
    };
    let rows = both.chunks_exact(words);
    let ours: Vec<f64> =
        rows.clone().flat_map(|row| row[..choices].iter().map(|&c| f64::from(c))).collect();
    assert_eq!(ours, counted, "the most likely choices");
    let ours: Vec<f32> = rows
        .flat_map(|row| row[choices..].iter().map(|&x| f32::from_bits(x.cast_unsigned())))
        .collect();
    if !ours.is_empty() {
        assert_close("numbers", &ours, &within);
    }
}

pub(crate) fn trained(test: &str, flags: &[&str]) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let usual = ["--actors", "2", "--report=false", "--tensorboard=false"];
    complete(folder.path(), &[&usual, flags].concat());
    same_everywhere(test, folder.path());
}

pub(crate) fn trained_by_example(test: &str, name: &str, flags: &[&str]) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = example(name);
    command.args(["--actors", "2", "--total-frames", "20000", "--report=false"]).args(flags);
    let finished = finish({
        command.arg("--run-dir").arg(folder.path());
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    same_everywhere(test, folder.path());
}

#[test]
fn a_policy_of_choices_is_the_same_everywhere() {
    trained("a_policy_of_choices_is_the_same_everywhere", &["--total-frames", "20000"]);
}

#[test]
fn a_stack_of_frames_is_the_same_everywhere() {
    let flags =
        ["--frame-stack", "3", "--activation", "relu", "--hidden", "32", "--total-frames", "20000"];
    trained("a_stack_of_frames_is_the_same_everywhere", &flags);
}

#[test]
fn a_policy_of_numbers_is_the_same_everywhere() {
    for bounds in ["clip", "squash"] {
        let flags = ["--env", "Pendulum-v1", "--total-frames", "60000", "--action-bounds", bounds];
        trained("a_policy_of_numbers_is_the_same_everywhere", &flags);
    }
}

#[test]
fn a_policy_of_images_is_the_same_everywhere() {
    let test = "a_policy_of_images_is_the_same_everywhere";
    trained(test, &["--env", "Catch-v0", "--total-frames", "20000"]);
    let flags = ["--env", "Catch-v0", "--torso", "impala-deep", "--total-frames", "2000"];
    trained(test, &flags);
    let flags =
        ["--env", "Synthetic-v0", "--torso", "nature", "--total-frames", "600", "--batch", "4"];
    trained(test, &flags);
}

#[test]
fn a_policy_of_choices_and_numbers_is_the_same_everywhere() {
    let flags = ["--env", "Putt-v0", "--discount", "0"];
    trained_by_example(
        "a_policy_of_choices_and_numbers_is_the_same_everywhere",
        "hybrid_env",
        &flags,
    );
}

#[test]
fn a_policy_with_masks_is_the_same_everywhere() {
    let flags = ["--env", "Lock-v0", "--discount", "0"];
    trained_by_example("a_policy_with_masks_is_the_same_everywhere", "masked_env", &flags);
}

#[test]
fn logits_are_those_of_training_to_the_bit() {
    let folder = tempfile::tempdir().expect("temporary folder");
    complete(folder.path(), &["--actors", "2", "--total-frames", "20000", "--report=false"]);
    let settings = file::read(&folder.path().join("config.toml")).expect("a configuration");
    let config = Config::resolve(&settings, &Registry::builtin()).expect("valid");
    let (network, parameters) = build::network(&config).expect("a network");
    let mut policy = Policy::load(folder.path(), 0).expect("a policy");
    let mut actor = build::policy(config.pool.engine, &network, &parameters, ROWS).expect("native");
    actor.load(policy.weights());
    let bytes = observations(&policy);
    let words = bytes.as_chunks::<4>().0.iter();
    let observations: Vec<f32> = words.map(|word| f32::from_le_bytes(*word)).collect();
    let row: &[u8] = bytemuck::cast_slice(&observations);
    let mut logits = vec![0.0; ROWS * network.logits()];
    let (rows, valid) = ([row], [1; ROWS]);
    let frames = StackedFrames::of_step(&network.observation, &rows, &valid);
    actor.logits(&frames.into(), &mut logits).expect("runs");
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(policy.logits(&row.into()).expect("runs")), bits(&logits));
    // One alone is what it is among others.
    let one = policy.logits(&Seen::from(&row[..16])).expect("runs");
    assert_eq!(bits(one), bits(&logits[..2]));
}

#[test]
fn what_cannot_act_here_is_one_line() {
    let folder = tempfile::tempdir().expect("temporary folder");
    complete(folder.path(), &["--actors", "1", "--total-frames", "2000", "--report=false"]);
    let mut policy = Policy::load(folder.path(), 0).expect("a policy");
    let mut refused = |seen: &Seen<'_>, part: &str| {
        let wrong = policy.act(seen, Choice::Greedy).expect_err(part).to_string();
        assert!(wrong.contains(part) && wrong.contains("CartPole-v1 takes"), "{wrong}");
    };
    let one = Seen::from(&[0; 16][..]);
    refused(&Seen::from(&[0; 20][..]), "5 numbers");
    refused(&Seen { masks: &[1; 3], ..one }, "a mask: 3 numbers");
    refused(&Seen { state: &[0.0; 3], ..one }, "a state: 3 numbers");
    refused(&Seen { rewards: &[0.0; 2], ..one }, "rewards: 2 numbers");
    refused(&Seen { starts: &[0; 2], ..one }, "starts: 2 numbers");
    let config = folder.path().join("config.toml");
    let settings = fs::read_to_string(&config).expect("there");
    fs::write(&config, settings.replace("core = \"none\"", "core = \"lstm\"")).expect("written");
    let other = Policy::load(folder.path(), 0).expect_err("weights of another network");
    let is_other = matches!(other, PlayError::Checkpoint(CheckpointError::OtherNetwork { .. }));
    assert!(is_other && !other.to_string().contains('\n'), "{other}");
    fs::write(&config, settings).expect("written");
    fs::remove_file(folder.path().join("environment.json")).expect("there");
    let old = Policy::load(folder.path(), 0).expect_err("a run of before").to_string();
    assert!(old.contains("environment.json") && !old.contains('\n'), "{old}");
}

fn export(arguments: &[&str]) -> Finished {
    let beside = Path::new(env!("CARGO_BIN_EXE_impala-play")).with_file_name("impala-export");
    let mut command = Command::new(beside);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command)
}

#[test]
fn the_program_writes_files_and_a_card() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    complete(&run_dir, &["--actors", "2", "--total-frames", "30000", "--report=false"]);
    let (model, weights) =
        (folder.path().join("cart.onnx"), folder.path().join("w/cart.safetensors"));
    fs::create_dir(folder.path().join("w")).expect("made");
    let finished =
        export(&[text(&run_dir), "--onnx", text(&model), "--safetensors", text(&weights)]);
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let policy = Policy::load(&run_dir, 0).expect("a policy");
    assert_eq!(fs::read(&model).expect("written"), impala_export::onnx(&policy));
    let bytes = fs::read(&weights).expect("written");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    assert_eq!(tensors.len(), policy.parameters().entries().len());
    for entry in policy.parameters().entries() {
        let tensor = tensors.tensor(&entry.name).expect("there");
        assert_eq!(tensor.shape(), entry.shape);
        assert_eq!(
            tensor.data(),
            bytemuck::cast_slice::<f32, u8>(&policy.weights()[entry.range()])
        );
    }
    for card in [model.with_extension("md"), weights.with_extension("md")] {
        let card = fs::read_to_string(card).expect("a card");
        for part in [
            "library_name: impala-rl",
            "type: mean_reward",
            "| environment | `CartPole-v1` |",
            "## Learning curve",
            "cart.onnx",
            "learning-rate = ",
        ] {
            assert!(card.contains(part), "{part} is missing in {card}");
        }
        assert!(!card.contains(text(folder.path())), "a place of this machine: {card}");
    }
    assert_refused(&export(&[text(&run_dir)]), "nothing", 2, &["--onnx"]);
    let nowhere = folder.path().join("none/x.onnx");
    assert_refused(
        &export(&[text(&run_dir), "--onnx", text(&nowhere)]),
        "nowhere",
        3,
        &["cannot write"],
    );
    assert_refused(
        &export(&[text(folder.path()), "--onnx", "x"]),
        "no run",
        3,
        &["neither a run folder"],
    );
}
