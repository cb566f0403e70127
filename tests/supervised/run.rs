//! A run of the program under test, as its driver holds it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::board::{Board, Word};
use crate::program::segment;

/// Nothing that is waited for takes this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// Supervisors that may live, for the watchdog.
static LIVE: Mutex<Vec<i32>> = Mutex::new(Vec::new());

pub(crate) fn kill_all() {
    for pid in LIVE.lock().expect("whole").drain(..) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "still waiting until {what}");
        nap(Duration::from_millis(1));
    }
}

/// For what another process does there is no event to wait for.
#[expect(clippy::disallowed_methods, reason = "always in a loop that looks again, with a deadline")]
pub(crate) fn nap(length: Duration) {
    std::thread::sleep(length);
}

pub(crate) struct Run {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) board: Board,
    pub(crate) actors: usize,
}

impl Run {
    pub(crate) fn start(actors: usize) -> Self {
        Self::start_as(&["env"], actors, |_| {})
    }

    /// `wrap`: a command that ends by becoming the one that its arguments name.
    pub(crate) fn start_as(wrap: &[&str], actors: usize, prepare: impl FnOnce(&Board)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let board = Board::open(folder.path());
        prepare(&board);
        let stderr = fs::File::create(folder.path().join("stderr")).expect("a file");
        // A shell ignores SIGINT in what it runs in the background, and that is inherited.
        let mut command = Command::new("env");
        command
            .arg("--default-signal")
            .args(wrap)
            .arg(std::env::current_exe().expect("this program"));
        command.arg("--play").arg(folder.path()).arg(actors.to_string());
        let child = command.stdin(Stdio::null()).stderr(stderr).spawn().expect("starts");
        LIVE.lock().expect("whole").push(i32::try_from(child.id()).expect("a pid"));
        Self { child, folder, board, actors }
    }

    /// All children are at work.
    pub(crate) fn at_work(self) -> Self {
        let deadline = Instant::now() + DEADLINE;
        while !(0..=self.actors).all(|place| {
            self.board.get(Word::Progress(place)) > 0 && self.board.get(Word::Pid(place)) > 0
        }) {
            // Who holds it up is worth knowing.
            let states =
                || children_of(self.pid()).into_iter().map(state_and_name).collect::<Vec<_>>();
            assert!(Instant::now() < deadline, "not all work: {:?}\n{}", states(), self.log());
            nap(Duration::from_millis(1));
        }
        self
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("alive");
    }

    pub(crate) fn child_pid(&self, place: usize) -> Option<Pid> {
        let pid = i32::try_from(self.board.get(Word::Pid(place))).expect("a pid");
        (pid > 0).then(|| Pid::from_raw(pid))
    }

    pub(crate) fn segment(&self) -> PathBuf {
        segment(self.child.id())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    pub(crate) fn logged(&self, line: &str) -> bool {
        self.log().contains(line)
    }

    pub(crate) fn saved(&self) -> bool {
        self.folder.path().join("checkpoint").exists()
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the supervisor ends", || {
            status = self.child.try_wait().expect("ours");
            status.is_some()
        });
        status.expect("just seen")
    }

    /// Waits for an orderly end with this code; nothing is left of the run.
    pub(crate) fn ends_with(mut self, code: i32) -> Self {
        let status = self.ended();
        assert_eq!(status.code(), Some(code), "{status}\n{}{}", self.log(), self.stderr());
        // Not a moment later: an orderly end has reaped everything itself.
        assert_eq!(children_of(Pid::this()), [], "left behind\n{}", self.log());
        assert!(!self.segment().exists());
        self
    }

    /// SIGKILL to the supervisor; the time until the last process of the run was gone.
    pub(crate) fn kill_nine(mut self) -> (Duration, TempDir) {
        let start = Instant::now();
        self.signal(Signal::SIGKILL);
        self.ended();
        wait_until("nobody is left", nobody_is_left);
        let took = start.elapsed();
        assert!(!self.segment().exists(), "the segment outlived the supervisor");
        assert!(!self.folder.path().join("checkpoint.tmp").exists(), "a temporary file is left");
        (took, self.folder)
    }
}

/// Reaps what has died; whether that was all. This process adopts what a run leaves behind.
pub(crate) fn nobody_is_left() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) => return false,
            _ => {}
        }
    }
}

pub(crate) fn children_of(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let list: Vec<String> = lists.collect();
    let pids = list.iter().flat_map(|pids| pids.split_ascii_whitespace());
    pids.map(|pid| Pid::from_raw(pid.parse().expect("a pid"))).collect()
}

/// The kernel's letter for a process's state, and its name; `None` once it is gone.
pub(crate) fn state_and_name(pid: Pid) -> Option<(char, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    Some((after.chars().next()?, before.split_once(" (")?.1.to_owned()))
}

pub(crate) fn state(pid: Pid) -> Option<char> {
    state_and_name(pid).map(|(state, _)| state)
}
