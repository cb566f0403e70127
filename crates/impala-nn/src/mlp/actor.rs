//! The MLP for acting: forward passes over small batches; new weights replace all old ones.

use super::forward::{ForwardTile, ForwardWeights, TILE_ROWS};
use super::pack::{Network, Shape};
use crate::simd::aligned::{Aligned, stride};
use crate::simd::{Level, launch};
use crate::spec::{NetworkSpec, SpecError};

/// An MLP for acting: forward only, no allocation.
#[derive(Debug)]
pub struct MlpPolicy {
    level: Level,
    network: Network,
    /// One for each part of the network that acts: nobody acts by the value, so a part of its own is left out.
    parts: Vec<Part>,
    /// One tile of normalised observations; empty if they are seen as they are.
    input: Vec<f32>,
}

#[derive(Debug)]
struct Part {
    weights: ForwardWeights,
    /// Activations of one tile, layer by layer.
    activations: Vec<Aligned>,
}

impl Part {
    fn new(shape: &Shape) -> Self {
        let widths = shape.hidden.iter().map(|layer| stride(layer.outputs));
        let activations = widths.map(|width| Aligned::zeros(TILE_ROWS * width)).collect();
        Self { weights: ForwardWeights::zeros(shape), activations }
    }
}

impl MlpPolicy {
    /// An actor with zero weights.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or not an MLP with a hidden layer.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Self::with_level(spec, Level::active())
    }

    /// The same with other instructions than the best that this CPU has; for tests and measurements.
    ///
    /// # Errors
    /// As [`MlpPolicy::new`].
    pub(crate) fn with_level(spec: &NetworkSpec, level: Level) -> Result<Self, SpecError> {
        let network = Network::new(spec)?;
        let parts = network.parts.iter().take(1).map(Part::new).collect();
        let normalised =
            if network.normalizer.is_some() { TILE_ROWS * network.inputs() } else { 0 };
        Ok(Self { level, network, parts, input: vec![0.0; normalised] })
    }

    /// The same with the value's part.
    #[cfg(test)]
    pub(crate) fn with_values(spec: &NetworkSpec, level: Level) -> Result<Self, SpecError> {
        let mut actor = Self::with_level(spec, level)?;
        actor.parts = actor.network.parts.iter().map(Part::new).collect();
        Ok(actor)
    }

    /// Takes new weights, the flat vector of a `ParamSpec`.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn load(&mut self, flat: &[f32]) {
        assert_eq!(flat.len(), self.network.parameters, "parameters");
        for (shape, part) in self.network.parts.iter().zip(&mut self.parts) {
            part.weights.load(shape, flat);
        }
        if let Some(normalizer) = &mut self.network.normalizer {
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

    /// Writes the logits `[N][A]` and values `[N]` of the observations `[N][inputs]`, of a network
    /// [`MlpPolicy::with_values`].
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
        assert_eq!(values.len() * self.network.inputs(), observations.len(), "values");
        self.outputs(observations, logits, values);
    }

    fn outputs(&mut self, observations: &[f32], logits: &mut [f32], values: &mut [f32]) {
        let (inputs, actions) = (self.network.inputs(), self.network.actions());
        let rows = observations.len() / inputs;
        assert_eq!(observations.len(), rows * inputs, "observations of {inputs} numbers");
        assert_eq!(logits.len(), rows * actions, "logits");
        let mut values = values.chunks_mut(TILE_ROWS);
        let tiles =
            observations.chunks(TILE_ROWS * inputs).zip(logits.chunks_mut(TILE_ROWS * actions));
        for (x, logits) in tiles {
            let x = match &self.network.normalizer {
                Some(normalizer) => {
                    normalizer.apply(x, &mut self.input);
                    &self.input[..x.len()]
                }
                None => x,
            };
            let values = values.next().unwrap_or_default();
            for (shape, part) in self.network.parts.iter().zip(&mut self.parts) {
                let tile = ForwardTile {
                    shape,
                    weights: &part.weights,
                    x,
                    activations: &mut part.activations,
                    first: 0,
                    logits: &mut *logits,
                    values: &mut *values,
                };
                launch(self.level, tile);
            }
        }
    }
}
