//! Small actor-critic networks on the CPU: their description, their parameters, and engines in Rust that act and learn.
//!
//! A network is described by a [`spec::NetworkSpec`]; its parameters are one flat vector, laid out by a
//! [`spec::ParamSpec`]. Nothing here knows processes, shared memory or, outside `torch`, tensors.

pub mod act;
pub mod bounds;
pub mod cnn;
#[cfg(test)]
mod comparison;
pub mod composed;
pub mod frames;
pub mod gaussian;
mod heads;
pub mod init;
pub mod inputs;
mod lstm;
pub mod mask;
pub mod math;
pub mod mlp;
pub mod native;
pub mod normalize;
pub mod parts;
pub mod sample;
pub mod sampler;
pub mod simd;
pub mod spec;
#[cfg(feature = "torch")]
pub mod torch;
