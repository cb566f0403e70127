//! Environments that are broken, or nearly: found before the pool starts, and told in one line.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Arrays, gymnasium, make, options, supervised};
use crate::program::{Finished, finish, number, summary};
use impala_rl::env::Actions;

const BROKEN: &str = "gym:impala_broken_envs:Broken-v0";

fn run(python: &Path, run_dir: &Path, kind: &str, flags: &[&str]) -> Command {
    let mut command = supervised(python, run_dir, BROKEN);
    command.args(["--env-arg", &format!("kind={kind}"), "--total-frames", "1500"]);
    command.arg("--quiet").args(flags);
    command
}

fn tried(python: &Path, kind: &str, flags: &[&str]) -> (Finished, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    (finish(run(python, &run_dir, kind, flags)), run_dir, folder)
}

#[test]
fn what_is_broken_is_one_line_and_code_2_before_the_pool_starts() {
    let Some(python) = gymnasium("gym broken") else {
        return;
    };
    let old = "--env-wrapper impala_env.compat:old_gym";
    let cases: &[(&str, &[&str])] = &[
        ("old-step", &["step gave 4 values", old]),
        ("old-both", &["reset does not take", old]),
        ("no-step", &["step gave None", "return these five"]),
        ("reset-alone", &["reset gave array(", "(observation, info)", old]),
        ("reset-takes-nothing", &["reset does not take", "seed"]),
        ("bad-info", &["an info that is None"]),
        ("reward-none", &["a reward that is None"]),
        ("reward-nan", &["a reward that is not finite"]),
        ("reward-two", &["a reward that is array([0., 0.])"]),
        ("reward-text", &["a reward that is '1.0'"]),
        ("ended-none", &["a terminated that is None"]),
        ("ended-text", &["a terminated that is 'no'"]),
        ("ended-two", &["a terminated that is array("]),
        ("seen-none", &["observation has shape []", "it is None"]),
        ("seen-shape", &["observation has shape [3]", "says [4]"]),
        ("seen-text", &["observation has shape []"]),
        ("seen-nan", &["an observation that is not finite"]),
        ("seen-late", &["observation has shape [5]", "at step 6"]),
        ("no-space", &["no action_space"]),
        ("odd-space", &["observation_space is not a space"]),
        ("raises-at-start", &["RuntimeError: no licence at all", "impala_broken_envs.py:"]),
        ("raises-in-step", &["ValueError: out of cheese", "impala_broken_envs.py:"]),
        ("raises-in-second-reset", &["KeyError: 'door'", "in reset at step 6"]),
        ("leaves", &["SystemExit: 3"]),
        ("needs-size", &["--env-arg size=VALUE"]),
        ("mask-length", &["action_mask has shape [3]", "2 actions"]),
        ("mask-of-nothing", &["allows nothing in reset"]),
        (
            "pair",
            &["['name'] is a Text space", "--observation-keys image,direction", "--env-wrapper"],
        ),
    ];
    for (kind, parts) in cases {
        let (finished, run_dir, _folder) = tried(&python, kind, &[]);
        assert_eq!(finished.code(), Some(2), "{kind}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{kind}: {}", finished.stderr);
        for part in *parts {
            assert!(finished.stderr.contains(part), "{kind}: no {part}: {}", finished.stderr);
        }
        assert!(!run_dir.exists(), "{kind}: before anything is made");
    }
}

