//! What the kernel reports of each process of the run: memory, CPU time, and time spent waiting for a core.

use std::collections::HashMap;
use std::fs;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::supervisor::{PoolStatus, Role, children_of};

/// Actors that are looked at one by one; of the others only the counters are known.
pub(super) const MAX_ACTORS_SHOWN: usize = 256;

/// Processes that one role may have started and that are looked at: an environment may start many.
const MAX_STARTED: usize = 64;

/// What one role's processes came to so far: the role itself, and what it started (workers of environments).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    /// Resident memory of the living processes, shared pages included.
    pub(super) rss_bytes: u64,
    /// Of that, what no other process shares.
    pub(super) private_bytes: u64,
    /// Time of all threads on a core, over all incarnations.
    pub(super) cpu_ns: u64,
    /// Time that threads were ready to run and had no core, over all incarnations.
    pub(super) core_wait_ns: u64,
}

impl Usage {
    const fn plus(self, other: Self) -> Self {
        Self {
            rss_bytes: self.rss_bytes + other.rss_bytes,
            private_bytes: self.private_bytes + other.private_bytes,
            cpu_ns: self.cpu_ns + other.cpu_ns,
            core_wait_ns: self.core_wait_ns + other.core_wait_ns,
        }
    }
}

/// The usage of one role over all its processes.
#[derive(Debug, Default)]
struct Tally {
    total: Usage,
    /// Of those that were there at the last look.
    each: HashMap<Pid, Usage>,
}

impl Tally {
    /// A process that is new counts from zero; what one that is gone had used stays in the sum.
    fn add(&mut self, now: HashMap<Pid, Usage>) {
        let Self { total, each } = self;
        (total.rss_bytes, total.private_bytes) = (0, 0);
        for (pid, usage) in &now {
            let before = each.get(pid).copied().unwrap_or_default();
            total.rss_bytes += usage.rss_bytes;
            total.private_bytes += usage.private_bytes;
            total.cpu_ns += usage.cpu_ns.saturating_sub(before.cpu_ns);
            // Threads that end take their part with them.
            total.core_wait_ns += usage.core_wait_ns.saturating_sub(before.core_wait_ns);
        }
        *each = now;
    }
}

/// The usage of all roles, sampled by the supervisor.
#[derive(Debug, Default)]
pub(super) struct Processes {
    page_bytes: u64,
    cores: usize,
    supervisor: Usage,
    roles: HashMap<Role, Tally>,
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
        self.supervisor = self.usage(Pid::this()).map_or(self.supervisor, |(usage, _)| usage);
        let shown = status.children.iter().take(MAX_ACTORS_SHOWN + 1);
        // The policy process is the last of them, if there is one.
        let policy = status.children.iter().skip(MAX_ACTORS_SHOWN + 1);
        for child in shown.chain(policy.filter(|child| child.role == Role::Policy)) {
            let now = child.pid.map(|pid| self.with_started(Pid::from_raw(pid)));
            if let Some(now) = now.filter(|now| !now.is_empty()) {
                self.roles.entry(child.role).or_default().add(now);
            }
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
        self.roles.get(&role).map(|tally| tally.total).unwrap_or_default()
    }

    /// The sum over the actors that are looked at.
    pub(super) fn actors(&self) -> Usage {
        let actors = self.roles.iter().filter(|(role, _)| matches!(role, Role::Actor(_)));
        actors.fold(Usage::default(), |sum, (_, tally)| sum.plus(tally.total))
    }

    /// A process and those that it started, as far as they are there.
    fn with_started(&self, root: Pid) -> HashMap<Pid, Usage> {
        let (mut found, mut left) = (HashMap::new(), vec![root]);
        while let Some(pid) = left.pop() {
            if found.len() <= MAX_STARTED
                && let Some((usage, started)) = self.usage(pid)
            {
                found.insert(pid, usage);
                left.extend(started);
            }
        }
        found
    }

    /// What one process uses, and which processes it has started. `None` if it is gone, or where `/proc` is
    /// not to be had.
    fn usage(&self, pid: Pid) -> Option<(Usage, Vec<Pid>)> {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let mut pages = statm.split_whitespace().skip(1).map(|word| word.parse::<u64>().ok());
        let (resident, shared) = (pages.next()??, pages.next()??);
        if resident == 0 {
            // Dead, and not yet reaped.
            return None;
        }
        let (mut core_wait_ns, mut started) = (0, Vec::new());
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            // A kernel without scheduler statistics has no such file: then nothing is known of waiting.
            let times = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let waited = times.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
            core_wait_ns += waited.unwrap_or(0);
            let thread = thread.file_name().to_str().and_then(|name| name.parse().ok());
            started.extend(thread.map(Pid::from_raw).map(children_of).unwrap_or_default());
        }
        // Of all threads, those that have ended included.
        let on_core = clock_getcpuclockid(pid).and_then(|clock| clock.now()).ok()?;
        let cpu_ns =
            u64::try_from(std::time::Duration::from(on_core).as_nanos()).unwrap_or(u64::MAX);
        let usage = Usage {
            rss_bytes: resident * self.page_bytes,
            private_bytes: resident.saturating_sub(shared) * self.page_bytes,
            cpu_ns,
            core_wait_ns,
        };
        Some((usage, started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{ChildState, ChildStatus};
    use std::process::Command;
    use std::time::{Duration, Instant};

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
        if let Some(tally) = processes.roles.get_mut(&Role::Actor(3)) {
            tally.each.clear();
        }
        processes.sample(&status(std::process::id()));
        let both = processes.of(Role::Actor(3));
        assert!(both.cpu_ns >= 2 * first.cpu_ns, "{both:?} after {first:?}");
        assert_eq!(processes.of(Role::Learner), Usage::default());
    }

    #[test]
    fn what_a_process_started_and_all_threads_are_counted() {
        let (mut processes, deadline) =
            (Processes::new(), Instant::now() + Duration::from_secs(60));
        let mut busy = Command::new("sh");
        let mut busy = busy.args(["-c", "while :; do :; done"]).spawn().expect("a shell");
        let shell = Pid::from_raw(i32::try_from(busy.id()).expect("a pid"));
        // What a thread uses that has ended before anybody looks, and what the shell uses.
        let (by_thread, by_shell_ns) = (Duration::from_millis(200), 20_000_000);
        let thread_clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let cpu_time = || Duration::from(thread_clock.now().expect("each thread has one"));
                let start = cpu_time();
                while cpu_time() - start < by_thread {
                    std::hint::spin_loop();
                }
            });
        });
        let of_shell = |processes: &Processes| {
            let tally = &processes.roles[&Role::Actor(3)];
            tally.each.get(&shell).map_or(0, |usage| usage.cpu_ns)
        };
        processes.sample(&status(std::process::id()));
        while of_shell(&processes) < by_shell_ns && Instant::now() < deadline {
            std::thread::yield_now();
            processes.sample(&status(std::process::id()));
        }
        let both = processes.actors();
        busy.kill().expect("it runs");
        busy.wait().expect("reaped");
        let (here, there) = (both.cpu_ns - of_shell(&processes), of_shell(&processes));
        assert!(Duration::from_nanos(here) >= by_thread && there >= by_shell_ns, "{both:?}");
        // When it is gone, its time stays and its memory does not.
        processes.sample(&status(std::process::id()));
        let tally = &processes.roles[&Role::Actor(3)];
        assert!(tally.total.cpu_ns >= both.cpu_ns && !tally.each.contains_key(&shell));
    }
}
