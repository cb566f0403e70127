//! The trait [`Engine`]: computes the network's outputs and its gradient for a block, with native Rust or libtorch.
//!
//! An engine sees one block at a time, and only while [`Engine::gradient`] runs: nothing it builds over
//! the block's memory outlives the call, so the block can be released right after it.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::env::ObservationSpec;
use crate::policy::frames::advance_valid;

/// The stored observations of a block, and what is needed to stack them.
#[derive(Debug, Clone, Copy)]
pub struct Observations<'a> {
    /// Shape and type of a frame, and k.
    pub spec: &'a ObservationSpec,
    /// T.
    pub unroll: usize,
    /// B.
    pub columns: usize,
    /// `[T + k][B][frame]`, raw bytes, 64-byte aligned.
    pub frames: &'a [u8],
    /// `[B]`: how many of the `k - 1` frames before observation 0 belong to its episode.
    pub history: &'a [u8],
    /// `[T + 1][B]`, bits of [`crate::env::flag`].
    pub flags: &'a [u8],
    /// `[T][B][W]` words of the actions.
    pub actions: &'a [i32],
    /// `[T][B]` rewards as the environment gave them.
    pub rewards: &'a [f32],
    /// `[B][W]` words of the actions that led to observation 0.
    pub first_actions: &'a [i32],
    /// `[B]` rewards that came with observation 0.
    pub first_rewards: &'a [f32],
    /// `[B][S]` state of the recurrent core before observation 0.
    pub recurrent_state: &'a [f32],
}

impl Observations<'_> {
    /// Number of observations: (T + 1) * B.
    #[must_use]
    pub(crate) const fn rows(&self) -> usize {
        (self.unroll + 1) * self.columns
    }

    /// How many of the k frames of each observation belong to its episode (1 to k), `[T + 1][B]`.
    #[must_use]
    pub fn valid_frames(&self) -> Vec<u8> {
        let mut row = self.history.to_vec();
        let mut valid = Vec::with_capacity(self.rows());
        for flags in self.flags.chunks_exact(self.columns) {
            advance_valid(&mut row, flags, self.spec.frame_stack);
            valid.extend_from_slice(&row);
        }
        valid
    }
}

/// The loss of one block, as an engine calls it. Columns have nothing to do with each other: an engine
/// may take them strip by strip, and share the strips among threads.
pub trait Objective: Sync {
    /// One thread's means to evaluate strips.
    fn evaluator(&self) -> Box<dyn Evaluator + '_>;

    /// Whether the gradient of one strip depends on the others: then, if there are several in the block, [`Evaluator::look`]
    /// is to see the outputs of all of them first, also of those that are not in the part.
    fn looks_first(&self) -> bool {
        false
    }

    /// The columns that the gradient is of; `None`: all of the block.
    fn part(&self) -> Option<Range<usize>> {
        None
    }
}

/// From outputs to the gradients with respect to them.
pub trait Evaluator {
    /// Sees the outputs of a strip, which are those of [`Evaluator::gradients`].
    fn look(&mut self, _strip: Range<usize>, _logits: &[f32], _values: &[f32]) {}

    /// For the columns `strip` of the block: `logits` `[T + 1][strip][A]` and `values` `[T + 1][strip]` to
    /// dL/dlogits `[T][strip][A]` and dL/dvalues `[T][strip]` (that of the bootstrap row is zero). `None`
    /// if the loss is not finite and there is nothing to learn from this block.
    fn gradients(
        &mut self,
        strip: Range<usize>,
        logits: &[f32],
        values: &[f32],
    ) -> Option<(&[f32], &[f32])>;
}

/// Time spent in the stages of one update, by the thread that asked for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Making the network's input from the block.
    pub batching: Duration,
    /// Network, forwards.
    pub forward: Duration,
    /// V-trace and loss.
    pub loss: Duration,
    /// Network, backwards; with the wait for other threads that have a share in the update.
    pub backward: Duration,
}

impl StageTimes {
    /// All stages.
    #[must_use]
    pub(crate) fn sum(&self) -> Duration {
        self.batching + self.forward + self.loss + self.backward
    }

    /// Adds those of another.
    #[cfg(feature = "torch")]
    pub(crate) fn add(&mut self, other: &Self) {
        self.batching += other.batching;
        self.forward += other.forward;
        self.loss += other.loss;
        self.backward += other.backward;
    }
}

/// Times one stage after another with one clock reading each.
#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts the watch.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start or the last call of this function.
    pub(crate) fn restart(&mut self) -> Duration {
        let now = Instant::now();
        let taken = now - self.0;
        self.0 = now;
        taken
    }
}

/// Why an engine could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// This libtorch sees no such GPU.
    #[error("libtorch finds no GPU for cuda:{index}")]
    NoDevice {
        /// Which GPU was asked for.
        index: usize,
    },
    /// libtorch threw.
    #[error("libtorch failed in {stage}: {message}")]
    Libtorch {
        /// What was being done.
        stage: &'static str,
        /// What it said.
        message: String,
    },
}

/// Computes outputs and gradient of a network over a flat parameter vector.
pub trait Engine {
    /// Runs the network on `observations`, asks `objective` for the gradient with respect to the
    /// outputs, and writes the gradient with respect to `parameters` (same length and order).
    /// Returns false, and leaves `gradient` undefined, if the objective had nothing to give.
    ///
    /// # Errors
    /// If the library underneath fails.
    fn gradient(
        &mut self,
        parameters: &[f32],
        observations: &Observations<'_>,
        objective: &dyn Objective,
        gradient: &mut [f32],
        times: &mut StageTimes,
    ) -> Result<bool, EngineError>;

    /// What it is, for the log and the configuration.
    fn name(&self) -> &'static str;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Dtype, flag};

    #[test]
    fn frames_before_the_episode_do_not_count() {
        let spec = ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[1]) };
        let observations = Observations {
            spec: &spec,
            unroll: 3,
            columns: 2,
            frames: &[0; 12],
            history: &[1, 2],
            flags: &[0, 0, 0, flag::FIRST, 0, 0, flag::FIRST, 0],
            actions: &[],
            rewards: &[],
            first_actions: &[],
            first_rewards: &[],
            recurrent_state: &[],
        };
        assert_eq!(observations.valid_frames(), [2, 3, 3, 1, 3, 2, 1, 3]);
    }
}
