//! Another frame stack than the environment's own.

use super::{Actions, EnvError, EnvSpec, ResetOut, SharedMemory, StepOut, VectorEnv};

/// Environments whose spec says another frame stack. The stack is a view of single frames that the actor
/// makes, so the environments themselves notice nothing.
pub(super) struct Restacked {
    spec: EnvSpec,
    inner: Box<dyn VectorEnv>,
}

impl Restacked {
    pub(super) fn new(inner: Box<dyn VectorEnv>, frame_stack: usize) -> Self {
        let mut spec = inner.spec().clone();
        spec.observation.frame_stack = frame_stack;
        Self { spec, inner }
    }
}

impl VectorEnv for Restacked {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.inner.envs()
    }

    fn notes(&self) -> &[String] {
        self.inner.notes()
    }

    fn attach(&mut self, memory: &SharedMemory<'_>) -> Result<(), EnvError> {
        self.inner.attach(memory)
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        self.inner.reset(out)
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        self.inner.step(actions, out)
    }
}
