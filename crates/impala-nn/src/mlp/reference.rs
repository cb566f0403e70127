//! Reference implementation of the MLP in f64, and tests of the native engine against it.

use super::{Input, MlpLearner, MlpPolicy};
use crate::comparison::{close, normals};
use crate::frames::{FrameRows, StackedFrames};
use crate::simd::Level;
use crate::spec::{Activation, Conv, Core, NetworkSpec, ParamSpec, SpecError, Torso};
use impala_env::rng::Rng;
use impala_env::{ActionSpec, Dtype, ObservationSpec};

fn network(
    observation: ObservationSpec,
    hidden: &[usize],
    logits: usize,
    activation: Activation,
) -> NetworkSpec {
    let torso = Torso::Mlp { hidden: hidden.to_vec(), activation };
    NetworkSpec::new(observation, ActionSpec::Discrete { n: logits }, torso)
}

/// Parameters whose outputs are of size 1.
fn parameters(spec: &ParamSpec, rng: &mut Rng) -> Vec<f32> {
    let draw = |entry: &crate::spec::ParamEntry| {
        normals(rng, entry.numel(), 1.0 / (entry.fan_in as f64).sqrt())
    };
    spec.entries().iter().flat_map(draw).collect()
}

/// Outputs and gradient of one network, from the definition.
struct Reference<'a> {
    spec: &'a ParamSpec,
    activation: Activation,
    /// Layers of a torso.
    hidden: usize,
    /// Number of the first entry of the value's torso: 0 if it is the policy's.
    value_torso: usize,
    parameters: Vec<f64>,
}

impl Reference<'_> {
    fn new<'a>(network: &NetworkSpec, spec: &'a ParamSpec, parameters: &[f32]) -> Reference<'a> {
        let Torso::Mlp { activation, ref hidden } = network.torso else { panic!("an MLP") };
        let parameters = parameters.iter().map(|&x| f64::from(x)).collect();
        let hidden = hidden.len();
        let value_torso = if network.separate_value { 2 * hidden + 2 } else { 0 };
        Reference { spec, activation, hidden, value_torso, parameters }
    }

    /// Output `o` of the dense layer of entry `index` over `x`.
    fn dense(&self, index: usize, x: &[f64]) -> Vec<f64> {
        let [weight, bias] = [&self.spec.entries()[index], &self.spec.entries()[index + 1]];
        let rows = self.parameters[weight.range()].chunks_exact(x.len());
        let bias = &self.parameters[bias.range()];
        rows.zip(bias)
            .map(|(row, b)| b + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>())
            .collect()
    }

    /// Numbers of the first entries of the policy's torso and head, and of the value's.
    fn branches(&self) -> [(usize, usize); 2] {
        [(0, 2 * self.hidden), (self.value_torso, self.spec.entries().len() - 2)]
    }

    /// Input and activations of all hidden layers of a torso, for one row.
    fn layers(&self, torso: usize, x: &[f32]) -> Vec<Vec<f64>> {
        let mut layers = vec![x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()];
        for layer in 0..self.hidden {
            let y = self.dense(torso + 2 * layer, &layers[layer]);
            let activate = |y: f64| match self.activation {
                Activation::Tanh => y.tanh(),
                Activation::Relu => y.max(0.0),
            };
            layers.push(y.into_iter().map(activate).collect());
        }
        layers
    }

    /// A logits and the value, for one row.
    fn outputs(&self, x: &[f32]) -> Vec<f64> {
        let output = |(torso, head)| {
            let top = self.layers(torso, x).pop().expect("layers");
            self.dense(head, &top)
        };
        self.branches().map(output).concat()
    }

    /// Adds the gradient of `sum(outputs * d)` for one row to `gradient`.
    fn add_gradient(&self, x: &[f32], d: &[f64], gradient: &mut [f64]) {
        let (d_logits, d_value) = d.split_at(d.len() - 1);
        for ((torso, head), d) in self.branches().into_iter().zip([d_logits, d_value]) {
            self.add_branch(torso, head, (x, d), gradient);
        }
    }

    /// Adds the share of one head and the torso below it, from the gradient `d` of the head's outputs.
    fn add_branch(
        &self,
        torso: usize,
        head: usize,
        (x, d): (&[f32], &[f64]),
        gradient: &mut [f64],
    ) {
        let layers = self.layers(torso, x);
        let mut below = self.add_layer(head, &layers[self.hidden], d, gradient);
        for layer in (0..self.hidden).rev() {
            let derivative = |a: f64| match self.activation {
                Activation::Tanh => 1.0 - a * a,
                Activation::Relu => {
                    if a > 0.0 {
                        1.0
                    } else {
                        0.0
                    }
                }
            };
            let d: Vec<f64> =
                below.iter().zip(&layers[layer + 1]).map(|(d, &a)| d * derivative(a)).collect();
            below = self.add_layer(torso + 2 * layer, &layers[layer], &d, gradient);
        }
    }

    /// Adds the share of one dense layer; returns the gradient with respect to its input.
    fn add_layer(&self, index: usize, x: &[f64], d: &[f64], gradient: &mut [f64]) -> Vec<f64> {
        let [weight, bias] =
            [self.spec.entries()[index].range(), self.spec.entries()[index + 1].range()];
        let mut below = vec![0.0; x.len()];
        for (o, &d) in d.iter().enumerate() {
            gradient[bias.start + o] += d;
            for (i, &x) in x.iter().enumerate() {
                gradient[weight.start + o * below.len() + i] += d * x;
                below[i] += d * self.parameters[weight.start + o * below.len() + i];
            }
        }
        below
    }
}

