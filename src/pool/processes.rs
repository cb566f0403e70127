//! What the kernel says of each process of the run: memory, time on a core, time waiting for one.

use std::collections::HashMap;
use std::fs;

use crate::supervisor::{PoolStatus, Role};

/// Actors that are looked at one by one; of the others only the counters are known.
pub(super) const MAX_ACTORS_SHOWN: usize = 256;

/// What one role's processes came to so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    /// Resident memory of the living process, shared pages included.
    pub(super) rss_bytes: u64,
    /// Of that, what no other process shares.
    pub(super) private_bytes: u64,
    /// Time of its main thread on a core, over all its lives.
    pub(super) cpu_ns: u64,
    /// Time it was ready to run and had no core, over all its lives.
    pub(super) core_wait_ns: u64,
}

/// The usage of all roles, sampled by the supervisor.
#[derive(Debug, Default)]
pub(super) struct Processes {
    page_bytes: u64,
    cores: usize,
    supervisor: Usage,
    roles: HashMap<Role, (Option<i32>, Usage)>,
}

impl Processes {
    pub(super) fn new() -> Self {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        let page_bytes = page.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { page_bytes, cores, ..Self::default() }
    }

    /// Reads `/proc` anew.
    pub(super) fn sample(&mut self, status: &PoolStatus) {
        self.supervisor = self.usage("self").unwrap_or(self.supervisor);
        for child in status.children.iter().take(MAX_ACTORS_SHOWN + 1) {
            let Some(now) = child.pid.and_then(|pid| self.usage(&pid.to_string())) else {
                continue;
            };
            let (pid, total) = self.roles.entry(child.role).or_default();
            // A new process counts from zero: what the one before had used stays in the sum.
            if *pid == child.pid {
                total.cpu_ns = total.cpu_ns.max(now.cpu_ns);
                total.core_wait_ns = total.core_wait_ns.max(now.core_wait_ns);
            } else {
                total.cpu_ns += now.cpu_ns;
                total.core_wait_ns += now.core_wait_ns;
            }
            (total.rss_bytes, total.private_bytes) = (now.rss_bytes, now.private_bytes);
            *pid = child.pid;
        }
    }

    /// Cores that this process, and so the run, may use.
    pub(super) const fn cores(&self) -> usize {
        self.cores
    }

    pub(super) const fn supervisor(&self) -> Usage {
        self.supervisor
    }

    pub(super) fn of(&self, role: Role) -> Usage {
        self.roles.get(&role).map(|(_, usage)| *usage).unwrap_or_default()
    }

    /// The sum over the actors that are looked at.
    pub(super) fn actors(&self) -> Usage {
        let actors = self.roles.iter().filter(|(role, _)| matches!(role, Role::Actor(_)));
        actors.fold(Usage::default(), |sum, (_, (_, usage))| Usage {
            rss_bytes: sum.rss_bytes + usage.rss_bytes,
            private_bytes: sum.private_bytes + usage.private_bytes,
            cpu_ns: sum.cpu_ns + usage.cpu_ns,
            core_wait_ns: sum.core_wait_ns + usage.core_wait_ns,
        })
    }

    /// `None` if the process is gone, or where `/proc` is not to be had.
    fn usage(&self, pid: &str) -> Option<Usage> {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let mut pages = statm.split_whitespace().skip(1).map(|word| word.parse::<u64>().ok());
        let (resident, shared) = (pages.next()??, pages.next()??);
        if resident == 0 {
            // Dead, and not yet reaped.
            return None;
        }
        // A kernel without scheduler statistics has no such file: then nothing is known of cores.
        let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
        let mut times = schedstat.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        Some(Usage {
            rss_bytes: resident * self.page_bytes,
            private_bytes: resident.saturating_sub(shared) * self.page_bytes,
            cpu_ns: times.next().unwrap_or(0),
            core_wait_ns: times.next().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{ChildState, ChildStatus};
    use std::time::Duration;

    fn status(pid: u32) -> PoolStatus {
        let child = ChildStatus {
            role: Role::Actor(3),
            state: ChildState::Running,
            pid: i32::try_from(pid).ok(),
            incarnation: 1,
            restarts: 0,
        };
        PoolStatus { uptime: Duration::ZERO, children: vec![child], stopping: false, gap: None }
    }

    #[test]
    fn a_replaced_process_adds_to_the_one_before() {
        let mut processes = Processes::new();
        processes.sample(&status(std::process::id()));
        let first = processes.of(Role::Actor(3));
        assert!(first.rss_bytes > first.private_bytes && first.private_bytes > 0, "{first:?}");
        assert_eq!(processes.actors(), first);
        assert!(processes.supervisor().rss_bytes > 0);
        // Gone: what is known stays.
        processes.sample(&status(u32::MAX));
        assert_eq!(processes.of(Role::Actor(3)), first);
        // Seen as another process, the same usage counts twice.
        if let Some((pid, _)) = processes.roles.get_mut(&Role::Actor(3)) {
            *pid = Some(1);
        }
        processes.sample(&status(std::process::id()));
        let both = processes.of(Role::Actor(3));
        assert!(both.cpu_ns >= 2 * first.cpu_ns, "{both:?} after {first:?}");
        assert_eq!(processes.of(Role::Learner), Usage::default());
    }
}
