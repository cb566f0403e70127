//! Running mean and standard deviation of each element of the observations, by which they are normalised.
//!
//! They are collected where all frames meet, at the learner, and become part of the weights: an actor that acts with a
//! version, and the learner that learns with it, normalise alike. V-trace sees a change of them like any other change of
//! the policy.

use std::ops::Range;

use crate::env::flag;
use crate::unroll::{BlockRef, Field};

/// Added to variances: an element that never changes is no signal.
const LEAST_VARIANCE: f64 = 1e-8;
/// Until so many observations were seen every block counts, later one of `EVERY`, with that weight: a mean over so
/// many moves slowly.
const ALL_UNTIL: f64 = 200_000.0;
const EVERY: u32 = 8;

/// Running statistics of a frame's elements.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservationStats {
    count: f64,
    mean: Vec<f64>,
    /// Sums of squared differences from the mean.
    squares: Vec<f64>,
    /// Where the statistics lie among the parameters.
    range: Range<usize>,
    blocks_skipped: u32,
    /// What [`ObservationStats::observe`] finds in a block.
    sums: Vec<f64>,
}

impl ObservationStats {
    /// Goes on from the `count` observations (0 at first) that led to the statistics at `range` of `parameters`, as
    /// [`ObservationStats::write`] wrote them.
    #[must_use]
    pub(crate) fn new(count: f64, parameters: &[f32], range: Range<usize>) -> Self {
        let (mean, scale) = parameters[range.clone()].split_at(range.len() / 2);
        let variance = |scale: &f32| f64::from(*scale).powi(-2) - LEAST_VARIANCE;
        Self {
            count,
            mean: mean.iter().map(|&mean| f64::from(mean)).collect(),
            squares: scale.iter().map(|scale| count * variance(scale).max(0.0)).collect(),
            blocks_skipped: 0,
            sums: vec![0.0; 1 + range.len()],
            range,
        }
    }

    /// Length of what describes the observations of a block.
    #[must_use]
    pub(crate) const fn sums_len(&self) -> usize {
        self.sums.len()
    }

    /// Observations that count.
    #[must_use]
    pub(crate) const fn count(&self) -> f64 {
        self.count
    }

    /// Adds the T * B observations of a block that were acted on. Gives whether anything has changed.
    pub(crate) fn observe(&mut self, block: &BlockRef<'_>) -> bool {
        let mut sums = std::mem::take(&mut self.sums);
        let counts = self.measure(block, &mut sums);
        if counts {
            self.fold(&sums);
        }
        self.sums = sums;
        counts
    }

    /// Describes the T * B observations of a block that were acted on: how many count; for each element the sum of its
    /// differences from the present mean; of their squares. Descriptions of several blocks add up. Gives whether this block
    /// counts, else `sums` is as it was.
    pub(super) fn measure(&mut self, block: &BlockRef<'_>, sums: &mut [f64]) -> bool {
        let mut weight = 1.0;
        if self.count >= ALL_UNTIL {
            self.blocks_skipped += 1;
            if self.blocks_skipped < EVERY {
                return false;
            }
            self.blocks_skipped = 0;
            weight = f64::from(EVERY);
        }
        let spec = block.layout().spec();
        let frames: &[u8] = block.field(Field::Frame);
        let frames: &[f32] = bytemuck::cast_slice(frames);
        let row = spec.batch * self.mean.len();
        let first = (spec.frame_stack - 1) * row;
        let acted_on = &frames[first..first + spec.unroll * row];
        if spec.holds_gradients() {
            // Unrolls of whole episodes end where the last one does; what lies behind is older.
            let next: &[u8] = block.field(Field::Flags);
            let next = &next[spec.batch..];
            let kept = acted_on.chunks_exact(self.mean.len()).zip(next);
            let kept = kept.filter(|(_, next)| *next & flag::FIRST == 0);
            let kept: Vec<f32> = kept.flat_map(|(frame, _)| frame).copied().collect();
            self.describe(&kept, weight, sums);
        } else {
            self.describe(acted_on, weight, sums);
        }
        true
    }

    /// Describes frames, each of which counts `weight` times.
    fn describe(&self, frames: &[f32], weight: f64, out: &mut [f64]) {
        let len = self.mean.len();
        let (count, sums) = out.split_at_mut(1);
        let (sums, sums_of_squares) = sums.split_at_mut(len);
        count[0] = weight * (frames.len() / len) as f64;
        let out = sums.iter_mut().zip(sums_of_squares);
        for (element, (mean, (sum_out, squares_out))) in self.mean.iter().zip(out).enumerate() {
            let of = frames.iter().skip(element).step_by(len).map(|&x| f64::from(x));
            // Around the old mean, so that nothing cancels.
            let (sum, squares) = of.fold((0.0, 0.0), |(sum, squares), x| {
                let difference = x - *mean;
                (sum + difference, squares + difference * difference)
            });
            (*sum_out, *squares_out) = (weight * sum, weight * squares);
        }
    }

