//! Sealed anonymous memory (a memfd) that several processes can map.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sysinfo::sysinfo;
use nix::unistd::ftruncate;

use super::region::{Access, Inherit, Region};

/// Sizes are rounded up to this; a multiple of the page size on the machines that are supported.
const PAGE_BYTES: usize = 4096;

/// Why shared memory cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShmError {
    /// A memory of no bytes.
    #[error("shared memory '{name}' would be empty; ask for at least one byte")]
    Empty {
        /// What it was for.
        name: String,
    },
    /// More than the machine has.
    #[error(
        "shared memory '{name}' needs {} MiB, but this machine has {} MiB of RAM and swap",
        mib(*.need_bytes), mib(*.have_bytes)
    )]
    TooLarge {
        /// What it was for.
        name: String,
        /// Bytes asked for.
        need_bytes: u64,
        /// Bytes of RAM and swap.
        have_bytes: u64,
    },
    /// The kernel refused a step of making it.
    #[error(
        "shared memory '{name}' of {} MiB: {step} failed: {errno}; free memory or raise the limit that \
         applies (container, cgroup, ulimit)",
        mib(*.len_bytes)
    )]
    Create {
        /// What it was for.
        name: String,
        /// The system call.
        step: &'static str,
        /// Bytes asked for.
        len_bytes: u64,
        /// What the kernel said.
        errno: Errno,
    },
    /// It exists, but cannot be mapped.
    #[error(
        "mapping {} MiB of shared memory failed: {errno}; raise the limit on address space (ulimit -v)",
        mib(*.len_bytes)
    )]
    Map {
        /// Bytes of the mapping.
        len_bytes: u64,
        /// What the kernel said.
        errno: Errno,
    },
}

/// For messages: never 0 for what is not 0.
const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Memory without a name, for the processes of one run. Zeroed when made.
///
/// Its pages are allocated before [`Memory::create`] returns, so touching them never fails for want of
/// memory, and it is sealed against a change of size, so no peer can turn an access into SIGBUS.
///
/// **Rights** follow the mapping, not the descriptor, which is always readable and writable. A forked
/// child inherits the descriptor and maps with the rights of its role. A role that may only read maps
/// [`Access::ReadOnly`] and then drops the `Memory`: without the descriptor it cannot map again, and the
/// mapping itself cannot be made writable by accident. The descriptor is closed on exec.
#[derive(Debug)]
pub struct Memory {
    fd: OwnedFd,
    len_bytes: usize,
}

impl Memory {
    /// Makes memory of at least `len_bytes` bytes (rounded up to whole pages). `name` shows up in
    /// `/proc/<pid>/maps` and in messages, and nowhere else.
    ///
    /// # Errors
    /// [`ShmError`] if the machine has not that much or the kernel refuses. Under a memory cgroup the
    /// kernel does not refuse but kills: compare with the cgroup's limit first.
    pub fn create(name: &str, len_bytes: usize) -> Result<Self, ShmError> {
        if len_bytes == 0 {
            return Err(ShmError::Empty { name: name.into() });
        }
        let need_bytes = len_bytes as u64;
        let failed = |step| {
            move |errno| ShmError::Create { name: name.into(), step, len_bytes: need_bytes, errno }
        };
        // Without this look the allocation below would eat all memory before it fails.
        let machine = sysinfo().map_err(failed("sysinfo"))?;
        let have_bytes = machine.ram_total().saturating_add(machine.swap_total());
        let too_large = || ShmError::TooLarge { name: name.into(), need_bytes, have_bytes };
        if need_bytes > have_bytes {
            return Err(too_large());
        }
        let len_bytes = len_bytes.checked_next_multiple_of(PAGE_BYTES).ok_or_else(too_large)?;
        let len = i64::try_from(len_bytes).map_err(|_| too_large())?;

        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd_create(name, flags).map_err(failed("memfd_create"))?;
        ftruncate(&fd, len).map_err(failed("ftruncate"))?;
        fallocate(&fd, FallocateFlags::empty(), 0, len).map_err(failed("fallocate"))?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).map_err(failed("sealing"))?;
        Ok(Self { fd, len_bytes })
    }

    /// Maps all of it into this process.
    ///
    /// # Errors
    /// [`ShmError::Map`] if the kernel refuses.
    pub fn map(&self, access: Access, inherit: Inherit) -> Result<Region, ShmError> {
        Region::map(self.fd.as_fd(), self.len_bytes, access, inherit)
            .map_err(|errno| ShmError::Map { len_bytes: self.len_bytes as u64, errno })
    }

    /// Bytes that there are: what was asked for, rounded up.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }
}

