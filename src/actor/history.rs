//! State that an actor carries from one unroll to the next: the last frames of each environment, and where its episode
//! is.

use crate::env::{EnvSpec, ResetOut, flag};
use crate::policy::frames::FrameHistory;

/// The newest k frames of each environment, and the running episodes.
#[derive(Debug)]
pub(super) struct History {
    /// The first k rows of the next unroll.
    pub(super) frames: FrameHistory,
    /// Flags of the newest observation.
    pub(super) flags: Vec<u8>,
    /// `[E][outputs]`: mask of the newest observation.
    pub(super) masks: Vec<u8>,
    /// `[E][W]`: words of the action that led to the newest observation.
    pub(super) actions: Vec<i32>,
    /// `[E]`: reward that came with it.
    pub(super) rewards: Vec<f32>,
    episode_return: Vec<f32>,
    episode_length: Vec<u32>,
}

impl History {
    /// Before the first reset.
    pub(super) fn new(spec: &EnvSpec, envs: usize) -> Self {
        Self {
            frames: FrameHistory::new(&spec.observation, envs),
            flags: vec![flag::FIRST; envs],
            masks: vec![1; envs * spec.mask_bytes()],
            actions: vec![0; envs * spec.action.words()],
            rewards: vec![0.0; envs],
            episode_return: vec![0.0; envs],
            episode_length: vec![0; envs],
        }
    }

    /// The newest row of frames and its masks, where a reset writes.
    pub(super) fn newest(&mut self) -> ResetOut<'_> {
        ResetOut { frames: self.frames.newest_mut(), masks: &mut self.masks }
    }

    /// How many of the k - 1 frames before the newest belong to the episode of each environment.
    pub(super) fn earlier(&self) -> impl Iterator<Item = u8> {
        self.frames.valid().iter().map(|valid| valid - 1)
    }

    /// Takes account of one vector step; writes return and length where an episode ended, and gives
    /// the number that did.
    pub(super) fn advance(
        &mut self,
        actions: &[i32],
        rewards: &[f32],
        flags: &[u8],
        returns: &mut [f32],
        lengths: &mut [u32],
    ) -> u64 {
        self.actions.copy_from_slice(actions);
        self.rewards.copy_from_slice(rewards);
        // Loops of one array each, without branches: they run over many environments at a time.
        self.frames.advance(flags);
        let is_first = |flags: &u8| flags & flag::FIRST != 0;
        for ((sum, reward), flags) in self.episode_return.iter_mut().zip(rewards).zip(flags) {
            // Select by bit mask, so that the loop vectorises.
            let kept = if is_first(flags) { 0 } else { u32::MAX };
            *sum = f32::from_bits((*sum + reward).to_bits() & kept);
        }
        for (length, flags) in self.episode_length.iter_mut().zip(flags) {
            *length = if is_first(flags) { 0 } else { *length + 1 };
        }
        let mut ended = 0;
        for (env, _) in flags.iter().enumerate().filter(|(_, flags)| *flags & flag::DONE != 0) {
            returns[env] = self.episode_return[env];
            lengths[env] = self.episode_length[env];
            ended += 1;
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{ActionSpec, Dtype, ObservationSpec};

    #[test]
    fn episodes_are_summed_and_reset() {
        let observation =
            ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[1]) };
        let spec = EnvSpec::new("Test-v0", observation, ActionSpec::Discrete { n: 9 });
        let mut history = History::new(&spec, 2);
        let (mut returns, mut lengths) = ([0.0; 2], [0; 2]);
        let mut step = |history: &mut History, rewards, flags| {
            history.advance(&[7, 8], rewards, flags, &mut returns, &mut lengths)
        };
        assert_eq!(step(&mut history, &[1.0, 2.0], &[0, 0]), 0);
        assert_eq!(step(&mut history, &[1.0, 2.0], &[flag::TERMINATED, 0]), 1);
        assert_eq!(history.frames.valid(), [3, 3]);
        assert_eq!(step(&mut history, &[0.0, 2.0], &[flag::FIRST, flag::TRUNCATED]), 1);
        assert_eq!(history.frames.valid(), [1, 3]);
        assert_eq!(history.earlier().collect::<Vec<_>>(), [0, 2]);
        assert_eq!((&history.actions[..], &history.rewards[..]), (&[7, 8][..], &[0.0, 2.0][..]));
        assert_eq!((returns, lengths), ([2.0, 6.0], [2, 3]));
    }
}