    /// Adds what [`ObservationStats::measure`] described (Chan et al. 1983).
    pub(super) fn fold(&mut self, sums: &[f64]) {
        let (added, sums) = (sums[0], &sums[1..]);
        if added == 0.0 {
            return;
        }
        let (sums, sums_of_squares) = sums.split_at(self.mean.len());
        let total = self.count + added;
        let each =
            self.mean.iter_mut().zip(&mut self.squares).zip(sums.iter().zip(sums_of_squares));
        for ((mean, squares), (sum, sum_of_squares)) in each {
            let shift = sum / added;
            *squares +=
                sum_of_squares - added * shift * shift + shift * shift * self.count * added / total;
            *mean += shift * added / total;
        }
        self.count = total;
    }

    /// Writes means, then one over each deviation, where they belong among `parameters`.
    ///
    /// # Panics
    /// If these are not those of the network.
    pub(crate) fn write(&self, parameters: &mut [f32]) {
        let (means, scales) = parameters[self.range.clone()].split_at_mut(self.mean.len());
        for (out, mean) in means.iter_mut().zip(&self.mean) {
            *out = *mean as f32;
        }
        for (out, squares) in scales.iter_mut().zip(&self.squares) {
            *out = (squares / self.count.max(1.0) + LEAST_VARIANCE).sqrt().recip() as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of frames with two elements, none seen.
    fn fresh() -> ObservationStats {
        ObservationStats::new(0.0, &[0.0, 0.0, 1.0, 1.0], 0..4)
    }

    impl ObservationStats {
        fn add(&mut self, frames: &[f32], weight: f64) {
            let mut sums = vec![0.0; self.sums_len()];
            self.describe(frames, weight, &mut sums);
            self.fold(&sums);
        }
    }

    fn written(stats: &ObservationStats) -> Vec<f32> {
        let mut out = vec![0.0; 4];
        stats.write(&mut out);
        out
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let frames: Vec<f32> = (0..60)
            .map(|i| if i % 2 == 0 { 1e3 + i as f32 } else { (i as f32 * 0.7).sin() * 1e-2 })
            .collect();
        let mut stats = fresh();
        for part in frames.chunks(14) {
            stats.add(part, 1.0);
        }
        let of = |element: usize| frames.iter().skip(element).step_by(2).map(|&x| f64::from(x));
        for element in 0..2 {
            let mean = of(element).sum::<f64>() / 30.0;
            let variance = of(element).map(|x| (x - mean).powi(2)).sum::<f64>() / 30.0;
            let out = written(&stats);
            assert!((f64::from(out[element]) / mean - 1.0).abs() < 1e-5, "{mean}");
            let scale = 1.0 / (variance + LEAST_VARIANCE).sqrt();
            assert!((f64::from(out[2 + element]) / scale - 1.0).abs() < 1e-5, "{scale}");
        }
        assert_eq!(stats.count(), 30.0);
    }

    #[test]
    fn descriptions_of_several_blocks_add_up() {
        let (mut one, mut several) = (fresh(), fresh());
        let (first, second) = ([1.0, 5.0, 2.0, 9.0], [7.0, -1.0, 3.0, 2.0]);
        one.add(&[1.0, 2.0, 3.0, 5.0], 1.0);
        several.add(&[1.0, 2.0, 3.0, 5.0], 1.0);
        one.add(&[first, second].concat(), 8.0);
        let [mut sum, mut other] = [vec![0.0; 5], vec![0.0; 5]];
        several.describe(&first, 8.0, &mut sum);
        several.describe(&second, 8.0, &mut other);
        sum.iter_mut().zip(&other).for_each(|(sum, other)| *sum += other);
        several.fold(&sum);
        assert_eq!(one.count(), several.count());
        for (a, b) in written(&one).iter().zip(written(&several)) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn a_weight_is_as_many_copies() {
        let (mut once, mut thrice) = (fresh(), fresh());
        let (first, second) = ([1.0, 5.0, 2.0, 9.0], [7.0, -1.0, 3.0, 2.0]);
        once.add(&first, 1.0);
        once.add(&second, 3.0);
        thrice.add(&[&first[..], &second, &second, &second].concat(), 1.0);
        for (a, b) in written(&once).iter().zip(written(&thrice)) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn it_goes_on_from_what_it_wrote() {
        let mut stats = fresh();
        stats.add(&[1.0, 5.0, 2.0, 9.0, -4.0, 7.5], 1.0);
        let mut resumed = ObservationStats::new(stats.count(), &written(&stats), 0..4);
        stats.add(&[0.5, 4.0], 1.0);
        resumed.add(&[0.5, 4.0], 1.0);
        for (a, b) in written(&resumed).iter().zip(written(&stats)) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