/// Runs actor and learner at every level and holds them against the reference, with one torso and with two.
fn check(network: &NetworkSpec, rows: usize, rng: &mut Rng) {
    check_one(network, rows, rng);
    check_one(&NetworkSpec { separate_value: true, ..network.clone() }, rows, rng);
}

fn check_one(network: &NetworkSpec, rows: usize, rng: &mut Rng) {
    let spec = ParamSpec::new(network).expect("valid");
    let flat = parameters(&spec, rng);
    let reference = Reference::new(network, &spec, &flat);
    let (inputs, actions) = (network.observation.stacked_len(), network.logits());
    let x = normals(rng, rows * inputs, 1.0);
    let (d_logits, d_values) = (normals(rng, rows * actions, 1.0), normals(rng, rows, 1.0));
    let (mut logits, mut values, mut gradient) = (Vec::new(), Vec::new(), vec![0.0; spec.len()]);
    let d = d_logits.chunks_exact(actions).zip(&d_values);
    for (x, (d_logits, d_value)) in x.chunks_exact(inputs).zip(d) {
        let mut outputs = reference.outputs(x);
        values.extend(outputs.pop());
        logits.extend(outputs);
        let d: Vec<f64> = d_logits.iter().chain([d_value]).map(|&d| f64::from(d)).collect();
        reference.add_gradient(x, &d, &mut gradient);
    }
    for level in Level::all() {
        let what = |part: &str| format!("{} {part}, {rows} rows of {network:?}", level.name());
        let mut actor = MlpPolicy::with_level(network, level).expect("an MLP");
        actor.load(&flat);
        let (mut acted, mut acted_values) = (vec![9.0; rows * actions], vec![9.0; rows]);
        actor.forward(&x, &mut acted);
        close(&what("acting"), &acted, &logits);
        acted.fill(9.0);
        let mut actor = MlpPolicy::with_values(network, level).expect("an MLP");
        actor.load(&flat);
        actor.forward_with_values(&x, &mut acted, &mut acted_values);
        close(&what("acting values"), &acted_values, &values);

        let mut learner = MlpLearner::with_level(network, level).expect("an MLP");
        let mut computed = vec![9.0; spec.len()];
        // Twice, with a longer batch before: nothing may be left from one call to the next.
        let longer = normals(&mut Rng::new(1, 1), (rows + 7) * inputs, 1.0);
        learner.forward(&Input::Dense(&longer));
        let halves = |d: &[f32]| -> Vec<f32> { d.iter().map(|d| d / 2.0).collect() };
        let (half_logits, half_values) = (halves(&d_logits), halves(&d_values));
        for _ in 0..2 {
            learner.load(&flat);
            let (learnt, learnt_values) = learner.forward(&Input::Dense(&x));
            assert_eq!(learnt, acted, "{}", what("actor and learner"));
            assert_eq!(learnt_values, acted_values, "{}", what("actor and learner"));
            // Gradients add up, and rows at the end may have none.
            learner.backward(&Input::Dense(&x), &half_logits, &half_values);
            learner.forward(&Input::Dense(&[&x[..], &longer].concat()));
            learner.backward(
                &Input::Dense(&[&x[..], &longer].concat()),
                &half_logits,
                &half_values,
            );
            learner.write_gradient(&mut computed);
            close(&what("gradient"), &computed, &gradient);
        }
    }
}

#[test]
fn small_networks_agree_with_the_definition() {
    let mut rng = Rng::new(1, 0);
    for activation in [Activation::Tanh, Activation::Relu] {
        for (inputs, hidden, actions) in [
            (1, &[7][..], 2),
            (3, &[7], 3),
            (4, &[32, 48, 16], 2),
            (6, &[1], 6),
            (50, &[33, 17], 18),
        ] {
            for rows in [1, 5, 16, 131] {
                let observation = ObservationSpec::new(Dtype::F32, &[inputs]);
                check(&network(observation, hidden, actions, activation), rows, &mut rng);
            }
        }
    }
}

#[test]
fn usual_networks_agree_with_the_definition() {
    let mut rng = Rng::new(2, 0);
    for (inputs, hidden, rows, activation) in [
        (4, &[64, 64][..], 640, Activation::Tanh),
        (6, &[64, 64], 66, Activation::Relu),
        (50, &[256, 256], 9, Activation::Tanh),
        (4, &[128, 256], 67, Activation::Relu),
    ] {
        let observation = ObservationSpec::new(Dtype::F32, &[inputs]);
        check(&network(observation, hidden, 3, activation), rows, &mut rng);
    }
}

