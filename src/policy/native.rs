//! Acting with the engine in Rust.

use super::act::{Act, ActError, ActInputs};
use super::mlp::MlpActor;
use super::spec::{NetworkSpec, SpecError};

/// An MLP that acts; its process never touches libtorch.
#[derive(Debug)]
pub struct NativePolicy {
    actor: MlpActor,
    /// Stacked and converted observations; unused where the ring's memory is the input.
    input: Vec<f32>,
}

impl NativePolicy {
    /// A policy with zero weights.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is no MLP.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Ok(Self { actor: MlpActor::new(spec)?, input: Vec::new() })
    }
}

impl Act for NativePolicy {
    fn load(&mut self, parameters: &[f32]) {
        self.actor.load(parameters);
    }

    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        let observations = &inputs.observations;
        if let Some(input) = observations.as_f32() {
            self.actor.forward(input, logits);
        } else {
            self.input.resize(observations.envs() * observations.spec.stacked_len(), 0.0);
            observations.write_f32(&mut self.input);
            self.actor.forward(&self.input, logits);
        }
        Ok(())
    }
}
