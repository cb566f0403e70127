//! A reader of the parameter page, in an actor or the policy process.

use super::copy;
use super::page::{self, PageMismatch};
use crate::shm::seqlock::{Attempt, Reader};
use crate::sync::ReadWord;

/// Tries of one [`ParamReader::refresh`]. Each fails only if four versions were published during
/// its copy, so a second one is rare.
pub(crate) const MAX_TRIES: usize = 8;

/// What a refresh found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "after `Busy` the buffer holds no parameters"]
pub enum Refresh {
    /// Nothing newer is there; the buffer was not touched.
    Unchanged,
    /// The buffer holds this version, whole.
    New(u64),
    /// Every try was overtaken by the learner (or found a bad checksum). The buffer was filled with
    /// NaN, so that a use of it does not go unnoticed: keep acting with the weights at hand.
    Busy,
}

/// Reads versions of the parameters; it can only load, so that the page may be mapped read-only.
#[derive(Debug)]
pub struct ParamReader<'m> {
    reader: Reader<'m>,
    param_len: usize,
}

impl<'m> ParamReader<'m> {
    /// Opens the page of a learner.
    ///
    /// # Errors
    /// [`PageMismatch`]: not laid out yet, too small, or laid out for other parameters.
    pub fn new(
        words: &'m [ReadWord],
        param_len: usize,
        layout_fingerprint: u64,
    ) -> Result<Self, PageMismatch> {
        let lock = page::open(words, param_len, layout_fingerprint)?;
        Ok(Self { reader: Reader::new(lock, page::payload_words(param_len)), param_len })
    }

    /// The latest version, 0 if there is none; the learner may publish another at any moment.
    #[inline]
    #[must_use]
    pub(crate) fn latest_version(&self) -> u64 {
        self.reader.latest_version()
    }

    /// Copies the latest version to `out` (`[param_len]`, f32) if it is above `have_version`
    /// (0: any). Costs one load if it is not.
    ///
    /// `out` is a staging buffer, not the weights in use: see [`Refresh::Busy`].
    ///
    /// # Panics
    /// If `out` has another length than the page.
    pub fn refresh(&mut self, have_version: u64, out: &mut [f32]) -> Refresh {
        assert_eq!(out.len(), self.param_len, "parameters of this page");
        for _ in 0..MAX_TRIES {
            let attempt = self.reader.try_read(have_version, |payload| {
                let (checksum, values) = payload.split_first().expect("a checksum word");
                copy::load(values, out) == checksum.load()
            });
            match attempt {
                Attempt::Unchanged => return Refresh::Unchanged,
                Attempt::New(version, true) => return Refresh::New(version),
                // A whole copy with a bad checksum: something else than the learner wrote here.
                Attempt::New(_, false) | Attempt::Torn => {}
            }
        }
        out.fill(f32::NAN);
        Refresh::Busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{ParamPublisher, PublishError, page_words};
    use crate::sync::{AtomicU64, Ordering};

    const FINGERPRINT: u64 = 0xF00D;

    fn page(param_len: usize) -> Vec<AtomicU64> {
        (0..page_words(param_len)).map(|_| AtomicU64::new(0)).collect()
    }

    fn reader(words: &[AtomicU64], param_len: usize) -> Result<ParamReader<'_>, PageMismatch> {
        ParamReader::new(ReadWord::of(words), param_len, FINGERPRINT)
    }

    #[test]
    fn versions_arrive_whole() {
        for param_len in [1, 2, 7, 8, 9, 1_000, 4_611] {
            let words = page(param_len);
            assert_eq!(reader(&words, param_len).err(), Some(PageMismatch::NotLaidOut));
            let mut publisher =
                ParamPublisher::new(&words, param_len, FINGERPRINT).expect("a zeroed page");
            let mut reader = reader(&words, param_len).expect("laid out");
            let mut out = vec![-1.0; param_len];
            assert_eq!(reader.refresh(0, &mut out), Refresh::Unchanged);
            assert!(out.iter().all(|&value| value == -1.0));
            for version in 1..=9_u16 {
                let params: Vec<f32> =
                    (0_u16..).take(param_len).map(|i| f32::from(version) + f32::from(i)).collect();
                publisher.publish(version.into(), &params).expect("finite");
                let have_version = u64::from(version) - 1;
                assert_eq!(reader.latest_version(), u64::from(version));
                assert_eq!(reader.refresh(have_version, &mut out), Refresh::New(version.into()));
                assert_eq!(out, params);
                assert_eq!(reader.refresh(version.into(), &mut out), Refresh::Unchanged);
            }
        }
    }

    #[test]
    fn nothing_bad_is_published() {
        let words = page(4);
        let mut publisher = ParamPublisher::new(&words, 4, FINGERPRINT).expect("a zeroed page");
        publisher.publish(3, &[1.0; 4]).expect("finite");
        let not_finite = publisher.publish(4, &[1.0, f32::NAN, f32::INFINITY, 1.0]);
        assert_eq!(not_finite, Err(PublishError::NonFinite { index: 1 }));
        assert!(matches!(publisher.publish(3, &[1.0; 4]), Err(PublishError::NotNewer(_))));
        let mut reader = reader(&words, 4).expect("laid out");
        let mut out = [0.0; 4];
        assert_eq!(reader.refresh(0, &mut out), Refresh::New(3));
        assert_eq!(out, [1.0; 4]);
    }

    #[test]
    fn a_successor_goes_on() {
        let words = page(3);
        let mut first = ParamPublisher::new(&words, 3, FINGERPRINT).expect("a zeroed page");
        first.publish(41, &[4.0; 3]).expect("finite");
        let mut second = ParamPublisher::new(&words, 3, FINGERPRINT).expect("the same layout");
        assert_eq!(second.latest_version(), 41);
        let mut reader = reader(&words, 3).expect("laid out");
        let mut out = [0.0; 3];
        assert_eq!(reader.refresh(0, &mut out), Refresh::New(41));
        second.publish(42, &[5.0; 3]).expect("finite");
        assert_eq!(reader.refresh(41, &mut out), Refresh::New(42));
        assert_eq!(out, [5.0; 3]);
    }

    #[test]
    fn a_scribbled_page_is_busy_and_poisons_the_buffer() {
        let words = page(6);
        let mut publisher = ParamPublisher::new(&words, 6, FINGERPRINT).expect("a zeroed page");
        publisher.publish(1, &[2.5; 6]).expect("finite");
        let two_and_a_half = u64::from(2.5_f32.to_bits()) * 0x1_0000_0001;
        let hit = words.iter().find(|word| word.load(Ordering::Relaxed) == two_and_a_half);
        hit.expect("a pair of parameters").store(0, Ordering::Relaxed);
        let mut reader = reader(&words, 6).expect("laid out");
        let mut out = [0.0; 6];
        assert_eq!(reader.refresh(0, &mut out), Refresh::Busy);
        assert!(out.iter().all(|value| value.is_nan()));
        publisher.publish(2, &[3.5; 6]).expect("finite");
        assert_eq!(reader.refresh(0, &mut out), Refresh::New(2));
    }

    #[test]
    #[should_panic(expected = "parameters of this page")]
    fn a_buffer_of_another_length_is_refused() {
        let words = page(4);
        ParamPublisher::new(&words, 4, FINGERPRINT).expect("a zeroed page");
        let mut reader = reader(&words, 4).expect("laid out");
        let _ = reader.refresh(0, &mut [0.0; 3]);
    }
}
