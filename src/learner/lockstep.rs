//! The lockstep schedule: block `n` is filled with the weights after `n - L` learnt blocks, where `L` is the lag.
//!
//! One block is open at a time, and the parameter page holds what it is filled with until it is complete; so whoever
//! fills a part of it, and whenever, finds the same version there. The learner puts the next one out when it has taken
//! a block: with `L = 0` after it has learnt from it, so that actors and learner take turns; else at once, so that the
//! actors fill the next block meanwhile, with weights that are `L` blocks old when they are learnt from. The first
//! `L + 1` blocks are filled with the weights that the run began with.

use std::collections::VecDeque;

/// What is put out, and when.
#[derive(Debug)]
pub struct Lockstep {
    lag: usize,
    /// The weights that the last blocks were met with, oldest first.
    behind: VecDeque<Snapshot>,
    /// A buffer to use again.
    spare: Vec<f32>,
}

#[derive(Debug)]
struct Snapshot {
    version: u64,
    parameters: Vec<f32>,
}

impl Lockstep {
    /// With `lag` blocks between the weights that fill a block and those that it is met with.
    #[must_use]
    pub(crate) const fn new(lag: usize) -> Self {
        Self { lag, behind: VecDeque::new(), spare: Vec::new() }
    }

    /// Whether the next block is filled while one is learnt from.
    #[must_use]
    pub(crate) const fn overlaps(&self) -> bool {
        self.lag > 0
    }

    /// A block was taken, and is met with `parameters` of `version`. Gives to `publish` what the next block is filled
    /// with, if that is not what the page has: nothing for the first blocks.
    ///
    /// # Errors
    /// Those of `publish`.
    pub(crate) fn taken<E>(
        &mut self,
        version: u64,
        parameters: &[f32],
        publish: impl FnOnce(u64, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut copy = std::mem::take(&mut self.spare);
        copy.clear();
        copy.extend_from_slice(parameters);
        self.behind.push_back(Snapshot { version, parameters: copy });
        if self.behind.len() < self.lag {
            return Ok(());
        }
        let Some(Snapshot { version, parameters }) = self.behind.pop_front() else { return Ok(()) };
        let published = publish(version, &parameters);
        self.spare = parameters;
        published
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each block: what is put out when it is taken.
    fn put_out(lag: usize, blocks: u64) -> Vec<Option<u64>> {
        let mut lockstep = Lockstep::new(lag);
        let mut taken = |learnt: u64| {
            let mut out = None;
            // Block n is met with what n blocks led to.
            let weights = [learnt as f32; 3];
            let publish = |version, parameters: &[f32]| {
                assert_eq!(parameters, [version as f32; 3]);
                out = Some(version);
                Ok::<(), ()>(())
            };
            lockstep.taken(learnt, &weights, publish).expect("published");
            out
        };
        (0..blocks).map(&mut taken).collect()
    }

    #[test]
    fn the_next_block_is_filled_with_what_the_lag_says() {
        for lag in [1, 2, 5] {
            for (block, version) in (0_u64..).zip(put_out(lag, 12)) {
                // Block `block + 1` is filled with V(block + 1 - lag), the first ones with V(0).
                assert_eq!(
                    version,
                    (block + 1).checked_sub(lag as u64),
                    "lag {lag}, block {block}"
                );
            }
        }
        assert!(Lockstep::new(1).overlaps() && !Lockstep::new(0).overlaps());
    }
}
