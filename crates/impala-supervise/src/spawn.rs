//! Starts one child, and reaps it when it has died.
//!
//! The order at a death is fixed: the group is killed while the zombie still pins its number, the
//! zombie is reaped, and only then may anything be taken back from it ([`Reaped`] is the proof).

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::eventfd::EventFd;
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, dup2_stdin, getppid, setpgid};
use rustix::process::{Signal as RawSignal, pidfd_send_signal};

use super::contract::Role;
use super::control::{ChildControl, ParentEnd, pair};
use super::exit::ExitKind;
use super::fork::{ForkError, PostFork, fork};
use super::janitor::{Janitor, open_pidfd};
use super::machine::Cause;
use super::orphans;
use impala_shm::kill_point;

/// A living child, or a zombie that has not been reaped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pidfd: OwnedFd,
    pub(super) control: ParentEnd,
}

/// Proof that nothing of this child can write any more. Only [`Process::reap`] makes one.
#[derive(Debug)]
pub(super) struct Reaped {
    pub(super) pid: Pid,
    pub(super) cause: Cause,
}

/// Who the new process is to be.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) run: String,
    pub(super) role: Role,
    pub(super) incarnation: u16,
    /// Signals that stay ignored.
    pub(super) ignored: SigSet,
    /// Whether to tell the kernel whom to kill first when memory runs out.
    pub(super) adjust_oom: bool,
}

/// Forks a child that becomes `identity` and runs `body`. `in_child` is called in the child once
/// it is sure to die with its parent; it also closes what only the supervisor may hold.
pub(super) fn spawn(
    identity: Identity,
    wakeup: &Arc<EventFd>,
    in_child: impl FnOnce(),
    body: impl FnOnce(ChildControl) -> ExitKind,
) -> Result<Process, ForkError> {
    let (parent_end, control) = pair(wakeup).map_err(ForkError::Descriptor)?;
    let mut parent_end = Some(parent_end);
    let kept = &mut parent_end;
    let parent = Pid::this();
    // `control` is moved in and `kept` is borrowed: the parent drops the one, the child the other.
    let pid = fork(move |bare| {
        kill_point!("child.before_deathsig");
        if !dies_with(parent) {
            return ExitKind::Internal.code();
        }
        in_child();
        drop(kept.take());
        identity.apply(&bare);
        control.report_panics();
        kill_point!("child.before_role");
        body(control).code()
    })?;
    // Both sides do it: it is done before either goes on.
    let _ = setpgid(pid, pid);
    // The number cannot be used again before we have reaped it.
    match open_pidfd(pid) {
        Ok(pidfd) => {
            let control = parent_end.take().expect("taken in the child alone");
            Ok(Process { pid, pidfd, control })
        }
        Err(errno) => {
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
            Err(ForkError::Descriptor(io::Error::from(errno)))
        }
    }
}

/// From here on the kernel kills this process when its parent dies. False: it died before that.
/// The parent is compared with the one that forked, not with 1: a subreaper may have taken over.
fn dies_with(parent: Pid) -> bool {
    set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent
}

impl Identity {
    fn apply(&self, bare: &PostFork) {
        // Its own group: the terminal's signals reach the supervisor alone.
        let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        let Self { run, role, incarnation, .. } = self;
        if let Ok(name) = CString::new(format!("impala-{role}")) {
            let _ = set_name(&name);
        }
        bare.mark(orphans::MARKER, &format!("{run}/{role}/{incarnation}"));
        if self.adjust_oom {
            // An actor is the cheapest to lose. Fails where /proc is read-only: then as it was.
            let score = if *role == Role::Learner { "100" } else { "500" };
            let _ = fs::write("/proc/self/oom_score_adj", score);
        }
        // A background group that reads its terminal would be stopped.
        if let Ok(null) = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            let _ = dup2_stdin(null);
        }
        bare.keep_freed_memory();
        bare.usual_signals(&self.ignored);
        let _ = SigSet::empty().thread_set_mask();
    }
}

impl Process {
    /// Readable once the whole process, every thread of it, is dead.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// SIGKILL to the child and its group. It works on stopped processes too.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, RawSignal::KILL);
        self.signal_group(Signal::SIGKILL);
    }

    /// A signal to the child's process group.
    pub(super) fn signal_group(&self, signal: Signal) {
        // ESRCH: the group has died meanwhile.
        let _ = killpg(self.pid, signal);
    }

    /// Kills what is left of the group and reaps the child. `None`: it is not dead yet.
    pub(super) fn reap(&self, janitor: &mut Janitor) -> Option<Reaped> {
        let id = || Id::PIDFd(self.pidfd.as_fd());
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        let peeked = waitid(id(), look | WaitPidFlag::WNOWAIT);
        if matches!(peeked, Ok(WaitStatus::StillAlive) | Err(Errno::EINTR)) {
            return None;
        }
        self.signal_group(Signal::SIGKILL);
        janitor.remove_group(self.pid);
        let cause = match waitid(id(), look) {
            Ok(WaitStatus::Exited(_, code)) => Cause::Exited(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Cause::Signaled(signal as i32),
            // ECHILD: somebody else reaped it, so its exit status is unknown.
            _ => Cause::Signaled(0),
        };
        Some(Reaped { pid: self.pid, cause })
    }
}

/// For the user: `exit code 7 (environment failed)`, `SIGSEGV`.
pub(super) fn describe(cause: Cause) -> String {
    match cause {
        Cause::Exited(code) => match ExitKind::from_code(code) {
            Some(kind) => format!("exit code {code} ({kind})"),
            None => format!("exit code {code}"),
        },
        Cause::Signaled(0) => "unknown cause".to_owned(),
        Cause::Signaled(number) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_read_well() {
        assert_eq!(describe(Cause::Exited(7)), "exit code 7 (environment failed)");
        assert_eq!(describe(Cause::Exited(101)), "exit code 101");
        assert_eq!(describe(Cause::Signaled(11)), "killed by SIGSEGV");
        assert_eq!(describe(Cause::Signaled(35)), "killed by signal 35");
    }
}
