//! Where the network's input comes from: memory that holds it already, or stored frames to be stacked.

use crate::env::{Dtype, ObservationSpec};

/// N observations, as the network is to see them.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// `[N][inputs]` f32, read in place.
    Dense(&'a [f32]),
    /// Stacked and converted tile by tile; the whole is never in memory.
    Stacked(FrameStacks<'a>),
}

/// Stored frames of which each observation sees k.
#[derive(Debug, Clone, Copy)]
pub struct FrameStacks<'a> {
    /// Shape and type of a frame, and k.
    pub spec: &'a ObservationSpec,
    /// B.
    pub columns: usize,
    /// `[T + k][B][frame]`, raw bytes, aligned for their type. Observation `t` is seen through frames
    /// `t .. t + k`, the newest last.
    pub frames: &'a [u8],
    /// `[T + 1][B]`: how many of the newest frames belong to the episode (1 to k); older ones count as
    /// zero. Not read if k is 1.
    pub valid: &'a [u8],
}

impl<'a> Input<'a> {
    /// The observations stored in `stacks`: in place if they need neither stacking nor conversion.
    ///
    /// # Panics
    /// If f32 frames are not aligned to 4 bytes.
    #[must_use]
    pub fn from_frames(stacks: FrameStacks<'a>) -> Self {
        match (stacks.spec.dtype, stacks.spec.frame_stack) {
            (Dtype::F32, 1) => Self::Dense(bytemuck::cast_slice(stacks.frames)),
            _ => Self::Stacked(stacks),
        }
    }

    /// N, for a network with `inputs` inputs.
    ///
    /// # Panics
    /// If the memory does not hold a whole number of observations.
    #[must_use]
    pub fn rows(&self, inputs: usize) -> usize {
        match self {
            Self::Dense(data) => {
                assert!(
                    data.len().is_multiple_of(inputs),
                    "{} numbers, {inputs} per observation",
                    data.len()
                );
                data.len() / inputs
            }
            Self::Stacked(stacks) => stacks.rows(inputs),
        }
    }

    /// Rows `first .. first + count`, in place or in `buffer` (`count * inputs` long or longer).
    pub(super) fn tile<'b>(
        &'b self,
        first: usize,
        count: usize,
        inputs: usize,
        buffer: &'b mut [f32],
    ) -> &'b [f32] {
        match self {
            Self::Dense(data) => &data[first * inputs..(first + count) * inputs],
            Self::Stacked(stacks) => {
                let buffer = &mut buffer[..count * inputs];
                stacks.fill(first, buffer);
                buffer
            }
        }
    }
}

impl FrameStacks<'_> {
    fn rows(&self, inputs: usize) -> usize {
        let k = self.spec.frame_stack;
        assert_eq!(inputs, self.spec.stacked_len(), "inputs of the network");
        let row_bytes = self.columns * self.spec.frame_bytes();
        assert!(
            row_bytes > 0 && self.frames.len().is_multiple_of(row_bytes),
            "{} bytes of frames",
            self.frames.len()
        );
        let rows = ((self.frames.len() / row_bytes + 1).saturating_sub(k)) * self.columns;
        assert!(
            k == 1 || self.valid.len() == rows,
            "{} valid counts for {rows} observations",
            self.valid.len()
        );
        rows
    }

    /// Writes the observations from `first` on, `[..][k][frame]`.
    fn fill(&self, first: usize, out: &mut [f32]) {
        let (k, frame_len) = (self.spec.frame_stack, self.spec.frame_len());
        if k == 1 {
            return self.copy(first * frame_len, out);
        }
        for (row, observation) in (first..).zip(out.chunks_exact_mut(k * frame_len)) {
            let valid = usize::from(self.valid[row]);
            for (slot, frame) in observation.chunks_exact_mut(frame_len).enumerate() {
                if k - slot <= valid {
                    // The same column, `slot` time steps on.
                    self.copy((row + slot * self.columns) * frame_len, frame);
                } else {
                    frame.fill(0.0);
                }
            }
        }
    }

    /// Copies the stored numbers from `start` on.
    fn copy(&self, start: usize, out: &mut [f32]) {
        match self.spec.dtype {
            Dtype::F32 => {
                let numbers: &[f32] = bytemuck::cast_slice(self.frames);
                out.copy_from_slice(&numbers[start..start + out.len()]);
            }
            Dtype::U8 => {
                let bytes = &self.frames[start..start + out.len()];
                out.iter_mut()
                    .zip(bytes)
                    .for_each(|(x, &byte)| *x = f32::from(byte) * (1.0 / 255.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &Input<'_>, inputs: usize) -> Vec<f32> {
        let mut buffer = vec![9.0; inputs];
        (0..input.rows(inputs))
            .flat_map(|row| input.tile(row, 1, inputs, &mut buffer).to_vec())
            .collect()
    }

    #[test]
    fn single_f32_frames_are_read_in_place() {
        let spec = ObservationSpec::new(Dtype::F32, &[2]);
        let numbers = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let frames = bytemuck::cast_slice(&numbers);
        let input = Input::from_frames(FrameStacks { spec: &spec, columns: 3, frames, valid: &[] });
        assert_eq!(input.rows(2), 3);
        let tile = input.tile(1, 2, 2, &mut []);
        assert_eq!(tile.as_ptr(), numbers[2..].as_ptr());
        assert_eq!(tile, [3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn stacks_are_newest_last_and_blank_before_the_episode() {
        let spec = ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[1]) };
        // T = 1, B = 2: frames 0..4 of two columns.
        let frames = [0, 255, 51, 102, 102, 51, 153, 0];
        let input = Input::from_frames(FrameStacks {
            spec: &spec,
            columns: 2,
            frames: &frames,
            valid: &[3, 2, 1, 3],
        });
        assert_eq!(input.rows(3), 4);
        let expected = [0.0, 0.2, 0.4, 0.0, 0.4, 0.2, 0.0, 0.0, 0.6, 0.4, 0.2, 0.0];
        for (a, e) in all(&input, 3).iter().zip(expected) {
            assert!((a - e).abs() < 1e-6, "{:?}", all(&input, 3));
        }
    }

    #[test]
    fn f32_frames_stack_too() {
        let spec = ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::F32, &[2]) };
        let numbers: Vec<f32> = (0_u8..12).map(f32::from).collect();
        let frames = bytemuck::cast_slice(&numbers);
        let input = Input::from_frames(FrameStacks {
            spec: &spec,
            columns: 2,
            frames,
            valid: &[2, 1, 2, 2],
        });
        let expected = [0, 1, 4, 5, 0, 0, 6, 7, 4, 5, 8, 9, 6, 7, 10, 11].map(|x: u8| f32::from(x));
        assert_eq!(all(&input, 4), expected);
    }

    #[test]
    #[should_panic(expected = "valid counts")]
    fn a_wrong_count_is_noticed() {
        let spec = ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::U8, &[1]) };
        let stacks = FrameStacks { spec: &spec, columns: 1, frames: &[0; 3], valid: &[1] };
        let _ = Input::from_frames(stacks).rows(2);
    }
}
