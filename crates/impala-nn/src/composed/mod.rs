//! The native engine for composed networks: a torso, further inputs beside the observation, a recurrent core, and
//! heads.
//!
//! Networks without such parts have engines in which torso and heads are one (`super::mlp`, `super::cnn`). Here each part takes all
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
