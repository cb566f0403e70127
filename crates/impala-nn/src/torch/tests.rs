//! Tests of the networks in libtorch against plain loops.

use tch::Tensor;

use super::*;
use crate::frames::{FrameRows, StackedFrames};
use crate::init::initial_parameters;
use crate::inputs::LearnInputs;
use crate::native::NativeLearner;
use crate::spec::{Activation, Conv, Torso};
use impala_env::rng::Rng;
use impala_env::{ActionSpec, Dtype, ObservationSpec, flag};

fn random(rng: &mut Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.normal_f64() as f32).collect()
}

fn tensor(numbers: &[f32], shape: &[i64]) -> Tensor {
    Tensor::from_slice(numbers).reshape(shape)
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.contiguous().reshape([-1])).expect("f32")
}

fn close(left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    for (at, (a, b)) in left.iter().zip(right).enumerate() {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{at}: {a} and {b}");
    }
}

/// `weight [out][in]` times `x`, plus `bias`.
fn dense(weight: &[f32], bias: &[f32], x: &[f32]) -> Vec<f32> {
    let rows = weight.chunks_exact(x.len()).zip(bias);
    rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>()).collect()
}

#[test]
fn the_core_is_the_cell_of_pytorch_with_resets() {
    const INPUTS: usize = 3;
    const HIDDEN: usize = 4;
    const COLUMNS: usize = 2;
    const STEPS: usize = 5;
    let mut rng = Rng::new(11, 0);
    let [weight_ih, weight_hh] = [INPUTS, HIDDEN].map(|width| random(&mut rng, 4 * HIDDEN * width));
    let [bias_ih, bias_hh] = [(); 2].map(|()| random(&mut rng, 4 * HIDDEN));
    let features = random(&mut rng, STEPS * COLUMNS * INPUTS);
    let before = random(&mut rng, COLUMNS * 2 * HIDDEN);
    let mut flags = [0_u8; STEPS * COLUMNS];
    (flags[1], flags[2 * COLUMNS]) = (flag::FIRST, flag::FIRST | flag::TERMINATED);

    // The equations of torch.nn.LSTMCell's documentation.
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let mut state = before.clone();
    let mut expected = Vec::new();
    for step in 0..STEPS {
        for column in 0..COLUMNS {
            let row = step * COLUMNS + column;
            let own = &mut state[column * 2 * HIDDEN..(column + 1) * 2 * HIDDEN];
            if flags[row] & flag::FIRST != 0 {
                own.fill(0.0);
            }
            let (h, c) = own.split_at_mut(HIDDEN);
            let x = &features[row * INPUTS..(row + 1) * INPUTS];
            let (a, b) = (dense(&weight_ih, &bias_ih, x), dense(&weight_hh, &bias_hh, h));
            let gate = |index: usize| a[index] + b[index];
            for unit in 0..HIDDEN {
                let (i, f) = (sigmoid(gate(unit)), sigmoid(gate(HIDDEN + unit)));
                let (g, o) = (gate(2 * HIDDEN + unit).tanh(), sigmoid(gate(3 * HIDDEN + unit)));
                c[unit] = f * c[unit] + i * g;
                h[unit] = o * c[unit].tanh();
            }
            expected.extend_from_slice(h);
        }
    }

    let [gates, inputs, hidden, columns, rows] =
        [4 * HIDDEN, INPUTS, HIDDEN, COLUMNS, STEPS * COLUMNS]
            .map(|size| i64::try_from(size).expect("small"));
    let lstm = Lstm {
        weight_ih: &tensor(&weight_ih, &[gates, inputs]),
        weight_hh: &tensor(&weight_hh, &[gates, hidden]),
        bias_ih: &tensor(&bias_ih, &[gates]),
        bias_hh: &tensor(&bias_hh, &[gates]),
    };
    let features = tensor(&features, &[rows, inputs]);
    let before = tensor(&before, &[columns, 2 * hidden]);
    let (outputs, after) = lstm.run(&features, &before, &flags).expect("runs");
    close(&numbers(&outputs), &expected);
    close(&numbers(&after), &state);
}

/// `[channels][height][width]`.
struct Image {
    pixels: Vec<f32>,
    shape: [usize; 3],
}

