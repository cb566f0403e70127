//! What an actor does when its environments fail: leave, reset them, or make new ones.

use crate::env::{EnvError, VectorEnv};

/// An actor whose environments fail so often without a commit in between gives up.
pub(super) const FAILURES_IN_A_ROW: u32 = 8;

/// What follows an error of an environment, or a number of it that is not finite. The unroll is lost in
/// any case, and nothing of it was published.
pub enum EnvRemedy<'m> {
    /// The actor leaves.
    Fail,
    /// The environments are kept and reset.
    Reset,
    /// New environments are made.
    Rebuild(Box<dyn FnMut() -> Result<Box<dyn VectorEnv>, EnvError> + 'm>),
}

impl std::fmt::Debug for EnvRemedy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fail => "Fail",
            Self::Reset => "Reset",
            Self::Rebuild(_) => "Rebuild",
        })
    }
}
