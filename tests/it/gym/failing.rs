//! Workers that die, hang, raise and lie, in real runs.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{gymnasium, supervised, test_envs};
use crate::crash::{MAX_WAIT, wait_for_frames, wait_for_pid};
use crate::program::{
    Finished, Running, children_of, finish, is_alive, last_metrics, number, send, summary,
    supervisor,
};
use crate::watch::wait_until;

const COUNTING: &str = "gym:impala_test_envs:Counting-v0";

fn run(python: &Path, run_dir: &Path, env_args: &[&str], flags: &[&str]) -> Command {
    let mut command = supervised(python, run_dir, COUNTING);
    command.args(["--log-interval", "0.05", "--envs-per-actor", "2", "--batch", "4"]);
    command.args(["--unroll", "16"]);
    command.args(env_args.iter().flat_map(|pair| ["--env-arg", pair])).args(flags);
    command
}

fn workers(supervisor: u32) -> Vec<u32> {
    let of = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let actors = children_of(supervisor).into_iter().flat_map(children_of);
    actors.filter(|&pid| of(pid).trim() == "impala-worker").collect()
}

fn said(finished: &Finished) -> String {
    format!("{}{}", finished.stdout, finished.stderr)
}

#[test]
fn faults_of_an_environment_cost_an_unroll_and_are_told_once() {
    let Some(python) = gymnasium("gym faults") else {
        return;
    };
    for (fault, parts) in [
        ("raise", ["environment 0 failed in step at step 599 (seed ", "ValueError: out of cheese"]),
        ("nan", ["an observation that is not finite", "the unroll is dropped"]),
        ("nan-reward", ["a reward that is not finite", "the unroll is dropped"]),
        ("shape", ["observation has shape [3], but its space", "says [4]"]),
        ("dtype", ["observation is of dtype <U1, but its space", "float32"]),
        ("none", ["observation has shape [], but its space", "says [4]"]),
        ("crash", ["was killed by SIGSEGV", "this is my last output"]),
        ("crash-beside-child", ["was killed by SIGSEGV", "this is my last output"]),
        ("exit", ["failed: ", "SystemExit: 3"]),
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let fault_arg = format!("fault={fault}");
        let finished = finish(run(
            &python,
            folder.path(),
            // In environment 0: with the resets, its 500th step is the 599th of the worker.
            &[&fault_arg, "at=500"],
            &["--total-frames", "3000"],
        ));
        let said = said(&finished);
        assert_eq!(finished.code(), Some(0), "{fault}: {said}");
        for part in parts {
            assert!(said.contains(part), "{fault}, {part}: {said}");
        }
        assert!(said.matches("Traceback").count() <= 1, "{fault}: {said}");
        let summary = summary(folder.path());
        assert!(number(&summary, "env_errors") >= 1.0, "{summary}");
        assert_eq!(number(&summary, "actor_restarts"), 0.0, "{fault}: {said}");
        assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    }
}

#[test]
fn a_fault_ends_the_run_if_it_must() {
    let Some(python) = gymnasium("gym fail") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--total-frames", "1000000000", "--on-bad-env", "fail"];
    let finished = finish(run(&python, folder.path(), &["fault=raise", "at=100"], &flags));
    let said = said(&finished);
    assert_eq!(finished.code(), Some(12), "{said}");
    assert!(said.contains("environment 0 failed in step at step 119 (seed "), "{said}");
    assert!(said.contains("impala_test_envs.py"), "the traceback names the file: {said}");
    assert_eq!(said.matches("Traceback").count(), 1, "{said}");
}

#[test]
fn killed_workers_are_replaced() {
    let Some(python) = gymnasium("gym kill -9") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = Running::of(run(&python, folder.path(), &[], &["--total-frames", "1000000000"]));
    let mut frames = wait_for_frames(folder.path(), 0.0);
    let mut victims = Vec::new();
    for _ in 0..3 {
        let mut victim = None;
        wait_until("a worker is there", MAX_WAIT, || {
            victim = workers(running.pid()).into_iter().find(|pid| !victims.contains(pid));
            victim.is_some()
        });
        victims.extend(victim);
        send(victim.expect("found"), Signal::SIGKILL);
        frames = wait_for_frames(folder.path(), frames);
    }
    wait_for_frames(folder.path(), frames);
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    let said = said(&finished);
    assert_eq!(finished.code(), Some(0), "{said}");
    assert!(said.contains("was killed by SIGKILL"), "{said}");
    let summary = summary(folder.path());
    // A worker that dies before its environments are there takes the start of its actor with it.
    let losses = number(&summary, "env_errors") + number(&summary, "actor_restarts");
    assert!(losses >= 3.0, "{summary} {said}");
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
}

#[test]
fn a_hang_is_a_hang_of_the_actor() {
    let Some(python) = gymnasium("gym hang") else {
        return;
    };
    for fault in ["fault=reset-hangs", "fault=step-hangs"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let flags = ["--total-frames", "1000000000", "--actor-hang-timeout", "1"];
        let running = Running::of(run(&python, folder.path(), &[fault, "at=50"], &flags));
        wait_until("one was replaced", MAX_WAIT, || {
            last_metrics(folder.path()).is_some_and(|metrics| number(&metrics, "restarts") >= 1.0)
        });
        running.signal(Signal::SIGTERM);
        let finished = running.wait();
        let said = said(&finished);
        assert_eq!(finished.code(), Some(0), "{said}");
        assert!(
            said.contains("hangs: no progress for 1.") && said.contains("in phase step"),
            "{said}"
        );
        assert!(number(&summary(folder.path()), "hang_kills") >= 1.0);
    }
}

