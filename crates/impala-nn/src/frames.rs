//! Stored observations with frame stacking: each frame is stored once, however many observations show it.

use std::ops::Range;

use impala_env::{Dtype, ObservationSpec, flag};

/// Stored frames, and the observations that see k of them each: those of E environments at one time step, or a
/// strip of the columns of a block.
#[derive(Debug, Clone)]
pub struct StackedFrames<'a> {
    /// Shape and type of a frame, and k.
    pub spec: &'a ObservationSpec,
    /// `[T + k]` rows of B frames. Observation `t` is seen through rows `t .. t + k`, the newest last.
    pub rows: FrameRows<'a>,
    /// B.
    pub columns: usize,
    /// The columns that are wanted: N = (T + 1) * strip.
    pub strip: Range<usize>,
    /// `[T + 1][B]`: how many of the newest frames belong to the episode (1 to k); older ones count as
    /// zero. Not read if k is 1.
    pub valid: &'a [u8],
}

/// Rows of raw bytes, aligned for the type of their numbers, oldest first.
#[derive(Debug, Clone, Copy)]
pub enum FrameRows<'a> {
    /// One after the other, as in a block.
    Contiguous(&'a [u8]),
    /// Each where it lies.
    Separate(&'a [&'a [u8]]),
}

impl<'a> StackedFrames<'a> {
    /// What E environments show at one time step: k rows of E frames, oldest first.
    #[must_use]
    pub fn of_step(spec: &'a ObservationSpec, rows: &'a [&'a [u8]], valid: &'a [u8]) -> Self {
        let envs = valid.len();
        Self { spec, rows: FrameRows::Separate(rows), columns: envs, strip: 0..envs, valid }
    }

    /// Observations of each time step.
    #[must_use]
    pub const fn envs(&self) -> usize {
        self.strip.end - self.strip.start
    }

    /// The observations as they are, `[N][frame]`, if they lie together and need neither stacking nor conversion.
    ///
    /// # Panics
    /// If f32 frames are not aligned to 4 bytes.
    #[must_use]
    pub fn as_f32(&self) -> Option<&'a [f32]> {
        if self.spec.dtype != Dtype::F32
            || self.spec.frame_stack != 1
            || self.strip != (0..self.columns)
        {
            return None;
        }
        match self.rows {
            FrameRows::Contiguous(bytes) | FrameRows::Separate(&[bytes]) => {
                Some(bytemuck::cast_slice(bytes))
            }
            FrameRows::Separate(_) => None,
        }
    }

    /// Writes `[N][k][frame]` as the network sees it: bytes over 255, frames of another episode zero.
    ///
    /// # Panics
    /// If `out` does not hold `N * k * frame_len` numbers.
    pub fn write_f32(&self, out: &mut [f32]) {
        let inputs = self.spec.stacked_len();
        assert_eq!(out.len(), self.count(inputs) * inputs, "network input");
        self.fill(0, out);
    }

    /// N, for a network with `inputs` inputs.
    ///
    /// # Panics
    /// If the memory does not hold a whole number of observations.
    pub(crate) fn count(&self, inputs: usize) -> usize {
        let k = self.spec.frame_stack;
        assert_eq!(inputs, self.spec.stacked_len(), "inputs of the network");
        assert!(!self.strip.is_empty() && self.strip.end <= self.columns, "{:?}", self.strip);
        let row_bytes = self.row_bytes();
        let rows = match self.rows {
            FrameRows::Contiguous(bytes) => {
                let whole = row_bytes > 0 && bytes.len().is_multiple_of(row_bytes);
                assert!(whole, "{} bytes of frames", bytes.len());
                bytes.len() / row_bytes
            }
            FrameRows::Separate(rows) => {
                assert!(rows.iter().all(|row| row.len() == row_bytes), "bytes of frames");
                rows.len()
            }
        };
        let steps = (rows + 1).saturating_sub(k);
        assert!(
            k == 1 || self.valid.len() == steps * self.columns,
            "{} valid counts for {steps} time steps",
            self.valid.len()
        );
        steps * self.strip.len()
    }

    /// How many of the newest frames of an observation belong to its episode; `column` counts from the strip's first.
    pub(crate) fn valid(&self, step: usize, column: usize) -> usize {
        match self.spec.frame_stack {
            1 => 1,
            _ => usize::from(self.valid[step * self.columns + self.strip.start + column]),
        }
    }

