//! Environments of EnvPool. Its wheels are too large for `make test-python`: whoever wants these tests installs envpool
//! into a Python and names that in `IMPALA_TEST_PYTHON`; else they say that they are skipped.

use std::path::{Path, PathBuf};

use impala_rl::env::{ActionSpec, Actions, Dtype, flag};

use super::{Arrays, make, options, supervised};
use crate::program::{finish, number, summary};
use crate::python::{python_with, run_python};

fn envpool(test: &str) -> Option<PathBuf> {
    python_with(test, "envpool")
}

/// The same environments in a plain loop of EnvPool's own: lines of `[observation.., reward, terminated, truncated,
/// steps of the episode]` for each environment of each step.
const LOOP: &str = r#"
import sys, json, numpy as np, envpool
sys.path.insert(0, sys.argv[1])
from impala_env.batch import seed_of
task, steps, limit = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
env = envpool.make_gymnasium(task, num_envs=3, num_threads=2, seed=[seed_of(7, i) for i in range(3)], max_episode_steps=limit)
observation, _ = env.reset()
rows = [[[*map(float, seen), 0, 0, 0, 0] for seen in observation]]
for step in range(steps):
    action = np.array([step % 2, step // 3 % 2, step // 5 % 2])
    seen, reward, ended, cut, info = env.step(action)
    rows.append([
        [*map(float, seen[i]), float(reward[i]), int(ended[i]), int(cut[i]), int(info["elapsed_step"][i])] for i in range(3)
    ])
print(json.dumps(rows))
"#;

/// Steps one of EnvPool's beside the loop, and gives how many episodes terminated and how many were cut off.
fn beside_a_plain_loop(test: &str, limit: i32) -> Option<(usize, usize)> {
    const STEPS: i32 = 400;
    let python = envpool(test)?;
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/src");
    let (steps, limit) = (STEPS.to_string(), limit.to_string());
    let package = package.to_str().expect("UTF-8");
    let printed = run_python(test, LOOP, &[package, "CartPole-v1", &steps, &limit])?;
    let rows: Vec<Vec<Vec<f64>>> = serde_json::from_str(&printed).expect("JSON");

    let options = options(&python, &[&format!("max_episode_steps={limit}")]);
    let mut env = make("envpool:CartPole-v1", &options, 3).expect("made");
    assert_eq!(env.spec().action, ActionSpec::Discrete { n: 2 });
    let mut seen = Arrays::of(env.as_ref());
    seen.reset(env.as_mut()).expect("reset");
    let (mut ended, mut cut) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        if let Ok(step) = i32::try_from(at).map(|at| at - 1)
            && step >= 0
        {
            let actions = [step % 2, step / 3 % 2, step / 5 % 2];
            seen.step(env.as_mut(), Actions::Discrete(&actions)).expect("stepped");
        }
        for (index, told) in row.iter().enumerate() {
            let frame = seen.numbers()[4 * index..4 * index + 4].iter().map(|&x| f64::from(x));
            assert!(frame.eq(told[..4].iter().copied()), "{at}, {index}: {told:?}");
            if at == 0 {
                continue;
            }
            // The step that EnvPool calls the 0th of an episode is no transition: nothing is learnt from it.
            let expected = match (told[5] != 0.0, told[6] != 0.0, told[7] == 0.0) {
                (_, _, true) => flag::FIRST,
                (true, ..) => flag::TERMINATED,
                (_, true, _) => flag::TRUNCATED,
                _ => 0,
            };
            assert_eq!(seen.flags[index], expected, "{at}, {index}: {told:?}");
            assert_eq!(f64::from(seen.rewards[index]), told[4], "{at}, {index}");
            ended += usize::from(expected == flag::TERMINATED);
            cut += usize::from(expected == flag::TRUNCATED);
        }
    }
    Some((ended, cut))
}

#[test]
fn episodes_are_those_of_a_plain_loop() {
    if let Some((ended, cut)) = beside_a_plain_loop("envpool episodes", 500) {
        assert!(ended > 10 && cut == 0, "{ended} {cut}");
    }
}

#[test]
fn what_is_cut_off_is_no_end() {
    if let Some((ended, cut)) = beside_a_plain_loop("envpool limits", 15) {
        assert!(ended > 0 && cut > 10, "{ended} {cut}");
    }
}

#[test]
fn what_cannot_be_had_is_one_line_and_code_2() {
    // The Python of other tests has no envpool, or it is the one with it.
    let Some(python) = python_with("envpool refusals", "gymnasium") else {
        return;
    };
    let there = envpool("envpool refusals").is_some();
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("Cartpoole-v1", &[], &["has no Cartpoole-v1", "type --env envpool:CartPole-v1"]),
        ("CartPole-v77", &[], &["has no CartPole-v77", "type --env envpool:CartPole-v1"]),
        ("TicTacToe-v1", &[], &["is for 2 players"]),
        ("CartPole-v1", &["--env-arg", "lives=3"], &["no such option", "max_episode_steps"]),
        ("CartPole-v1", &["--env-arg", "seed=3"], &["it follows from --seed"]),
        ("CartPole-v1", &["--env-arg", "num_threads=two"], &["'two' is a str"]),
        ("CartPole-v1", &["--env-wrapper", "impala_test_envs:doubled"], &["takes no wrapper"]),
    ];
    for (name, flags, parts) in cases {
        let folder = tempfile::tempdir().expect("temporary folder");
        let run_dir = folder.path().join("run");
        let mut command = supervised(&python, &run_dir, &format!("envpool:{name}"));
        command.args(*flags);
        let finished = finish(command);
        assert_eq!(finished.code(), Some(2), "{name}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{name}: {}", finished.stderr);
        let absent = ["has no usable package envpool", "-m pip install envpool"];
        for part in if there { *parts } else { &absent[..] } {
            assert!(finished.stderr.contains(part), "{name}: no {part}: {}", finished.stderr);
        }
        assert!(!run_dir.exists(), "{name}: before anything is made");
    }
}

#[test]
fn images_are_single_frames_and_game_names_are_those_of_gymnasium() {
    let Some(python) = envpool("envpool images") else {
        return;
    };
    let env = make("envpool:Pong-v5", &options(&python, &[]), 1).expect("made");
    let spec = env.spec();
    assert_eq!((spec.observation.dtype, &spec.observation.shape[..]), (Dtype::U8, &[84, 84][..]));
    let mut tried = options(&python, &[]);
    tried.external.trial = true;
    let env = make("envpool:Pong", &tried, 1).expect("made");
    assert_eq!(env.spec().id, "envpool:ALE/Pong-v5");
    let numbers = make("envpool:HalfCheetah-v4", &options(&python, &[]), 2).expect("made");
    assert_eq!(numbers.spec().observation.dtype, Dtype::F32);
    assert!(matches!(numbers.spec().action, ActionSpec::Continuous { .. }));
}

#[test]
fn it_is_learnt() {
    let Some(python) = envpool("envpool learnt") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = supervised(&python, folder.path(), "envpool:CartPole");
    command.args(["--total-frames", "400000", "--stop-at-return", "195"]);
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    assert!(finished.stdout.contains("envpool:CartPole is CartPole-v1"), "{}", finished.stdout);
    let summary = summary(folder.path());
    assert_eq!(summary["status"], "solved", "{summary}");
    assert_eq!(number(&summary, "env_errors") + number(&summary, "actor_restarts"), 0.0);
}
