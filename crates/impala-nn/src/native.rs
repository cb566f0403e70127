//! Acting and learning with the engine in Rust, whatever the torso: its process never touches libtorch.

use super::act::{ActError, ActInputs, Policy};
use super::cnn::{CnnLearner, CnnPolicy};
use super::frames::StackedFrames;
use super::mlp::{Input, MlpLearner, MlpPolicy};
use super::spec::{NetworkSpec, SpecError, Torso};

/// A network that acts.
#[derive(Debug)]
pub struct NativePolicy(Actor);

#[derive(Debug)]
enum Actor {
    Mlp {
        actor: Box<MlpPolicy>,
        /// Stacked and converted observations; unused where the ring's memory is the input.
        input: Vec<f32>,
    },
    Cnn(Box<CnnPolicy>),
}

impl NativePolicy {
    /// A policy with zero weights.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is no network, or none that this engine computes.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Ok(Self(match spec.torso {
            Torso::Cnn { .. } => Actor::Cnn(Box::new(CnnPolicy::new(spec)?)),
            _ => Actor::Mlp { actor: Box::new(MlpPolicy::new(spec)?), input: Vec::new() },
        }))
    }
}

impl Policy for NativePolicy {
    fn load(&mut self, parameters: &[f32]) {
        match &mut self.0 {
            Actor::Mlp { actor, .. } => actor.load(parameters),
            Actor::Cnn(actor) => actor.load(parameters),
        }
    }

    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        let observations = &inputs.observations;
        match &mut self.0 {
            Actor::Cnn(actor) => actor.forward(observations, logits),
            Actor::Mlp { actor, input } => {
                if let Some(input) = observations.as_f32() {
                    actor.forward(input, logits);
                } else {
                    input.resize(observations.envs() * observations.spec.stacked_len(), 0.0);
                    observations.write_f32(input);
                    actor.forward(input, logits);
                }
            }
        }
        Ok(())
    }
}

/// A network that learns: outputs of some rows, then their gradient, which adds up over calls.
#[derive(Debug)]
pub enum NativeLearner {
    /// Dense layers.
    Mlp(Box<MlpLearner>),
    /// Convolutions below them.
    Cnn(Box<CnnLearner>),
}

impl NativeLearner {
    /// A learner for the network `spec`.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is no network, or none that this engine computes.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Ok(match spec.torso {
            Torso::Cnn { .. } => Self::Cnn(Box::new(CnnLearner::new(spec)?)),
            _ => Self::Mlp(Box::new(MlpLearner::new(spec)?)),
        })
    }

    /// Takes new weights, the flat vector of a `ParamSpec`, and forgets the gradient.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn load(&mut self, parameters: &[f32]) {
        match self {
            Self::Mlp(learner) => learner.load(parameters),
            Self::Cnn(learner) => learner.load(parameters),
        }
    }

    /// Logits `[N][A]` and values `[N]` of `observations`. Keeps what [`NativeLearner::backward`] needs.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn forward(&mut self, observations: StackedFrames<'_>) -> (&[f32], &[f32]) {
        match self {
            Self::Mlp(learner) => learner.forward(&Input::from_frames(observations)),
            Self::Cnn(learner) => learner.forward(&observations),
        }
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the outputs of the
    /// last [`NativeLearner::forward`], for the first M of its N rows (`d_logits` `[M][A]`, `d_values`
    /// `[M]`); the others have none. `observations` are those it was given.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn backward(
        &mut self,
        observations: StackedFrames<'_>,
        d_logits: &[f32],
        d_values: &[f32],
    ) {
        match self {
            Self::Mlp(learner) => {
                learner.backward(&Input::from_frames(observations), d_logits, d_values);
            }
            Self::Cnn(learner) => {
                learner.backward(&observations, d_logits, d_values);
            }
        }
    }

    /// Writes the gradient, in the order of the parameters: the sum of all [`NativeLearner::backward`]
    /// since the weights were loaded.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn write_gradient(&self, gradient: &mut [f32]) {
        match self {
            Self::Mlp(learner) => learner.write_gradient(gradient),
            Self::Cnn(learner) => learner.write_gradient(gradient),
        }
    }
}
