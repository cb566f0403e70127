#![allow(unsafe_code)]
//! Forks a child process, and does in it what only a newly forked process may do.
//!
//! Invariants:
//!
//! - I1: the calling process has one thread. [`fork`] counts `/proc/self/task` first, and nothing in
//!   the supervisor starts a thread between the count and the fork. So no lock can be held by a
//!   thread that the child lacks, and the child may do whatever its parent may.
//! - I2: the child never returns into the frames above [`fork`]: it leaves through `_exit`, or
//!   aborts if its body panics. So no destructor of the parent runs twice.
//! - I3: signal dispositions are only ever set to "default" or "ignore": no handler runs anywhere.
//! - I4: [`PostFork::keep_only`] closes descriptors that other values believe to own. It is given out
//!   only to the body of a child whose body gets nothing else that holds a descriptor; by I2
//!   nothing that held one is used or dropped again.
//! - I5: the environment and the allocator's settings are written only in a process with one thread (I1,
//!   right after the fork).
//! - I6: `MADV_COLLAPSE` changes which pages hold a mapping's bytes and none of the bytes; on a range that
//!   is not mapped, or no longer, it fails.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
#[cfg(target_env = "gnu")]
use std::ptr;

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{ForkResult, Pid};

/// Why there is no new process.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// A fork of a process with threads leaves locks behind that nobody can open.
    #[error(
        "the supervisor has {threads} threads and can only fork with one; nothing in it may start a thread"
    )]
    Threads {
        /// Entries in /proc/self/task.
        threads: usize,
    },
    /// The threads could not be counted.
    #[error("cannot read /proc/self/task: {0}; mount /proc")]
    NoProc(#[source] io::Error),
    /// The system refused.
    #[error("fork: {0}; fewer actors need fewer processes and less memory")]
    Fork(#[source] nix::Error),
    /// A descriptor for the new process could not be had.
    #[error("cannot open a descriptor for a child: {0}; raise the limit on open files (ulimit -n)")]
    Descriptor(#[source] io::Error),
}

/// Leave to do, in a process just forked, what would be wrong anywhere else.
#[derive(Debug)]
pub(super) struct PostFork(());

/// Forks. `body` runs in the child, which leaves with the code that it returns; in the parent
/// it is dropped, and with it whatever was moved into it.
pub(super) fn fork(body: impl FnOnce(PostFork) -> u8) -> Result<Pid, ForkError> {
    one_thread()?;
    // What waits in a buffer would be written once by each of the two.
    let _ = io::stdout().flush();
    // SAFETY: I1, just counted; the child goes straight on to `leave_with`, which upholds I2.
    match unsafe { nix::unistd::fork() }.map_err(ForkError::Fork)? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => leave_with(body),
    }
}

/// Counts the threads of this process.
///
/// # Errors
/// [`ForkError::Threads`] if it could not be forked, because it has more than one.
pub fn one_thread() -> Result<(), ForkError> {
    match fs::read_dir("/proc/self/task").map_err(ForkError::NoProc)?.count() {
        1 => Ok(()),
        threads => Err(ForkError::Threads { threads }),
    }
}

fn leave_with(body: impl FnOnce(PostFork) -> u8) -> ! {
    /// A panic must not unwind into frames that belong to the parent (I2).
    struct AbortOnUnwind;
    impl Drop for AbortOnUnwind {
        fn drop(&mut self) {
            std::process::abort();
        }
    }
    let guard = AbortOnUnwind;
    let code = body(PostFork(()));
    std::mem::forget(guard);
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    // SAFETY: I2: no destructor of the parent's frames may run in the child, so none does.
    unsafe { libc::_exit(i32::from(code)) }
}

impl PostFork {
    /// Every signal as a program expects it: default, except that broken pipes are errors, that a
    /// background process may write to its terminal, and that `ignored` stay so.
    pub(super) fn usual_signals(&self, ignored: &SigSet) {
        for number in Signal::iterator() {
            match number {
                Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE => {}
                Signal::SIGTTOU => ignore(number),
                _ if ignored.contains(number) => {}
                _ => set_default(number),
            }
        }
    }

    /// Names this process to those that look for survivors: what it starts inherits the name.
    pub(super) fn mark(&self, name: &str, value: &str) {
        // SAFETY: I5: `PostFork` is given out right after the fork, when there is one thread.
        unsafe { std::env::set_var(name, value) };
    }

    /// Lets the allocator keep what is freed. By default it gives large pieces back to the kernel, and the
    /// next tensor of the same size pays a page fault for each 4 KiB of it, on every update.
    pub(super) fn keep_freed_memory(&self) {
        #[cfg(target_env = "gnu")]
        for (setting, value) in [
            (libc::M_MMAP_MAX, 0),
            (libc::M_TRIM_THRESHOLD, libc::c_int::MAX),
            (libc::M_ARENA_MAX, 1),
        ] {
            // SAFETY: I5: with one thread nobody else is in the allocator.
            unsafe { libc::mallopt(setting, value) };
        }
    }

    /// Closes every descriptor but this one: no file, no lock, no terminal is held.
    pub(super) fn keep_only(&self, kept: &OwnedFd) {
        let kept = kept.as_raw_fd().unsigned_abs();
        for (first, last) in [(0, kept.checked_sub(1)), (kept + 1, Some(u32::MAX))] {
            if let Some(last) = last {
                // By its number: the function is in glibc since 2.34 only.
                // SAFETY: I4: whatever owned these descriptors is neither used nor dropped.
                unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            }
        }
    }
}

/// Puts the heap, as it is now, into large pages. A library that fills it before `main` (libtorch: 58 MB)
/// makes every fork copy and every death take apart an entry for each 4 KiB of it, which is most of what
/// a small process takes to die. Linux before 6.1 refuses, and all is as it was.
pub(super) fn pack_heap() {
    #[cfg(target_env = "gnu")]
    for (first, last) in fs::read_to_string("/proc/self/maps").iter().flat_map(|m| heap_ranges(m)) {
        // SAFETY: I6: no byte changes, whatever the range is by now.
        unsafe {
            libc::madvise(ptr::without_provenance_mut(first), last - first, libc::MADV_COLLAPSE)
        };
    }
}

/// Ranges of whole large pages in the heap, from the text of `/proc/self/maps`.
fn heap_ranges(maps: &str) -> impl Iterator<Item = (usize, usize)> {
    const LARGE_PAGE_BYTES: usize = 1 << 21;
    maps.lines().filter(|line| line.ends_with("[heap]")).filter_map(|line| {
        let (first, last) = line.split_once(' ')?.0.split_once('-')?;
        let [first, last] = [first, last].map(|text| usize::from_str_radix(text, 16).ok());
        let first = first?.next_multiple_of(LARGE_PAGE_BYTES);
        let last = last? / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
        (first < last).then_some((first, last))
    })
}

/// The supervisor must hear of its children: an inherited "ignore" would let the kernel reap them.
pub(super) fn hear_of_children() {
    set_default(Signal::SIGCHLD);
}

/// Writing to a closed pipe or socket is an error and not a death.
pub(super) fn survive_broken_pipes() {
    ignore(Signal::SIGPIPE);
}

fn set_default(number: Signal) {
    // SAFETY: I3. It cannot fail for a signal that may be caught.
    let _ = unsafe { signal(number, SigHandler::SigDfl) };
}

fn ignore(number: Signal) {
    // SAFETY: I3. It cannot fail for a signal that may be caught.
    let _ = unsafe { signal(number, SigHandler::SigIgn) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_is_found_in_whole_large_pages() {
        let maps = "55d000201000-55d000a80000 rw-p 00000000 00:00 0          [heap]\n\
                    7f0000000000-7f0000800000 rw-p 00000000 00:00 0\n";
        assert_eq!(heap_ranges(maps).collect::<Vec<_>>(), [(0x55d0_0040_0000, 0x55d0_00a0_0000)]);
        let small = "55d000201000-55d0003ff000 rw-p 00000000 00:00 0 [heap]\n";
        assert_eq!(heap_ranges(small).count(), 0);
        pack_heap();
    }
}
