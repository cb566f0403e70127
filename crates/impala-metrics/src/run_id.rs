//! Names of status segments: which process a segment belongs to, which runs there are, and which segments of dead runs
//! to remove.
//!
//! A segment is called `impala-<pid>-<start>`, after the supervisor's process id and its start time in
//! clock ticks since boot (field 22 of `/proc/<pid>/stat`), so that a reused pid is not taken for it.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

/// Where Linux keeps named shared memory.
const SHM_DIR: &str = "/dev/shm";
const PREFIX: &str = "impala-";

/// A process that is told apart from later ones with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId {
    /// Process id of the supervisor.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
}

impl RunId {
    /// The calling process.
    ///
    /// # Errors
    /// If `/proc/self/stat` cannot be read.
    pub fn of_this_process() -> io::Result<Self> {
        let pid = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, start_ticks) = state_and_start(&stat)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat"))?;
        Ok(Self { pid, start_ticks })
    }

    /// How long ago the process started, to a clock tick: 10 ms on most machines, and never too short. An `exec` does
    /// not begin a process anew. `None` where the kernel does not tell.
    #[must_use]
    pub fn age(self) -> Option<Duration> {
        let per_s = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
        let now: Duration = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?.into();
        now.checked_sub(ticks(self.start_ticks, per_s)?)
    }

    /// Reads it from a segment's name, `impala-<pid>-<start>`; whatever follows another hyphen is
    /// ignored.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
        let (pid, start_ticks) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (!name.contains('/')).then_some(Self { pid, start_ticks })
    }

    /// Whether the process is there, in this PID namespace, and no zombie.
    #[must_use]
    pub fn is_alive(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| match state_and_start(&stat) {
            Some((state, start_ticks)) => start_ticks == self.start_ticks && !"ZXx".contains(state),
            // Not understood: rather keep a dead segment than remove one in use.
            None => true,
        })
    }
}

/// The segment's name.
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}", self.pid, self.start_ticks)
    }
}

/// So many clock ticks.
fn ticks(count: u64, per_s: u64) -> Option<Duration> {
    let nanos = count.checked_rem(per_s)? * 1_000_000_000 / per_s;
    Some(Duration::new(count / per_s, u32::try_from(nanos).ok()?))
}

/// Fields 3 and 22 of a `stat` file. Field 2, the program's name, may itself hold brackets and
/// blanks, hence the search for the last bracket.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// A segment that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    /// The name to attach to.
    pub name: String,
    /// Whose it is.
    pub id: RunId,
    /// Whether its supervisor runs. If not, the segment is left over and [`sweep`] removes it.
    pub alive: bool,
}

/// The status segments of this machine, by name. One of another user's may not be attachable.
///
/// # Errors
/// If `/dev/shm` cannot be read.
pub fn list() -> io::Result<Vec<RunEntry>> {
    list_in(Path::new(SHM_DIR))
}

/// Removes the segments of dead supervisors, and returns their names. Segments that belong to
/// another user are left alone.
///
/// # Errors
/// If `/dev/shm` cannot be read.
pub fn sweep() -> io::Result<Vec<String>> {
    sweep_in(Path::new(SHM_DIR))
}

/// The file behind a segment.
pub(super) fn segment_path(name: &str) -> std::path::PathBuf {
    Path::new(SHM_DIR).join(name)
}

