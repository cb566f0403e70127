//! The convolutions and dense layers of a network without its heads: a torso for networks in which other parts follow.

use super::backward::Backward;
use super::forward::Network;
use super::shape::Shape;
use crate::frames::StackedFrames;
use crate::simd::Level;
use crate::simd::kernels::Rows;
use crate::spec::{NetworkSpec, ParamSpec, SpecError};

/// What is below the heads of a convolutional network. Memory grows to the largest batch seen.
#[derive(Debug)]
pub(crate) struct CnnTorso {
    network: Network,
    /// Of who learns.
    backward: Option<Backward>,
    /// Rows of the last forward pass.
    rows: usize,
}

impl CnnTorso {
    /// The layers of `spec` with zero weights, for acting or for learning.
    ///
    /// # Errors
    /// [`SpecError::NotNative`] if there is no convolution.
    pub(crate) fn new(
        spec: &NetworkSpec,
        parameters: &ParamSpec,
        level: Level,
        learns: bool,
    ) -> Result<Self, SpecError> {
        let network = Network::new(Shape::torso(spec, parameters)?, level, learns);
        let backward = learns.then(|| Backward::zeros(&network));
        Ok(Self { network, backward, rows: 0 })
    }

    /// Numbers in a row of what comes out, and where the features are among them.
    pub(crate) fn features(&self) -> (usize, Vec<usize>) {
        let last = &self.network.shape.layers[self.network.shape.layers.len() - 1];
        (last.output_len(), last.output_places())
    }

    /// Takes the weights from the flat vector, and forgets the gradient.
    pub(crate) fn load(&mut self, flat: &[f32]) {
        self.network.load(flat);
        if let Some(backward) = &mut self.backward {
            backward.load(&self.network);
        }
    }

    /// Computes the features of `observations`.
    pub(crate) fn forward(&mut self, observations: &StackedFrames<'_>) -> Rows<'_> {
        self.rows = self.network.forward(observations);
        self.outputs()
    }

    /// The features of the last [`CnnTorso::forward`], zero between them.
    pub(crate) fn outputs(&self) -> Rows<'_> {
        let last = self.network.shape.layers.len() - 1;
        let layer = &self.network.shape.layers[last];
        let stride = layer.row_stride();
        let data = &self.network.activations[last][..self.rows * stride];
        Rows { data, stride, width: layer.output_len() }
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the features of the first rows of the last
    /// [`CnnTorso::forward`]; the others have none. `observations` are those it was given.
    pub(crate) fn backward(&mut self, observations: &StackedFrames<'_>, d: Rows<'_>) {
        let backward = self.backward.as_mut().expect("a torso that learns");
        backward.add_features(&mut self.network, observations, d);
    }

    /// Writes the gradient in the order of the flat vector.
    pub(crate) fn write_gradient(&self, flat: &mut [f32]) {
        if let Some(backward) = &self.backward {
            backward.write(&self.network, flat);
        }
    }
}
