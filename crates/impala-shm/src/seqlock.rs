//! A sequence lock (seqlock) over atomic words with a wait-free writer: four buffers and a `latest` word.
//!
//! ```text
//! word 0                  latest = version << 8 | index           written by the writer alone
//! line 1 + index * stride seq = 2 * version, or 2 * version - 1 while that version is written
//!        + 1 ..           payload_words words
//! ```
//!
//! Every buffer starts on its own cache line, and so does `latest`. Zeroed words are a valid page
//! of version 0, which means that nothing was published.
//!
//! The writer fills the buffer after the one that `latest` names, so it always writes the oldest,
//! and a reader fails only if four versions were published during its copy. All accesses to the
//! payload are Relaxed loads and stores of whole words: there is no data race for any tool to find.
//! The reader issues nothing but Relaxed loads and Acquire fences, because `std` guarantees
//! just that on memory mapped read-only.
//!
//! Why a reader never accepts a mixture (Boehm, "Can seqlocks get along with programming language
//! memory models?", 2012, figure 6). It loads `latest = (v, i)`, fences, copies buffer i, fences,
//! and accepts if `seq[i]` is `2 * v`. Each word it copied is one of:
//! 1. older than v: excluded. `latest = (v, i)` was stored with Release after the words of v, and
//!    the fence after its load acquires them ([`Orders::after_latest`]).
//! 2. of v: right.
//! 3. newer than v, from this writer or from one that died half-way or its successor: that writer
//!    made `seq[i]` odd before its Release fence and stored the word after it. Having read the word,
//!    the reader's second fence ([`Orders::before_check`]) pairs with that one, so its load of
//!    `seq[i]` yields the odd number or something later. Versions only rise, so none of these is
//!    `2 * v`: the copy is rejected.
//!
//! The even number itself may therefore be stored Relaxed: only readers who acquired `latest` after
//! it look for it. Each of the four orderings that are left has a model in which weakening it fails.

use crate::kill_point;
use crate::sync::{AtomicU64, Ordering, ReadWord, fence};
use std::marker::PhantomData;

/// Buffers of a page.
pub const BUFFERS: usize = 4;

/// Largest version: `latest` keeps 8 bits for the index.
pub const MAX_VERSION: u64 = u64::MAX >> INDEX_BITS;

const INDEX_BITS: u32 = 8;

/// Words of a cache line. Under loom 1: its atomics lie elsewhere, and idle ones cost time.
pub const LINE_WORDS: usize = if cfg!(loom) { 1 } else { 8 };

/// The orderings that the protocol rests on; injectable so that models can weaken each.
pub trait Orders {
    /// Order of the store that publishes a version, in `Writing::finish`.
    // pairs with the fence of `after_latest` in `Reader::try_read`
    const LATEST: Ordering = Ordering::Release;

    /// Between the odd sequence number and the payload.
    #[inline]
    fn after_mark() {
        // pairs with the fence of `before_check` in `Reader::try_read`
        fence(Ordering::Release);
    }

    /// Between the load of `latest` and the copy.
    #[inline]
    fn after_latest() {
        // Acquires what was stored before `latest` in `Writing::finish` (Release).
        fence(Ordering::Acquire);
    }

    /// Between the copy and the second look at the sequence number.
    #[inline]
    fn before_check() {
        // Acquires what was stored before `after_mark` in `Writer::begin` (Release).
        fence(Ordering::Acquire);
    }
}

/// The orderings in use.
#[derive(Debug, Clone, Copy)]
pub struct DefaultOrders;

impl Orders for DefaultOrders {}

/// A version that does not come after the latest, or is above [`MAX_VERSION`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "version {version} cannot follow version {latest}: versions rise, from 1 to {MAX_VERSION}; \
     continue from the page's latest version"
)]
pub struct NotNewer {
    /// The version that was to be published.
    pub version: u64,
    /// The version on the page.
    pub latest: u64,
}

/// Words that a page of buffers with `payload_words` words each takes.
#[must_use]
pub const fn lock_words(payload_words: usize) -> usize {
    LINE_WORDS + BUFFERS * stride(payload_words)
}

const fn stride(payload_words: usize) -> usize {
    (1 + payload_words).next_multiple_of(LINE_WORDS)
}

/// Where things lie; common to both roles. The words of a reader can only be loaded.
#[derive(Debug)]
struct Page<'m, W> {
    latest: &'m W,
    buffers: &'m [W],
    payload_words: usize,
}

impl<'m, W> Page<'m, W> {
    fn new(words: &'m [W], payload_words: usize) -> Self {
        let needed = lock_words(payload_words);
        assert!(words.len() >= needed, "{} words for a page of {needed}", words.len());
        let (head, buffers) = words[..needed].split_at(LINE_WORDS);
        Self { latest: &head[0], buffers, payload_words }
    }

    /// The sequence word and the payload of a buffer.
    #[inline]
    fn buffer(&self, index: usize) -> (&'m W, &'m [W]) {
        let start = index * stride(self.payload_words);
        let words = &self.buffers[start..][..=self.payload_words];
        (&words[0], &words[1..])
    }
}

