//! The torso of a composed network: an MLP or a CNN that computes features.

use crate::cnn::CnnTorso;
use crate::frames::StackedFrames;
use crate::mlp::{Input, MlpTorso};
use crate::simd::Level;
use crate::simd::kernels::Rows;
use crate::spec::{self, NetworkSpec, ParamSpec, SpecError};

/// From observations to features.
#[derive(Debug)]
pub(super) enum Torso {
    Mlp(Box<MlpTorso>),
    Cnn(Box<CnnTorso>),
}

impl Torso {
    /// The torso called `name`, with zero weights, for acting or for learning.
    ///
    /// # Errors
    /// [`SpecError`] if there is no engine for it.
    pub(super) fn new(
        spec: &NetworkSpec,
        parameters: &ParamSpec,
        name: &str,
        level: Level,
        learns: bool,
    ) -> Result<Self, SpecError> {
        Ok(match spec.torso {
            spec::Torso::Mlp { .. } => {
                Self::Mlp(Box::new(MlpTorso::new(spec, parameters, name, level, learns)?))
            }
            spec::Torso::Cnn { .. } | spec::Torso::ImpalaDeep { .. } => {
                Self::Cnn(Box::new(CnnTorso::new(spec, parameters, level, learns)?))
            }
        })
    }

    /// Numbers in a row of features, gaps included, and where the features are among them.
    pub(super) fn features(&self) -> (usize, Vec<usize>) {
        match self {
            Self::Mlp(torso) => (torso.features(), (0..torso.features()).collect()),
            Self::Cnn(torso) => torso.features(),
        }
    }

    /// Takes the weights from the flat vector, and forgets the gradient.
    pub(super) fn load(&mut self, flat: &[f32]) {
        match self {
            Self::Mlp(torso) => torso.load(flat),
            Self::Cnn(torso) => torso.load(flat),
        }
    }

    /// Computes the features of `observations`.
    pub(super) fn forward(&mut self, observations: &StackedFrames<'_>) -> Rows<'_> {
        match self {
            Self::Mlp(torso) => torso.forward(&Input::from_frames(observations.clone())),
            Self::Cnn(torso) => torso.forward(observations),
        }
    }

    /// The features of the last [`Torso::forward`].
    pub(super) fn outputs(&self) -> Rows<'_> {
        match self {
            Self::Mlp(torso) => torso.outputs(),
            Self::Cnn(torso) => torso.outputs(),
        }
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the features of the first rows of the last
    /// [`Torso::forward`]; the others have none. `observations` are those it was given.
    pub(super) fn backward(&mut self, observations: &StackedFrames<'_>, d: Rows<'_>) {
        match self {
            Self::Mlp(torso) => torso.backward(&Input::from_frames(observations.clone()), d),
            Self::Cnn(torso) => torso.backward(observations, d),
        }
    }

    /// Writes the gradient in the order of the flat vector.
    pub(super) fn write_gradient(&self, flat: &mut [f32]) {
        match self {
            Self::Mlp(torso) => torso.write_gradient(flat),
            Self::Cnn(torso) => torso.write_gradient(flat),
        }
    }
}
