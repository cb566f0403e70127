//! The status segment of a run: a small piece of named shared memory that the supervisor writes and any program of the
//! same user may read.
//!
//! ```text
//! word 0   magic and format version, stored last
//!      1   pid of the supervisor          2   its start time, clock ticks since boot
//!      3   bytes of the run folder's path 4.. the path, 8 bytes to a word
//!    512   the words of `shm::seqlock`; payload of a buffer:
//!              0   bytes of the status    1.. the status, 8 bytes to a word
//! ```
//!
//! Unlike the memory that a run works in, it has a name and can therefore be left behind by SIGKILL;
//! [`super::sweep`] removes such remains. Its file (`/dev/shm/<name>`, mode 0600) is all there is: the
//! `shared_memory` crate writes link files only on request. The supervisor holds a lock on it for
//! its time. A run is complete without one: if it cannot be made, say so and go on.
//!
//! Invariants of the unsafe code:
//! - I1: a [`Shmem`] maps at least `SEGMENT_BYTES` from `as_ptr()`, page-aligned and readable, for as
//!   long as it exists: [`create`](StatusSegment::create) makes it so large and
//!   [`attach`](StatusSegment::attach) checks. It is dropped only with its owner here or in `disown`,
//!   both of which need the owner without borrows.
//! - I2: every access to the mapped bytes, in every process, is an atomic access to a word; the
//!   word references that are handed out borrow the owner of the mapping.
//! - I3: the file keeps its size (all of it was allocated, and only processes of the same user, who
//!   are trusted, can truncate it).
#![allow(unsafe_code)]

use super::run_id::{RunId, segment_path};
use impala_shm::seqlock::{Attempt, DefaultOrders, Reader, Writer, lock_words};
use impala_shm::sync::{AtomicU64, Ordering, ReadWord, fence};
use nix::sys::mman::{ProtFlags, mprotect};
use shared_memory::{Shmem, ShmemConf, ShmemError};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

/// Largest status, in bytes.
pub const MAX_STATUS_BYTES: usize = 64 * 1024;

const MAGIC: u64 = u64::from_le_bytes(*b"IMPALAS1");
const MAGIC_WORD: usize = 0;
const PID_WORD: usize = 1;
const START_WORD: usize = 2;
const RUN_DIR_WORD: usize = 3;
const HEADER_WORDS: usize = 512;
const MAX_RUN_DIR_BYTES: usize = (HEADER_WORDS - RUN_DIR_WORD - 1) * WORD_BYTES;
const WORD_BYTES: usize = size_of::<u64>();
const PAYLOAD_WORDS: usize = 1 + MAX_STATUS_BYTES / WORD_BYTES;
const SEGMENT_WORDS: usize = HEADER_WORDS + lock_words(PAYLOAD_WORDS);
const SEGMENT_BYTES: usize = SEGMENT_WORDS * WORD_BYTES;

/// Tries of one [`StatusView::read`].
const MAX_TRIES: usize = 8;

/// What can be wrong with a status segment.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Not a name of a segment.
    #[error("'{0}' is not the name of a status segment: impala-<pid>-<start time>")]
    Name(String),
    /// A text does not fit.
    #[error("{what} of {bytes} bytes is above the limit of {limit}")]
    TooLong {
        /// Which.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The shared memory could not be made or mapped.
    #[error("cannot {doing} the status segment '{name}': {cause}")]
    Shmem {
        /// What was tried.
        doing: &'static str,
        /// The segment.
        name: String,
        /// What the crate says.
        cause: ShmemError,
    },
    /// A system call failed.
    #[error("cannot {doing} the status segment '{name}': {cause}; is /dev/shm full?")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// The segment.
        name: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// Not (yet) a segment of this version.
    #[error(
        "'{0}' is not a status segment of this version, or not ready yet: use programs of one build"
    )]
    Format(String),
    /// This process gave it up.
    #[error("the status segment belongs to the supervisor alone")]
    Disowned,
}

