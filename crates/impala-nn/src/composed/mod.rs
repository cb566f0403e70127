//! Networks of several parts, in Rust: a torso, what is seen beside the observation, a core that remembers, and heads.
//!
//! Those without such parts have engines in which torso and heads are one (`super::mlp`, `super::cnn`). Here each part takes all
//! rows of a strip before the next does:
//!
//! ```text
//! observations -> torso -> features -> join <- the action and the reward before
//!                                       |
//!                                      core <- state, flags
//!                                       |
//!                                     heads -> logits, values
//! ```

mod branch;
#[cfg(test)]
mod definition;
mod join;
mod learner;
mod policy;
#[cfg(test)]
mod reference;
mod torso;

pub use learner::ComposedLearner;
pub use policy::ComposedPolicy;
