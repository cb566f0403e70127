//! Tests of the native convolutional network against its reference implementation.

use super::definition::Reference;
use super::{CnnLearner, CnnPolicy};
use crate::comparison::{close, normals};
use crate::frames::{FrameRows, StackedFrames};
use crate::simd::Level;
use crate::spec::{Activation, Conv, Core, NetworkSpec, ParamSpec, SpecError, Torso};
use impala_env::rng::Rng;
use impala_env::{ActionSpec, Dtype, ObservationSpec};

fn network(
    observation: ObservationSpec,
    convs: &[(usize, usize, usize)],
    hidden: &[usize],
    logits: usize,
) -> NetworkSpec {
    let convs = convs.iter().map(|&(filters, kernel, stride)| Conv { filters, kernel, stride });
    let torso = Torso::Cnn { convs: convs.collect(), hidden: hidden.to_vec() };
    NetworkSpec::new(observation, ActionSpec::Discrete { n: logits }, torso)
}

/// Parameters whose outputs are of size 1.
fn parameters(spec: &ParamSpec, rng: &mut Rng) -> Vec<f32> {
    let draw = |entry: &crate::spec::ParamEntry| {
        normals(rng, entry.numel(), (2.0 / entry.fan_in as f64).sqrt())
    };
    spec.entries().iter().flat_map(draw).collect()
}

/// A block of frames, its columns of interest, and what the network is to see of them.
struct Block {
    unroll: usize,
    columns: usize,
    strip: std::ops::Range<usize>,
    bytes: Vec<u8>,
    valid: Vec<u8>,
    /// `[T + 1][strip][k][frame]`.
    seen: Vec<f32>,
}

impl Block {
    fn new(
        spec: &ObservationSpec,
        unroll: usize,
        columns: usize,
        strip: std::ops::Range<usize>,
        rng: &mut Rng,
    ) -> Self {
        let (k, frame) = (spec.frame_stack, spec.frame_len());
        let numbers = (unroll + k) * columns * frame;
        let (bytes, floats): (Vec<u8>, Vec<f32>) = match spec.dtype {
            Dtype::U8 => {
                let bytes: Vec<u8> =
                    (0..numbers).map(|_| u8::try_from(rng.below(256)).expect("a byte")).collect();
                let floats = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
                (bytes, floats)
            }
            Dtype::F32 => {
                let floats = normals(rng, numbers, 1.0);
                (bytemuck::cast_slice(&floats).to_vec(), floats)
            }
        };
        let rows = (unroll + 1) * columns;
        let valid: Vec<u8> =
            (0..rows).map(|_| u8::try_from(1 + rng.below(k)).expect("k")).collect();
        let mut seen = Vec::new();
        for step in 0..=unroll {
            for column in strip.clone() {
                for slot in 0..k {
                    let at = ((step + slot) * columns + column) * frame;
                    let blank = k - slot > usize::from(valid[step * columns + column]);
                    let frame = &floats[at..at + frame];
                    seen.extend(frame.iter().map(|x| if blank { 0.0 } else { *x }));
                }
            }
        }
        Self { unroll, columns, strip, bytes, valid, seen }
    }

    /// As the learner sees it. `memory` is aligned.
    fn images<'a>(
        &'a self,
        spec: &'a ObservationSpec,
        memory: &'a mut Vec<u32>,
    ) -> StackedFrames<'a> {
        memory.resize(self.bytes.len().div_ceil(4), 0);
        bytemuck::cast_slice_mut::<u32, u8>(memory)[..self.bytes.len()]
            .copy_from_slice(&self.bytes);
        StackedFrames {
            spec,
            columns: self.columns,
            strip: self.strip.clone(),
            rows: FrameRows::Contiguous(&bytemuck::cast_slice(memory)[..self.bytes.len()]),
            valid: &self.valid,
        }
    }
}