fn words_of(shmem: &Shmem) -> &[AtomicU64] {
    let words = shmem.as_ptr().cast_const().cast::<AtomicU64>();
    // SAFETY: I1 (as many bytes are mapped, aligned, for as long as `shmem` is borrowed), I2, I3.
    unsafe { std::slice::from_raw_parts(words, SEGMENT_WORDS) }
}

/// For the mapping of a reader, which is write-protected.
fn read_words_of(shmem: &Shmem) -> &[ReadWord] {
    ReadWord::of(words_of(shmem))
}

fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    words[0].store(bytes.len() as u64, Ordering::Relaxed);
    for (word, chunk) in words[1..].iter().zip(bytes.chunks(WORD_BYTES)) {
        let mut padded = [0; WORD_BYTES];
        padded[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
    }
}

/// Whatever the words hold: no more bytes than they have room for.
fn load_bytes(words: &[ReadWord]) -> Vec<u8> {
    let room = (words.len() - 1) * WORD_BYTES;
    let len = usize::try_from(words[0].load()).map_or(room, |len| len.min(room));
    let mut bytes = Vec::with_capacity(len.next_multiple_of(WORD_BYTES));
    for word in &words[1..][..len.div_ceil(WORD_BYTES)] {
        bytes.extend_from_slice(&word.load().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The supervisor's side. Dropping it removes the segment.
pub struct StatusSegment {
    name: String,
    /// Who made it. A forked child holds a copy of this value, and must not remove anything.
    owner_pid: u32,
    /// `None` once disowned.
    shmem: Option<Shmem>,
    /// Open and locked: tells sweeps in other PID namespaces that the run is alive.
    lock: Option<File>,
}

impl StatusSegment {
    /// Makes the segment `name` (a [`RunId`], as text) for a run in `run_dir`.
    ///
    /// # Errors
    /// [`StatusError`]: a bad or existing name, a path above 4064 bytes, no room in `/dev/shm`.
    pub fn create(name: &str, run_dir: &Path) -> Result<Self, StatusError> {
        let id = RunId::parse(name).ok_or_else(|| StatusError::Name(name.to_owned()))?;
        let run_dir = run_dir.as_os_str().as_bytes();
        check_length("the run folder's path", run_dir, MAX_RUN_DIR_BYTES)?;
        let shmem = ShmemConf::new().os_id(name).size(SEGMENT_BYTES).create().map_err(|cause| {
            StatusError::Shmem { doing: "create", name: name.to_owned(), cause }
        })?;
        // The crate has only set the size: without this, a full /dev/shm would be a SIGBUS later.
        // On an error the drop of `shmem` removes the segment.
        let lock = allocate_and_lock(name).map_err(|cause| StatusError::Os {
            doing: "allocate and lock",
            name: name.to_owned(),
            cause,
        })?;
        let words = words_of(&shmem);
        words[PID_WORD].store(id.pid.into(), Ordering::Relaxed);
        words[START_WORD].store(id.start_ticks, Ordering::Relaxed);
        store_bytes(&words[RUN_DIR_WORD..HEADER_WORDS], run_dir);
        // pairs with the fence in `StatusSegment::attach`
        words[MAGIC_WORD].store(MAGIC, Ordering::Release);
        Ok(Self {
            name: name.to_owned(),
            owner_pid: std::process::id(),
            shmem: Some(shmem),
            lock: Some(lock),
        })
    }

    /// Opens the segment of a run for reading.
    ///
    /// # Errors
    /// [`StatusError`]: a bad name, no such segment, another user's, or of another version.
    pub fn attach(name: &str) -> Result<StatusView, StatusError> {
        RunId::parse(name).ok_or_else(|| StatusError::Name(name.to_owned()))?;
        let shmem = ShmemConf::new().os_id(name).open().map_err(|cause| StatusError::Shmem {
            doing: "open",
            name: name.to_owned(),
            cause,
        })?;
        if shmem.len() < SEGMENT_BYTES {
            return Err(StatusError::Format(name.to_owned()));
        }
        read_only(&shmem).map_err(|cause| StatusError::Os {
            doing: "write-protect",
            name: name.to_owned(),
            cause,
        })?;
        if read_words_of(&shmem)[MAGIC_WORD].load() != MAGIC {
            return Err(StatusError::Format(name.to_owned()));
        }
        // Acquires the rest of the header from the Release store in `StatusSegment::create`; a
        // fence, because std promises no more than Relaxed loads on read-only memory.
        fence(Ordering::Acquire);
        Ok(StatusView { shmem })
    }

    /// The name to attach to.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Replaces the status (JSON, or whatever the reader expects), at most [`MAX_STATUS_BYTES`].
    ///
    /// # Errors
    /// [`StatusError::TooLong`] (the status before stays), [`StatusError::Disowned`].
    pub fn publish(&mut self, status: &[u8]) -> Result<(), StatusError> {
        let shmem = self.shmem.as_ref().ok_or(StatusError::Disowned)?;
        check_length("a status", status, MAX_STATUS_BYTES)?;
        let mut writer =
            Writer::<DefaultOrders>::new(&words_of(shmem)[HEADER_WORDS..], PAYLOAD_WORDS);
        let tick = writer.latest_version() + 1;
        // One a tick: versions outlast every run.
        if let Ok(writing) = writer.begin(tick) {
            store_bytes(writing.payload(), status);
            writing.finish();
        }
        Ok(())
    }

    /// To be called by a forked child: unmaps its copy, and leaves the segment to the supervisor.
    pub fn disown(&mut self) {
        if let Some(mut shmem) = self.shmem.take() {
            shmem.set_owner(false);
        }
        self.lock = None;
    }
}

impl Drop for StatusSegment {
    fn drop(&mut self) {
        // A child that forgot to disown must still not remove the segment of its parent.
        if std::process::id() != self.owner_pid {
            self.disown();
        }
    }
}

impl std::fmt::Debug for StatusSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusSegment").field("name", &self.name).finish_non_exhaustive()
    }
}

fn check_length(what: &'static str, bytes: &[u8], limit: usize) -> Result<(), StatusError> {
    if bytes.len() > limit {
        return Err(StatusError::TooLong { what, bytes: bytes.len(), limit });
    }
    Ok(())
}

fn allocate_and_lock(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open(segment_path(name))?;
    let length = i64::try_from(SEGMENT_BYTES).map_err(io::Error::other)?;
    nix::fcntl::posix_fallocate(&file, 0, length)?;
    // Only a look of `run_id::list` can hold it, and not for long.
    file.lock()?;
    Ok(file)
}

/// The crate maps for writing; a reader has no business to.
fn read_only(shmem: &Shmem) -> io::Result<()> {
    let start = NonNull::new(shmem.as_ptr()).ok_or(io::ErrorKind::InvalidInput)?.cast();
    // SAFETY: I1: exactly this mapping, which nothing in this process has a reference into yet.
    unsafe { mprotect(start, shmem.len(), ProtFlags::PROT_READ) }?;
    Ok(())
}

/// A reader's side of a status segment. It outlives the supervisor, and never removes anything.
pub struct StatusView {
    shmem: Shmem,
}

impl StatusView {
    /// The supervisor.
    #[must_use]
    pub fn id(&self) -> Option<RunId> {
        let words = read_words_of(&self.shmem);
        let pid = u32::try_from(words[PID_WORD].load()).ok()?;
        Some(RunId { pid, start_ticks: words[START_WORD].load() })
    }

    /// The folder of the run.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        let bytes = load_bytes(&read_words_of(&self.shmem)[RUN_DIR_WORD..HEADER_WORDS]);
        PathBuf::from(OsStr::from_bytes(&bytes))
    }

    /// The latest status and its number (1 for the first), if it is newer than `have_tick`.
    #[must_use]
    pub fn read(&self, have_tick: u64) -> Option<(u64, Vec<u8>)> {
        let reader = Reader::<DefaultOrders>::new(
            &read_words_of(&self.shmem)[HEADER_WORDS..],
            PAYLOAD_WORDS,
        );
        for _ in 0..MAX_TRIES {
            match reader.try_read(have_tick, load_bytes) {
                Attempt::New(tick, status) => return Some((tick, status)),
                Attempt::Unchanged => return None,
                Attempt::Torn => {}
            }
        }
        None
    }
}

impl std::fmt::Debug for StatusView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusView").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