#[test]
fn workers_do_not_outlive_anybody() {
    let Some(python) = gymnasium("gym orphans") else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    // Both sit in a step that never ends.
    let flags = ["--total-frames", "1000000000", "--actor-hang-timeout", "1000"];
    let running = Running::of(run(&python, folder.path(), &["fault=step-hangs", "at=200"], &flags));
    let mut found = Vec::new();
    let mut hung = |running: &Running| {
        wait_until("two workers hang", MAX_WAIT, || {
            found = workers(running.pid());
            let stands = |pid: &u32| {
                let text = std::fs::read_to_string(format!("/proc/{pid}/wchan"));
                text.is_ok_and(|wchan| wchan.contains("nanosleep"))
            };
            found.len() == 2 && found.iter().all(stands)
        });
        found.clone()
    };
    let first = hung(&running);
    let actor = wait_for_pid(running.pid(), "actor-0", 0);
    let its: Vec<u32> = children_of(actor);
    assert!(its.iter().any(|pid| first.contains(pid)), "{its:?} {first:?}");
    send(actor, Signal::SIGKILL);
    wait_until("the worker of a dead actor is gone", MAX_WAIT, || {
        !its.iter().any(|&pid| is_alive(pid))
    });
    let second = hung(&running);
    let supervisor = running.pid();
    send(supervisor, Signal::SIGKILL);
    wait_until("all workers are gone", MAX_WAIT, || !second.iter().any(|&pid| is_alive(pid)));
}

#[test]
fn bad_input_is_one_line_and_code_2() {
    let Some(python) = gymnasium("gym bad input") else {
        return;
    };
    let python = python.display().to_string();
    let empty = tempfile::tempdir().expect("temporary folder");
    let bare = empty.path().join("python");
    std::fs::write(&bare, "#!/bin/sh\nexec python3 -S -I \"$@\"\n").expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&bare, mode).expect("executable");
    let bare = bare.display().to_string();
    let counting = ["--env", COUNTING];
    let cases: [(&[&str], &str, &[&str]); 12] = [
        (&["--env", "gym:CartPole-v1"], "/nowhere/python", &["cannot start Python", "--python"]),
        (&["--env", "gym:CartPole-v1"], "/bin/false", &["Python left with code 1"]),
        (&["--env", "gym:CartPole-v1"], &bare, &["has no usable package numpy", "pip install"]),
        (&["--env", "gym:CartPole-v99"], &python, &["CartPole", "v99", "v1"]),
        (&["--env", "gym:Cartpole"], &python, &["Did you mean", "CartPole"]),
        (&["--env", "gym:"], &python, &["gym:CartPole-v1"]),
        (&["--env", "gym:no_such_module:X-v0"], &python, &["no_such_module", "cannot be imported"]),
        (
            &["--env", "gym:impala_test_envs:Missing-v0"],
            &python,
            &["needs a package that is not installed", "a_package_that_is_not_there"],
        ),
        (
            &["--env", "gym:impala_test_envs:Spaces-v0", "--env-arg", "observation=text"],
            &python,
            &["Text space", "not supported"],
        ),
        (&[counting[0], counting[1], "--env-arg", "colour=red"], &python, &["colour"]),
        (
            &[counting[0], counting[1], "--env-wrapper", "impala_test_envs:nope"],
            &python,
            &["wrapper impala_test_envs:nope", "has no nope"],
        ),
        (
            &[
                counting[0],
                counting[1],
                "--env-arg",
                "fault=first-reset-hangs",
                "--actor-start-timeout",
                "2",
            ],
            &python,
            &["did not start within 2 s", "--actor-start-timeout"],
        ),
    ];
    for (flags, python, parts) in cases {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = supervisor();
        command.args(flags).args(["--python", python, "--python-path"]).arg(test_envs());
        let finished = finish({
            command.arg("--run-dir").arg(folder.path().join("run"));
            command
        });
        assert_eq!(finished.code(), Some(2), "{flags:?}: {}", said(&finished));
        assert_eq!(finished.stderr.lines().count(), 1, "{flags:?}: {}", finished.stderr);
        for part in parts {
            assert!(finished.stderr.contains(part), "{flags:?}: {}", finished.stderr);
        }
        assert!(!folder.path().join("run").exists(), "{flags:?}: before anything is made");
    }
}

#[test]
fn a_run_is_continued_from_another_folder() {
    let Some(python) = gymnasium("gym resume") else {
        return;
    };
    let (folder, elsewhere) = (
        tempfile::tempdir().expect("temporary folder"),
        tempfile::tempdir().expect("temporary folder"),
    );
    let run_dir = folder.path().join("run");
    let wrapped = ["--env-wrapper", "impala_test_envs:doubled", "--frame-stack", "2"];
    let mut command = supervisor();
    command.current_dir(test_envs()).args(["--env", COUNTING, "--actors", "1", "--python"]);
    command.arg(&python).arg("--run-dir").arg(&run_dir).args(wrapped);
    let first = finish({
        command.args(["--total-frames", "2000"]);
        command
    });
    assert_eq!(first.code(), Some(0), "{}", said(&first));
    let config = std::fs::read_to_string(run_dir.join("config.toml")).expect("config.toml");
    for line in
        ["frame-stack = 2", "env-wrapper = \"impala_test_envs:doubled\"", "python-path = \"/"]
    {
        assert!(config.contains(line), "{line}: {config}");
    }
    let mut command = supervisor();
    command.current_dir(elsewhere.path()).arg("--resume").arg(&run_dir);
    let second = finish({
        command.args(["--total-frames", "4000"]);
        command
    });
    assert_eq!(second.code(), Some(0), "{}", said(&second));
    // Five steps give 1 + 2 + 3 + 4 + 5; the wrapper doubles them.
    let mean = number(&summary(&run_dir), "return_mean_100");
    assert!((mean - 30.0).abs() < 1e-3, "{mean}");
}
