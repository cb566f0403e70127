//! The janitor: a small process that cleans up after a supervisor that was killed.
//!
//! It is forked before anything with a name exists, holds nothing but the read end of a pipe, and
//! learns through that pipe what there is to clean: process groups, the status segment, folders
//! with temporary files. A note that was written is in force, even if the writer dies at once: the
//! janitor reads what is left in the pipe before it acts. It acts when the supervisor's pidfd says
//! that it is dead (an end of the pipe may still be held by a child that was stopped right after
//! its fork), and leaves without acting when it is told that the end was an orderly one.
//!
//! Children die with the supervisor by the kernel's hand (`PR_SET_PDEATHSIG`); what they started
//! does not, nor does a child that had no time to ask for it. Both are found and killed here.

mod notes;

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, pipe2, read, setpgid, write};
use rustix::process::{PidfdFlags, Signal as RawSignal, pidfd_open, pidfd_send_signal};

use super::fork::{ForkError, PostFork, fork};
use super::orphans;
use notes::{CleanupList, NOTE_BYTES, Note, Reader};

/// Killed processes are waited for this long before the files that they write are removed.
const DEATH_TAKES: Duration = Duration::from_millis(500);

/// A janitor that was told to leave and is still there after this was stopped.
const LEAVING_TAKES_MS: u16 = 1_000;

/// Something with a name that must not outlive the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanupTarget {
    /// This file: the status segment, `/dev/shm/NAME`.
    Segment(PathBuf),
    /// Every `*.tmp` file or folder right in this folder.
    TempFiles(PathBuf),
    /// This folder, with all that is in it.
    Folder(PathBuf),
}

/// The supervisor's hold on its janitor.
#[derive(Debug)]
pub(super) struct Janitor {
    pid: Pid,
    pidfd: OwnedFd,
    pipe: OwnedFd,
    run: String,
    cleanup: CleanupList,
}

impl Janitor {
    /// Forks a janitor for the run with this name. The caller has blocked all signals, and the
    /// janitor keeps them so: nothing but SIGKILL ends it early.
    pub(super) fn start(run: &str) -> Result<Self, ForkError> {
        Self::start_with(run, CleanupList::default())
    }

    fn start_with(run: &str, cleanup: CleanupList) -> Result<Self, ForkError> {
        let descriptor = |errno| ForkError::Descriptor(io::Error::from(errno));
        let (read_end, write_end) =
            pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(descriptor)?;
        let supervisor = Pid::this();
        let shift = JanitorProcess {
            run: run.to_owned(),
            cleanup: cleanup.clone(),
            reader: Reader::default(),
        };
        let pid = fork(move |bare| shift.work(&bare, read_end, supervisor))?;
        // Both sides do it: it is done before either goes on.
        let _ = setpgid(pid, pid);
        match open_pidfd(pid) {
            Ok(pidfd) => Ok(Self { pid, pidfd, pipe: write_end, run: run.to_owned(), cleanup }),
            Err(errno) => {
                // Closing the pipe without this word would end the pool.
                let _ = tell(&write_end, &Note::Leave);
                let _ = waitpid(pid, None);
                Err(descriptor(errno))
            }
        }
    }

    /// A new janitor in the place of one that died, with all that it knew.
    pub(super) fn start_again(&mut self) -> Result<(), ForkError> {
        self.reap();
        *self = Self::start_with(&self.run, self.cleanup.clone())?;
        Ok(())
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable once the janitor is dead.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// From here on the janitor removes this if the supervisor is killed. Call it before the thing
    /// is made.
    pub(super) fn guard(&mut self, guard: &CleanupTarget) -> io::Result<()> {
        // The janitor works from the root folder.
        let note = match guard {
            CleanupTarget::Segment(path) => Note::Segment(std::path::absolute(path)?),
            CleanupTarget::TempFiles(path) => Note::TempFiles(std::path::absolute(path)?),
            CleanupTarget::Folder(path) => Note::Folder(std::path::absolute(path)?),
        };
        tell(&self.pipe, &note)?;
        self.cleanup.learn(note);
        Ok(())
    }

    /// Called in a new child, before anything else can happen in it: this group is to be killed.
    pub(super) fn register_self(&self) {
        // A janitor that died is followed by one that knows it from `add_group`.
        let _ = tell(&self.pipe, &Note::GroupStarted(Pid::this().as_raw()));
    }

    /// The supervisor's own record of the same.
    pub(super) fn add_group(&mut self, group: Pid) {
        self.cleanup.learn(Note::GroupStarted(group.as_raw()));
    }

    /// The group was killed and its leader is about to be reaped: the number may be used again.
    pub(super) fn remove_group(&mut self, group: Pid) {
        let note = Note::GroupGone(group.as_raw());
        let _ = tell(&self.pipe, &note);
        self.cleanup.learn(note);
    }

    /// All has been cleaned up in order: the janitor leaves.
    pub(super) fn dismiss(&mut self) {
        let _ = tell(&self.pipe, &Note::Leave);
        if !self.is_gone_soon() {
            // Somebody has stopped it.
            let _ = pidfd_send_signal(&self.pidfd, RawSignal::KILL);
            let _left_to_init = self.is_gone_soon();
        }
        let _ = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
    }

    fn is_gone_soon(&self) -> bool {
        let mut death = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut death, LEAVING_TAKES_MS) == Ok(1)
    }