#[test]
fn the_definition_agrees_with_finite_differences() {
    let mut rng = Rng::new(3, 0);
    for (activation, separate_value) in [
        (Activation::Tanh, false),
        (Activation::Relu, false),
        (Activation::Tanh, true),
        (Activation::Relu, true),
    ] {
        let network = network(ObservationSpec::new(Dtype::F32, &[3]), &[5, 4], 2, activation);
        let network = NetworkSpec { separate_value, ..network };
        let spec = ParamSpec::new(&network).expect("valid");
        let mut reference = Reference::new(&network, &spec, &parameters(&spec, &mut rng));
        let (x, d) = (normals(&mut rng, 3, 1.0), [0.7, -1.3, 0.4]);
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
            assert!(
                (slope - expected).abs() < 1e-7,
                "{activation:?} [{at}]: {expected} or {slope}"
            );
        }
    }
}

#[test]
fn stacked_bytes_are_the_same_as_the_floats_they_stand_for() {
    let mut rng = Rng::new(4, 0);
    let (unroll, columns, k, frame) = (40, 3, 4, 5);
    for dtype in [Dtype::U8, Dtype::F32] {
        let observation =
            ObservationSpec { frame_stack: k, ..ObservationSpec::new(dtype, &[frame]) };
        let network = network(observation.clone(), &[16, 24], 3, Activation::Tanh);
        let numbers = (unroll + k) * columns * frame;
        let bytes: Vec<u8> =
            (0..numbers).map(|_| u8::try_from(rng.below(256)).expect("a byte")).collect();
        let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let rows = (unroll + 1) * columns;
        let valid: Vec<u8> =
            (0..rows).map(|_| u8::try_from(1 + rng.below(k)).expect("k")).collect();
        let mut dense = Vec::new();
        for (row, &valid) in valid.iter().enumerate() {
            for slot in 0..k {
                let at = (row + slot * columns) * frame;
                let seen = k - slot <= usize::from(valid);
                dense.extend(floats[at..at + frame].iter().map(|x| if seen { *x } else { 0.0 }));
            }
        }
        let frames = if dtype == Dtype::U8 { &bytes[..] } else { bytemuck::cast_slice(&floats) };
        let stacked = Input::from_frames(StackedFrames {
            spec: &observation,
            columns,
            strip: 0..columns,
            rows: FrameRows::Contiguous(frames),
            valid: &valid,
        });

        let spec = ParamSpec::new(&network).expect("valid");
        let flat = parameters(&spec, &mut rng);
        let (d_logits, d_values) = (normals(&mut rng, rows * 3, 1.0), normals(&mut rng, rows, 1.0));
        let mut learner = MlpLearner::new(&network).expect("an MLP");
        let [(outputs, gradient), (expected_outputs, expected_gradient)] =
            [stacked, Input::Dense(&dense)].map(|input| {
                learner.load(&flat);
                let (logits, values) = learner.forward(&input);
                let outputs: Vec<f64> =
                    logits.iter().chain(values).map(|&x| f64::from(x)).collect();
                let mut gradient = vec![0.0; spec.len()];
                learner.backward(&input, &d_logits, &d_values);
                learner.write_gradient(&mut gradient);
                (outputs, gradient)
            });
        let outputs: Vec<f32> = outputs.iter().map(|&x| x as f32).collect();
        close("outputs", &outputs, &expected_outputs);
        let expected: Vec<f64> = expected_gradient.iter().map(|&x| f64::from(x)).collect();
        close("gradient", &gradient, &expected);
    }
}

#[test]
fn what_is_not_a_number_comes_out_as_such() {
    for level in Level::all() {
        for activation in [Activation::Tanh, Activation::Relu] {
            let network = network(ObservationSpec::new(Dtype::F32, &[2]), &[4, 4], 2, activation);
            let spec = ParamSpec::new(&network).expect("valid");
            let mut actor = MlpPolicy::with_level(&network, level).expect("an MLP");
            actor.load(&parameters(&spec, &mut Rng::new(5, 0)));
            let mut logits = [0.0; 6];
            actor.forward(&[0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0], &mut logits);
            let finite = logits.map(f32::is_finite);
            assert_eq!(finite, [true, true, false, false, true, true], "{activation:?} {logits:?}");
        }
    }
}

#[test]
fn other_networks_are_refused() {
    let observation = ObservationSpec::new(Dtype::F32, &[8, 8]);
    let convs = vec![Conv { filters: 2, kernel: 3, stride: 1 }];
    let torso = Torso::Cnn { convs, hidden: vec![4] };
    let cnn = NetworkSpec::new(observation.clone(), ActionSpec::Discrete { n: 2 }, torso);
    let linear = network(observation.clone(), &[], 2, Activation::Tanh);
    let mlp = network(observation, &[4], 2, Activation::Tanh);
    let recurrent = NetworkSpec { core: Core::Lstm { hidden: 4 }, ..mlp.clone() };
    let informed = NetworkSpec { action_reward_inputs: true, ..mlp };
    for spec in [cnn, linear, recurrent, informed] {
        assert_eq!(MlpPolicy::new(&spec).err(), Some(SpecError::NotNative));
        assert_eq!(MlpLearner::new(&spec).err(), Some(SpecError::NotNative));
    }
}
