//! The memory layout of the parameter page.
//!
//! ```text
//! word 0   magic: "IMPALAP1", stored last, so that a page with it is laid out
//!      1   fingerprint of names, shapes and order of the parameters
//!      2   parameters, f32
//!      8   the words of `seqlock`; payload of a buffer:
//!              0   checksum of the words that follow
//!              1.. two f32 each, the first in the lower half; an odd last one alone
//! ```
//!
//! Words 0 to 7 are written once, by the first learner. Zeroed memory is a page not laid out yet.

use crate::shm::seqlock::lock_words;
use crate::sync::{AtomicU64, Ordering, ReadWord, fence};

const MAGIC: u64 = u64::from_le_bytes(*b"IMPALAP1");
const MAGIC_WORD: usize = 0;
const FINGERPRINT_WORD: usize = 1;
const LENGTH_WORD: usize = 2;
const HEADER_WORDS: usize = 8;

/// Payload words of a buffer: the checksum and the parameters, two to a word.
pub(super) const fn payload_words(param_len: usize) -> usize {
    1 + param_len.div_ceil(2)
}

/// Words (u64) that the page of a vector of `param_len` f32 takes.
#[must_use]
pub const fn page_words(param_len: usize) -> usize {
    HEADER_WORDS + lock_words(payload_words(param_len))
}

/// A page that is not the one that the caller's network needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageMismatch {
    /// The memory is smaller than the page.
    #[error("the parameter page needs {needed} words and has {found}: size it by `page_words`")]
    TooSmall {
        /// Words needed.
        needed: usize,
        /// Words there.
        found: usize,
    },
    /// Nothing is there yet.
    #[error("no learner has laid out the parameter page yet: try again once it is ready")]
    NotLaidOut,
    /// Something else is there.
    #[error("no parameter page of this version (magic {found:#018x}): use processes of one build")]
    Magic {
        /// What is there.
        found: u64,
    },
    /// The parameters have another layout.
    #[error(
        "the page holds parameters of layout {found:#018x}, this network has {expected:#018x}: \
         start learner and actors with the same network"
    )]
    Fingerprint {
        /// The caller's.
        expected: u64,
        /// The page's.
        found: u64,
    },
    /// The number of parameters differs.
    #[error(
        "the page holds {found} parameters, this network has {expected}: \
         start learner and actors with the same network"
    )]
    Length {
        /// The caller's.
        expected: usize,
        /// The page's.
        found: u64,
    },
}

fn sized<W>(words: &[W], param_len: usize) -> Result<(), PageMismatch> {
    let (needed, found) = (page_words(param_len), words.len());
    if found < needed { Err(PageMismatch::TooSmall { needed, found }) } else { Ok(()) }
}

/// Checks the page and yields the words of its lock.
pub(super) fn open(
    words: &[ReadWord],
    param_len: usize,
    fingerprint: u64,
) -> Result<&[ReadWord], PageMismatch> {
    sized(words, param_len)?;
    match words[MAGIC_WORD].load() {
        MAGIC => {}
        0 => return Err(PageMismatch::NotLaidOut),
        found => return Err(PageMismatch::Magic { found }),
    }
    // Acquires the rest of the header from the Release store in `lay_out`; a fence, because std
    // promises no more than Relaxed loads on read-only memory.
    fence(Ordering::Acquire);
    let found = words[FINGERPRINT_WORD].load();
    if found != fingerprint {
        return Err(PageMismatch::Fingerprint { expected: fingerprint, found });
    }
    let found = words[LENGTH_WORD].load();
    if usize::try_from(found) != Ok(param_len) {
        return Err(PageMismatch::Length { expected: param_len, found });
    }
    Ok(&words[HEADER_WORDS..])
}

/// Lays out a page that is not yet, and then opens it. A learner that died in here is repeated.
pub(super) fn open_or_lay_out(
    words: &[AtomicU64],
    param_len: usize,
    fingerprint: u64,
) -> Result<&[AtomicU64], PageMismatch> {
    sized(words, param_len)?;
    if words[MAGIC_WORD].load(Ordering::Relaxed) == 0 {
        words[FINGERPRINT_WORD].store(fingerprint, Ordering::Relaxed);
        words[LENGTH_WORD].store(param_len as u64, Ordering::Relaxed);
        // pairs with the fence in `open`
        words[MAGIC_WORD].store(MAGIC, Ordering::Release);
    }
    open(ReadWord::of(words), param_len, fingerprint)?;
    Ok(&words[HEADER_WORDS..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeroed(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn each_mismatch_is_named() {
        let words = zeroed(page_words(5));
        let needed = page_words(5);
        let short = &words[..needed - 1];
        let open = |words: &[_], param_len, fingerprint| {
            open(ReadWord::of(words), param_len, fingerprint).map(|_| ())
        };
        let open_or_lay_out = |words: &[_], param_len, fingerprint| {
            open_or_lay_out(words, param_len, fingerprint).map(|_| ())
        };
        let too_small = PageMismatch::TooSmall { needed, found: needed - 1 };
        assert_eq!(open(short, 5, 7).err(), Some(too_small));
        assert_eq!(open_or_lay_out(short, 5, 7).err(), Some(too_small));
        assert_eq!(open(&words, 5, 7).err(), Some(PageMismatch::NotLaidOut));
        assert!(open_or_lay_out(&words, 5, 7).is_ok());
        assert!(open(&words, 5, 7).is_ok());
        for opened in [open(&words, 5, 8), open_or_lay_out(&words, 5, 8)] {
            assert_eq!(opened.err(), Some(PageMismatch::Fingerprint { expected: 8, found: 7 }));
        }
        for opened in [open(&words, 4, 7), open_or_lay_out(&words, 4, 7)] {
            assert_eq!(opened.err(), Some(PageMismatch::Length { expected: 4, found: 5 }));
        }
        words[MAGIC_WORD].store(MAGIC ^ 1, Ordering::Relaxed);
        assert_eq!(open(&words, 5, 7).err(), Some(PageMismatch::Magic { found: MAGIC ^ 1 }));
    }
}
