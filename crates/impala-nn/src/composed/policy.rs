//! The composed network for acting: it carries the state of its recurrent core from step to step.

use super::branch::Branch;
use crate::act::ActInputs;
use crate::inputs::{LearnInputs, encode};
use crate::simd::Level;
use crate::spec::{NetworkSpec, ParamSpec, SpecError};
use impala_env::ActionSpec;

/// A network of several parts for acting in E environments: forward only, no allocation after the first step.
#[derive(Debug)]
pub struct ComposedPolicy {
    /// That of the policy; nobody acts by the value alone.
    branch: Branch,
    action: ActionSpec,
    /// `[E][S]`: state of the core before the next observations.
    state: Vec<f32>,
    /// S.
    state_len: usize,
    /// `[E][extra inputs]`.
    extra: Vec<f32>,
    extra_inputs: usize,
    parameters: usize,
}

impl ComposedPolicy {
    /// A policy for `envs` environments with zero weights and a zero state.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or not one that this engine computes.
    pub fn new(spec: &NetworkSpec, envs: usize) -> Result<Self, SpecError> {
        Self::with_level(spec, envs, Level::active())
    }

    /// The same with other instructions than the best that this CPU has; for tests and measurements.
    ///
    /// # Errors
    /// As [`ComposedPolicy::new`].
    pub(crate) fn with_level(
        spec: &NetworkSpec,
        envs: usize,
        level: Level,
    ) -> Result<Self, SpecError> {
        let parameters = ParamSpec::new(spec)?;
        Ok(Self {
            branch: Branch::all(spec, &parameters, level, false)?.swap_remove(0),
            action: spec.action.clone(),
            state: vec![0.0; envs * spec.state_len()],
            state_len: spec.state_len(),
            extra: vec![0.0; envs * spec.extra_inputs()],
            extra_inputs: spec.extra_inputs(),
            parameters: parameters.len(),
        })
    }

    /// Takes new weights, the flat vector of a `ParamSpec`. The state stays.
    ///
    /// # Panics
    /// If the length is not that of the network's parameters.
    pub fn load(&mut self, flat: &[f32]) {
        assert_eq!(flat.len(), self.parameters, "parameters");
        self.branch.load(flat);
    }

    /// Writes the logits `[E][A]` of E observations, and goes on to the next state.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn forward(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) {
        let (envs, words) = (inputs.observations.envs(), self.action.words());
        let width = self.extra_inputs;
        if width > 0 {
            self.extra.resize(envs * width, 0.0);
            for (env, out) in self.extra.chunks_exact_mut(width).enumerate() {
                let action = &inputs.last_actions[env * words..(env + 1) * words];
                encode(&self.action, action, inputs.last_rewards[env], inputs.flags[env], out);
            }
        }
        let seen = LearnInputs {
            observations: inputs.observations.clone(),
            flags: inputs.flags,
            extra: &self.extra,
            state: &self.state,
        };
        self.branch.forward(&seen, logits, &mut []);
        self.branch.write_state(&mut self.state);
    }

    /// Goes on from another state, `[E][S]`, in as many environments as that is of.
    ///
    /// # Panics
    /// If it is not a whole number of rows.
    pub fn set_state(&mut self, state: &[f32]) {
        let whole = state.len().checked_rem(self.state_len).unwrap_or(state.len()) == 0;
        assert!(whole, "{} numbers of state", state.len());
        self.state.clear();
        self.state.extend_from_slice(state);
    }

    /// `[E][S]`: state of the core before the next observations.
    #[must_use]
    pub fn state(&self) -> &[f32] {
        &self.state
    }
}