impl Image {
    /// What `f(channel, row, column)` says at each pixel.
    fn from_fn(shape: [usize; 3], f: impl Fn(usize, usize, usize) -> f32) -> Self {
        let [channels, height, width] = shape;
        let places = (0..channels * height * width)
            .map(|at| (at / (height * width), at / width % height, at % width));
        Self { pixels: places.map(|(c, y, x)| f(c, y, x)).collect(), shape }
    }

    /// The 3x3 neighbours around `(y, x)` of `channel` that are inside, with their place in the window.
    fn around(&self, channel: usize, y: usize, x: usize) -> impl Iterator<Item = (usize, f32)> {
        let [_, height, width] = self.shape;
        (0..9).filter_map(move |at| {
            let row = (y + at / 3).checked_sub(1).filter(|&row| row < height)?;
            let column = (x + at % 3).checked_sub(1).filter(|&column| column < width)?;
            Some((at, self.pixels[(channel * height + row) * width + column]))
        })
    }

    fn convolved(&self, weight: &[f32], bias: &[f32]) -> Self {
        let [channels, height, width] = self.shape;
        Self::from_fn([bias.len(), height, width], |filter, y, x| {
            let products = (0..channels).flat_map(|channel| {
                let kernel = &weight[(filter * channels + channel) * 9..][..9];
                self.around(channel, y, x).map(|(at, pixel)| kernel[at] * pixel)
            });
            bias[filter] + products.sum::<f32>()
        })
    }

    fn pooled(&self) -> Self {
        let [channels, height, width] = self.shape;
        Self::from_fn([channels, height.div_ceil(2), width.div_ceil(2)], |channel, y, x| {
            let window = self.around(channel, 2 * y, 2 * x);
            window.map(|(_, pixel)| pixel).fold(f32::NEG_INFINITY, f32::max)
        })
    }

    fn relu(&self) -> Self {
        let pixels = self.pixels.iter().map(|x| x.max(0.0)).collect();
        Self { pixels, shape: self.shape }
    }
}

#[test]
fn the_deep_torso_is_that_of_the_paper() {
    let torso = Torso::ImpalaDeep { channels: vec![3, 2], hidden: vec![5] };
    let observation = ObservationSpec::new(Dtype::F32, &[2, 7, 6]);
    let spec = NetworkSpec::new(observation, ActionSpec::Discrete { n: 3 }, torso);
    let layout = ParamSpec::new(&spec).expect("valid");
    let mut rng = Rng::new(4, 0);
    let mut flat = initial_parameters(&layout, 1);
    // Biases are zero at first, and would hide their mistakes.
    flat.iter_mut().for_each(|x| *x += 0.1 * rng.normal_f64() as f32);
    let frame = random(&mut rng, 2 * 7 * 6);

    let mut entries = layout.entries().iter();
    let mut next = || {
        let [weight, bias] = [(); 2].map(|()| &flat[entries.next().expect("there").range()]);
        (weight, bias)
    };
    let mut x = Image { pixels: frame.clone(), shape: [2, 7, 6] };
    for _section in 0..2 {
        let (weight, bias) = next();
        x = x.convolved(weight, bias).pooled();
        for _block in 0..2 {
            let (weight, bias) = next();
            let y = x.relu().convolved(weight, bias);
            let (weight, bias) = next();
            let mut y = y.relu().convolved(weight, bias);
            y.pixels.iter_mut().zip(&x.pixels).for_each(|(y, x)| *y += x);
            x = y;
        }
    }
    assert_eq!(x.shape, [2, 2, 2]);
    let (weight, bias) = next();
    let features = dense(weight, bias, &x.relu().pixels);
    let features: Vec<f32> = features.iter().map(|x| x.max(0.0)).collect();
    let (weight, bias) = next();
    let logits = dense(weight, bias, &features);
    let (weight, bias) = next();
    let value = dense(weight, bias, &features);

    let mut network = TorchNetwork::new(&spec, &layout, Device::Cpu, false).expect("libtorch");
    network.load(&flat).expect("fits");
    let input = tensor(&frame, &[1, 2, 7, 6]);
    let inputs = NetworkInputs { observations: &input, extra: None, state: None, flags: &[0] };
    let outputs = network.forward(&inputs).expect("runs");
    close(&numbers(&outputs.logits), &logits);
    close(&numbers(&outputs.values), &value);
    assert!(outputs.state.is_none());
}

