//! Gradients in place of unrolls: an actor records each unroll in memory of its own, and writes its gradient into the
//! ring.

use std::time::Duration;

use super::ActorError;
use crate::env::flag;
use crate::kill_point;
use crate::ring::TakeError;
use crate::unroll::{BlockRef, Consumer, Field, GroupMut, LOSS_WORDS, Producer};

/// What makes a gradient of an unroll.
pub trait GradientSource {
    /// Writes the gradient of the loss over the first steps of `unroll`, as many as are given, with respect to `parameters`, which acted,
    /// and gives the sums of the loss as they travel.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn gradient(
        &mut self,
        parameters: &[f32],
        unroll: (&BlockRef<'_>, usize),
        gradient: &mut [f32],
    ) -> Result<[u64; LOSS_WORDS], ActorError>;
}

/// Where an actor records an unroll, and what becomes of it.
pub struct Recorder<'m> {
    /// Writes into a ring of one slot that nobody else has.
    pub producer: Producer<'m>,
    /// Reads from it.
    pub consumer: Consumer<'m>,
    /// Makes the gradient.
    pub source: Box<dyn GradientSource + 'm>,
    /// Whether every unroll is of whole episodes: it starts with a reset, and each environment's first episode counts.
    pub whole_episodes: bool,
}

impl std::fmt::Debug for Recorder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("whole_episodes", &self.whole_episodes)
            .finish_non_exhaustive()
    }
}

impl Recorder<'_> {
    /// Writes into `slot` the gradient of the recorded unroll, of which `steps` are of use, and what the learner keeps
    /// account of.
    pub(super) fn write(
        &mut self,
        steps: usize,
        parameters: &[f32],
        slot: &mut GroupMut<'_>,
    ) -> Result<(), ActorError> {
        let held = self.consumer.take(Duration::ZERO)?;
        let unroll = BlockRef::new(held.block());
        *slot.header_mut() = unroll.headers()[0];
        copy(&unroll, slot, steps);
        let gradient = slot.row_mut(Field::Gradient, 0);
        let loss = self.source.gradient(parameters, (&unroll, steps), gradient)?;
        kill_point!("actor.mid_gradient");
        slot.row_mut(Field::Loss, 0).copy_from_slice(&loss);
        held.release().map_err(TakeError::from)?;
        Ok(())
    }
}

/// Copies what travels beside the gradient: episodes, rewards, and frames if the learner follows what they are like.
fn copy(unroll: &BlockRef<'_>, slot: &mut GroupMut<'_>, steps: usize) {
    let travelling = *slot.layout().spec();
    for (field, rows) in [
        (Field::Flags, steps + 1),
        (Field::EpisodeReturn, steps + 1),
        (Field::EpisodeLength, steps + 1),
        (Field::Reward, steps),
        (Field::Frame, if travelling.frame_bytes > 0 { steps + travelling.frame_stack } else { 0 }),
    ] {
        let recorded: &[u8] = unroll.field(field);
        let row_bytes = recorded.len() / unroll.layout().rows(field);
        for (row, bytes) in recorded.chunks_exact(row_bytes).take(rows).enumerate() {
            slot.row_mut(field, row).copy_from_slice(bytes);
        }
    }
    // Steps behind the end look as if they crossed a reset: they count for nothing.
    for row in steps + 1..=travelling.unroll {
        slot.row_mut(Field::Flags, row).fill(flag::FIRST);
    }
}
