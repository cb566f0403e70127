//! An atomic word that can only be loaded, for memory that is mapped read-only.
//!
//! Invariants, which the `SAFETY` comment cites:
//! - **W1** A [`ReadWord`] has the layout of the atomic word in it, and any reference to the one is a
//!   sound reference to the other for as long: it gives away less.
#![allow(unsafe_code)]

use super::{AtomicU64, Ordering};

/// A word of shared memory that is only ever loaded, `Relaxed`.
///
/// On pages that are mapped read-only `std` guarantees nothing else to work (`std::sync::atomic`, "Atomic
/// accesses to read-only memory"); what must be ordered is ordered by fences. There is no way to store:
/// ```compile_fail,E0599
/// use impala_shm::sync::{AtomicU64, Ordering, ReadWord};
/// let words = [AtomicU64::new(0)];
/// ReadWord::of(&words)[0].store(1, Ordering::Relaxed);
/// ```
/// nor to get at the word that can be stored to:
/// ```compile_fail,E0616
/// use impala_shm::sync::{AtomicU64, Ordering, ReadWord};
/// let words = [AtomicU64::new(0)];
/// ReadWord::of(&words)[0].0.store(1, Ordering::Relaxed);
/// ```
#[derive(Debug)]
#[repr(transparent)]
pub struct ReadWord(AtomicU64);

impl ReadWord {
    /// The same words, to load.
    #[inline]
    #[must_use]
    pub const fn of(words: &[AtomicU64]) -> &[Self] {
        let first = words.as_ptr().cast::<Self>();
        // SAFETY: as many words of the same layout, borrowed for as long (W1).
        unsafe { std::slice::from_raw_parts(first, words.len()) }
    }

    /// What the word holds; `Relaxed`.
    #[inline]
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_read_word_shows_what_is_stored_to_its_word() {
        let words = [1, 2, 3].map(AtomicU64::new);
        let read = ReadWord::of(&words);
        words[1].store(7, Ordering::Relaxed);
        assert_eq!(read.iter().map(ReadWord::load).collect::<Vec<_>>(), [1, 7, 3]);
        assert!(ReadWord::of(&[]).is_empty());
    }
}