fn list_in(dir: &Path) -> io::Result<Vec<RunEntry>> {
    let mut entries = Vec::new();
    for file in fs::read_dir(dir)? {
        let Ok(name) = file?.file_name().into_string() else {
            continue;
        };
        if let Some(id) = RunId::parse(&name) {
            let alive = id.is_alive() || is_locked(&dir.join(&name));
            entries.push(RunEntry { name, id, alive });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn sweep_in(dir: &Path) -> io::Result<Vec<String>> {
    let dead = list_in(dir)?.into_iter().filter(|entry| !entry.alive).map(|entry| entry.name);
    // Failing to remove one (another user's, or just removed by another sweep) is no failure.
    Ok(dead.filter(|name| fs::remove_file(dir.join(name)).is_ok()).collect())
}

/// Whether some process holds the lock of a segment: its supervisor may live in another PID
/// namespace that shares `/dev/shm`, where its pid means nothing here.
fn is_locked(path: &Path) -> bool {
    // Shared, so that two who look do not take each other for the owner.
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Instant;

    /// Asks until there is an answer.
    fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match ask() {
                Some(answer) => break answer,
                None => assert!(Instant::now() < deadline, "no answer in a minute"),
            }
            std::thread::yield_now();
        }
    }

    /// An id of a process that was there and is gone.
    fn dead() -> RunId {
        let mut child = Command::new("true").spawn().expect("true runs");
        let pid = child.id();
        child.wait().expect("true ends");
        RunId { pid, start_ticks: 1 }
    }

    #[test]
    fn names_come_back() {
        let id = RunId { pid: 12, start_ticks: 3_456 };
        assert_eq!(id.to_string(), "impala-12-3456");
        assert_eq!(RunId::parse("impala-12-3456"), Some(id));
        assert_eq!(RunId::parse("impala-12-3456-second-run"), Some(id));
        for bad in ["", "impala", "impala-", "impala-1", "impala-1-", "impala-x-1", "impala-1-y"] {
            assert_eq!(RunId::parse(bad), None, "{bad}");
        }
        for bad in ["apala-1-2", "impala-1-2-/x", "impala--1-2", "impala-99999999999-1"] {
            assert_eq!(RunId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn stat_lines_with_odd_names_are_read() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1000 1";
        assert_eq!(state_and_start(stat), Some(('S', 9_876)));
        assert_eq!(state_and_start("77 (a"), None);
        assert_eq!(state_and_start("77 (a) S 1 2"), None);
    }

    #[test]
    fn this_process_is_alive_and_another_start_time_is_not() {
        let id = RunId::of_this_process().expect("/proc");
        assert!(id.is_alive());
        assert!(!RunId { start_ticks: id.start_ticks + 1, ..id }.is_alive());
        assert!(!dead().is_alive());
    }

    #[test]
    fn ages_grow_and_are_no_longer_than_a_process_was_there() {
        let before = Instant::now();
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("not reaped");
        let (_, start_ticks) = state_and_start(&stat).expect("a stat line");
        let id = RunId { pid: child.id(), start_ticks };
        let (first, second) = (id.age().expect("told"), id.age().expect("told"));
        // A tick is a hundredth of a second, or less.
        let longest = before.elapsed() + Duration::from_millis(10);
        assert!(first <= second && second <= longest, "{first:?} {second:?} of {longest:?}");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    #[test]
    fn ticks_become_seconds() {
        assert_eq!(ticks(1_234, 100), Some(Duration::from_millis(12_340)));
        assert_eq!(ticks(u64::MAX, 1_000).map(|long| long.subsec_millis()), Some(615));
        assert_eq!(ticks(1, 0), None);
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = Command::new("true").spawn().expect("true runs");
        let path = format!("/proc/{}/stat", child.id());
        let start_ticks = poll(|| {
            // It stays a zombie until it is waited for.
            let stat = fs::read_to_string(&path).expect("not reaped yet");
            let (state, start_ticks) = state_and_start(&stat).expect("a stat line");
            (state == 'Z').then_some(start_ticks)
        });
        assert!(!RunId { pid: child.id(), start_ticks }.is_alive());
        child.wait().expect("true ended");
    }

    #[test]
    fn a_sweep_removes_the_dead_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let touch = |name: &str| File::create(dir.path().join(name)).expect("a file");
        let alive = RunId::of_this_process().expect("/proc");
        let dead = dead();
        let locked = format!("{dead}-locked");
        drop(touch(&alive.to_string()));
        drop(touch(&dead.to_string()));
        drop(touch("other"));
        let lock = touch(&locked);
        lock.lock().expect("nobody else has it");
        let states = |dir| -> Vec<_> {
            let entries = list_in(dir).expect("readable").into_iter();
            entries.map(|entry| (entry.name, entry.alive)).collect()
        };
        let mut expected =
            vec![(alive.to_string(), true), (dead.to_string(), false), (locked.clone(), true)];
        expected.sort();
        assert_eq!(states(dir.path()), expected);
        assert_eq!(sweep_in(dir.path()).expect("readable"), [dead.to_string()]);
        expected.retain(|(_, alive)| *alive);
        assert_eq!(states(dir.path()), expected);
        assert!(dir.path().join("other").exists());
        drop(lock);
        // A child that another test has just forked holds a copy of the lock until its exec.
        let swept = poll(|| sweep_in(dir.path()).ok().filter(|names| !names.is_empty()));
        assert_eq!(swept, [locked]);
    }
}
