//! The convolutional network for acting: forward passes over small batches of images; new weights replace all old ones.

use super::forward::Network;
use super::shape::Shape;
use crate::frames::StackedFrames;
use crate::simd::Level;
use crate::spec::{NetworkSpec, SpecError};

/// A convolutional network for acting: forward only, no allocation once it has seen its largest batch.
#[derive(Debug)]
pub struct CnnPolicy(Network);

impl CnnPolicy {
    /// An actor with zero weights.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or has no convolution.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Self::with_level(spec, Level::active())
    }

    /// The same with other instructions than the best that this CPU has; for tests and measurements.
    ///
    /// # Errors
    /// As [`CnnPolicy::new`].
    pub(crate) fn with_level(spec: &NetworkSpec, level: Level) -> Result<Self, SpecError> {
        Ok(Self(Network::new(Shape::new(spec)?, level, false)))
    }

    /// Takes new weights, the flat vector of a `ParamSpec`.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn load(&mut self, flat: &[f32]) {
        self.0.load(flat);
    }

    /// Writes the logits `[E][A]` of E observations.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn forward(&mut self, observations: &StackedFrames<'_>, logits: &mut [f32]) {
        let rows = self.0.forward(observations);
        self.0.write_outputs(rows, logits, &mut []);
    }
}