/// Outputs and gradient of both engines over the same five steps of four columns.
#[test]
fn the_engine_in_rust_computes_the_same() {
    const STEPS: usize = 5;
    const COLUMNS: usize = 4;
    const ROWS: usize = STEPS * COLUMNS;
    let conv = |filters, kernel, stride| Conv { filters, kernel, stride };
    let mlp = Torso::Mlp { hidden: vec![33, 16], activation: Activation::Tanh };
    let cnn = Torso::Cnn { convs: vec![conv(7, 4, 2), conv(33, 2, 1)], hidden: vec![19] };
    let deep = Torso::ImpalaDeep { channels: vec![16, 20], hidden: vec![24] };
    let lstm = Core::Lstm { hidden: 21 };
    let mut rng = Rng::new(12, 0);
    for (shape, torso, core, action_reward_inputs) in [
        (&[6][..], mlp.clone(), Core::None, true),
        (&[6], mlp, lstm, false),
        (&[2, 13, 11], cnn, lstm, true),
        (&[3, 21, 18], deep.clone(), Core::None, false),
        (&[3, 12, 9], deep, lstm, true),
    ] {
        let observation = ObservationSpec::new(Dtype::F32, shape);
        let base = NetworkSpec::new(observation, ActionSpec::Discrete { n: 3 }, torso);
        let spec = NetworkSpec { core, action_reward_inputs, ..base };
        let layout = ParamSpec::new(&spec).expect("valid");
        let mut flat = initial_parameters(&layout, 2);
        flat.iter_mut().for_each(|x| *x += 0.05 * rng.normal_f64() as f32);
        let x = random(&mut rng, ROWS * spec.observation.stacked_len());
        let extra = random(&mut rng, ROWS * spec.extra_inputs());
        let state = random(&mut rng, COLUMNS * spec.state_len());
        let mut flags = [0_u8; ROWS];
        (flags[1], flags[2 * COLUMNS], flags[3 * COLUMNS + 3]) =
            (flag::FIRST, flag::FIRST, flag::FIRST);
        let (d_logits, d_values) = (random(&mut rng, ROWS * 3), random(&mut rng, ROWS));

        let mut network = TorchNetwork::new(&spec, &layout, Device::Cpu, true).expect("libtorch");
        network.load(&flat).expect("fits");
        let mut dimensions_of_x = dimensions(&[ROWS]);
        dimensions_of_x.extend(network.input_shape());
        let [of_extra, of_state] = [
            (&extra, dimensions(&[ROWS, spec.extra_inputs()])),
            (&state, dimensions(&[COLUMNS, spec.state_len()])),
        ]
        .map(|(numbers, shape)| (!numbers.is_empty()).then(|| tensor(numbers, &shape)));
        let outputs = network
            .forward(&NetworkInputs {
                observations: &tensor(&x, &dimensions_of_x),
                extra: of_extra.as_ref(),
                state: of_state.as_ref(),
                flags: &flags,
            })
            .expect("runs");
        let total = (&outputs.logits * tensor(&d_logits, &[-1, 3])).sum(Kind::Float)
            + (&outputs.values * tensor(&d_values, &[-1])).sum(Kind::Float);
        let leaves = network.learnt_leaves();
        let expected: Vec<f32> =
            Tensor::run_backward(&[total], leaves, false, false).iter().flat_map(numbers).collect();

        let mut learner = NativeLearner::new(&spec).expect("native");
        learner.load(&flat);
        let inputs = LearnInputs {
            observations: StackedFrames {
                spec: &spec.observation,
                columns: COLUMNS,
                strip: 0..COLUMNS,
                rows: FrameRows::Contiguous(bytemuck::cast_slice(&x)),
                valid: &[],
            },
            flags: &flags,
            extra: &extra,
            state: &state,
        };
        let (logits, values) = learner.forward(&inputs);
        close(logits, &numbers(&outputs.logits.detach()));
        close(values, &numbers(&outputs.values.detach()));
        learner.backward(&inputs, &d_logits, &d_values);
        let mut gradient = vec![f32::NAN; layout.len()];
        learner.write_gradient(&mut gradient);
        let largest = expected.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
        for (at, (a, b)) in gradient.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= 1e-5 * largest, "{spec:?} {at}: {a} and {b}");
        }
    }
}
