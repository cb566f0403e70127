//! A mapping of a [`crate::Memory`] in this process, or heap memory in its place.
//!
//! Invariants of this file, which the `SAFETY` comments cite:
//! - **I1** From `base`, `len_bytes` bytes are one live allocation of this process, readable, and
//!   writable if `access` says so, from construction until `drop`. The memory behind a mapping is
//!   sealed, so nobody can cut it short meanwhile.
//! - **I2** `base` is aligned to [`ALIGN_BYTES`].
//! - **I3** All bytes are initialised: zeroed at first, and only ever overwritten.
//! - **I4** No reference to the bytes is made here but to atomics. Other references are the business
//!   of `ring::slab`, which takes the whole region by unique reference, so that both never mix.
//! - **I5** `base` is never given away for longer than `self` lives.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

use crate::sync::{AtomicU32, AtomicU64, ReadWord};

/// Alignment of the first byte of every region: a page.
const ALIGN_BYTES: usize = 4096;

/// From this size on, larger pages are worth asking for.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// What this process may do with a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read. A write is a page fault: the process dies, the memory stays whole.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Whether a child that is forked later has the mapping too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inherit {
    /// It has not: an access there is a page fault. For all that only living, known parties may write;
    /// else a forgotten grandchild could write after its parent was reaped.
    No,
    /// It has.
    Yes,
}

#[derive(Debug)]
enum Backing {
    Mapped,
    Heap(Layout),
}

/// A range of bytes that other processes or threads may be using too.
///
/// Of an [`Access::ReadOnly`] region there are only words that can be loaded ([`Region::read_words`]): a
/// store would be a fault, and `std` guarantees nothing but `Relaxed` loads to leave read-only pages alone.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    len_bytes: usize,
    access: Access,
    backing: Backing,
}

// SAFETY: by I1 the bytes belong to the process and not to a thread, and `drop` may run in any.
unsafe impl Send for Region {}
// SAFETY: `&Region` gives access through atomics only (I4).
unsafe impl Sync for Region {}

