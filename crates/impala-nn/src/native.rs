//! Chooses the native engine for a network, whatever its torso, for acting and for learning; its process never loads
//! libtorch.

use super::act::{ActError, ActInputs, Policy};
use super::cnn::{CnnLearner, CnnPolicy};
use super::composed::{ComposedLearner, ComposedPolicy};
use super::inputs::LearnInputs;
use super::mlp::{Input, MlpLearner, MlpPolicy};
use super::spec::{Core, NetworkSpec, SpecError, Torso};

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
    Composed(Box<ComposedPolicy>),
}

/// Whether torso and heads are all that there is, and one engine computes both.
const fn is_plain(spec: &NetworkSpec) -> bool {
    matches!(spec.core, Core::None) && !spec.action_reward_inputs
}

impl NativePolicy {
    /// A policy for `envs` environments with zero weights, and a zero state if it has a core.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or not one that this engine computes.
    pub fn new(spec: &NetworkSpec, envs: usize) -> Result<Self, SpecError> {
        Ok(Self(match spec.torso {
            _ if !is_plain(spec) => Actor::Composed(Box::new(ComposedPolicy::new(spec, envs)?)),
            Torso::Cnn { .. } | Torso::ImpalaDeep { .. } => {
                Actor::Cnn(Box::new(CnnPolicy::new(spec)?))
            }
            Torso::Mlp { .. } => {
                Actor::Mlp { actor: Box::new(MlpPolicy::new(spec)?), input: Vec::new() }
            }
        }))
    }
}

impl Policy for NativePolicy {
    fn load(&mut self, parameters: &[f32]) {
        match &mut self.0 {
            Actor::Mlp { actor, .. } => actor.load(parameters),
            Actor::Cnn(actor) => actor.load(parameters),
            Actor::Composed(actor) => actor.load(parameters),
        }
    }

    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        let observations = &inputs.observations;
        match &mut self.0 {
            Actor::Cnn(actor) => actor.forward(observations, logits),
            Actor::Composed(actor) => actor.forward(inputs, logits),
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

    fn recurrent_state(&self) -> &[f32] {
        match &self.0 {
            Actor::Composed(actor) => actor.state(),
            _ => &[],
        }
    }

    fn set_state(&mut self, state: &[f32]) {
        match &mut self.0 {
            Actor::Composed(actor) => actor.set_state(state),
            _ => assert!(state.is_empty(), "a network without a core has no state"),
        }
    }
}

/// A network that learns: outputs of some rows, then their gradient, which adds up over calls.
#[derive(Debug)]
pub enum NativeLearner {
    /// Dense layers.
    Mlp(Box<MlpLearner>),
    /// Convolutions below them.
    Cnn(Box<CnnLearner>),
    /// Either of them, and a core or more inputs.
    Composed(Box<ComposedLearner>),
}

impl NativeLearner {
    /// A learner for the network `spec`.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or not one that this engine computes.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Ok(match spec.torso {
            _ if !is_plain(spec) => Self::Composed(Box::new(ComposedLearner::new(spec)?)),
            Torso::Cnn { .. } | Torso::ImpalaDeep { .. } => {
                Self::Cnn(Box::new(CnnLearner::new(spec)?))
            }
            Torso::Mlp { .. } => Self::Mlp(Box::new(MlpLearner::new(spec)?)),
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
            Self::Composed(learner) => learner.load(parameters),
        }
    }

    /// Logits `[N][A]` and values `[N]` of `inputs`. Keeps what [`NativeLearner::backward`] needs.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn forward(&mut self, inputs: &LearnInputs<'_>) -> (&[f32], &[f32]) {
        let observations = &inputs.observations;
        match self {
            Self::Mlp(learner) => learner.forward(&Input::from_frames(observations.clone())),
            Self::Cnn(learner) => learner.forward(observations),
            Self::Composed(learner) => learner.forward(inputs),
        }
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the outputs of the
    /// last [`NativeLearner::forward`], for the first M of its N rows (`d_logits` `[M][A]`, `d_values`
    /// `[M]`), whole time steps of a network with a core; the others have none. `inputs` are those it was given.
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn backward(&mut self, inputs: &LearnInputs<'_>, d_logits: &[f32], d_values: &[f32]) {
        let observations = &inputs.observations;
        match self {
            Self::Mlp(learner) => {
                let input = Input::from_frames(observations.clone());
                learner.backward(&input, d_logits, d_values);
            }
            Self::Cnn(learner) => learner.backward(observations, d_logits, d_values),
            Self::Composed(learner) => learner.backward(inputs, d_logits, d_values),
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
            Self::Composed(learner) => learner.write_gradient(gradient),
        }
    }
}
