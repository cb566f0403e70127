//! Bad input: one line that names the value and the remedy, a documented exit code, nothing written.

use std::fs;
use std::path::Path;

use crate::program::{Finished, finish, number, start, summary, supervisor};
use crate::watch::wait_until;
use std::time::Duration;

fn refused(flags: &[&str], code: i32, parts: &[&str]) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = supervisor();
    command.current_dir(folder.path()).args(flags);
    let finished = finish(command);
    assert_eq!(finished.code(), Some(code), "{flags:?}: {}", finished.stderr);
    one_line(&finished, parts);
    let left = fs::read_dir(folder.path()).expect("listed").count();
    assert_eq!(left, 0, "{flags:?} wrote something");
}

fn one_line(finished: &Finished, parts: &[&str]) {
    let text = finished.stderr.trim_end();
    assert_eq!(text.lines().count(), 1, "more than one line: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[test]
fn bad_values_are_named() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--actors", "0"], &["actors", "0"]),
        (&["--actors", "100000"], &["actors", "100000"]),
        (&["--batch", "30", "--envs-per-actor", "16"], &["30", "16", "32"]),
        (&["--blocks", "0"], &["blocks", "0"]),
        (&["--blocks", "1"], &["blocks", "1"]),
        (&["--learning-rate", "NaN"], &["learning-rate", "NaN"]),
        (&["--learning-rate", "-0.1"], &["learning-rate", "-0.1"]),
        (&["--env", "Cartpole-v1"], &["Cartpole-v1", "CartPole-v1"]),
        (&["--env", "Synthetic-v0", "--env-arg", "shap=84"], &["shap", "shape"]),
        (&["--frobnicate"], &["--frobnicate"]),
        (&["--config", "missing.toml"], &["missing.toml"]),
        (&["--torso", "cnn"], &["--torso cnn needs images", "CartPole-v1", "mlp"]),
        (&["--torso", "vgg"], &["vgg", "atari-shallow"]),
        (&["--torso", "nature"], &["--torso nature needs images", "mlp"]),
        (
            &["--env", "Catch-v0", "--torso", "atari-shallow"],
            &["16x8/4 of --torso atari-shallow", "10x5", "larger"],
        ),
        (&["--env", "Catch-v0", "--conv", "16x7/1"], &["--conv 16x7/1", "10x5", "smaller"]),
        (&["--core", "gru"], &["gru", "lstm"]),
        (&["--core", "lstm", "--core-size", "0"], &["core-size", "0"]),
        (&["--frame-stack", "0"], &["frame-stack", "0"]),
        (&["--env", "Pendulum-v1", "--action-bounds", "fold"], &["fold", "squash"]),
        (&["--device", "cuda:x"], &["cuda:x"]),
    ];
    for (flags, parts) in cases {
        refused(flags, 2, parts);
    }
}

#[test]
fn files_of_settings_are_checked() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (text, parts) in [
        ("actors = ", &["line 1", "toml"][..]),
        ("actrs = 4", &["actrs", "actors"]),
        ("actors = \"four\"", &["actors"]),
        ("[pool]\nactors = 4", &["pool"]),
    ] {
        let file = folder.path().join("bad.toml");
        fs::write(&file, text).expect("written");
        refused(&["--config", file.to_str().expect("UTF-8")], 2, parts);
    }
}

#[test]
fn what_the_machine_cannot_hold_is_refused() {
    refused(
        &["--actors", "8000", "--envs-per-actor", "4096", "--batch", "4096", "--unroll", "1000"],
        5,
        &["MiB", "--actors"],
    );
}

#[test]
fn a_memory_limit_that_is_too_small_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_impala-supervisor");
    // Room for the program and its libraries, none for a ring of 40 GiB.
    command.arg("-c").arg(format!("ulimit -f 1024; exec {program} --env Synthetic-v0 --unroll 20 --batch 256 --envs-per-actor 64"));
    command.current_dir(folder.path()).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(5), "{}", finished.stderr);
    one_line(&finished, &["MiB"]);
}

#[test]
fn run_folders_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("written");
    let blocked = file.join("run");
    refused(&["--run-dir", blocked.to_str().expect("UTF-8")], 3, &["file/run", "--run-dir"]);

    let used = folder.path().join("used");
    let running = start(&used, ["--actors", "1", "--total-frames", "1000000000"]);
    wait_until("the run has begun", Duration::from_secs(60), || used.join("config.toml").exists());
    refused(&["--run-dir", used.to_str().expect("UTF-8")], 4, &["in use", "--run-dir"]);
    drop(running);
    wait_until("the folder is free", Duration::from_secs(60), || {
        let mut command = supervisor();
        command.arg("--run-dir").arg(&used);
        finish(command).code() == Some(3)
    });
}

#[test]
fn resuming_nothing_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    refused(&["--resume", folder.path().to_str().expect("UTF-8")], 3, &["no run to resume"]);
    fs::write(folder.path().join("config.toml"), "actors = 1\n").expect("written");
    refused(&["--resume", folder.path().to_str().expect("UTF-8")], 8, &["no usable checkpoint"]);
}

#[test]
fn printing_runs_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let print = |flags: &[&str]| {
        let mut command = supervisor();
        command.current_dir(folder.path()).args(flags);
        let finished = finish(command);
        assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
        finished.stdout
    };
    let config = print(&["--print-config", "--actors", "3", "--unroll", "7"]);
    assert!(config.contains("actors = 3") && config.contains("unroll = 7"), "{config}");
    fs::write(folder.path().join("again.toml"), &config).expect("written");
    assert_eq!(
        print(&["--print-config", "--config", "again.toml"]),
        config,
        "it reads what it prints"
    );
    assert!(print(&["--list-envs"]).contains("CartPole-v1"));
    assert!(print(&["--help"]).contains("--stop-at-return"));
    assert_eq!(
        fs::read_dir(folder.path()).expect("listed").count(),
        1,
        "only the file written here"
    );
}

#[test]
fn a_closed_output_does_not_stop_the_run() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let mut command = supervisor();
    command.arg("--run-dir").arg(&run_dir).args([
        "--actors",
        "2",
        "--total-frames",
        "50000",
        "--log-interval",
        "0.05",
    ]);
    let mut child = command.spawn().expect("starts");
    drop((child.stdout.take(), child.stderr.take()));
    let mut status = None;
    wait_until("the run ends", Duration::from_secs(120), || {
        status = child.try_wait().expect("waited");
        status.is_some()
    });
    assert_eq!(status.and_then(|s| s.code()), Some(0));
    assert!(number(&summary(Path::new(&run_dir)), "frames") >= 50_000.0);
}