impl Page<'_, ReadWord> {
    /// `(version, index)`; the index is masked, whatever the word holds.
    #[inline]
    fn latest(&self) -> (u64, usize) {
        let word = self.latest.load();
        (word >> INDEX_BITS, (word % BUFFERS as u64) as usize)
    }
}

/// The writing role. There is one at a time: a successor starts after its predecessor was reaped.
///
/// It looks at the page once, in [`Writer::new`], and only stores from then on. It needs no more, and
/// loom 0.7 sees no race between a store and another thread's load once the storing thread has loaded
/// the same word (tokio-rs/loom issues 166 and 392): models would explore next to nothing.
#[derive(Debug)]
pub struct Writer<'m, O = DefaultOrders> {
    page: Page<'m, AtomicU64>,
    latest_version: u64,
    latest_index: usize,
    orders: PhantomData<O>,
}

impl<'m, O: Orders> Writer<'m, O> {
    /// Writes on `words`, going on from what is there; zeroed words are an empty page.
    ///
    /// # Panics
    /// If `words` is shorter than [`lock_words`].
    #[must_use]
    pub fn new(words: &'m [AtomicU64], payload_words: usize) -> Self {
        let (latest_version, latest_index) = Page::new(ReadWord::of(words), payload_words).latest();
        let page = Page::new(words, payload_words);
        Self { page, latest_version, latest_index, orders: PhantomData }
    }

    /// The last version published, by this writer or one before it; 0 if none was.
    #[must_use]
    pub fn latest_version(&self) -> u64 {
        self.latest_version
    }

    /// Opens the oldest buffer for `version`. Dropping the result abandons the version, as a
    /// writer that dies does: no reader notices.
    ///
    /// # Errors
    /// [`NotNewer`] if `version` is not above the latest.
    #[inline]
    pub fn begin(&mut self, version: u64) -> Result<Writing<'_, 'm, O>, NotNewer> {
        if version <= self.latest_version || version > MAX_VERSION {
            return Err(NotNewer { version, latest: self.latest_version });
        }
        let index = (self.latest_index + 1) % BUFFERS;
        let (seq, payload) = self.page.buffer(index);
        // A predecessor that died in this buffer has left an odd number; another one does no harm.
        seq.store(2 * version - 1, Ordering::Relaxed);
        O::after_mark();
        Ok(Writing { writer: self, seq, payload, version, index })
    }
}

/// A version being written; see [`Writer::begin`].
#[derive(Debug)]
#[must_use = "a version is published by `finish`; dropping it abandons it"]
pub struct Writing<'w, 'm, O = DefaultOrders> {
    writer: &'w mut Writer<'m, O>,
    seq: &'m AtomicU64,
    payload: &'m [AtomicU64],
    version: u64,
    index: usize,
}

impl<O: Orders> Writing<'_, '_, O> {
    /// The words to fill, with Relaxed stores. They hold what some older version left.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[AtomicU64] {
        self.payload
    }

    /// Publishes the version.
    #[inline]
    pub fn finish(self) {
        self.seq.store(2 * self.version, Ordering::Relaxed);
        kill_point!("publish.finishing");
        // pairs with the fence of `Orders::after_latest` in `Reader::try_read`
        self.writer.page.latest.store(self.version << INDEX_BITS | self.index as u64, O::LATEST);
        self.writer.latest_version = self.version;
        self.writer.latest_index = self.index;
    }
}

/// What one try to read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<T> {
    /// Nothing above the version asked for is there; nothing was copied.
    Unchanged,
    /// The version, and what the copy returned.
    New(u64, T),
    /// The buffer was overwritten during the copy: what was copied may be a mixture.
    Torn,
}

/// The reading role; any number of them, none of which can store anything.
#[derive(Debug)]
pub struct Reader<'m, O = DefaultOrders> {
    page: Page<'m, ReadWord>,
    orders: PhantomData<O>,
}

impl<'m, O: Orders> Reader<'m, O> {
    /// Reads from `words`.
    ///
    /// # Panics
    /// If `words` is shorter than [`lock_words`].
    #[must_use]
    pub fn new(words: &'m [ReadWord], payload_words: usize) -> Self {
        Self { page: Page::new(words, payload_words), orders: PhantomData }
    }

    /// The latest version; it may be superseded at any moment.
    #[inline]
    #[must_use]
    pub fn latest_version(&self) -> u64 {
        self.page.latest().0
    }

    /// Copies the latest version if it is above `have_version`; one try.
    ///
    /// `copy` must stand any mixture of versions: only [`Attempt::New`] says that it saw one.
    #[inline]
    pub fn try_read<T>(
        &self,
        have_version: u64,
        copy: impl FnOnce(&[ReadWord]) -> T,
    ) -> Attempt<T> {
        let (version, index) = self.page.latest();
        if version <= have_version {
            return Attempt::Unchanged;
        }
        O::after_latest();
        let (seq, payload) = self.page.buffer(index);
        let copied = copy(payload);
        O::before_check();
        if seq.load() == 2 * version { Attempt::New(version, copied) } else { Attempt::Torn }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;
