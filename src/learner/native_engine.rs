//! The engine in Rust, for MLPs: forward and backward over slices, no tensors.

use super::engine::{Engine, EngineError, Lap, Objective, Observations, StageTimes};
use crate::policy::mlp::{FrameStacks, Input, MlpLearner};
use crate::policy::spec::{NetworkSpec, SpecError};

/// An MLP that learns in Rust.
#[derive(Debug)]
pub struct NativeEngine {
    mlp: MlpLearner,
}

impl NativeEngine {
    /// Prepares the network's buffers.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is no MLP.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        Ok(Self { mlp: MlpLearner::new(spec)? })
    }
}

impl Engine for NativeEngine {
    fn gradient(
        &mut self,
        parameters: &[f32],
        observations: &Observations<'_>,
        objective: &mut dyn Objective,
        gradient: &mut [f32],
        times: &mut StageTimes,
    ) -> Result<bool, EngineError> {
        let mut lap = Lap::start();
        let valid = if observations.spec.frame_stack > 1 {
            observations.valid_frames()
        } else {
            Vec::new()
        };
        let input = Input::from_frames(FrameStacks {
            spec: observations.spec,
            columns: observations.columns,
            frames: observations.frames,
            valid: &valid,
        });
        times.batching += lap.lap();
        let (logits, values) = self.mlp.forward(parameters, &input);
        times.forward += lap.lap();
        let gradients = objective.gradients(logits, values);
        times.loss += lap.lap();
        let Some((d_logits, d_values)) = gradients else {
            return Ok(false);
        };
        self.mlp.backward(&input, d_logits, d_values, gradient);
        times.backward += lap.lap();
        Ok(true)
    }

    fn name(&self) -> &'static str {
        "native"
    }
}
