//! PopArt: normalises the value head's targets to mean 0 and standard deviation 1, whatever the size of returns.
//!
//! The network's value is `v`, the value that V-trace sees is `deviation * v + mean`. Mean and deviation follow the targets; each
//! time that they move, the head is changed so that every value stays what it was (van Hasselt et al. 2016, "Learning values across
//! many orders of magnitude", proposition 1). Advantages are divided by the deviation. Actors never ask for values, so
//! nothing of it travels.

use std::ops::Range;

use bincode::{Decode, Encode};

use crate::policy::spec::ParamSpec;

/// Step of the running moments (Hessel et al. 2019, "Multi-task deep reinforcement learning with PopArt", table 2), larger at first, so that the first targets count
/// in full (van Hasselt et al. 2016, section 2.1).
const STEP: f64 = 3e-4;
/// Range of the deviation, as in that table.
const DEVIATIONS: std::ops::RangeInclusive<f64> = 1e-4..=1e6;

/// Running moments of the targets.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct ValueMoments {
    /// How often they moved.
    pub(crate) updates: f64,
    /// First moment.
    pub(crate) mean: f64,
    /// Second moment.
    pub(crate) square: f64,
}

impl Default for ValueMoments {
    fn default() -> Self {
        Self { updates: 0.0, mean: 0.0, square: 1.0 }
    }
}

impl ValueMoments {
    /// What values are made of.
    #[must_use]
    pub(crate) fn scale(&self) -> ValueScale {
        let variance = (self.square - self.mean * self.mean).max(0.0);
        let deviation = variance.sqrt().clamp(*DEVIATIONS.start(), *DEVIATIONS.end());
        ValueScale { mean: self.mean as f32, deviation: deviation as f32 }
    }

    /// Moves towards the mean of some targets, and that of their squares.
    fn follow(&mut self, mean: f64, square: f64) {
        self.updates += 1.0;
        let step = STEP / (1.0 - (1.0 - STEP).powf(self.updates));
        self.mean += step * (mean - self.mean);
        self.square += step * (square - self.square);
    }
}

/// From the network's output to a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueScale {
    /// What an output of 0 stands for.
    pub mean: f32,
    /// What a difference of 1 stands for.
    pub deviation: f32,
}

impl ValueScale {
    /// The value of an output.
    #[must_use]
    pub fn value(&self, output: f32) -> f32 {
        self.deviation.mul_add(output, self.mean)
    }

    /// The output that stands for a value.
    #[must_use]
    pub(crate) fn output(&self, value: f32) -> f32 {
        (value - self.mean) / self.deviation
    }
}

/// The statistics, and the head that they belong to.
#[derive(Debug, Clone, PartialEq)]
pub struct PopArt {
    moments: ValueMoments,
    weight: Range<usize>,
    bias: Range<usize>,
}

impl PopArt {
    /// Goes on from `moments`.
    ///
    /// # Panics
    /// If the network has no value head, which each network has.
    #[must_use]
    pub(crate) fn new(parameters: &ParamSpec, moments: ValueMoments) -> Self {
        let of = |name| parameters.get(name).expect("every network has a value").range();
        Self { moments, weight: of("value.weight"), bias: of("value.bias") }
    }

    /// All that it has seen.
    #[must_use]
    pub(crate) const fn moments(&self) -> ValueMoments {
        self.moments
    }

    /// What values are made of now.
    #[must_use]
    pub(crate) fn scale(&self) -> ValueScale {
        self.moments.scale()
    }

    /// Follows targets of which the mean and the mean square are given, and changes the head among `parameters` so that values stay.
    ///
    /// # Panics
    /// If these are not those of the network.
    pub(crate) fn follow(&mut self, (mean, square): (f64, f64), parameters: &mut [f32]) {
        let before = self.scale();
        self.moments.follow(mean, square);
        let after = self.scale();
        let factor = before.deviation / after.deviation;
        parameters[self.weight.clone()].iter_mut().for_each(|w| *w *= factor);
        for bias in &mut parameters[self.bias.clone()] {
            *bias = after.output(before.value(*bias));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{ActionSpec, Dtype, ObservationSpec};
    use crate::policy::frames::{FrameRows, StackedFrames};
    use crate::policy::init::initial_parameters;
    use crate::policy::mlp::{Input, MlpLearner};
    use crate::policy::spec::{Activation, NetworkSpec, Torso};

    fn network(separate_value: bool) -> NetworkSpec {
        let torso = Torso::Mlp { hidden: vec![16], activation: Activation::Tanh };
        let observation = ObservationSpec::new(Dtype::F32, &[3]);
        let plain = NetworkSpec::new(observation, ActionSpec::Discrete { n: 2 }, torso);
        NetworkSpec { separate_value, ..plain }
    }

    /// Logits and values of two observations.
    fn outputs(spec: &NetworkSpec, parameters: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let mut learner = MlpLearner::new(spec).expect("native");
        learner.load(parameters);
        let frames = [0.5_f32, -1.0, 2.0, 3.0, 0.1, -0.7];
        let stacks = StackedFrames {
            spec: &spec.observation,
            columns: 2,
            strip: 0..2,
            rows: FrameRows::Contiguous(bytemuck::cast_slice(&frames)),
            valid: &[],
        };
        let input = Input::Stacked(stacks);
        let (logits, values) = learner.forward(&input);
        (logits.to_vec(), values.to_vec())
    }

    #[test]
    fn values_stay_when_statistics_move() {
        for separate_value in [false, true] {
            let spec = network(separate_value);
            let layout = ParamSpec::new(&spec).expect("valid");
            let mut parameters = initial_parameters(&layout, 4);
            let mut popart = PopArt::new(&layout, ValueMoments::default());
            for (mean, square) in [(500.0, 251_000.0), (-3.0, 9.5), (1e5, 2e10), (0.0, 1e-12)] {
                let (logits, before) = outputs(&spec, &parameters);
                let before = before.iter().map(|&v| popart.scale().value(v)).collect::<Vec<_>>();
                popart.follow((mean, square), &mut parameters);
                let (same, after) = outputs(&spec, &parameters);
                assert_eq!(logits, same, "the policy does not notice");
                for (before, after) in before.iter().zip(after) {
                    let after = popart.scale().value(after);
                    let close = 1e-5 * popart.scale().deviation.max(before.abs()).max(1.0);
                    assert!((before - after).abs() < close, "{before} and {after}");
                }
            }
        }
    }

    #[test]
    fn the_first_targets_count_in_full_and_later_ones_less() {
        let mut moments = ValueMoments::default();
        moments.follow(100.0, 10_025.0);
        let scale = moments.scale();
        assert!((scale.mean - 100.0).abs() < 1e-3 && (scale.deviation - 5.0).abs() < 1e-3);
        moments.follow(102.0, 10_425.0);
        assert!((moments.mean - 101.0).abs() < 1e-3, "{moments:?}");
        for _ in 0..100_000 {
            moments.follow(0.0, 4.0);
        }
        let scale = moments.scale();
        assert!(scale.mean.abs() < 1e-3 && (scale.deviation - 2.0).abs() < 1e-3, "{scale:?}");
        assert!((scale.output(scale.value(0.25)) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn a_deviation_has_bounds() {
        let of = |square| ValueMoments { updates: 1.0, mean: 0.0, square }.scale().deviation;
        assert_eq!((of(0.0), of(1e30)), (1e-4, 1e6));
    }
}
