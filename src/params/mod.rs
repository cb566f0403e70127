//! The parameter page: one flat f32 vector that the learner publishes and every actor reads.
//!
//! What it promises:
//! - a reader gets one whole published version or none, never a mixture of two;
//! - versions that a reader gets only rise;
//! - nobody waits: the writer never looks at readers, and a reader gives up after
//!   `reader::MAX_TRIES` tries and keeps the weights it has (legal in IMPALA, and counted);
//! - a writer that dies half-way through a version hurts no reader; its successor goes on from the
//!   last complete version;
//! - nothing that is not finite is ever published.
//!
//! Version 0 means that nothing was published yet; the initial weights are version 1 or later.
//!
//! [`crate::shm::seqlock`] has the protocol over atomic words (modelled with loom), `page` the layout,
//! [`ParamPublisher`] and [`ParamReader`] are the two roles. No role needs `unsafe`, and the
//! reader has words that can only be loaded, so that its mapping can be read-only.

mod copy;
pub(crate) mod page;
mod publisher;
mod reader;

pub use page::{PageMismatch, page_words};
pub use publisher::{ParamPublisher, PublishError};
pub use reader::{ParamReader, Refresh};
