//! The real `impala-supervisor`, run as a user would.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::watch::wait_until;

/// No run of a test takes longer, whatever else the machine does; then it hangs and is killed.
const WATCHDOG: Duration = Duration::from_secs(240);

/// What a finished program left.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// Holds that what was asked with `flags` was refused with this code, on one line that says all of `parts`.
pub(crate) fn assert_refused(finished: &Finished, flags: &str, code: i32, parts: &[&str]) {
    assert_eq!(finished.code(), Some(code), "{flags}: {}", finished.stderr);
    assert_eq!(finished.stderr.lines().count(), 1, "{flags}: {}", finished.stderr);
    assert!(
        parts.iter().all(|part| finished.stderr.contains(part)),
        "{flags}: {}",
        finished.stderr
    );
}

/// A running supervisor; killed when dropped.
pub(crate) struct Running {
    child: Child,
}

/// The command, to be given its flags.
pub(crate) fn supervisor() -> Command {
    run_as_usual(env!("CARGO_BIN_EXE_impala-supervisor"))
}

/// A command whose signals are those of a terminal. A shell ignores SIGINT and SIGQUIT in what it runs
/// in the background, tests included; that is inherited, and a supervisor respects it.
pub(crate) fn run_as_usual(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// An example that takes the flags of a supervisor.
pub(crate) fn example(name: &str) -> Command {
    // Cargo builds examples for `cargo test`, beside the test binaries.
    let deps = std::env::current_exe().expect("this test");
    run_as_usual(deps.ancestors().nth(2).expect("target folder").join("examples").join(name))
}

/// Starts a supervisor that writes to `run_dir`.
pub(crate) fn start<S: AsRef<OsStr>>(
    run_dir: &Path,
    flags: impl IntoIterator<Item = S>,
) -> Running {
    let child =
        supervisor().arg("--run-dir").arg(run_dir).args(flags).spawn().expect("the program starts");
    Running { child }
}

/// Starts a supervisor that continues the run in `run_dir`.
pub(crate) fn resume(run_dir: &Path, flags: &[&str]) -> Running {
    let child =
        supervisor().arg("--resume").arg(run_dir).args(flags).spawn().expect("the program starts");
    Running { child }
}

/// Runs a command to its end, under the watchdog.
pub(crate) fn finish(mut command: Command) -> Finished {
    Running { child: command.spawn().expect("the program starts") }.wait()
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end and gives what was printed.
    pub(crate) fn wait(mut self) -> Finished {
        // Read beside waiting: a full pipe would stop the program.
        let mut pipes = (self.child.stdout.take(), self.child.stderr.take());
        let out = std::thread::spawn(move || {
            let mut text = String::new();
            pipes.0.as_mut().map(|pipe| pipe.read_to_string(&mut text));
            text
        });
        let err = std::thread::spawn(move || {
            let mut text = String::new();
            pipes.1.as_mut().map(|pipe| pipe.read_to_string(&mut text));
            text
        });
        let mut status = None;
        wait_until("the supervisor ends", WATCHDOG, || {
            status = self.child.try_wait().expect("waited");
            status.is_some()
        });
        Finished {
            status: status.expect("ended"),
            stdout: out.join().expect("stdout is UTF-8"),
            stderr: err.join().expect("stderr is UTF-8"),
        }
    }

    /// The pipe that it writes its standard output to.
    pub(crate) fn stdout(&self) -> &std::process::ChildStdout {
        self.child.stdout.as_ref().expect("not read yet")
    }

    /// Starts a command, with its output to be read.
    pub(crate) fn of(mut command: Command) -> Self {
        Self { child: command.spawn().expect("the program starts") }
    }

    /// Sends a signal to the supervisor.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        send(self.pid(), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

/// Sends a signal to a process that may be gone.
pub(crate) fn send(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    let _gone_is_fine = nix::sys::signal::kill(pid, signal);
}

/// `summary.json` of a run.
pub(crate) fn summary(run_dir: &Path) -> Value {
    let text = std::fs::read_to_string(run_dir.join("summary.json")).expect("summary.json");
    serde_json::from_str(&text).expect("summary.json is JSON")
}

/// The newest line of `metrics.jsonl`, if there is one yet.
pub(crate) fn last_metrics(run_dir: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(run_dir.join("metrics.jsonl")).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}

/// A number of a JSON object.
pub(crate) fn number(object: &Value, key: &str) -> f64 {
    object[key].as_f64().unwrap_or_else(|| panic!("{key} is a number in {object}"))
}

/// Living processes whose parent is `pid`, with their pids.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

/// Status segments in `/dev/shm` of the supervisor `pid`.
pub(crate) fn segments_of(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("impala-{pid}-");
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    named.map(|entry| entry.path()).collect()
}

/// A program of another package of this workspace, which lies beside the supervisor once it is built.
pub(crate) fn sibling(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_impala-supervisor")).with_file_name(name);
    assert!(path.exists(), "{} is not there: run cargo build in the same profile", path.display());
    path
}