#[test]
fn what_is_only_odd_trains() {
    let Some(python) = gymnasium("gym odd") else {
        return;
    };
    let old = ["--env-wrapper", "impala_env.compat:old_gym"];
    let cases: &[(&str, &[&str], &str)] = &[
        ("fine", &[], ""),
        ("reward-array", &[], ""),
        ("chatty", &[], ""),
        ("mask-of-nothing-at-the-end", &[], ""),
        ("old-step", &old, ""),
        ("old-both", &old, ""),
        ("seen-beyond", &[], "observation was 7 in reset, but its space goes from -1 to 1"),
        ("pair", &["--observation-keys", "inner.speed,direction"], ""),
    ];
    for (kind, flags, said) in cases {
        let (finished, run_dir, _folder) = tried(&python, kind, flags);
        assert_eq!(finished.code(), Some(0), "{kind}: {}", finished.stderr);
        assert!(finished.stderr.contains(said), "{kind}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), usize::from(!said.is_empty()), "{kind}");
        let summary = summary(&run_dir);
        assert!(number(&summary, "frames") >= 1500.0, "{kind}: {summary}");
        assert_eq!(number(&summary, "env_errors"), 0.0, "{kind}: {summary}");
        let each = if *kind == "reward-array" { 2.5 } else { 5.0 };
        assert_eq!(number(&summary, "return_mean_100"), each, "{kind}: {summary}");
    }
}

#[test]
fn a_run_in_which_nothing_works_ends_soon_and_says_so() {
    let Some(python) = gymnasium("gym never works") else {
        return;
    };
    // Frames without end, and no limit of time: only the failures can end it.
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let mut command = supervised(&python, &run_dir, BROKEN);
    command.args([
        "--env-arg",
        "kind=fails-in-the-pool",
        "--total-frames",
        "1000000000",
        "--quiet",
    ]);
    let finished = finish(command);
    assert_eq!(finished.code(), Some(15), "{}", finished.stderr);
    assert!(!finished.stderr.contains("Traceback"), "{}", finished.stderr);
    // One that is started anew just then may have to be killed, which is told.
    assert!(finished.stderr.lines().count() <= 12, "{}", finished.stderr);
    assert!(finished.stdout.contains("no environment of"), "{}", finished.stdout);
    let log = std::fs::read_to_string(run_dir.join("worker-0.log")).expect("a log");
    assert!(log.contains("out of cheese") && log.contains("in deeper"), "all of it: {log}");
    assert_eq!(summary(&run_dir)["status"], "failed");

    // One that is too slow to be tried, and hangs in every incarnation.
    let (finished, run_dir, _folder) =
        tried(&python, "slow", &["--actor-hang-timeout", "1", "--time-limit", "8"]);
    assert_eq!(finished.code(), Some(15), "{}", finished.stderr);
    assert!(finished.stderr.contains("so it was not tried"), "{}", finished.stderr);
    assert_eq!(number(&summary(&run_dir), "frames"), 0.0);
}

#[test]
fn one_buffer_for_everything_is_copied_from_in_time() {
    let Some(python) = gymnasium("gym shared buffer") else {
        return;
    };
    let options = options(&python, &["kind=shared-buffer"]);
    let mut env = make(BROKEN, &options, 3).expect("made");
    let mut seen = Arrays::of(env.as_ref());
    seen.reset(env.as_mut()).expect("reset");
    let rows = |seen: &Arrays| -> Vec<[f32; 2]> {
        seen.numbers().chunks_exact(4).map(|row| [row[0], row[1]]).collect()
    };
    let numbers: Vec<f32> = rows(&seen).iter().map(|row| row[0]).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "three environments: {numbers:?}");
    for step in 0..7_u8 {
        let expected: Vec<_> = numbers.iter().map(|&n| [n, f32::from(step % 6)]).collect();
        assert_eq!(rows(&seen), expected, "at step {step}");
        seen.step(env.as_mut(), Actions::Discrete(&[0, 1, 0])).expect("stepped");
    }
}

#[test]
fn ids_that_are_not_known_come_with_what_to_type() {
    let Some(python) = gymnasium("gym ids") else {
        return;
    };
    let cases: &[(&str, &[&str])] = &[
        ("PongNoFrameskip-v4", &["type --env gym:ALE/Pong-v5", "frameskip=1"]),
        ("BreakoutDeterministic-v0", &["gym:ALE/Breakout-v5", "repeat_action_probability=0.25"]),
        ("ALE/Pong-ram-v5", &["type --env gym:ALE/Pong-v5 --env-arg obs_type=ram"]),
        ("MiniGrid-Empty-5x5-v0", &["type --env gym:minigrid:MiniGrid-Empty-5x5-v0"]),
        ("procgen-coinrun-v0", &["gym:shimmy:GymV21Environment-v0", "pip install"]),
        ("CartPole-v99", &["type --env gym:CartPole-v1"]),
        ("impala_broken_envs:Renamed-v0", &["type --env gym:impala_broken_envs:Renamed-v2"]),
        ("impala_broken_envs:Nowhere-v0", &["NoSuchClass", "entry_point"]),
        ("NothingLikeIt-v0", &["name its module: --env gym:MODULE:NothingLikeIt-v0"]),
    ];
    for (id, parts) in cases {
        let folder = tempfile::tempdir().expect("temporary folder");
        let finished =
            finish(supervised(&python, &folder.path().join("run"), &format!("gym:{id}")));
        assert_eq!(finished.code(), Some(2), "{id}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{id}: {}", finished.stderr);
        for part in *parts {
            assert!(finished.stderr.contains(part), "{id}: no {part}: {}", finished.stderr);
        }
    }
}

#[test]
fn defaults_follow_the_id_that_gymnasium_found() {
    let Some(python) = gymnasium("gym versions") else {
        return;
    };
    let config = |env: &str| {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = supervised(&python, folder.path(), env);
        command.args(["--total-frames", "200"]);
        let finished = finish(command);
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        let text = std::fs::read_to_string(folder.path().join("config.toml")).expect("written");
        let table: toml::Table = text.parse().expect("TOML");
        (table, finished.stdout)
    };
    let (short, said) = config("gym:CartPole");
    let (whole, _) = config("gym:CartPole-v1");
    assert_eq!(short, whole, "the same run, by the name that was found");
    assert!(said.contains("gym:CartPole is CartPole-v1"), "{said}");
    // A module before the ID, and no row of defaults: the name is still the one that was found.
    let (table, said) = config("gym:impala_test_envs:Counting");
    assert_eq!(table["env"].as_str(), Some("gym:impala_test_envs:Counting-v0"));
    assert!(said.contains("gym:impala_test_envs:Counting is"), "{said}");
}
