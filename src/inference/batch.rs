//! A batch for inference: copies the rows of several requests together.

use super::board::{Desk, Place, Rows};
use crate::env::ObservationSpec;
use crate::policy::act::ActInputs;
use crate::policy::frames::{FrameRows, StackedFrames};
use crate::shm::request::Asked;
use crate::sync::ReadWord;
use crate::unroll::{BlockLayout, Field};

const WORD_BYTES: usize = size_of::<u64>();

/// A slot or step that does not exist: no correct process asks about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request is about step {step} of slot {slot}, which does not exist")]
pub struct NoSuchPlace {
    slot: u32,
    step: u32,
}

/// The ring's payload, to load observations from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload<'m> {
    pub(super) words: &'m [ReadWord],
    pub(super) layout: &'m BlockLayout,
}

impl Payload<'_> {
    /// Copies row `row` of the frames of a slot.
    fn copy(&self, place: Place, row: usize, out: &mut [u8]) -> Option<()> {
        let (slot, groups) = (place.slot as usize, self.layout.groups());
        let row = place.step as usize + row;
        if row >= self.layout.rows(Field::Frame) {
            return None;
        }
        let block = (slot / groups).checked_mul(self.layout.block_bytes())?;
        let range = self.layout.group_range(Field::Frame, row, slot % groups);
        let start = block.checked_add(range.start)?;
        load_bytes(self.words, start, &mut out[..range.len()])
    }
}

/// Copies bytes from offset `start` of words that others may write; `None` if they end before.
fn load_bytes(words: &[ReadWord], start: usize, out: &mut [u8]) -> Option<()> {
    let (first, skip) = (start / WORD_BYTES, start % WORD_BYTES);
    let end = (start + out.len()).div_ceil(WORD_BYTES);
    let words = words.get(first..end)?;
    let Some((head, rest)) = words.split_first() else { return Some(()) };
    let (begin, out) = out.split_at_mut(out.len().min(WORD_BYTES - skip));
    begin.copy_from_slice(&head.load().to_ne_bytes()[skip..skip + begin.len()]);
    for (bytes, word) in out.chunks_mut(WORD_BYTES).zip(rest) {
        bytes.copy_from_slice(&word.load().to_ne_bytes()[..bytes.len()]);
    }
    Some(())
}

/// Rows of several requests, one after the other.
#[derive(Debug)]
pub(super) struct Batch<'m> {
    payload: Payload<'m>,
    spec: &'m ObservationSpec,
    /// Rows of a request.
    envs: usize,
    /// k rows of frames, oldest first; in words, so that f32 frames are aligned.
    frames: Vec<Vec<u64>>,
    rows: Rows,
    /// Whose rows these are.
    pub(super) taken: Vec<(usize, Asked)>,
}

impl<'m> Batch<'m> {
    pub(super) fn new(payload: Payload<'m>, spec: &'m ObservationSpec, envs: usize) -> Self {
        let frames = vec![Vec::new(); spec.frame_stack];
        Self { payload, spec, envs, frames, rows: Rows::default(), taken: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.taken.clear();
    }

    /// Rows so far.
    pub(super) fn len(&self) -> usize {
        self.rows.flags.len()
    }

    /// Adds the rows of a request.
    pub(super) fn add(
        &mut self,
        desk: &Desk<'_>,
        index: usize,
        asked: Asked,
    ) -> Result<(), NoSuchPlace> {
        let (place, column, k) = (desk.place(), self.len(), self.frames.len());
        let bytes = self.envs * self.spec.frame_bytes();
        let start = column * self.spec.frame_bytes();
        for (row, frames) in self.frames.iter_mut().enumerate() {
            let words = (start + bytes).div_ceil(WORD_BYTES);
            if frames.len() < words {
                frames.resize(words, 0);
            }
            let out = &mut bytemuck::cast_slice_mut(frames)[start..start + bytes];
            let Place { slot, step } = place;
            self.payload.copy(place, row, out).ok_or(NoSuchPlace { slot, step })?;
        }
        desk.read_question(&mut self.rows);
        // What is torn may be any number, and is used as an index.
        let most = u8::try_from(k).unwrap_or(u8::MAX);
        self.rows.valid[column..].iter_mut().for_each(|valid| *valid = (*valid).clamp(1, most));
        self.taken.push((index, asked));
        Ok(())
    }

    /// States of the core before these observations, `[rows][S]`.
    pub(super) fn state(&self) -> &[f32] {
        &self.rows.state
    }

    /// Hands all rows to `act`, as a policy sees them.
    pub(super) fn with_inputs<T>(&self, act: impl FnOnce(&ActInputs<'_>) -> T) -> T {
        let bytes = self.len() * self.spec.frame_bytes();
        let rows: Vec<&[u8]> =
            self.frames.iter().map(|row| &bytemuck::cast_slice(row)[..bytes]).collect();
        act(&ActInputs {
            observations: StackedFrames {
                spec: self.spec,
                rows: FrameRows::Separate(&rows),
                columns: self.len(),
                strip: 0..self.len(),
                valid: &self.rows.valid,
            },
            flags: &self.rows.flags,
            last_actions: &self.rows.actions,
            last_rewards: &self.rows.rewards,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;

    #[test]
    fn bytes_are_loaded_from_any_offset() {
        let bytes: Vec<u8> = (0..40).collect();
        let words: Vec<AtomicU64> = bytes
            .chunks_exact(8)
            .map(|word| AtomicU64::new(u64::from_ne_bytes(word.try_into().expect("8 bytes"))))
            .collect();
        let words = ReadWord::of(&words);
        for start in 0..40 {
            for len in 0..=40 - start {
                let mut out = vec![99; len];
                assert_eq!(load_bytes(words, start, &mut out), Some(()));
                assert_eq!(out, bytes[start..start + len], "{start} {len}");
            }
        }
        assert_eq!(load_bytes(words, 33, &mut [0; 8]), None);
        assert_eq!(load_bytes(words, 400, &mut [0; 8]), None);
    }
}