    fn reap(&self) {
        let _ = waitpid(self.pid, None);
    }
}

fn tell(pipe: &OwnedFd, note: &Note) -> io::Result<()> {
    write(pipe, &note.encode()?)?;
    Ok(())
}

/// A descriptor that is readable once the process is dead.
pub(super) fn open_pidfd(pid: Pid) -> nix::Result<OwnedFd> {
    let raw = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(nix::errno::Errno::ESRCH)?;
    let open = pidfd_open(raw, PidfdFlags::empty());
    open.map_err(|error| nix::errno::Errno::from_raw(error.raw_os_error()))
}

/// What ends a janitor's shift.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Wait,
    Leave,
    /// No writer is left.
    Closed,
}

/// The janitor's own side.
#[derive(Debug)]
struct JanitorProcess {
    run: String,
    cleanup: CleanupList,
    reader: Reader,
}

impl JanitorProcess {
    fn work(mut self, bare: &PostFork, pipe: OwnedFd, supervisor: Pid) -> u8 {
        bare.keep_only(&pipe);
        let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        let _ = nix::sys::prctl::set_name(c"impala-janitor");
        let _ = std::env::set_current_dir("/");
        // Without it the end of the pipe has to do.
        let alive = open_pidfd(supervisor).ok();
        if nix::unistd::getppid() != supervisor {
            return self.clean(&pipe);
        }
        loop {
            let mut waits = [
                PollFd::new(pipe.as_fd(), PollFlags::POLLIN),
                PollFd::new(alive.as_ref().unwrap_or(&pipe).as_fd(), PollFlags::POLLIN),
            ];
            // All signals are blocked: it returns when there is something to do.
            let _ = poll(&mut waits, PollTimeout::NONE);
            let dead = alive.is_some() && waits[1].any().unwrap_or(true);
            match self.listen(&pipe) {
                Told::Leave => return 0,
                Told::Closed => return self.clean(&pipe),
                Told::Wait if dead => return self.clean(&pipe),
                Told::Wait => {}
            }
        }
    }

    /// Reads all that is in the pipe.
    fn listen(&mut self, pipe: &OwnedFd) -> Told {
        let mut buffer = [0; NOTE_BYTES];
        loop {
            match read(pipe, &mut buffer) {
                Ok(0) => return Told::Closed,
                Ok(count) => self.reader.feed(&buffer[..count]),
                Err(_) => return Told::Wait,
            }
            while let Some(note) = self.reader.next() {
                if note == Note::Leave {
                    return Told::Leave;
                }
                self.cleanup.learn(note);
            }
        }
    }

    /// The supervisor is dead: kill what lives, then remove what it could have written.
    fn clean(mut self, pipe: &OwnedFd) -> u8 {
        let deadline = Instant::now() + DEATH_TAKES;
        // A child may have named itself since.
        if self.listen(pipe) == Told::Leave {
            return 0;
        }
        for &group in &self.cleanup.groups {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        for &leader in &self.cleanup.groups {
            await_death(Pid::from_raw(leader), deadline);
        }
        for segment in &self.cleanup.segments {
            let _ = fs::remove_file(segment);
        }
        self.cleanup.temp_folders.iter().for_each(|folder| remove_temporary(folder));
        for folder in &self.cleanup.folders {
            let _ = fs::remove_dir_all(folder);
        }
        self.kill_the_unnamed(pipe, deadline);
        0
    }

    /// Helpers that left their group bear a mark; a child that had no time to name itself, because
    /// it was stopped right after its fork, still holds the pipe.
    fn kill_the_unnamed(&mut self, pipe: &OwnedFd, deadline: Instant) {
        let own = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        let name = fs::read_link(own).unwrap_or_default();
        loop {
            let mut found = orphans::of_run(&self.run);
            if self.listen(pipe) != Told::Closed {
                found.extend(orphans::holders_of(&name));
            }
            let killed = found.iter().filter(|&&pid| kill(pid, Signal::SIGKILL).is_ok()).count();
            if killed == 0 || Instant::now() > deadline {
                return;
            }
            found.into_iter().for_each(|pid| await_death(pid, deadline));
        }
    }
}

/// Until the process is a zombie or gone, or the deadline has passed.
fn await_death(pid: Pid, deadline: Instant) {
    let Ok(pidfd) = open_pidfd(pid) else { return };
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    let _ = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout);
}

fn remove_temporary(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            // A checkpoint is made in a folder. Links are removed, not followed.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_temporary_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.tmp", "b.tmp2", "tmp", "c.safetensors"] {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        fs::create_dir(folder.path().join("d.tmp")).expect("made");
        fs::write(folder.path().join("d.tmp/half.safetensors"), "x").expect("written");
        fs::create_dir(folder.path().join("e")).expect("made");
        remove_temporary(folder.path());
        remove_temporary(&folder.path().join("missing"));
        let entries = fs::read_dir(folder.path()).expect("readable").flatten();
        let mut left: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["b.tmp2", "c.safetensors", "e", "tmp"]);
    }
}
