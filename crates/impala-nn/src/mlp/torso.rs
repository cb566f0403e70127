//! The hidden layers of an MLP without its heads: a torso for networks in which other parts follow.

use super::backward::{Above, BackwardTile, BackwardWeights, Gradient};
use super::forward::{ForwardTile, ForwardWeights, TILE_ROWS};
use super::input::Input;
use super::pack::Shape;
use crate::normalize::Normalizer;
use crate::simd::aligned::{Aligned, stride};
use crate::simd::kernels::Rows;
use crate::simd::{Level, launch};
use crate::spec::{NetworkSpec, ParamSpec, SpecError};

/// An MLP's hidden layers. Memory grows to the largest batch seen; nothing is allocated after that.
#[derive(Debug)]
pub(crate) struct MlpTorso {
    level: Level,
    shape: Shape,
    normalizer: Option<Normalizer>,
    forward: ForwardWeights,
    /// Of who learns.
    backward: Option<(BackwardWeights, Gradient)>,
    /// For each hidden layer `[rows][padded]`.
    activations: Vec<Aligned>,
    /// Rows of the last forward pass.
    rows: usize,
    /// One tile of stacked, converted or normalised observations.
    input: Vec<f32>,
}

impl MlpTorso {
    /// The hidden layers called `name`, with zero weights, for acting or for learning.
    ///
    /// # Errors
    /// [`SpecError::NotNative`] if `spec` is not an MLP with a hidden layer.
    pub(crate) fn new(
        spec: &NetworkSpec,
        parameters: &ParamSpec,
        name: &str,
        level: Level,
        learns: bool,
    ) -> Result<Self, SpecError> {
        let shape = Shape::new(spec, parameters, name, [None; 2])?;
        Ok(Self {
            level,
            normalizer: Normalizer::of(spec, parameters),
            forward: ForwardWeights::zeros(&shape),
            backward: learns.then(|| (BackwardWeights::zeros(&shape), Gradient::zeros(&shape))),
            activations: shape.hidden.iter().map(|_| Aligned::zeros(0)).collect(),
            rows: 0,
            input: vec![0.0; TILE_ROWS * shape.inputs()],
            shape,
        })
    }

    /// F: numbers that come out.
    pub(crate) fn features(&self) -> usize {
        self.shape.features()
    }

    /// Takes the weights from the flat vector, and forgets the gradient.
    pub(crate) fn load(&mut self, flat: &[f32]) {
        self.forward.load(&self.shape, flat);
        if let Some((weights, gradient)) = &mut self.backward {
            weights.load(&self.shape, flat);
            gradient.clear();
        }
        if let Some(normalizer) = &mut self.normalizer {
            normalizer.load(flat);
        }
    }

    /// Computes the features of `observations`.
    pub(crate) fn forward(&mut self, observations: &Input<'_>) -> Rows<'_> {
        let inputs = self.shape.inputs();
        self.rows = observations.rows(inputs);
        for (layer, activations) in self.shape.hidden.iter().zip(&mut self.activations) {
            let len = self.rows * stride(layer.outputs);
            if activations.len() < len {
                *activations = Aligned::zeros(len);
            }
        }
        for first in (0..self.rows).step_by(TILE_ROWS) {
            let tile = (first, TILE_ROWS.min(self.rows - first));
            let tile = ForwardTile {
                shape: &self.shape,
                weights: &self.forward,
                x: observations.tile(tile, inputs, &self.normalizer, &mut self.input),
                activations: &mut self.activations,
                first,
                logits: &mut [],
                values: &mut [],
            };
            launch(self.level, tile);
        }
        self.outputs()
    }

    /// The features of the last [`MlpTorso::forward`], `[rows][F]`.
    pub(crate) fn outputs(&self) -> Rows<'_> {
        let (width, last) = (self.features(), self.activations.len() - 1);
        let stride = stride(width);
        Rows { data: &self.activations[last][..self.rows * stride], stride, width }
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the features of the first rows of the last
    /// [`MlpTorso::forward`]; the others have none. `observations` are those it was given.
    pub(crate) fn backward(&mut self, observations: &Input<'_>, d: Rows<'_>) {
        let inputs = self.shape.inputs();
        let (backward, gradient) = self.backward.as_mut().expect("a torso that learns");
        let rows = d.data.len() / d.stride;
        for first in (0..rows).step_by(TILE_ROWS) {
            let count = TILE_ROWS.min(rows - first);
            let d_features = &d.data[first * d.stride..][..count * d.stride];
            let tile = BackwardTile {
                shape: &self.shape,
                forward: &self.forward,
                backward,
                x: observations.tile((first, count), inputs, &self.normalizer, &mut self.input),
                activations: &self.activations,
                first,
                above: Above::Features(Rows { data: d_features, ..d }),
                gradient,
            };
            launch(self.level, tile);
        }
    }

    /// Writes the gradient in the order of the flat vector. That of statistics is zero.
    pub(crate) fn write_gradient(&self, flat: &mut [f32]) {
        if let Some((_, gradient)) = &self.backward {
            gradient.write(&self.shape, flat);
        }
        if let Some(normalizer) = &self.normalizer {
            flat[normalizer.range()].fill(0.0);
        }
    }
}
