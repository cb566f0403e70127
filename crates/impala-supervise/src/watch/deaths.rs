//! What the supervisor does when a child dies: reads its last messages, kills the rest of its process group, reaps it,
//! takes back its slots, and kills the processes that it left behind.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpgid};

use super::messages::FINAL_DRAIN;
use super::{Event, ExitKind, Level, Role, Watch};
use crate::contract::Dead;
use crate::machine::Cause;
use crate::orphans;
use crate::spawn::describe;
use impala_shm::kill_point;

/// How long the end of a run waits for orphans that were killed.
const ORPHANS_TAKE: Duration = Duration::from_secs(1);

impl Watch<'_> {
    /// The child at this place seems to be dead. Nothing is taken back from it here: that follows
    /// from [`Event::Reaped`], when the machine says so.
    pub(super) fn reap(&mut self, index: usize) {
        kill_point!("supervisor.before_reap");
        self.hear(index, FINAL_DRAIN);
        let owned = self.owned();
        let slot = &mut owned.slots[index];
        let Some(process) = &slot.process else { return };
        let Some(reaped) = process.reap(&mut owned.janitor) else {
            return;
        };
        kill_point!("supervisor.after_reap");
        owned.events.forget(process.pidfd());
        slot.process = None;
        let (cause, reaped_pid) = (reaped.cause, reaped.pid);
        slot.reaped = Some(reaped);
        let before = slot.progress_at_start;
        let role = self.machine.places().role_at(index);
        let progressed = self.pool.progress(role) != before;
        self.awaiting_group_exit.push((reaped_pid, Event::Reaped { role, cause, progressed }));
        self.kill_orphans();
        self.reap_orphans();
    }

    /// Tells of the deaths of children of whose groups nobody is left. A helper may write to what its
    /// child held: until it is gone as well, nothing is taken back from the child.
    fn announce_deaths(&mut self) {
        let (gone, left) = std::mem::take(&mut self.awaiting_group_exit)
            .into_iter()
            .partition(|&(group, _)| is_gone(group));
        self.awaiting_group_exit = left;
        let gone: Vec<(Pid, Event)> = gone;
        self.queue.extend(gone.into_iter().map(|(_, event)| event));
    }

    /// Ends a child that cannot be watched. It is not waited for: it may sit in the kernel.
    pub(super) fn end_unwatched(&mut self, index: usize) {
        let slot = &mut self.owned().slots[index];
        slot.unwatched = true;
        if let Some(process) = &slot.process {
            process.kill();
        }
    }

    pub(super) fn reap_the_unwatched(&mut self) {
        for index in 0..self.owned().slots.len() {
            if self.owned().slots[index].unwatched {
                self.reap(index);
            }
        }
    }

    pub(super) fn reclaim(&mut self, role: Role) {
        let slot = self.slot(role);
        let incarnation = slot.incarnation;
        // Only what was reaped can be here.
        let Some(reaped) = slot.reaped.take() else {
            return;
        };
        let who = format!("{role} (pid {}, incarnation {incarnation})", reaped.pid);
        let how = describe(reaped.cause);
        match self.pool.reclaim(&Dead::new(role, incarnation)) {
            Ok(reclaimed) => {
                let orderly = reaped.cause == Cause::Exited(0);
                let level = if orderly { Level::Debug } else { Level::Warn };
                self.pool.log(level, &format!("{who}: {how}; {reclaimed}"));
            }
            Err(corrupt) => {
                self.pool.log(Level::Error, &format!("{who}: {how}; {corrupt}"));
                let reason = corrupt.to_string();
                self.queue.push_back(Event::Stop { exit: ExitKind::Corrupt, reason });
            }
        }
    }

    /// Kills the adopted processes that belong to no living child.
    fn kill_orphans(&mut self) {
        for orphan in self.adopted() {
            if !self.has_living_owner(orphan) {
                let _ = kill(orphan, Signal::SIGKILL);
            }
        }
    }

    /// Reaps the adopted processes that are dead, and tells of the children that this leaves nobody of.
    pub(super) fn reap_orphans(&mut self) {
        for orphan in self.adopted() {
            let _ = waitpid(orphan, Some(WaitPidFlag::WNOHANG));
        }
        self.announce_deaths();
    }

    /// The run is over: no process of it is left.
    pub(super) fn end_orphans(&mut self) {
        let deadline = Instant::now() + ORPHANS_TAKE;
        loop {
            let adopted = self.adopted();
            if adopted.is_empty() || Instant::now() > deadline {
                return;
            }
            for orphan in adopted {
                let _ = kill(orphan, Signal::SIGKILL);
                let _ = waitpid(orphan, Some(WaitPidFlag::WNOHANG));
            }
            std::thread::yield_now();
        }
    }

    /// Children of this process that it did not fork: their parents, children of a child, are dead.
    fn adopted(&mut self) -> Vec<Pid> {
        let owned = self.owned();
        let own = |pid: Pid| {
            let slots = owned.slots.iter().flat_map(|slot| &slot.process);
            pid == owned.janitor.pid() || slots.into_iter().any(|process| process.pid == pid)
        };
        orphans::children_of(Pid::this()).into_iter().filter(|&pid| !own(pid)).collect()
    }

    /// A helper that a living child started in the background, say through a script that has ended.
    fn has_living_owner(&mut self, orphan: Pid) -> bool {
        let group = getpgid(Some(orphan)).ok();
        let mark = orphans::mark_of(orphan);
        let run = self.config.run.clone();
        let places = self.machine.places();
        (0..).zip(&self.owned().slots).any(|(index, slot)| {
            let Some(process) = &slot.process else {
                return false;
            };
            let expected = format!("{run}/{}/{}", places.role_at(index), slot.incarnation);
            group == Some(process.pid) || mark.as_ref() == Some(&expected)
        })
    }
}

/// Whether no member of a dead child's group is left. All of them were killed, and what is killed becomes
/// a child of this process before its parent can be reaped; so none is left once none is ours. (The
/// number is not used again before that: it names the group.)
fn is_gone(group: Pid) -> bool {
    loop {
        match waitid(Id::PGid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
            Ok(WaitStatus::StillAlive) => return false,
            Err(Errno::EINTR) | Ok(_) => {}
            Err(_) => return true,
        }
    }
}
