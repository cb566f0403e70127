//! The input rows of an MLP: read in place, or gathered from stored frames that must be stacked or converted.

use crate::frames::StackedFrames;
use crate::normalize::Normalizer;

/// N observations, as the network is to see them.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// `[N][inputs]` f32, read in place.
    Dense(&'a [f32]),
    /// Gathered, stacked and converted tile by tile; the whole is never in memory.
    Stacked(StackedFrames<'a>),
}

impl<'a> Input<'a> {
    /// The observations stored in `stacks`: in place if all columns are wanted and need neither stacking
    /// nor conversion.
    ///
    /// # Panics
    /// If f32 frames are not aligned to 4 bytes.
    #[must_use]
    pub(crate) fn from_frames(stacks: StackedFrames<'a>) -> Self {
        match stacks.as_f32() {
            Some(data) => Self::Dense(data),
            None => Self::Stacked(stacks),
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
            Self::Stacked(stacks) => stacks.count(inputs),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::FrameRows;
    use impala_env::{Dtype, ObservationSpec};

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
        let stacks = StackedFrames {
            spec: &spec,
            columns: 3,
            strip: 0..3,
            rows: FrameRows::Contiguous(frames),
            valid: &[],
        };
        let input = Input::from_frames(stacks.clone());
        assert_eq!(input.rows(2), 3);
        let tile = input.tile((1, 2), 2, &None, &mut []);
        assert_eq!(tile.as_ptr(), numbers[2..].as_ptr());
        assert_eq!(tile, [3.0, 4.0, 5.0, 6.0]);
        // Two time steps of three columns, of which the last two are wanted.
        let numbers: Vec<f32> = (0_u8..12).map(f32::from).collect();
        let frames = bytemuck::cast_slice(&numbers);
        let input = Input::from_frames(StackedFrames {
            strip: 1..3,
            rows: FrameRows::Contiguous(frames),
            ..stacks
        });
        assert_eq!(all(&input, 2), [2, 3, 4, 5, 8, 9, 10, 11].map(|x: u8| f32::from(x)));
        let mut buffer = [0.0; 4];
        assert_eq!(input.tile((1, 2), 2, &None, &mut buffer), [4.0, 5.0, 8.0, 9.0]);
    }

    #[test]
    fn stacks_are_newest_last_and_blank_before_the_episode() {
        let spec = ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[1]) };
        // T = 1, B = 2: frames 0..4 of two columns.
        let frames = [0, 255, 51, 102, 102, 51, 153, 0];
        let input = Input::from_frames(StackedFrames {
            spec: &spec,
            columns: 2,
            strip: 0..2,
            rows: FrameRows::Contiguous(&frames),
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
        let input = Input::from_frames(StackedFrames {
            spec: &spec,
            columns: 2,
            strip: 0..2,
            rows: FrameRows::Contiguous(frames),
            valid: &[2, 1, 2, 2],
        });
        let expected = [0, 1, 4, 5, 0, 0, 6, 7, 4, 5, 8, 9, 6, 7, 10, 11].map(|x: u8| f32::from(x));
        assert_eq!(all(&input, 4), expected);
        let Input::Stacked(stacks) = input else { panic!("not in place") };
        let second = Input::Stacked(StackedFrames { strip: 1..2, ..stacks });
        assert_eq!(all(&second, 4), [expected[4..8].to_vec(), expected[12..].to_vec()].concat());
    }

    #[test]
    #[should_panic(expected = "valid counts")]
    fn a_wrong_count_is_noticed() {
        let spec = ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::U8, &[1]) };
        let stacks = StackedFrames {
            spec: &spec,
            columns: 1,
            strip: 0..1,
            rows: FrameRows::Contiguous(&[0; 3]),
            valid: &[1],
        };
        let _ = Input::from_frames(stacks).rows(2);
    }
}
