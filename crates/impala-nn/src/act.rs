//! The trait [`Policy`]: from observations in the ring to logits, without tensors in its interface.

use crate::frames::StackedFrames;

/// All that E observations bring with them.
#[derive(Debug, Clone)]
pub struct ActInputs<'a> {
    /// The observations, of one time step.
    pub observations: StackedFrames<'a>,
    /// `[E]` their flags. At [`impala_env::flag::FIRST`] a recurrent core starts anew, and the action and
    /// reward before count as zero.
    pub flags: &'a [u8],
    /// `[E][W]` words of the actions that led to them.
    pub last_actions: &'a [i32],
    /// `[E]` rewards that came with them, as the environment gave them.
    pub last_rewards: &'a [f32],
}

impl<'a> From<StackedFrames<'a>> for ActInputs<'a> {
    /// For policies that look at nothing else.
    fn from(observations: StackedFrames<'a>) -> Self {
        Self { observations, flags: &[], last_actions: &[], last_rewards: &[] }
    }
}

/// Why a policy could not act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// The library underneath threw.
    #[error("inference failed: {0}")]
    Library(String),
    /// The network runs in another process, which gives no more answers.
    #[error("the run is over")]
    Closed,
}

/// A policy with weights that can be replaced: all that the acting loop knows of networks.
pub trait Policy {
    /// Takes new weights, in the order of the network's `ParamSpec`.
    fn load(&mut self, parameters: &[f32]);

    /// Asks for the logits of E observations without waiting for them, if the network runs elsewhere; whether it does.
    /// [`Policy::logits`] with the same inputs then waits for the answer.
    fn ask(&mut self, _inputs: &ActInputs<'_>) -> bool {
        false
    }

    /// Writes the logits of E observations, `[E][A]`. A recurrent policy goes on to its next state.
    ///
    /// # Errors
    /// If the library underneath fails.
    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError>;

    /// `[E][S]`: state of a recurrent core, before the next observations; empty without one.
    fn recurrent_state(&self) -> &[f32] {
        &[]
    }

    /// Goes on from another state, `[E][S]`, in as many environments as that is of; of nothing without a core.
    ///
    /// # Panics
    /// If it is not a whole number of rows.
    fn set_state(&mut self, state: &[f32]) {
        assert!(state.is_empty(), "a policy without a core has no state");
    }

    /// Says where the next observations lie, for a policy whose network runs elsewhere: at which step of which slot of the ring.
    fn observe(&mut self, _slot: usize, _step: usize) {}

    /// Version of the weights that gave the last logits, if it is not the one that was loaded.
    fn acted_with(&self) -> Option<u64> {
        None
    }
}

/// The policy without a network: all actions alike. Measures the pool alone, and runs where there is
/// no engine for the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct UniformPolicy;

impl Policy for UniformPolicy {
    fn load(&mut self, _parameters: &[f32]) {}

    fn logits(&mut self, _inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        logits.fill(0.0);
        Ok(())
    }
}
