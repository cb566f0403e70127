//! The MLP for learning: a forward pass that keeps the activations, and a backward pass whose gradients add up over
//! calls.

use super::backward::{Above, BackwardTile, BackwardWeights, Gradient};
use super::forward::{ForwardTile, ForwardWeights, TILE_ROWS};
use super::input::Input;
use super::pack::{Network, Shape};
use crate::simd::aligned::{Aligned, stride};
use crate::simd::{Level, launch};
use crate::spec::{NetworkSpec, SpecError};

/// An MLP for learning. Memory grows to the largest batch seen; nothing is allocated after that.
#[derive(Debug)]
pub struct MlpLearner {
    level: Level,
    network: Network,
    /// One for each part of the network.
    parts: Vec<Part>,
    /// Rows of the last forward pass.
    rows: usize,
    logits: Vec<f32>,
    values: Vec<f32>,
    /// One tile of stacked or converted observations.
    input: Vec<f32>,
}

#[derive(Debug)]
struct Part {
    forward: ForwardWeights,
    backward: BackwardWeights,
    gradient: Gradient,
    /// For each hidden layer `[rows][padded]`.
    activations: Vec<Aligned>,
}

impl Part {
    fn new(shape: &Shape) -> Self {
        Self {
            forward: ForwardWeights::zeros(shape),
            backward: BackwardWeights::zeros(shape),
            gradient: Gradient::zeros(shape),
            activations: shape.hidden.iter().map(|_| Aligned::zeros(0)).collect(),
        }
    }
}

impl MlpLearner {
    /// A learner for the network `spec`.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or not an MLP with a hidden layer.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Self::with_level(spec, Level::active())
    }

    /// The same with other instructions than the best that this CPU has; for tests and measurements.
    ///
    /// # Errors
    /// As [`MlpLearner::new`].
    pub(crate) fn with_level(spec: &NetworkSpec, level: Level) -> Result<Self, SpecError> {
        let network = Network::new(spec)?;
        Ok(Self {
            level,
            parts: network.parts.iter().map(Part::new).collect(),
            network,
            rows: 0,
            logits: Vec::new(),
            values: Vec::new(),
            input: Vec::new(),
        })
    }

    /// Takes new weights, the flat vector of a `ParamSpec`, and forgets the gradient.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn load(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.network.parameters, "parameters");
        for (shape, part) in self.network.parts.iter().zip(&mut self.parts) {
            part.forward.load(shape, parameters);
            part.backward.load(shape, parameters);
            part.gradient.clear();
        }
        if let Some(normalizer) = &mut self.network.normalizer {
            normalizer.load(parameters);
        }
    }

    /// Logits `[N][A]` and values `[N]` of `observations`. Keeps what [`MlpLearner::backward`] needs.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn forward(&mut self, observations: &Input<'_>) -> (&[f32], &[f32]) {
        let (inputs, actions) = (self.network.inputs(), self.network.actions());
        self.reserve(observations.rows(inputs));
        for first in (0..self.rows).step_by(TILE_ROWS) {
            let count = TILE_ROWS.min(self.rows - first);
            let normalizer = &self.network.normalizer;
            let x = observations.tile((first, count), inputs, normalizer, &mut self.input);
            for (shape, part) in self.network.parts.iter().zip(&mut self.parts) {
                let tile = ForwardTile {
                    shape,
                    weights: &part.forward,
                    x,
                    activations: &mut part.activations,
                    first,
                    logits: &mut self.logits[first * actions..(first + count) * actions],
                    values: &mut self.values[first..first + count],
                };
                launch(self.level, tile);
            }
        }
        (&self.logits, &self.values)
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the outputs of the
    /// last [`MlpLearner::forward`], for the first M of its N rows (`d_logits` `[M][A]`, `d_values` `[M]`);
    /// the others have none. `observations` are those it was given.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn backward(&mut self, observations: &Input<'_>, d_logits: &[f32], d_values: &[f32]) {
        let (inputs, actions) = (self.network.inputs(), self.network.actions());
        let rows = d_values.len();
        assert_eq!(observations.rows(inputs), self.rows, "observations of the forward pass");
        assert!(rows <= self.rows, "{rows} gradients of {} outputs", self.rows);
        assert_eq!(d_logits.len(), rows * actions, "d_logits");
        for first in (0..rows).step_by(TILE_ROWS) {
            let count = TILE_ROWS.min(rows - first);
            let normalizer = &self.network.normalizer;
            let x = observations.tile((first, count), inputs, normalizer, &mut self.input);
            for (shape, part) in self.network.parts.iter().zip(&mut self.parts) {
                let tile = BackwardTile {
                    shape,
                    forward: &part.forward,
                    backward: &part.backward,
                    x,
                    activations: &part.activations,
                    first,
                    above: Above::Heads {
                        d_logits: &d_logits[first * actions..(first + count) * actions],
                        d_values: &d_values[first..first + count],
                    },
                    gradient: &mut part.gradient,
                };
                launch(self.level, tile);
            }
        }
    }

    /// Writes the gradient, in the order of the parameters: the sum of all [`MlpLearner::backward`] since
    /// the weights were loaded.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn write_gradient(&self, gradient: &mut [f32]) {
        assert_eq!(gradient.len(), self.network.parameters, "gradient");
        for (shape, part) in self.network.parts.iter().zip(&self.parts) {
            part.gradient.write(shape, gradient);
        }
        if let Some(normalizer) = &self.network.normalizer {
            gradient[normalizer.range()].fill(0.0);
        }
    }

    /// Makes room for a batch of `rows`.
    fn reserve(&mut self, rows: usize) {
        self.rows = rows;
        self.logits.resize(rows * self.network.actions(), 0.0);
        self.values.resize(rows, 0.0);
        self.input.resize(TILE_ROWS * self.network.inputs(), 0.0);
        for (shape, part) in self.network.parts.iter().zip(&mut self.parts) {
            for (layer, activations) in shape.hidden.iter().zip(&mut part.activations) {
                let len = rows * stride(layer.outputs);
                if activations.len() < len {
                    *activations = Aligned::zeros(len);
                }
            }
        }
    }
}
