//! The convolutional network for learning: a forward pass that keeps the activations, and a backward pass whose
//! gradients add up over calls.

use super::backward::Backward;
use super::forward::Network;
use super::shape::Shape;
use crate::frames::StackedFrames;
use crate::simd::Level;
use crate::spec::{NetworkSpec, SpecError};

/// A convolutional network for learning. Memory grows to the largest batch seen; nothing is allocated after
/// that.
#[derive(Debug)]
pub struct CnnLearner {
    network: Network,
    backward: Backward,
    /// Rows of the last forward pass.
    rows: usize,
    logits: Vec<f32>,
    values: Vec<f32>,
}

impl CnnLearner {
    /// A learner for the network `spec`.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or has no convolution.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Self::with_level(spec, Level::active())
    }

    /// The same with other instructions than the best that this CPU has; for tests and measurements.
    ///
    /// # Errors
    /// As [`CnnLearner::new`].
    pub(crate) fn with_level(spec: &NetworkSpec, level: Level) -> Result<Self, SpecError> {
        let network = Network::new(Shape::new(spec)?, level, true);
        let backward = Backward::zeros(&network);
        Ok(Self { network, backward, rows: 0, logits: Vec::new(), values: Vec::new() })
    }

    /// Takes new weights, the flat vector of a `ParamSpec`, and forgets the gradient.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn load(&mut self, parameters: &[f32]) {
        self.network.load(parameters);
        self.backward.load(&self.network);
    }

    /// Logits `[N][A]` and values `[N]` of `observations`. Keeps what [`CnnLearner::backward`] needs.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn forward(&mut self, observations: &StackedFrames<'_>) -> (&[f32], &[f32]) {
        self.rows = self.network.forward(observations);
        self.logits.resize(self.rows * self.network.shape.actions(), 0.0);
        self.values.resize(self.rows, 0.0);
        self.network.write_outputs(self.rows, &mut self.logits, &mut self.values);
        (&self.logits, &self.values)
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the outputs of the
    /// last [`CnnLearner::forward`], for the first M of its N rows (`d_logits` `[M][A]`, `d_values` `[M]`);
    /// the others have none. `observations` are those it was given.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn backward(
        &mut self,
        observations: &StackedFrames<'_>,
        d_logits: &[f32],
        d_values: &[f32],
    ) {
        let (rows, shape) = (d_values.len(), &self.network.shape);
        assert_eq!(
            observations.count(shape.frame_stack * shape.frame_len),
            self.rows,
            "observations of the forward pass"
        );
        assert!(rows <= self.rows, "{rows} gradients of {} outputs", self.rows);
        assert_eq!(d_logits.len(), rows * shape.actions(), "d_logits");
        self.backward.add(&mut self.network, observations, d_logits, d_values);
    }

    /// Writes the gradient, in the order of the parameters: the sum of all [`CnnLearner::backward`] since
    /// the weights were loaded.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn write_gradient(&self, gradient: &mut [f32]) {
        assert_eq!(gradient.len(), self.network.shape.parameters, "gradient");
        self.backward.write(&self.network, gradient);
    }
}
