//! This package as a dependency: a small crate outside the repository, with the environment of our example, builds
//! and trains.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::program::{finish, run_as_usual, summary};
use crate::watch::wait_until;

/// Where there are no dependencies of this profile, they are compiled, on a machine that may have one core.
const MAX_WAIT: Duration = Duration::from_secs(1200);

const MANIFEST: &str = r#"[package]
name = "treasure"
version = "0.1.0"
edition = "2024"

[dependencies]
impala-rl = { path = "ROOT" }

"#;

/// The manifest of a crate that depends on this package. It has the repository's profiles, so that most of its dependencies
/// are those that lie in the repository's folder already. Only our own crates are compiled anew, and so without optimisation.
fn manifest(root: &Path) -> String {
    let ours = fs::read_to_string(root.join("Cargo.toml")).expect("our own manifest");
    let mut ours: toml::Table = ours.parse().expect("valid");
    ours.retain(|name, _| name == "profile");
    let packages = ours["profile"]["checked"]["package"].as_table_mut().expect("a table");
    let crates = root.join("crates").read_dir().expect("listed").flatten();
    let names = crates.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    for name in names.chain(["impala-rl".to_owned()]) {
        packages.insert(name, toml::toml! { opt-level = 0 }.into());
    }
    MANIFEST.replace("ROOT", &root.display().to_string()) + &ours.to_string()
}

#[test]
fn a_crate_outside_the_repository_builds_and_trains() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::create_dir(folder.path().join("src")).expect("created");
    fs::write(folder.path().join("Cargo.toml"), manifest(root)).expect("written");
    fs::write(folder.path().join("src/main.rs"), include_str!("../../examples/custom_env.rs"))
        .expect("written");
    // The same versions, which are on this machine already.
    fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).expect("copied");

    let target =
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of all that is built");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--profile", "checked"]).current_dir(folder.path());
    cargo.env("CARGO_TARGET_DIR", target).stdin(Stdio::null());
    // What the repository's own cargo was told is not for this one.
    for name in ["LIBTORCH", "CPLUS_INCLUDE_PATH", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    let mut child = cargo.spawn().expect("cargo starts");
    let mut status = None;
    wait_until("the crate is built", MAX_WAIT, || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "cargo build: {status:?}");

    let mut treasure = run_as_usual(target.join("checked/treasure"));
    let run_dir = folder.path().join("run");
    treasure.args(["--env", "Treasure-v0", "--actors", "2", "--stop-at-return", "0.95"]);
    treasure.args(["--total-frames", "1000000", "--seed", "1", "--run-dir"]).arg(&run_dir);
    let finished = finish(treasure);
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let summary = summary(&run_dir);
    assert_eq!(summary["status"], "solved", "{summary}");
}
