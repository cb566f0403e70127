//! Sends SIGKILL to supervisors at work, each with one of its actors stopped, and measures how long until no process is
//! left.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::Serialize;

use super::error::ProofError;
use super::report::Percentiles;
use super::vitals::state_and_name;
use impala_rl::rng::Rng;
use impala_rl::supervisor::children_of;

/// No start takes longer, and no end.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// A supervisor is killed up to this long after its pool has come to work, in ms.
const MOMENT_MS: usize = 60;

/// What became of the killed supervisors' processes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(super) struct Killed {
    /// Supervisors that were killed.
    pub(crate) supervisors: u32,
    /// SIGKILL to the last process being gone.
    pub(crate) until_gone: Percentiles,
    /// Processes that had to be killed from here, half a minute later.
    pub(crate) left_behind: u64,
}

/// Kills `times` supervisors, one after the other. This process adopts what they leave; it must have no
/// other children.
pub(super) fn kill_supervisors(
    command: impl Fn(&Path) -> Command,
    folder: &Path,
    times: u32,
    seed: u64,
) -> Result<Killed, ProofError> {
    let mut rng = Rng::new(seed, u64::from_le_bytes(*b"kill -9!"));
    let (mut took, mut left_behind) = (Vec::new(), 0);
    for time in 0..times {
        let mut command = command(&folder.join(format!("killed-{time}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(ProofError::io("start a pool"))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let actors = wait_for_actors(pid)?;
        wait_ms(rng.below(MOMENT_MS));
        // One that was replaced meanwhile is as good as gone; most are not.
        let _ = kill(actors[rng.below(actors.len())], Signal::SIGSTOP);
        let start = Instant::now();
        let _ = kill(pid, Signal::SIGKILL);
        while !nobody_is_left() {
            if start.elapsed() > MAX_WAIT {
                let left = children_of(Pid::this());
                left_behind += left.len() as u64;
                for pid in left {
                    let _ = kill(pid, Signal::SIGKILL);
                }
            }
            wait_ms(1);
        }
        took.push(start.elapsed());
    }
    Ok(Killed { supervisors: times, until_gone: Percentiles::of(took), left_behind })
}

/// The actors of a pool, once there are some and the learner beside them.
fn wait_for_actors(supervisor: Pid) -> Result<Vec<Pid>, ProofError> {
    let start = Instant::now();
    while start.elapsed() < MAX_WAIT {
        let named = |name: &str| -> Vec<Pid> {
            let is = |pid: &Pid| state_and_name(*pid).is_some_and(|(_, own)| own.contains(name));
            children_of(supervisor).into_iter().filter(is).collect()
        };
        let actors = named("impala-actor");
        if actors.len() > 1 && !named("impala-learner").is_empty() {
            return Ok(actors);
        }
        wait_ms(1);
    }
    Err(ProofError::io("see a pool come to work")(Errno::ETIMEDOUT.into()))
}

/// Reaps what has died; whether that was all.
pub(super) fn nobody_is_left() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) => return false,
            _ => {}
        }
    }
}

/// What is waited for here has no descriptor.
pub(super) fn wait_ms(ms: usize) {
    let ms = u16::try_from(ms).unwrap_or(u16::MAX);
    let _ = poll(&mut [], PollTimeout::from(ms));
}
