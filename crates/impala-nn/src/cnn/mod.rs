//! The native engine for convolutional networks: one type for acting, one for learning.
//!
//! Convolutions without padding, or sections of residual blocks (`residual`); dense layers, relu after each, and the heads. Made as the MLP's engine is
//! (`super::mlp`): one thread, no allocation per call, safe kernels over vector instructions. Frames are
//! read where they are stored; an image goes through all convolutions before the next one does, so that
//! its activations stay in the caches; no patch of an image is ever copied (`shape`).

mod actor;
mod backward;
#[cfg(test)]
mod definition;
mod forward;
mod frames;
mod learner;
mod products;
#[cfg(test)]
mod reference;
mod residual;
mod shape;
mod torso;

pub use actor::CnnPolicy;
pub use learner::CnnLearner;
pub(crate) use torso::CnnTorso;
