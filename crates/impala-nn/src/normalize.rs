//! Normalises observations to mean 0 and standard deviation 1, element by element, with statistics that are part of the
//! weights.

use std::ops::Range;

use crate::spec::{NetworkSpec, ParamSpec};

/// Name of the means in the flat vector, `[frame]`.
pub const MEAN: &str = "normalize.mean";
/// Name of the factors in the flat vector, `[frame]`: one over the deviation.
pub const SCALE: &str = "normalize.scale";

/// Whether the parameter `name` is such a statistic: it is not learnt by gradient.
#[must_use]
pub fn is_statistic(name: &str) -> bool {
    name == MEAN || name == SCALE
}

/// Where the statistics lie in the flat vector, means first; `None` if observations are not normalised.
#[must_use]
pub fn range(parameters: &ParamSpec) -> Option<Range<usize>> {
    Some(parameters.get(MEAN)?.offset..parameters.get(SCALE)?.range().end)
}

/// Computes `clamp((x - mean) * scale, -clip, clip)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalizer {
    mean: Vec<f32>,
    scale: Vec<f32>,
    clip: f32,
    range: Range<usize>,
}

impl Normalizer {
    /// The one of `spec`, with mean 0 and scale 1, if it has one.
    #[must_use]
    pub fn of(spec: &NetworkSpec, parameters: &ParamSpec) -> Option<Self> {
        let clip = spec.observation_clip?;
        let range = range(parameters)?;
        let len = spec.observation.frame_len();
        Some(Self { mean: vec![0.0; len], scale: vec![1.0; len], clip, range })
    }

    /// [`range`] of its network.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Takes the statistics out of the flat vector.
    ///
    /// # Panics
    /// If it is shorter than the network's parameters.
    pub fn load(&mut self, flat: &[f32]) {
        let (mean, scale) = flat[self.range()].split_at(self.mean.len());
        self.mean.copy_from_slice(mean);
        self.scale.copy_from_slice(scale);
    }

    /// Writes the normalised `frames`, any number of frames one after the other, to the beginning of `out`.
    ///
    /// # Panics
    /// If `out` is shorter than they are.
    pub fn apply(&self, frames: &[f32], out: &mut [f32]) {
        let out = &mut out[..frames.len()];
        out.copy_from_slice(frames);
        self.apply_in_place(out);
    }

    /// The same in place.
    pub fn apply_in_place(&self, frames: &mut [f32]) {
        for frame in frames.chunks_exact_mut(self.mean.len()) {
            for ((x, mean), scale) in frame.iter_mut().zip(&self.mean).zip(&self.scale) {
                *x = ((*x - mean) * scale).clamp(-self.clip, self.clip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Policy as _;
    use crate::frames::{FrameRows, StackedFrames};
    use crate::init::initial_parameters;
    use crate::mlp::{Input, MlpLearner};
    use crate::native::NativePolicy;
    use crate::spec::{Activation, Torso};
    use impala_env::{ActionSpec, Dtype, ObservationSpec};

    fn spec(frame_stack: usize) -> NetworkSpec {
        let observation = ObservationSpec { frame_stack, ..ObservationSpec::new(Dtype::F32, &[2]) };
        let torso = Torso::Mlp { hidden: vec![8], activation: Activation::Tanh };
        NetworkSpec {
            observation_clip: Some(3.0),
            ..NetworkSpec::new(observation, ActionSpec::Discrete { n: 2 }, torso)
        }
    }

    /// Weights of `spec` with these statistics, and those of the same network without.
    fn weights(spec: &NetworkSpec, mean: [f32; 2], scale: [f32; 2]) -> (Vec<f32>, Vec<f32>) {
        let layout = ParamSpec::new(spec).expect("valid");
        let mut with = initial_parameters(&layout, 3);
        // Logits that are not all alike.
        let head = layout.get("policy.weight").expect("a head").range();
        with[head].iter_mut().for_each(|w| *w *= 100.0);
        let plain = with[..with.len() - 4].to_vec();
        let at = |name| layout.get(name).expect("normalised").range();
        with[at(MEAN)].copy_from_slice(&mean);
        with[at(SCALE)].copy_from_slice(&scale);
        (with, plain)
    }

    #[test]
    fn actor_and_learner_see_the_same_frame() {
        let frames = [1.0_f32, -4.0, 2.5, 100.0, 0.0, 7.0];
        let normalised: Vec<f32> = frames
            .chunks(2)
            .flat_map(|f| {
                [((f[0] - 1.0) * 2.0).clamp(-3.0, 3.0), ((f[1] + 2.0) * 0.5).clamp(-3.0, 3.0)]
            })
            .collect();
        let spec = spec(1);
        let (with, plain) = weights(&spec, [1.0, -2.0], [2.0, 0.5]);
        let bare = NetworkSpec { observation_clip: None, ..spec.clone() };
        let act = |spec: &NetworkSpec, weights: &[f32], frames: &[f32]| {
            let mut policy = NativePolicy::new(spec, 1).expect("native");
            policy.load(weights);
            let rows: [&[u8]; 1] = [bytemuck::cast_slice(frames)];
            let stacked = StackedFrames {
                spec: &spec.observation,
                columns: 3,
                strip: 0..3,
                rows: FrameRows::Separate(&rows),
                valid: &[1; 3],
            };
            let mut logits = [0.0; 6];
            policy.logits(&stacked.into(), &mut logits).expect("acts");
            logits
        };
        let acted = act(&spec, &with, &frames);
        assert_eq!(acted, act(&bare, &plain, &normalised));
        let mut learner = MlpLearner::new(&spec).expect("native");
        learner.load(&with);
        let stacks = StackedFrames {
            spec: &spec.observation,
            columns: 3,
            strip: 0..3,
            rows: FrameRows::Contiguous(bytemuck::cast_slice(&frames)),
            valid: &[],
        };
        let input = Input::from_frames(stacks);
        assert_eq!(learner.forward(&input).0, acted);
        // The gradient is that of the network without it, and nothing pulls at the statistics.
        learner.backward(&input, &[1.0, -1.0, 0.5, 0.0, 2.0, 1.0], &[1.0, 2.0, 3.0]);
        let mut gradient = vec![f32::NAN; with.len()];
        learner.write_gradient(&mut gradient);
        let mut reference = MlpLearner::new(&bare).expect("native");
        reference.load(&plain);
        let input = Input::Dense(&normalised);
        reference.forward(&input);
        reference.backward(&input, &[1.0, -1.0, 0.5, 0.0, 2.0, 1.0], &[1.0, 2.0, 3.0]);
        let mut expected = vec![f32::NAN; plain.len()];
        reference.write_gradient(&mut expected);
        expected.extend([0.0; 4]);
        assert_eq!(gradient, expected);
    }

    #[test]
    fn each_frame_of_a_stack_is_normalised() {
        let spec = spec(2);
        let layout = ParamSpec::new(&spec).expect("valid");
        let (with, _) = weights(&spec, [1.0, -2.0], [2.0, 0.5]);
        let mut normalizer = Normalizer::of(&spec, &layout).expect("asked for");
        normalizer.load(&with);
        let mut stack = [1.0, -2.0, 2.0, 0.0];
        normalizer.apply_in_place(&mut stack);
        assert_eq!(stack, [0.0, 0.0, 2.0, 1.0]);
    }
}
