//! Reads the resources that the machine has to give: memory, file descriptors, processes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::Uid;

use super::cgroup;

/// What is left below one limit that all processes of a run share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// What sets the limit, for a message.
    pub(crate) limit: String,
    /// What is left: bytes, or a count.
    pub(crate) available: u64,
}

/// What a machine has to give; whatever is not limited, or not known, is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Memory for the whole run: the machine's, and that of each memory cgroup around this process.
    pub memory: Vec<Room>,
    /// RLIMIT_AS, for each process.
    pub address_space_bytes: Option<u64>,
    /// RLIMIT_DATA, for each process.
    pub data_bytes: Option<u64>,
    /// RLIMIT_FSIZE, for each file, those in memory included.
    pub file_bytes: Option<u64>,
    /// Address space that this process has in use, which a forked child inherits.
    pub mapped_bytes: u64,
    /// File descriptors that this process may still open.
    pub descriptors: Option<u64>,
    /// Processes and threads that may still start: RLIMIT_NPROC's, and each pids cgroup's.
    pub tasks: Vec<Room>,
}

impl Machine {
    /// This machine, now. Never fails: what cannot be read sets no limit.
    #[must_use]
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cgroups, mounts) = (text("/proc/self/cgroup"), text("/proc/self/mountinfo"));
        let read = |path: &Path| fs::read_to_string(path).ok();
        let (mut memory, mut tasks) =
            (cgroup::memory(&cgroups, &mounts, &read), cgroup::tasks(&cgroups, &mounts, &read));
        if let Some(available) = mem_available_bytes(&text("/proc/meminfo")) {
            memory.push(Room { limit: "the machine".into(), available });
        }
        // The kernel lets root pass this one.
        if let Some(limit) = soft(Resource::RLIMIT_NPROC).filter(|_| !Uid::effective().is_root()) {
            let available = limit.saturating_sub(tasks_of_user());
            tasks.push(Room { limit: "`ulimit -u`".into(), available });
        }
        let open = fs::read_dir("/proc/self/fd").map_or(0, |folder| folder.count() as u64);
        Self {
            memory,
            address_space_bytes: soft(Resource::RLIMIT_AS),
            data_bytes: soft(Resource::RLIMIT_DATA),
            file_bytes: soft(Resource::RLIMIT_FSIZE),
            mapped_bytes: status_kib(&text("/proc/self/status"), "VmSize:")
                .map_or(0, |kib| kib * 1024),
            descriptors: soft(Resource::RLIMIT_NOFILE).map(|limit| limit.saturating_sub(open)),
            tasks,
        }
    }
}

fn soft(resource: Resource) -> Option<u64> {
    getrlimit(resource).ok().map(|(soft, _)| soft).filter(|&soft| soft != RLIM_INFINITY)
}

/// The number after `name` on its line, in `/proc/meminfo` or `/proc/PID/status`.
fn status_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the kernel thinks can be had without swapping; before Linux 3.14 at least what is free.
fn mem_available_bytes(meminfo: &str) -> Option<u64> {
    let kib = status_kib(meminfo, "MemAvailable:").or_else(|| status_kib(meminfo, "MemFree:"))?;
    Some(kib.saturating_mul(1024))
}

/// Processes and threads of this user.
fn tasks_of_user() -> u64 {
    let uid = Uid::current().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    processes
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter(|entry| entry.metadata().is_ok_and(|process| process.uid() == uid))
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .filter_map(|status| status_kib(&status, "Threads:"))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text =
            "MemTotal:       24684096 kB\nMemFree:        100 kB\nMemAvailable:   23126612 kB\n";
        assert_eq!(mem_available_bytes(text), Some(23_126_612 * 1024));
        assert_eq!(mem_available_bytes("MemFree:   100 kB\n"), Some(100 * 1024));
        assert_eq!(mem_available_bytes("MemAvailable: much kB\n"), None);
        assert_eq!(mem_available_bytes(""), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read();
        assert!(
            machine.memory.iter().any(|room| room.limit == "the machine" && room.available > 0)
        );
        assert!(machine.mapped_bytes > 0);
        assert!(tasks_of_user() > 0);
    }
}
