//! The MLP that acts: weights come in whole, observations in small batches.

use super::forward::{ForwardTile, ForwardWeights, TILE_ROWS};
use super::pack::Shape;
use crate::simd::aligned::{Aligned, stride};
use crate::simd::{Level, launch};
use crate::spec::{NetworkSpec, SpecError};

/// An MLP for acting: forward only, no allocation.
#[derive(Debug)]
pub struct MlpPolicy {
    level: Level,
    shape: Shape,
    weights: ForwardWeights,
    /// Activations of one tile, layer by layer.
    activations: Vec<Aligned>,
    /// One tile of normalised observations; empty if they are seen as they are.
    input: Vec<f32>,
}

impl MlpPolicy {
    /// An actor with zero weights.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is no network, or no MLP with a hidden layer.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Self::with_level(spec, Level::detect())
    }

    /// The same with other instructions than the best that this CPU has; for tests and measurements.
    ///
    /// # Errors
    /// As [`MlpPolicy::new`].
    pub(crate) fn with_level(spec: &NetworkSpec, level: Level) -> Result<Self, SpecError> {
        let shape = Shape::new(spec)?;
        let weights = ForwardWeights::zeros(&shape);
        let widths = shape.hidden.iter().map(|layer| stride(layer.outputs));
        let activations = widths.map(|width| Aligned::zeros(TILE_ROWS * width)).collect();
        let normalised = if shape.normalizer.is_some() { TILE_ROWS * shape.inputs() } else { 0 };
        Ok(Self { level, shape, weights, activations, input: vec![0.0; normalised] })
    }

    /// Takes new weights, the flat vector of a `ParamSpec`.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn load(&mut self, flat: &[f32]) {
        self.weights.load(&self.shape, flat);
        if let Some(normalizer) = &mut self.shape.normalizer {
            normalizer.load(flat);
        }
    }

    /// Writes the logits `[N][A]` of the observations `[N][inputs]`.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn forward(&mut self, observations: &[f32], logits: &mut [f32]) {
        self.outputs(observations, logits, &mut []);
    }

    /// Writes the logits `[N][A]` and values `[N]` of the observations `[N][inputs]`.
    ///
    /// # Panics
    /// If the lengths do not agree.
    #[cfg(test)]
    pub(crate) fn forward_with_values(
        &mut self,
        observations: &[f32],
        logits: &mut [f32],
        values: &mut [f32],
    ) {
        assert_eq!(values.len() * self.shape.inputs(), observations.len(), "values");
        self.outputs(observations, logits, values);
    }

    fn outputs(&mut self, observations: &[f32], logits: &mut [f32], values: &mut [f32]) {
        let (inputs, actions) = (self.shape.inputs(), self.shape.actions());
        let rows = observations.len() / inputs;
        assert_eq!(observations.len(), rows * inputs, "observations of {inputs} numbers");
        assert_eq!(logits.len(), rows * actions, "logits");
        let mut values = values.chunks_mut(TILE_ROWS);
        let tiles =
            observations.chunks(TILE_ROWS * inputs).zip(logits.chunks_mut(TILE_ROWS * actions));
        for (x, logits) in tiles {
            let x = match &self.shape.normalizer {
                Some(normalizer) => {
                    normalizer.apply(x, &mut self.input);
                    &self.input[..x.len()]
                }
                None => x,
            };
            let tile = ForwardTile {
                shape: &self.shape,
                weights: &self.weights,
                x,
                activations: &mut self.activations,
                first: 0,
                logits,
                values: values.next().unwrap_or_default(),
            };
            launch(self.level, tile);
        }
    }
}
