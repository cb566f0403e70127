//! Lays out observations that come with their frame stack in the way that the networks read them.

use super::error::PlayError;
use crate::env::EnvSpec;
use crate::policy::frames::StackedFrames;

/// Observations that come stacked, laid out as those who act have them: row by row of the stack.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    /// In words, so that f32 frames are aligned.
    memory: Vec<u32>,
    valid: Vec<u8>,
}

impl Stacks {
    /// Hands `look` the observations as [`StackedFrames`].
    pub(super) fn with<'a, R>(
        &mut self,
        spec: &EnvSpec,
        observations: &[u8],
        look: impl FnOnce(StackedFrames<'_>) -> Result<R, PlayError> + 'a,
    ) -> Result<R, PlayError> {
        let observation = &spec.observation;
        let (k, frame) = (observation.frame_stack, observation.frame_bytes());
        let envs = observations.len() / (k * frame);
        // What is older than the episode is zero in the observation itself.
        self.valid.clear();
        self.valid.resize(envs, u8::try_from(k).unwrap_or(u8::MAX));
        if k == 1 {
            return look(StackedFrames::of_step(observation, &[observations], &self.valid));
        }
        let row_bytes = envs * frame;
        let row_words = row_bytes.div_ceil(size_of::<u32>());
        self.memory.clear();
        self.memory.resize(k * row_words, 0);
        for (slot, words) in self.memory.chunks_exact_mut(row_words).enumerate() {
            let row: &mut [u8] = bytemuck::cast_slice_mut(words);
            for (env, target) in row[..row_bytes].chunks_exact_mut(frame).enumerate() {
                target.copy_from_slice(&observations[(env * k + slot) * frame..][..frame]);
            }
        }
        let rows: Vec<&[u8]> = self
            .memory
            .chunks_exact(row_words)
            .map(|words| &bytemuck::cast_slice::<u32, u8>(words)[..row_bytes])
            .collect();
        look(StackedFrames::of_step(observation, &rows, &self.valid))
    }
}