/// Runs actor and learner at every level and holds them against the reference.
fn check(network: &NetworkSpec, block: &Block, rng: &mut Rng) {
    let spec = ParamSpec::new(network).expect("valid");
    let flat = parameters(&spec, rng);
    let reference = Reference::new(network, &spec, &flat);
    let (observation, actions) = (&network.observation, network.logits());
    let inputs = observation.stacked_len();
    let (rows, width) = (block.seen.len() / inputs, block.strip.len());
    let learnt = block.unroll * width;
    let (d_logits, d_values) = (normals(rng, learnt * actions, 1.0), normals(rng, learnt, 1.0));
    let (mut logits, mut values, mut gradient) = (Vec::new(), Vec::new(), vec![0.0; spec.len()]);
    for (row, x) in block.seen.chunks_exact(inputs).enumerate() {
        let mut outputs = reference.outputs(x);
        values.extend(outputs.pop());
        logits.extend(outputs);
        if row < learnt {
            let d = d_logits[row * actions..(row + 1) * actions].iter().chain([&d_values[row]]);
            let d: Vec<f64> = d.map(|&d| f64::from(d)).collect();
            reference.add_gradient(x, &d, &mut gradient);
        }
    }
    for level in Level::all() {
        let what = |part: &str| format!("{} {part}, {rows} rows of {network:?}", level.name());
        let mut learner = CnnLearner::with_level(network, level).expect("a CNN");
        let mut computed = vec![9.0; spec.len()];
        let mut memory = Vec::new();
        let images = block.images(observation, &mut memory);
        // Twice: nothing may be left from one call to the next.
        for _ in 0..2 {
            learner.load(&flat);
            let outputs = learner.forward(&images);
            close(&what("logits"), outputs.0, &logits);
            close(&what("values"), outputs.1, &values);
            // Gradients add up.
            let halves = |d: &[f32]| -> Vec<f32> { d.iter().map(|d| d / 2.0).collect() };
            learner.backward(&images, &halves(&d_logits), &halves(&d_values));
            learner.forward(&images);
            learner.backward(&images, &halves(&d_logits), &halves(&d_values));
            learner.write_gradient(&mut computed);
            close(&what("gradient"), &computed, &gradient);
        }
        let mut actor = CnnPolicy::with_level(network, level).expect("a CNN");
        actor.load(&flat);
        let mut acted = vec![9.0; width * actions];
        // One time step of all columns of the block, as if the strip were all.
        if width == block.columns {
            for step in [block.unroll, 0] {
                let frames: Vec<&[u8]> =
                    (step..step + observation.frame_stack).map(|row| images.row(row)).collect();
                let valid = &block.valid[step * width..(step + 1) * width];
                actor.forward(&StackedFrames::of_step(observation, &frames, valid), &mut acted);
                let expected = &logits[step * width * actions..(step + 1) * width * actions];
                close(&what("acting"), &acted, expected);
            }
        }
    }
}

#[test]
fn small_networks_agree_with_the_definition() {
    let mut rng = Rng::new(1, 0);
    type Case<'a> = (&'a [usize], usize, &'a [(usize, usize, usize)], &'a [usize], usize);
    let cases: [Case<'_>; 9] = [
        (&[3, 3], 1, &[(1, 3, 1)], &[], 1),
        (&[10, 5], 1, &[(16, 3, 1), (16, 3, 1)], &[64], 3),
        (&[7, 9], 2, &[(5, 2, 1)], &[7], 2),
        (&[3, 11, 8], 2, &[(17, 4, 3), (3, 2, 1)], &[], 4),
        (&[12, 13], 3, &[(8, 5, 2), (20, 3, 1), (33, 1, 1)], &[19, 24], 18),
        (&[2, 9, 9], 1, &[(16, 1, 1), (6, 3, 3), (16, 2, 1)], &[40], 2),
        (&[20, 20], 4, &[(16, 8, 4), (32, 4, 2)], &[32], 6),
        (&[9, 30], 1, &[(4, 9, 2)], &[300], 2),
        (&[14, 6], 2, &[(18, 6, 5), (4, 1, 2)], &[5], 5),
    ];
    for (shape, frame_stack, convs, hidden, actions) in cases {
        for dtype in [Dtype::U8, Dtype::F32] {
            let observation = ObservationSpec { frame_stack, ..ObservationSpec::new(dtype, shape) };
            for (unroll, columns, strip) in [(1, 1, 0..1), (3, 4, 0..4), (2, 7, 2..5)] {
                let block = Block::new(&observation, unroll, columns, strip, &mut rng);
                check(&network(observation.clone(), convs, hidden, actions), &block, &mut rng);
            }
        }
    }
}

