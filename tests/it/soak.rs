//! The short form of `impala-soak`: the same parts and promises as the long one.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::program::sibling;
use crate::watch::wait_until;

/// Everything that is promised is promised of the short form too, but for one: on a machine that runs
/// other tests a latency says nothing.
const NOT_HERE: &str = "within 10 ms";
const WATCHDOG: Duration = Duration::from_secs(240);

#[test]
fn all_promises_are_kept_under_chaos() {
    let mut command = Command::new(sibling("impala-soak"));
    command.args(["--minutes", "0.2", "--faults-per-s", "12"]);
    command.args(["--restarts", "60", "--supervisors", "8", "--json"]);
    let out = tempfile::NamedTempFile::new().expect("a file");
    let err = tempfile::NamedTempFile::new().expect("a file");
    command.stdin(Stdio::null());
    command.stdout(out.reopen().expect("open")).stderr(err.reopen().expect("open"));
    let mut child = command.spawn().expect("starts");
    let mut status = None;
    wait_until("the soak ends", WATCHDOG, || {
        status = child.try_wait().expect("ours");
        status.is_some()
    });
    let read = |path| std::fs::read_to_string(path).expect("UTF-8");
    let (text, said) = (read(out.path()), read(err.path()));
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{said}"));
    let promises = report["promises"].as_array().expect("a list");
    assert!(promises.len() >= 15, "{report}");
    for promise in promises {
        let name = promise["promise"].as_str().expect("a name");
        let kept = promise["kept"] == true || name.contains(NOT_HERE);
        assert!(kept, "{promise}\n{said}");
    }
    let all = promises.iter().all(|promise| promise["kept"] == true);
    assert_eq!(status.and_then(|status| status.code()), Some(i32::from(!all)));
    assert_eq!(report["kept"], all);
    let chaos = &report["results"]["chaos"];
    let faults = ["actors_killed", "learners_killed", "actors_stopped"];
    let faults: u64 = faults.iter().filter_map(|kind| chaos[kind].as_u64()).sum();
    assert!(faults >= 30, "{chaos}");
}

#[test]
fn bad_flags_are_refused() {
    for flags in [&["--minutes"][..], &["--actors", "0"], &["pool"], &["--sometimes"]] {
        let output = Command::new(sibling("impala-soak"))
            .args(flags)
            .stdin(Stdio::null())
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}
