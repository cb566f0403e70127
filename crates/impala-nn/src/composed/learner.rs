//! The composed network for learning: a forward pass over the steps of an unroll, and its gradient.

use super::branch::Branch;
use crate::inputs::LearnInputs;
use crate::simd::Level;
use crate::spec::{NetworkSpec, ParamSpec, SpecError};

/// A network of several parts for learning. Memory grows to the largest batch seen; nothing is allocated after that.
#[derive(Debug)]
pub struct ComposedLearner {
    branches: Vec<Branch>,
    /// Numbers in one observation.
    inputs: usize,
    actions: usize,
    parameters: usize,
    logits: Vec<f32>,
    values: Vec<f32>,
}

impl ComposedLearner {
    /// A learner for the network `spec`.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or not one that this engine computes.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Self::with_level(spec, Level::active())
    }

    /// The same with other instructions than the best that this CPU has; for tests and measurements.
    ///
    /// # Errors
    /// As [`ComposedLearner::new`].
    pub(crate) fn with_level(spec: &NetworkSpec, level: Level) -> Result<Self, SpecError> {
        let parameters = ParamSpec::new(spec)?;
        Ok(Self {
            branches: Branch::all(spec, &parameters, level, true)?,
            inputs: spec.observation.stacked_len(),
            actions: spec.logits(),
            parameters: parameters.len(),
            logits: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Takes new weights, the flat vector of a `ParamSpec`, and forgets the gradient.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn load(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.parameters, "parameters");
        self.branches.iter_mut().for_each(|branch| branch.load(parameters));
    }

    /// Logits `[N][A]` and values `[N]` of `inputs`. Keeps what [`ComposedLearner::backward`] needs.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn forward(&mut self, inputs: &LearnInputs<'_>) -> (&[f32], &[f32]) {
        let rows = inputs.observations.count(self.inputs);
        self.logits.resize(rows * self.actions, 0.0);
        self.values.resize(rows, 0.0);
        for branch in &mut self.branches {
            branch.forward(inputs, &mut self.logits, &mut self.values);
        }
        (&self.logits, &self.values)
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the outputs of the
    /// last [`ComposedLearner::forward`], for the first M of its N rows, whole time steps of a network with a core (`d_logits` `[M][A]`,
    /// `d_values` `[M]`); the others have none. `inputs` are those it was given.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn backward(&mut self, inputs: &LearnInputs<'_>, d_logits: &[f32], d_values: &[f32]) {
        let rows = d_values.len();
        let of_forward = inputs.observations.count(self.inputs) == self.values.len();
        assert!(of_forward, "inputs of the forward pass");
        assert!(rows <= self.values.len(), "{rows} gradients of {} outputs", self.values.len());
        assert_eq!(d_logits.len(), rows * self.actions, "d_logits");
        for branch in &mut self.branches {
            branch.backward(inputs, d_logits, d_values);
        }
    }

    /// Writes the gradient, in the order of the parameters: the sum of all [`ComposedLearner::backward`]
    /// since the weights were loaded.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn write_gradient(&self, gradient: &mut [f32]) {
        assert_eq!(gradient.len(), self.parameters, "gradient");
        self.branches.iter().for_each(|branch| branch.write_gradient(gradient));
    }
}