impl Region {
    /// Maps the first `len_bytes` of a sealed file. For [`crate::Memory`], which knows the size.
    pub(super) fn map(
        fd: BorrowedFd<'_>,
        len_bytes: usize,
        access: Access,
        inherit: Inherit,
    ) -> Result<Self, Errno> {
        let length = NonZeroUsize::new(len_bytes).ok_or(Errno::EINVAL)?;
        let protection = match access {
            Access::ReadOnly => ProtFlags::PROT_READ,
            Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        };
        // SAFETY: the kernel chooses the address, so no mapping that is in use is replaced.
        let mapping = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) }?;
        // From here on, `drop` unmaps.
        let region = Self { base: mapping.cast(), len_bytes, access, backing: Backing::Mapped };
        if inherit == Inherit::No {
            // SAFETY: the range is the mapping just made (I1); what a fork does later changes nothing here.
            unsafe { madvise(mapping, len_bytes, MmapAdvise::MADV_DONTFORK) }?;
        }
        if len_bytes >= HUGE_PAGE_BYTES {
            // A kernel that is not configured for it refuses, and small pages do as well.
            // SAFETY: as above; the size of pages is invisible to the program.
            let _best_effort = unsafe { madvise(mapping, len_bytes, MmapAdvise::MADV_HUGEPAGE) };
        }
        Ok(region)
    }

    /// Zeroed heap memory with the same interface, for tests and for tools that cannot follow a mapping.
    ///
    /// # Panics
    /// If `len_bytes` is 0 or beyond the address space.
    #[must_use]
    pub fn heap(len_bytes: usize) -> Self {
        assert!(len_bytes > 0, "an empty region");
        let layout = Layout::from_size_align(len_bytes, ALIGN_BYTES).expect("below isize::MAX");
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout));
        Self { base, len_bytes, access: Access::ReadWrite, backing: Backing::Heap(layout) }
    }

    /// `count` 64-bit words from `offset_bytes` on.
    ///
    /// # Panics
    /// If the region is read-only, the offset is not a multiple of 8, or the words do not lie in the
    /// region.
    #[must_use]
    pub fn words(&self, offset_bytes: usize, count: usize) -> &[AtomicU64] {
        self.assert_writable();
        self.any_words(offset_bytes, count)
    }

    /// `count` 64-bit words from `offset_bytes` on, to load.
    ///
    /// # Panics
    /// If the offset is not a multiple of 8, or the words do not lie in the region.
    #[must_use]
    pub fn read_words(&self, offset_bytes: usize, count: usize) -> &[ReadWord] {
        ReadWord::of(self.any_words(offset_bytes, count))
    }

    /// All whole 64-bit words.
    ///
    /// # Panics
    /// If the region is read-only.
    #[must_use]
    pub fn all_words(&self) -> &[AtomicU64] {
        self.words(0, self.len_bytes / size_of::<u64>())
    }

    /// All whole 64-bit words, to load.
    #[must_use]
    pub fn all_read_words(&self) -> &[ReadWord] {
        self.read_words(0, self.len_bytes / size_of::<u64>())
    }

    fn any_words(&self, offset_bytes: usize, count: usize) -> &[AtomicU64] {
        let first = self.array_at::<AtomicU64>(offset_bytes, count);
        // SAFETY: `array_at` checked bounds and alignment (I1, I2); any bits are a u64 (I3); the bytes
        // are reached through atomics alone (I4) for as long as `self` is borrowed (I5).
        unsafe { std::slice::from_raw_parts(first.as_ptr(), count) }
    }

    /// `count` 32-bit words from `offset_bytes` on.
    ///
    /// # Panics
    /// If the region is read-only, the offset is not a multiple of 4, or the words do not lie in the
    /// region.
    #[must_use]
    pub fn words32(&self, offset_bytes: usize, count: usize) -> &[AtomicU32] {
        self.assert_writable();
        let first = self.array_at::<AtomicU32>(offset_bytes, count);
        // SAFETY: as in `any_words`.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), count) }
    }

    /// Bytes of the region.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// What this process may do with it.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// Address of the first byte, to tell which slices lie in the region and where.
    #[must_use]
    pub fn address(&self) -> usize {
        self.base.addr().get()
    }

    /// The first byte. Aligned to a page; do not use it after the region (I5).
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Words that can be stored to are given away of memory that can be stored to.
    fn assert_writable(&self) {
        assert_eq!(self.access, Access::ReadWrite, "these words can only be read");
    }

    /// Where an array of `count` `T` at `offset_bytes` begins.
    fn array_at<T>(&self, offset_bytes: usize, count: usize) -> NonNull<T> {
        let end = count.checked_mul(size_of::<T>()).and_then(|len| len.checked_add(offset_bytes));
        assert!(
            end.is_some_and(|end| end <= self.len_bytes),
            "{count} words at byte {offset_bytes} of a region of {} bytes",
            self.len_bytes
        );
        assert!(offset_bytes.is_multiple_of(align_of::<T>()), "words at byte {offset_bytes}");
        // SAFETY: the offset is at most `len_bytes`, so this stays in the allocation or one past it (I1).
        unsafe { self.base.byte_add(offset_bytes) }.cast()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.backing {
            Backing::Mapped => {
                // SAFETY: the range is the mapping of I1, and no reference outlives `self` (I5).
                let unmapped = unsafe { munmap(self.base.cast(), self.len_bytes) };
                debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
            }
            // SAFETY: allocated in `heap` with this layout, and no reference outlives `self` (I5).
            Backing::Heap(layout) => unsafe { dealloc(self.base.as_ptr(), layout) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn heap_regions_are_zeroed_and_aligned() {
        let region = Region::heap(100);
        assert!(region.base().addr().get().is_multiple_of(ALIGN_BYTES));
        assert_eq!((region.len_bytes(), region.access()), (100, Access::ReadWrite));
        assert!(region.words(0, 12).iter().all(|word| word.load(Ordering::Relaxed) == 0));
        region.words(8, 1)[0].store(0xAAAA_AAAA_BBBB_BBBB, Ordering::Relaxed);
        let halves = region.words32(8, 2);
        assert_eq!(halves[0].load(Ordering::Relaxed), 0xBBBB_BBBB);
        assert_eq!(region.words32(96, 1).len(), 1);
        assert!(region.words(96, 0).is_empty());
    }

    #[test]
    fn words_outside_or_askew_are_refused() {
        let region = Region::heap(64);
        for (offset_bytes, count) in [(0, 9), (64, 1), (4, 1), (8, usize::MAX), (usize::MAX - 7, 1)]
        {
            let words = std::panic::AssertUnwindSafe(|| region.words(offset_bytes, count).len());
            assert!(std::panic::catch_unwind(words).is_err(), "{count} words at {offset_bytes}");
        }
    }
}
