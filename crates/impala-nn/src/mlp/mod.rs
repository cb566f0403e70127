//! The native engine for MLPs: one type for acting, one for learning.
//!
//! One thread, no allocation per call, no library underneath. Weights are repacked when they change;
//! rows are processed in tiles that stay in the first-level cache; the inner loops are those of [`crate::simd`]. Results differ from those of other orders of summation by rounding only.

mod actor;
mod backward;
mod forward;
mod input;
mod learner;
mod pack;
#[cfg(test)]
mod reference;
mod torso;

pub use actor::MlpPolicy;
pub use input::Input;
pub use learner::MlpLearner;
pub(crate) use torso::MlpTorso;
