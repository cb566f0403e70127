//! Finds processes that outlived the child that started them, such as an environment's helper that left its process
//! group.
//!
//! Each child puts its name into its environment under [`MARKER`], and whatever program it starts
//! inherits that, whatever group, session or parent it moves to. The kernel shows it in
//! `/proc/PID/environ`.

use std::fs;
use std::path::Path;

use nix::unistd::Pid;

/// The environment variable: `run/role/incarnation`.
pub(super) const MARKER: &str = "IMPALA_CHILD";

/// All children that a thread (for a process: its first) started or adopted, dead ones too. Empty if it is
/// gone or this kernel does not tell.
#[must_use]
pub fn children_of(thread: Pid) -> Vec<Pid> {
    let path = format!("/proc/{thread}/task/{thread}/children");
    let listed = fs::read_to_string(path).unwrap_or_default();
    listed.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// The mark that a process bears, if it bears one and it may be read.
pub(super) fn mark_of(pid: Pid) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|&byte| byte == 0)
        .find_map(|entry| entry.strip_prefix(MARKER.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}

/// Every process of the machine that bears a mark of this run.
pub(super) fn of_run(run: &str) -> Vec<Pid> {
    let ours = |mark: String| mark.strip_prefix(run).is_some_and(|rest| rest.starts_with('/'));
    processes().filter(|&pid| mark_of(pid).is_some_and(ours)).collect()
}

/// Every other process that holds an end of this pipe, named as `/proc/PID/fd` names it.
pub(super) fn holders_of(pipe: &Path) -> Vec<Pid> {
    let holds = |pid: &Pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|name| name == pipe)
    };
    processes().filter(|&pid| pid != Pid::this()).filter(holds).collect()
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    /// A process that lives until its input is closed.
    fn helper(mark: &str) -> Child {
        let mut command = Command::new("cat");
        command.env(MARKER, mark).stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().expect("cat")
    }

    fn pid(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
    }

    #[test]
    fn marks_are_inherited_and_runs_are_told_apart() {
        let run = format!("test-{}", std::process::id());
        let mut ours = helper(&format!("{run}/actor-1/7"));
        let mut other = helper(&format!("{run}0/actor-1/7"));
        // The parent goes on a moment before the new program has its environment.
        let deadline = Instant::now() + Duration::from_secs(60);
        while mark_of(pid(&ours)).is_none() || mark_of(pid(&other)).is_none() {
            assert!(Instant::now() < deadline, "no mark");
        }
        assert_eq!(mark_of(pid(&ours)), Some(format!("{run}/actor-1/7")));
        assert_eq!(mark_of(Pid::this()), None);
        assert_eq!(of_run(&run), [pid(&ours)]);
        for child in [&mut ours, &mut other] {
            drop(child.stdin.take());
            child.wait().expect("cat ends with its input");
        }
        assert_eq!(of_run(&run), []);
    }

    #[test]
    fn holders_of_a_pipe_are_found() {
        let mut child = helper("none");
        let stdin = child.stdin.take().expect("piped");
        let name = format!("/proc/self/fd/{}", stdin.as_raw_fd());
        let pipe = fs::read_link(name).expect("a link");
        // Not equal: another test may be between its own fork and exec.
        assert!(holders_of(&pipe).contains(&pid(&child)));
        drop(stdin);
        child.wait().expect("cat ends with its input");
        assert!(!holders_of(&pipe).contains(&pid(&child)));
    }
}
