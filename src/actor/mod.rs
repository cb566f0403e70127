//! The actor: steps E environments with the current weights and writes unrolls into the ring, in place.
//!
//! Knows environments, the ring's producer, the parameter page's reader and a policy that turns
//! observations into logits. Never waits for the learner to finish an update; it waits only when no
//! slot of the ring is free, or where blocks are filled in turn for the next one.

mod acting;
mod checks;
mod history;
mod parts;
mod recorder;
mod remedy;
mod step;
mod turns;
mod unroll;

pub use parts::{ActorParts, EnvGroup, Split};
pub use recorder::{GradientSource, Recorder};
pub use remedy::EnvRemedy;
pub use unroll::ActorLoop;

use crate::env::EnvError;
use crate::policy::act::ActError;
use crate::ring::{ClaimError, CommitError, TakeError};

/// Why an actor stopped acting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActorError {
    /// The environment failed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// Inference failed.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The environment or the network gave something that is not a number.
    #[error("environment {env} gave {what} that is not finite at step {step} of the unroll")]
    NotFinite {
        /// Which environment of the actor.
        env: usize,
        /// What it gave.
        what: &'static str,
        /// Step of the unroll.
        step: usize,
    },
    /// The environment forbids everything.
    #[error(
        "environment {env} allows no action at step {step} of the unroll; a mask needs a 1 for each choice"
    )]
    NothingAllowed {
        /// Which environment of the actor.
        env: usize,
        /// Step of the unroll.
        step: usize,
    },
    /// The logits of a policy are not finite.
    #[error("the policy's logits are not finite at version {version}")]
    Logits {
        /// Version of the weights.
        version: u64,
    },
    /// The slot is no longer this actor's.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The ring is corrupt.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// What it recorded for itself cannot be read back.
    #[error(transparent)]
    Record(#[from] TakeError),
    /// The gradient of an unroll could not be computed.
    #[error("the gradient of an unroll cannot be computed: {message}")]
    Gradient {
        /// What the engine said.
        message: String,
    },
}

impl ActorError {
    /// Whether an environment is to blame, so that it may be mended in place.
    #[must_use]
    pub(crate) const fn is_of_environment(&self) -> bool {
        matches!(self, Self::Env(_) | Self::NotFinite { .. } | Self::NothingAllowed { .. })
    }
}