/// For another process to map, and for reading and writing without a mapping.
impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Memory> for OwnedFd {
    fn from(memory: Memory) -> Self {
        memory.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn memory_is_zeroed_allocated_and_sealed() {
        let memory = Memory::create("sealed", 5000).expect("two pages");
        assert_eq!(memory.len_bytes(), 2 * PAGE_BYTES);
        assert_eq!(ftruncate(&memory.fd, 0), Err(Errno::EPERM), "shrunk");
        assert_eq!(ftruncate(&memory.fd, 1 << 20), Err(Errno::EPERM), "grown");
        let unseal = fcntl(&memory.fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE));
        assert_eq!(unseal, Err(Errno::EPERM), "seals changed");
        let stat = nix::sys::stat::fstat(&memory.fd).expect("stat");
        assert_eq!(stat.st_blocks * 512, 2 * 4096, "pages are not there yet");
        let region = memory.map(Access::ReadOnly, Inherit::No).expect("mapped");
        let words = region.read_words(0, 2 * PAGE_BYTES / 8);
        assert!(words.iter().all(|word| word.load() == 0));
    }

    #[test]
    fn mappings_of_one_memory_are_one_memory() {
        let memory = Memory::create("shared", 64).expect("a page");
        let writer = memory.map(Access::ReadWrite, Inherit::No).expect("mapped");
        let reader = memory.map(Access::ReadOnly, Inherit::Yes).expect("mapped");
        drop(memory);
        writer.words(56, 1)[0].store(7, Ordering::Relaxed);
        assert_eq!(reader.read_words(56, 1)[0].load(), 7);
    }

    #[test]
    fn a_read_only_mapping_gives_no_words_to_store_to() {
        let memory = Memory::create("no-stores", 64).expect("a page");
        let region = memory.map(Access::ReadOnly, Inherit::No).expect("mapped");
        let words = || region.words(0, 1).len();
        let halves = || region.words32(0, 1).len();
        for hand_out in [&words as &dyn Fn() -> usize, &halves] {
            let hand_out = std::panic::AssertUnwindSafe(hand_out);
            assert!(std::panic::catch_unwind(hand_out).is_err(), "words to store to");
        }
        assert_eq!(region.read_words(0, 8).len(), 8);
    }

    /// The permissions (`r--s`) and the kernel's flags of the only mapping of a memory of this name.
    fn kernel_view(name: &str) -> (String, String) {
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("readable");
        let mut lines = smaps.lines();
        let file = format!("/memfd:{name} ");
        let head = lines.find(|line| line.contains(&file)).expect("mapped");
        let flags = lines.find(|line| line.starts_with("VmFlags:")).expect("flags");
        let permissions = head.split(' ').nth(1).expect("permissions");
        (permissions.into(), format!("{flags} "))
    }

    #[test]
    fn the_kernel_knows_who_may_write_and_who_may_inherit() {
        for (name, access, inherit, permissions, left_out_of_forks) in [
            ("view-r", Access::ReadOnly, Inherit::No, "r--s", true),
            ("view-w", Access::ReadWrite, Inherit::No, "rw-s", true),
            ("view-wi", Access::ReadWrite, Inherit::Yes, "rw-s", false),
        ] {
            let memory = Memory::create(name, 4096).expect("a page");
            let region = memory.map(access, inherit).expect("mapped");
            assert_eq!(region.access(), access);
            let (found, flags) = kernel_view(name);
            assert_eq!(found, permissions, "{name}");
            assert_eq!(flags.contains(" dc "), left_out_of_forks, "{name}: {flags}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_had_are_refused_with_numbers() {
        assert_eq!(Memory::create("x", 0).err(), Some(ShmError::Empty { name: "x".into() }));
        for len_bytes in [1 << 60, usize::MAX] {
            let message = Memory::create("ring", len_bytes).expect_err("too large").to_string();
            let need = format!("needs {} MiB", mib(len_bytes as u64));
            assert!(message.contains(&need), "{message}");
        }
        let bad_name = Memory::create("a\0b", 1).expect_err("names end at a zero");
        assert!(matches!(bad_name, ShmError::Create { step: "memfd_create", .. }), "{bad_name:?}");
    }
}
