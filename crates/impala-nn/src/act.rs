//! Acting: from observations in the ring to logits, through a trait that knows no tensors.

use impala_env::{Dtype, ObservationSpec};

/// E observations, as they lie in the ring: k rows of E frames, oldest row first.
#[derive(Debug, Clone, Copy)]
pub struct StackedFrames<'a> {
    /// Shape and type of a frame, and k.
    pub spec: &'a ObservationSpec,
    /// k rows; each holds the frames of all E environments, one after the other.
    pub rows: &'a [&'a [u8]],
    /// `[E]`: how many of the newest frames belong to the episode (1 to k); older ones count as zero.
    pub valid: &'a [u8],
}

impl<'a> StackedFrames<'a> {
    /// E.
    #[must_use]
    pub const fn envs(&self) -> usize {
        self.valid.len()
    }

    /// The observations as they are, `[E][frame]`, if they need neither stacking nor conversion.
    #[must_use]
    pub fn as_f32(&self) -> Option<&'a [f32]> {
        match (self.spec.dtype, self.rows) {
            (Dtype::F32, [row]) => Some(bytemuck::cast_slice(row)),
            _ => None,
        }
    }

    /// Writes `[E][k][frame]` as the network sees it: bytes over 255, frames of another episode zero.
    ///
    /// # Panics
    /// If `out` does not hold `E * k * frame_len` numbers.
    pub fn write_f32(&self, out: &mut [f32]) {
        let (frame_len, k) = (self.spec.frame_len(), self.rows.len());
        assert_eq!(out.len(), self.envs() * k * frame_len, "network input");
        for (age, row) in self.rows.iter().rev().enumerate() {
            let slot = k - 1 - age;
            for (env, &valid) in self.valid.iter().enumerate() {
                let start = (env * k + slot) * frame_len;
                let target = &mut out[start..start + frame_len];
                if age >= usize::from(valid) {
                    target.fill(0.0);
                    continue;
                }
                match self.spec.dtype {
                    Dtype::F32 => {
                        let frames: &[f32] = bytemuck::cast_slice(row);
                        target.copy_from_slice(&frames[env * frame_len..(env + 1) * frame_len]);
                    }
                    Dtype::U8 => {
                        let frame = &row[env * frame_len..(env + 1) * frame_len];
                        target
                            .iter_mut()
                            .zip(frame)
                            .for_each(|(x, &byte)| *x = f32::from(byte) * (1.0 / 255.0));
                    }
                }
            }
        }
    }
}

/// All that E observations bring with them.
#[derive(Debug, Clone, Copy)]
pub struct ActInputs<'a> {
    /// The observations.
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
}

/// A policy with weights that can be replaced: all that the acting loop knows of networks.
pub trait Policy {
    /// Takes new weights, in the order of the network's `ParamSpec`.
    fn load(&mut self, parameters: &[f32]);

    /// Writes the logits of E observations, `[E][A]`. A recurrent policy goes on to its next state.
    ///
    /// # Errors
    /// If the library underneath fails.
    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError>;

    /// `[E][S]`: state of a recurrent core, before the next observations; empty without one.
    fn recurrent_state(&self) -> &[f32] {
        &[]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_newest_last_and_blanks_other_episodes() {
        let spec = ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[2]) };
        let rows: [&[u8]; 3] = [&[255, 255, 51, 51], &[0, 255, 102, 102], &[51, 51, 255, 0]];
        let frames = StackedFrames { spec: &spec, rows: &rows, valid: &[3, 2] };
        let mut out = [9.0; 12];
        frames.write_f32(&mut out);
        let expected = [1.0, 1.0, 0.0, 1.0, 0.2, 0.2, 0.0, 0.0, 0.4, 0.4, 1.0, 0.0];
        for (a, e) in out.iter().zip(expected) {
            assert!((a - e).abs() < 1e-6, "{out:?}");
        }
        assert!(frames.as_f32().is_none());
    }

    #[test]
    fn single_f32_frames_are_used_in_place() {
        let spec = ObservationSpec::new(Dtype::F32, &[2]);
        let numbers = [1.0_f32, 2.0, 3.0, 4.0];
        let rows: [&[u8]; 1] = [bytemuck::cast_slice(&numbers)];
        let frames = StackedFrames { spec: &spec, rows: &rows, valid: &[1, 1] };
        assert_eq!(frames.as_f32(), Some(&numbers[..]));
    }
}
