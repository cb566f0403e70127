//! Watches the supervisor's own resources: file descriptors, memory, and dead children that it has not reaped.

use std::fs;
use std::time::Duration;

use nix::unistd::Pid;

use impala_rl::supervisor::{ChildState, PoolStatus, children_of};

/// Time between looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Restarts until the supervisor has grown to its usual size.
const WARM_AFTER: u64 = 20;

/// What the supervisor held, early and late: descriptors, and KiB of memory.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    next: Duration,
    early: Option<[u64; 2]>,
    late: [u64; 2],
    dead: Vec<Pid>,
    zombies: u64,
}

impl Vitals {
    /// Looks once a second, when nobody is on the way: `restarts` so far.
    pub(super) fn look(&mut self, status: &PoolStatus, restarts: u64) {
        let all_run = status.children.iter().all(|child| child.state == ChildState::Running);
        if status.uptime < self.next || !all_run {
            return;
        }
        self.next = status.uptime + LOOK_EVERY;
        let dead = zombies();
        self.zombies += dead.iter().filter(|pid| self.dead.contains(pid)).count() as u64;
        self.dead = dead;
        self.late = [descriptors(), resident_kib()];
        if self.early.is_none() && restarts >= WARM_AFTER {
            self.early = Some(self.late);
        }
    }

    /// After the first restarts, and at the last look.
    pub(super) fn early_and_late(&self) -> ([u64; 2], [u64; 2]) {
        (self.early.unwrap_or(self.late), self.late)
    }

    /// Dead children that were still there a second later.
    pub(super) const fn zombies(&self) -> u64 {
        self.zombies
    }
}

/// Open descriptors of this process.
fn descriptors() -> u64 {
    // One is the folder itself, while it is read.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64 - 1)
}

/// Resident memory of this process in KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The kernel's letter for a process's state, and its name; `None` once it is gone.
pub(super) fn state_and_name(pid: Pid) -> Option<(char, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    Some((after.chars().next()?, before.split_once(" (")?.1.to_owned()))
}

/// Children of this process that are dead and not reaped.
fn zombies() -> Vec<Pid> {
    let dead = |pid: &Pid| state_and_name(*pid).is_some_and(|(state, _)| state == 'Z');
    children_of(Pid::this()).into_iter().filter(dead).collect()
}
