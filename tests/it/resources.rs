//! What the machine refuses in the middle of a run: room on the disk, log files, a reader of the output.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use crate::crash::{ENDLESS, MAX_WAIT, status};
use crate::program::{Running, finish, last_metrics, number, start, summary, supervisor};
use crate::watch::wait_until;

/// A run in a small file system of its own; `None` where this user may not make one.
fn on_small_disk(folder: &Path) -> Option<(Running, PathBuf)> {
    let probe = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=2m none $0 && exec env --default-signal \"$@\"";
    command.args(["-m", "sh", "-c", script]).arg(folder);
    command.arg(env!("CARGO_BIN_EXE_impala-supervisor")).arg("--run-dir").arg(folder.join("run"));
    command.args(ENDLESS).args(["--checkpoint-interval", "0.1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::of(command);
    // The disk as the run sees it.
    let seen = format!("/proc/{}/root{}", running.pid(), folder.display());
    Some((running, seen.into()))
}

fn checkpoints(disk: &Path) -> Vec<String> {
    let entries = fs::read_dir(disk.join("run/checkpoints")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn fill(disk: &Path) {
    let mut filler = fs::File::create(disk.join("filler")).expect("made");
    for block in [65_536, 512, 1] {
        while filler.write_all(&vec![0; block]).is_ok() {}
    }
}

#[test]
fn resource_disk_full_costs_checkpoints_and_not_the_run() {
    for room_again in [false, true] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let Some((running, disk)) = on_small_disk(folder.path()) else {
            return println!("skipped: no mount namespace here");
        };
        wait_until("a checkpoint is there", MAX_WAIT, || {
            checkpoints(&disk).iter().any(|name| !name.ends_with(".tmp"))
        });
        fill(&disk);
        let frames = || status(running.pid()).map_or(0.0, |s| number(&s["metrics"], "frames"));
        let saved = |disk: &Path| {
            let names = checkpoints(disk).into_iter().filter(|name| !name.ends_with(".tmp"));
            names.max().expect("the old ones are kept")
        };
        let (newest, before) = (saved(&disk), frames());
        // A save that was under way may have found room; the one after it cannot.
        let saving = || {
            let status = status(running.pid());
            status.map_or(0.0, |s| number(&s["metrics"]["learner"], "checkpoint_ns"))
        };
        for attempt in ["one save ends", "another save ends"] {
            let spent = saving();
            wait_until(attempt, MAX_WAIT, || saving() > spent);
        }
        wait_until("learning goes on", MAX_WAIT, || frames() > before + 20_000.0);
        wait_until("nothing half done is left", MAX_WAIT, || {
            checkpoints(&disk).iter().all(|name| !name.ends_with(".tmp"))
        });
        if room_again {
            fs::remove_file(disk.join("filler")).expect("removed");
            wait_until("there is a newer one", MAX_WAIT, || saved(&disk) > newest);
        }
        running.signal(Signal::SIGTERM);
        let finished = running.wait();
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert_eq!(finished.code(), Some(if room_again { 0 } else { 9 }), "{said}");
        assert!(
            said.contains("No space left on device") && said.contains("the run goes on"),
            "{said}"
        );
    }
}

#[test]
fn resource_logs_that_cannot_be_written_cost_lines() {
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::create_dir(folder.path().join("metrics.jsonl")).expect("made");
    std::os::unix::fs::symlink("/dev/full", folder.path().join("episodes.csv")).expect("made");
    let mut command = supervisor();
    command.arg("--run-dir").arg(folder.path());
    let finished = finish({
        command.args(["--actors", "2", "--total-frames", "20000", "--log-interval", "0.05"]);
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    for part in ["metrics.jsonl: cannot open", "episodes.csv cannot be written, the run goes on"] {
        assert_eq!(finished.stderr.matches(part).count(), 1, "{part}: {}", finished.stderr);
    }
    assert!(number(&summary(folder.path()), "frames") >= 20_000.0);
}

#[test]
fn resource_output_that_nobody_reads_stops_nobody() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let running = start(folder.path(), ENDLESS);
    // A pipe of one page, so that it is full soon.
    fcntl(running.stdout(), FcntlArg::F_SETPIPE_SZ(4096)).expect("a smaller pipe");
    let lines = || {
        fs::read_to_string(folder.path().join("metrics.jsonl"))
            .map_or(0, |text| text.lines().count())
    };
    wait_until("much more was said than fits", MAX_WAIT, || lines() > 120);
    assert!(last_metrics(folder.path()).is_some_and(|metrics| number(&metrics, "frames") > 0.0));
    running.signal(Signal::SIGTERM);
    let mut ended = false;
    wait_until("it ends, still unread", MAX_WAIT, || {
        ended |= folder.path().join("summary.json").exists();
        ended && !crate::program::is_alive(running.pid())
    });
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn resource_descriptors_are_counted_before_the_start() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let program = env!("CARGO_BIN_EXE_impala-supervisor");
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n 40; exec {program} --actors 20"));
    command.current_dir(folder.path()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(5), "{}", finished.stderr);
    assert!(finished.stderr.contains("ulimit -n"), "{}", finished.stderr);
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0, "nothing was begun");
}
