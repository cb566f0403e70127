//! What a supervisor holds of the machine: descriptors, memory, children that it has not reaped.

use std::fs;

use nix::unistd::Pid;

/// Open descriptors of this process.
pub(super) fn descriptors() -> u64 {
    // One is the folder itself, while it is read.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64 - 1)
}

/// Resident memory of this process in KiB.
pub(super) fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Children of a process, living and dead.
pub(super) fn children_of(pid: Pid) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.unwrap_or_default();
    listed.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// The kernel's letter for a process's state, and its name; `None` once it is gone.
pub(super) fn state_and_name(pid: Pid) -> Option<(char, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    Some((after.chars().next()?, before.split_once(" (")?.1.to_owned()))
}

/// Children of this process that are dead and not reaped.
pub(super) fn zombies() -> Vec<Pid> {
    let dead = |pid: &Pid| state_and_name(*pid).is_some_and(|(state, _)| state == 'Z');
    children_of(Pid::this()).into_iter().filter(dead).collect()
}