#[test]
fn random_networks_agree_with_the_definition() {
    let mut rng = Rng::new(2, 0);
    for _ in 0..25 {
        let sides = [6 + rng.below(9), 6 + rng.below(9)];
        let leading = 1 + rng.below(3);
        let shape = if leading > 1 { vec![leading, sides[0], sides[1]] } else { sides.to_vec() };
        let mut side = sides[0].min(sides[1]);
        let mut convs = Vec::new();
        for _ in 0..1 + rng.below(3) {
            let kernel = 1 + rng.below(side.min(4));
            let stride = 1 + rng.below(2);
            convs.push((1 + rng.below(40), kernel, stride));
            side = (side - kernel) / stride + 1;
        }
        let hidden: Vec<usize> = (0..rng.below(3)).map(|_| 1 + rng.below(50)).collect();
        let dtype = [Dtype::U8, Dtype::F32][rng.below(2)];
        let observation = ObservationSpec {
            frame_stack: 1 + rng.below(4),
            ..ObservationSpec::new(dtype, &shape)
        };
        let network = network(observation, &convs, &hidden, 1 + rng.below(20));
        let block = Block::new(&network.observation, 1 + rng.below(3), 3, 0..3, &mut rng);
        check(&network, &block, &mut rng);
    }
}

#[test]
fn a_usual_network_agrees_with_the_definition() {
    let mut rng = Rng::new(3, 0);
    let observation =
        ObservationSpec { frame_stack: 4, ..ObservationSpec::new(Dtype::U8, &[44, 44]) };
    let block = Block::new(&observation, 1, 1, 0..1, &mut rng);
    let convs = [(32, 8, 4), (64, 4, 2), (64, 3, 1)];
    check(&network(observation, &convs, &[512], 6), &block, &mut rng);
}

#[test]
fn the_definition_agrees_with_finite_differences() {
    let mut rng = Rng::new(4, 0);
    let network =
        network(ObservationSpec::new(Dtype::F32, &[2, 6, 5]), &[(3, 3, 1), (2, 2, 1)], &[4], 2);
    let spec = ParamSpec::new(&network).expect("valid");
    let mut reference = Reference::new(&network, &spec, &parameters(&spec, &mut rng));
    let (x, d) = (normals(&mut rng, 60, 1.0), [0.7, -1.3, 0.4]);
    let mut gradient = vec![0.0; spec.len()];
    reference.add_gradient(&x, &d, &mut gradient);
    for (at, expected) in gradient.iter().enumerate() {
        let centre = reference.parameters[at];
        let mut loss = |parameter: f64| {
            reference.parameters[at] = parameter;
            reference.outputs(&x).iter().zip(d).map(|(y, d)| y * d).sum::<f64>()
        };
        let slope = (loss(centre + 1e-6) - loss(centre - 1e-6)) / 2e-6;
        reference.parameters[at] = centre;
        assert!((slope - expected).abs() < 1e-6, "[{at}]: {expected} or {slope}");
    }
}

#[test]
fn what_is_not_a_number_comes_out_as_such() {
    for level in Level::all() {
        let observation = ObservationSpec::new(Dtype::F32, &[4, 4]);
        let network = network(observation.clone(), &[(4, 2, 1), (4, 2, 1)], &[4], 2);
        let spec = ParamSpec::new(&network).expect("valid");
        let mut actor = CnnPolicy::with_level(&network, level).expect("a CNN");
        actor.load(&parameters(&spec, &mut Rng::new(5, 0)));
        let mut logits = [0.0; 6];
        let mut images = [1.0_f32; 48];
        images[20] = f32::NAN;
        let rows: [&[u8]; 1] = [bytemuck::cast_slice(&images)];
        let seen = StackedFrames::of_step(&observation, &rows, &[1; 3]);
        actor.forward(&seen, &mut logits);
        let finite = logits.map(f32::is_finite);
        assert_eq!(finite, [true, true, false, false, true, true], "{logits:?}");
    }
}

#[test]
fn other_networks_are_refused() {
    let observation = ObservationSpec::new(Dtype::F32, &[8, 8]);
    let torso = Torso::Mlp { hidden: vec![4], activation: Activation::Relu };
    let mlp = NetworkSpec { torso, ..network(observation.clone(), &[], &[], 2) };
    let no_convolution = network(observation.clone(), &[], &[4], 2);
    let cnn = network(observation, &[(2, 3, 1)], &[4], 2);
    let recurrent = NetworkSpec { core: Core::Lstm { hidden: 4 }, ..cnn.clone() };
    let informed = NetworkSpec { action_reward_inputs: true, ..cnn };
    for spec in [mlp, no_convolution, recurrent, informed] {
        assert_eq!(CnnPolicy::new(&spec).err(), Some(SpecError::NotNative));
        assert_eq!(CnnLearner::new(&spec).err(), Some(SpecError::NotNative));
    }
}
