//! Where the network's input comes from: memory that holds it already, or stored frames to be stacked.

use std::ops::Range;

use crate::normalize::Normalizer;
use impala_env::{Dtype, ObservationSpec};

/// N observations, as the network is to see them.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// `[N][inputs]` f32, read in place.
    Dense(&'a [f32]),
    /// Gathered, stacked and converted tile by tile; the whole is never in memory.
    Stacked(FrameStacks<'a>),
}

/// Stored frames of which each observation sees k, and a strip of columns of them.
#[derive(Debug, Clone)]
pub struct FrameStacks<'a> {
    /// Shape and type of a frame, and k.
    pub spec: &'a ObservationSpec,
    /// B.
    pub columns: usize,
    /// The columns that are wanted: N = (T + 1) * strip.
    pub strip: Range<usize>,
    /// `[T + k][B][frame]`, raw bytes, aligned for their type. Observation `t` is seen through frames
    /// `t .. t + k`, the newest last.
    pub frames: &'a [u8],
    /// `[T + 1][B]`: how many of the newest frames belong to the episode (1 to k); older ones count as
    /// zero. Not read if k is 1.
    pub valid: &'a [u8],
}

impl<'a> Input<'a> {
    /// The observations stored in `stacks`: in place if all columns are wanted and need neither stacking
    /// nor conversion.
    ///
    /// # Panics
    /// If f32 frames are not aligned to 4 bytes.
    #[must_use]
    pub fn from_frames(stacks: FrameStacks<'a>) -> Self {
        match (stacks.spec.dtype, stacks.spec.frame_stack) {
            (Dtype::F32, 1) if stacks.strip == (0..stacks.columns) => {
                Self::Dense(bytemuck::cast_slice(stacks.frames))
            }
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

    /// Rows `first .. first + count`, normalised, in place or in `buffer` (`count * inputs` long or longer).
    pub(super) fn tile<'b>(
        &'b self,
        (first, count): (usize, usize),
        inputs: usize,
        normalizer: &Option<Normalizer>,
        buffer: &'b mut [f32],
    ) -> &'b [f32] {
        match self {
            Self::Dense(data) => {
                let rows = &data[first * inputs..(first + count) * inputs];
                let Some(normalizer) = normalizer else { return rows };
                let buffer = &mut buffer[..count * inputs];
                normalizer.apply(rows, buffer);
                buffer
            }
            Self::Stacked(stacks) => {
                let buffer = &mut buffer[..count * inputs];
                stacks.fill(first, buffer);
                if let Some(normalizer) = normalizer {
                    normalizer.apply_in_place(buffer);
                }
                buffer
            }
        }
    }
}

impl FrameStacks<'_> {
    /// N, for a network with `inputs` inputs.
    pub(crate) fn rows(&self, inputs: usize) -> usize {
        let k = self.spec.frame_stack;
        assert_eq!(inputs, self.spec.stacked_len(), "inputs of the network");
        assert!(!self.strip.is_empty() && self.strip.end <= self.columns, "{:?}", self.strip);
        let row_bytes = self.columns * self.spec.frame_bytes();
        assert!(
            row_bytes > 0 && self.frames.len().is_multiple_of(row_bytes),
            "{} bytes of frames",
            self.frames.len()
        );
        let steps = (self.frames.len() / row_bytes + 1).saturating_sub(k);
        assert!(
            k == 1 || self.valid.len() == steps * self.columns,
            "{} valid counts for {steps} time steps",
            self.valid.len()
        );
        steps * self.strip.len()
    }

    /// Writes the observations from row `first` of the strip on, `[..][k][frame]`.
    fn fill(&self, first: usize, out: &mut [f32]) {
        let (k, frame_len) = (self.spec.frame_stack, self.spec.frame_len());
        let width = self.strip.len();
        let (mut step, mut column) = (first / width, first % width);
        let mut rest = out;
        while !rest.is_empty() {
            // The rest of this time step lies together.
            let count = (width - column).min(rest.len() / (k * frame_len));
            let (out, tail) = rest.split_at_mut(count * k * frame_len);
            self.fill_row(step * self.columns + self.strip.start + column, out);
            (rest, step, column) = (tail, step + 1, 0);
        }
    }

    /// Writes the observations of neighbouring columns of one time step; `at` counts all columns.
    fn fill_row(&self, at: usize, out: &mut [f32]) {
        let (k, frame_len) = (self.spec.frame_stack, self.spec.frame_len());
        if k == 1 {
            return self.copy(at * frame_len, out);
        }
        for (at, observation) in (at..).zip(out.chunks_exact_mut(k * frame_len)) {
            let valid = usize::from(self.valid[at]);
            for (slot, frame) in observation.chunks_exact_mut(frame_len).enumerate() {
                if k - slot <= valid {
                    // The same column, `slot` time steps on.
                    self.copy((at + slot * self.columns) * frame_len, frame);
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
            .flat_map(|row| input.tile((row, 1), inputs, &None, &mut buffer).to_vec())
            .collect()
    }

    #[test]
    fn single_f32_frames_are_read_in_place() {
        let spec = ObservationSpec::new(Dtype::F32, &[2]);
        let numbers = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let frames = bytemuck::cast_slice(&numbers);
        let stacks = FrameStacks { spec: &spec, columns: 3, strip: 0..3, frames, valid: &[] };
        let input = Input::from_frames(stacks.clone());
        assert_eq!(input.rows(2), 3);
        let tile = input.tile((1, 2), 2, &None, &mut []);
        assert_eq!(tile.as_ptr(), numbers[2..].as_ptr());
        assert_eq!(tile, [3.0, 4.0, 5.0, 6.0]);
        // Two time steps of three columns, of which the last two are wanted.
        let numbers: Vec<f32> = (0_u8..12).map(f32::from).collect();
        let frames = bytemuck::cast_slice(&numbers);
        let input = Input::from_frames(FrameStacks { strip: 1..3, frames, ..stacks });
        assert_eq!(all(&input, 2), [2, 3, 4, 5, 8, 9, 10, 11].map(|x: u8| f32::from(x)));
        let mut buffer = [0.0; 4];
        assert_eq!(input.tile((1, 2), 2, &None, &mut buffer), [4.0, 5.0, 8.0, 9.0]);
    }

    #[test]
    fn stacks_are_newest_last_and_blank_before_the_episode() {
        let spec = ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[1]) };
        // T = 1, B = 2: frames 0..4 of two columns.
        let frames = [0, 255, 51, 102, 102, 51, 153, 0];
        let input = Input::from_frames(FrameStacks {
            spec: &spec,
            columns: 2,
            strip: 0..2,
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
            strip: 0..2,
            frames,
            valid: &[2, 1, 2, 2],
        });
        let expected = [0, 1, 4, 5, 0, 0, 6, 7, 4, 5, 8, 9, 6, 7, 10, 11].map(|x: u8| f32::from(x));
        assert_eq!(all(&input, 4), expected);
        let Input::Stacked(stacks) = input else { panic!("not in place") };
        let second = Input::Stacked(FrameStacks { strip: 1..2, ..stacks });
        assert_eq!(all(&second, 4), [expected[4..8].to_vec(), expected[12..].to_vec()].concat());
    }

    #[test]
    #[should_panic(expected = "valid counts")]
    fn a_wrong_count_is_noticed() {
        let spec = ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::U8, &[1]) };
        let stacks =
            FrameStacks { spec: &spec, columns: 1, strip: 0..1, frames: &[0; 3], valid: &[1] };
        let _ = Input::from_frames(stacks).rows(2);
    }
}