    /// The bytes of a frame; observation `step` sees the rows from `step` on.
    pub(crate) fn frame(&self, row: usize, column: usize) -> &'a [u8] {
        let bytes = self.spec.frame_bytes();
        &self.row(row)[(self.strip.start + column) * bytes..][..bytes]
    }

    /// Row `row` of all B frames.
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        match self.rows {
            FrameRows::Contiguous(bytes) => &bytes[row * self.row_bytes()..][..self.row_bytes()],
            FrameRows::Separate(rows) => rows[row],
        }
    }

    fn row_bytes(&self) -> usize {
        self.columns * self.spec.frame_bytes()
    }

    /// Writes the observations from number `first` of the strip on, `[..][k][frame]`.
    pub(crate) fn fill(&self, first: usize, out: &mut [f32]) {
        let inputs = self.spec.stacked_len();
        let width = self.strip.len();
        let (mut step, mut column) = (first / width, first % width);
        let mut rest = out;
        while !rest.is_empty() {
            // The rest of this time step lies together.
            let count = (width - column).min(rest.len() / inputs);
            let (out, tail) = rest.split_at_mut(count * inputs);
            self.fill_step(step, column, out);
            (rest, step, column) = (tail, step + 1, 0);
        }
    }

    /// Writes the observations of neighbouring columns of one time step.
    fn fill_step(&self, step: usize, first: usize, out: &mut [f32]) {
        let (k, frame_len) = (self.spec.frame_stack, self.spec.frame_len());
        if k == 1 {
            return self.copy(step, first, out);
        }
        for (column, observation) in (first..).zip(out.chunks_exact_mut(k * frame_len)) {
            let valid = self.valid(step, column);
            for (slot, frame) in observation.chunks_exact_mut(frame_len).enumerate() {
                if k - slot <= valid {
                    self.copy(step + slot, column, frame);
                } else {
                    frame.fill(0.0);
                }
            }
        }
    }

    /// Copies neighbouring frames of one row.
    fn copy(&self, row: usize, column: usize, out: &mut [f32]) {
        let start = (self.strip.start + column) * self.spec.frame_len();
        let row = self.row(row);
        match self.spec.dtype {
            Dtype::F32 => {
                let numbers: &[f32] = bytemuck::cast_slice(row);
                out.copy_from_slice(&numbers[start..start + out.len()]);
            }
            Dtype::U8 => {
                let bytes = &row[start..start + out.len()];
                out.iter_mut()
                    .zip(bytes)
                    .for_each(|(x, &byte)| *x = f32::from(byte) * (1.0 / 255.0));
            }
        }
    }
}

/// Goes from one vector step to the next: `valid` counts for each environment how many of its newest `k` frames belong
/// to the running episode, `flags` are those of the new observations.
pub fn advance_valid(valid: &mut [u8], flags: &[u8], k: usize) {
    // At most 16.
    let k = u8::try_from(k).unwrap_or(u8::MAX);
    for (valid, flags) in valid.iter_mut().zip(flags) {
        *valid = if flags & flag::FIRST != 0 { 1 } else { valid.saturating_add(1).min(k) };
    }
}

/// The newest k frames of E environments, which who acts carries from step to step.
#[derive(Debug, Clone)]
pub struct FrameHistory {
    /// k rows of E frames, oldest first; in words, so that f32 frames are aligned.
    rows: Vec<Vec<u32>>,
    row_bytes: usize,
    valid: Vec<u8>,
}

impl FrameHistory {
    /// Before the first reset: zeros.
    #[must_use]
    pub fn new(spec: &ObservationSpec, envs: usize) -> Self {
        let row_bytes = envs * spec.frame_bytes();
        let row = vec![0; row_bytes.div_ceil(size_of::<u32>())];
        Self { rows: vec![row; spec.frame_stack], row_bytes, valid: vec![1; envs] }
    }

    /// The k rows, oldest first.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| &bytemuck::cast_slice(row)[..self.row_bytes])
    }

    /// The k rows, oldest first, to be written.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let bytes = self.row_bytes;
        self.rows.iter_mut().map(move |row| &mut bytemuck::cast_slice_mut(row)[..bytes])
    }

    /// The newest row.
    #[must_use]
    pub fn newest(&self) -> &[u8] {
        self.rows().last().unwrap_or_default()
    }

    /// The newest row, to be written.
    pub fn newest_mut(&mut self) -> &mut [u8] {
        self.rows_mut().last().unwrap_or_default()
    }

    /// Makes the oldest row the newest, to be written over by the next observations.
    pub fn rotate(&mut self) {
        self.rows.rotate_left(1);
    }

    /// `[E]`: how many of the newest k frames belong to the running episode, 1 to k.
    #[must_use]
    pub fn valid(&self) -> &[u8] {
        &self.valid
    }

    /// Takes account of the flags that came with the newest row.
    #[inline]
    pub fn advance(&mut self, flags: &[u8]) {
        advance_valid(&mut self.valid, flags, self.rows.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_forgets_what_is_older_than_k_frames_or_another_episode() {
        let spec = ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::U8, &[3]) };
        let mut history = FrameHistory::new(&spec, 2);
        for (byte, flags, valid) in
            [(1, [0, 0], [2, 2]), (2, [flag::FIRST, 0], [1, 2]), (3, [0, flag::FIRST], [2, 1])]
        {
            history.rotate();
            history.newest_mut().fill(byte);
            history.advance(&flags);
            assert_eq!(history.valid(), valid);
        }
        assert!(history.rows().eq([[2; 6], [3; 6]]));
        assert_eq!(history.newest(), [3; 6]);
    }

    #[test]
    fn stacks_newest_last_and_blanks_other_episodes() {
        let spec = ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[2]) };
        let rows: [&[u8]; 3] = [&[255, 255, 51, 51], &[0, 255, 102, 102], &[51, 51, 255, 0]];
        let frames = StackedFrames::of_step(&spec, &rows, &[3, 2]);
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
        let frames = StackedFrames::of_step(&spec, &rows, &[1, 1]);
        assert_eq!(frames.as_f32(), Some(&numbers[..]));
    }
}
