//! The writer of the parameter page, in the learner.

use super::copy;
use super::page::{self, PageMismatch};
use crate::kill_point;
use crate::shm::seqlock::{NotNewer, Writer};
use crate::sync::{AtomicU64, Ordering};

/// Why a version was not published. The page is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A parameter is NaN or infinite.
    #[error("parameter {index} is not finite: skip this update, or go back to a checkpoint")]
    NonFinite {
        /// Where the first one stands.
        index: usize,
    },
    /// The version does not rise.
    #[error(transparent)]
    NotNewer(#[from] NotNewer),
}

/// Publishes versions of the parameters. There is one at a time, in the learner.
#[derive(Debug)]
pub struct ParamPublisher<'m> {
    writer: Writer<'m>,
    param_len: usize,
}

impl<'m> ParamPublisher<'m> {
    /// Lays out the page if it is zeroed, else goes on where the learner before left it:
    /// [`latest_version`](Self::latest_version) says where.
    ///
    /// `words` is the page, [`page_words`](super::page_words)`(param_len)` or more;
    /// `layout_fingerprint` stands for names, shapes and order of the parameters.
    ///
    /// # Errors
    /// [`PageMismatch`] if the page is too small or was laid out for other parameters.
    pub fn new(
        words: &'m [AtomicU64],
        param_len: usize,
        layout_fingerprint: u64,
    ) -> Result<Self, PageMismatch> {
        let lock = page::open_or_lay_out(words, param_len, layout_fingerprint)?;
        Ok(Self { writer: Writer::new(lock, page::payload_words(param_len)), param_len })
    }

    /// The last version published, by this learner or one before it; 0 if none was.
    #[must_use]
    pub fn latest_version(&self) -> u64 {
        self.writer.latest_version()
    }

    /// Publishes `params` (`[param_len]`, f32) as `version`. It never waits for readers.
    ///
    /// # Errors
    /// [`PublishError`] if a parameter is not finite or `version` is not above the latest;
    /// nothing is published then.
    ///
    /// # Panics
    /// If `params` has another length than the page.
    pub fn publish(&mut self, version: u64, params: &[f32]) -> Result<(), PublishError> {
        assert_eq!(params.len(), self.param_len, "parameters for this page");
        if let Some(index) = copy::first_non_finite(params) {
            return Err(PublishError::NonFinite { index });
        }
        let writing = self.writer.begin(version)?;
        kill_point!("publish.marked");
        let (checksum, values) = writing.payload().split_first().expect("a checksum word");
        checksum.store(copy::store(params, values), Ordering::Relaxed);
        kill_point!("publish.written");
        writing.finish();
        Ok(())
    }
}
