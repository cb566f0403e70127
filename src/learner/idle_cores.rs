//! Measures how many cores were idle, from `/proc/stat`.

use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// Idle time of the cores that this run may use.
#[derive(Debug)]
pub(super) struct IdleCores {
    cores: Vec<usize>,
    ticks_per_s: f64,
    last: Option<(Instant, u64)>,
}

impl IdleCores {
    /// Begins to count. The cores are those of the parent, because the learner may be pinned to one.
    pub(super) fn now() -> Self {
        let of_parent = sched_getaffinity(Pid::parent());
        let set = of_parent.or_else(|_| sched_getaffinity(Pid::from_raw(0)));
        let cores = set.map_or_else(
            |_| Vec::new(),
            |set| (0..CpuSet::count()).filter(|&core| set.is_set(core) == Ok(true)).collect(),
        );
        let ticks_per_s = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        let mut idle = Self { cores, ticks_per_s, last: None };
        idle.last = idle.read();
        idle
    }

    /// Cores idle on average since the last call, and cores there are; `None` where the kernel does not tell.
    pub(super) fn since_last_call(&mut self) -> Option<(f64, usize)> {
        let now = self.read();
        let before = std::mem::replace(&mut self.last, now);
        let ((from, idle_before), (to, idle)) = before.zip(now)?;
        let seconds = (to - from).as_secs_f64();
        let idle_s = idle.saturating_sub(idle_before) as f64 / self.ticks_per_s;
        (seconds > 0.0).then(|| (idle_s / seconds, self.cores.len()))
    }

    fn read(&self) -> Option<(Instant, u64)> {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        Some((Instant::now(), idle_ticks(&text, &self.cores)?))
    }
}

/// Ticks for which `cores` were idle, waits for disks included; `None` if the text tells of none of them, or of
/// no time at all.
fn idle_ticks(stat: &str, cores: &[usize]) -> Option<u64> {
    let mut idle = None;
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let core = words.next().and_then(|name| name.strip_prefix("cpu")?.parse().ok());
        if !core.is_some_and(|core: usize| cores.contains(&core)) {
            continue;
        }
        // user nice system idle iowait ...
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        if ticks.len() < 4 || ticks.iter().all(|&ticks| ticks == 0) {
            return None;
        }
        idle = Some(idle.unwrap_or(0) + ticks[3] + ticks.get(4).unwrap_or(&0));
    }
    idle
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "cpu  9 9 9 9 9\ncpu0 1 2 3 40 5 6 7\ncpu1 1 2 3 100 0\ncpu10 1 1 1 1 1\nintr 5\n";

    #[test]
    fn idle_time_is_that_of_the_cores_in_question() {
        assert_eq!(idle_ticks(STAT, &[0]), Some(45));
        assert_eq!(idle_ticks(STAT, &[0, 1]), Some(145));
        assert_eq!(idle_ticks(STAT, &[7]), None, "no such core");
        assert_eq!(idle_ticks("cpu0 0 0 0 0 0", &[0]), None, "a kernel that does not count");
        assert_eq!(idle_ticks("cpu0 1 2", &[0]), None);
    }
}
