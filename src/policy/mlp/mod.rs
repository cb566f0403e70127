//! The engine in Rust for MLPs: what actors act with, and what the learner learns with.
//!
//! One thread, no allocation per call, no library underneath. Weights are repacked when they change;
//! rows are processed in tiles that stay in the first-level cache; the inner loops (`kernels`) are safe
//! Rust over vector instructions (`simd`), compiled for AVX2 with FMA and for the baseline (`dispatch`
//! chooses). Results differ from those of other orders of summation by rounding only.

mod actor;
mod backward;
pub(crate) mod dispatch;
mod forward;
mod input;
pub(in crate::policy) mod kernels;
mod learner;
pub(in crate::policy) mod pack;
#[cfg(test)]
mod reference;
pub(crate) mod simd;
#[cfg(test)]
pub(in crate::policy) mod timing;

pub use actor::MlpActor;
pub use dispatch::Level;
pub use input::{FrameStacks, Input};
pub use learner::MlpLearner;
