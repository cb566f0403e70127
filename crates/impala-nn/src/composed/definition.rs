//! Reference implementation of composed networks for tests, in f64: outputs, and gradients by finite differences.

use crate::spec::{Activation, Core, NetworkSpec, ParamEntry, ParamSpec, Torso};
use impala_env::flag;

/// A network and its parameters.
pub(super) struct Definition<'a> {
    network: &'a NetworkSpec,
    layout: &'a ParamSpec,
    pub(super) parameters: Vec<f64>,
}

/// What it sees of N = steps * columns observations, time-major.
pub(super) struct Seen {
    pub(super) columns: usize,
    /// `[N][k * frame]`.
    pub(super) x: Vec<f32>,
    /// `[N]`.
    pub(super) flags: Vec<u8>,
    /// `[N][extra inputs]`.
    pub(super) extra: Vec<f32>,
    /// `[columns][S]`.
    pub(super) state: Vec<f32>,
}

/// An image `[channels][height][width]`.
struct Image {
    shape: [usize; 3],
    pixels: Vec<f64>,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn relu(x: Vec<f64>) -> Vec<f64> {
    x.into_iter().map(|x| x.max(0.0)).collect()
}

impl<'a> Definition<'a> {
    pub(super) fn new(network: &'a NetworkSpec, layout: &'a ParamSpec, flat: &[f32]) -> Self {
        Self { network, layout, parameters: wide(flat) }
    }

    fn entry(&self, name: &str) -> (&ParamEntry, &[f64]) {
        let entry = self.layout.get(name).unwrap_or_else(|| panic!("{name}"));
        (entry, &self.parameters[entry.range()])
    }

    /// `weight x + bias`.
    fn affine(&self, [weight, bias]: [&str; 2], x: &[f64]) -> Vec<f64> {
        let rows = self.entry(weight).1.chunks_exact(x.len()).zip(self.entry(bias).1);
        rows.map(|(row, b)| b + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
    }

    fn dense(&self, name: &str, x: &[f64]) -> Vec<f64> {
        self.affine([&format!("{name}.weight"), &format!("{name}.bias")], x)
    }

    fn convolved(&self, name: &str, image: &Image, stride: usize, border: usize) -> Image {
        let (entry, weight) = self.entry(&format!("{name}.weight"));
        let (_, bias) = self.entry(&format!("{name}.bias"));
        let [filters, channels, kernel, _] = entry.shape[..] else { panic!("{name}") };
        let [_, height, width] = image.shape;
        let side = |side: usize| (side + 2 * border - kernel) / stride + 1;
        let shape = [filters, side(height), side(width)];
        let pixel = |channel: usize, y: usize, x: usize| {
            let (y, x) = (y.checked_sub(border)?, x.checked_sub(border)?);
            (y < height && x < width).then(|| image.pixels[(channel * height + y) * width + x])
        };
        let mut pixels = Vec::new();
        for (filter, bias) in bias.iter().enumerate() {
            for (y, x) in (0..shape[1]).flat_map(|y| (0..shape[2]).map(move |x| (y, x))) {
                let mut sum = *bias;
                for at in 0..channels * kernel * kernel {
                    let (channel, place) = (at / (kernel * kernel), at % (kernel * kernel));
                    let (dy, dx) = (place / kernel, place % kernel);
                    let seen = pixel(channel, y * stride + dy, x * stride + dx).unwrap_or(0.0);
                    sum += weight[filter * channels * kernel * kernel + at] * seen;
                }
                pixels.push(sum);
            }
        }
        Image { shape, pixels }
    }

    fn features(&self, name: &str, x: &[f32]) -> Vec<f64> {
        let image = || Image { shape: self.network.image().expect("an image"), pixels: wide(x) };
        let fully = |mut x: Vec<f64>, hidden: &[usize]| {
            for layer in 0..hidden.len() {
                x = relu(self.dense(&format!("{name}.fc.{layer}"), &x));
            }
            x
        };
        match &self.network.torso {
            Torso::Mlp { hidden, activation } => {
                let mut x = wide(x);
                for layer in 0..hidden.len() {
                    x = self.dense(&format!("{name}.{layer}"), &x);
                    x = match activation {
                        Activation::Tanh => x.into_iter().map(f64::tanh).collect(),
                        Activation::Relu => relu(x),
                    };
                }
                x
            }
            Torso::Cnn { convs, hidden } => {
                let mut image = image();
                for (layer, conv) in convs.iter().enumerate() {
                    image = self.convolved(&format!("{name}.conv.{layer}"), &image, conv.stride, 0);
                    image.pixels = relu(image.pixels);
                }
                fully(image.pixels, hidden)
            }
            Torso::ImpalaDeep { channels, hidden } => {
                let mut image = image();
                for section in 0..channels.len() {
                    let name = format!("{name}.section.{section}");
                    image = pooled(&self.convolved(&format!("{name}.conv"), &image, 1, 1));
                    for block in 0..2 {
                        let [first, second] =
                            [0, 1].map(|conv| format!("{name}.block.{block}.conv.{conv}"));
                        let shape = image.shape;
                        let before = Image { shape, pixels: relu(image.pixels.clone()) };
                        let inner = self.convolved(&first, &before, 1, 1);
                        let inner = Image { shape, pixels: relu(inner.pixels) };
                        let added = self.convolved(&second, &inner, 1, 1);
                        let sum = image.pixels.iter().zip(added.pixels).map(|(a, b)| a + b);
                        image.pixels = sum.collect();
                    }
                }
                fully(relu(image.pixels), hidden)
            }
        }
    }

    /// What the heads see of each row, through the torso called `name`; and the state `[columns][S]` after the last step.
    fn trunk(&self, name: &str, seen: &Seen) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut state = wide(&seen.state);
        let (inputs, extra) = (self.network.observation.stacked_len(), self.network.extra_inputs());
        let rows = seen.x.chunks_exact(inputs).enumerate().map(|(row, x)| {
            let mut x = self.features(name, x);
            x.extend(wide(&seen.extra[row * extra..(row + 1) * extra]));
            let Core::Lstm { hidden } = self.network.core else { return x };
            let column = row % seen.columns;
            let own = &mut state[column * 2 * hidden..(column + 1) * 2 * hidden];
            if seen.flags[row] & flag::FIRST != 0 {
                own.fill(0.0);
            }
            let (h, c) = own.split_at_mut(hidden);
            let of_input = self.affine(["core.weight_ih", "core.bias_ih"], &x);
            let of_state = self.affine(["core.weight_hh", "core.bias_hh"], h);
            // The equations of torch.nn.LSTMCell's documentation.
            let gate = |gate: usize, unit: usize| {
                of_input[gate * hidden + unit] + of_state[gate * hidden + unit]
            };
            for unit in 0..hidden {
                let (i, f) = (sigmoid(gate(0, unit)), sigmoid(gate(1, unit)));
                let (g, o) = (gate(2, unit).tanh(), sigmoid(gate(3, unit)));
                c[unit] = f * c[unit] + i * g;
                h[unit] = o * c[unit].tanh();
            }
            h.to_vec()
        });
        let rows = rows.collect();
        (rows, state)
    }

    /// Logits `[N][A]`, values `[N]` and the state after the last step.
    pub(super) fn outputs(&self, seen: &Seen) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (rows, state) = self.trunk("torso", seen);
        let logits = rows.iter().flat_map(|row| self.dense("policy", row)).collect();
        let of_value =
            if self.network.separate_value { self.trunk("value_torso", seen).0 } else { rows };
        let values = of_value.iter().flat_map(|row| self.dense("value", row)).collect();
        (logits, values, state)
    }

    /// The sum of the outputs of the first rows times `d_logits` and `d_values`.
    fn weighted(&self, seen: &Seen, d_logits: &[f32], d_values: &[f32]) -> f64 {
        let (logits, values, _) = self.outputs(seen);
        let dot =
            |x: &[f64], d: &[f32]| x.iter().zip(d).map(|(x, &d)| x * f64::from(d)).sum::<f64>();
        dot(&logits, d_logits) + dot(&values, d_values)
    }

    /// The slope of that sum along `direction` of the parameters from `start` on.
    pub(super) fn slope(
        &mut self,
        seen: &Seen,
        (d_logits, d_values): (&[f32], &[f32]),
        (start, direction): (usize, &[f64]),
    ) -> f64 {
        // Short, or a relu somewhere bends between both ends.
        let step = 1e-7 / direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let kept = self.parameters.clone();
        let [above, below] = [step, -step].map(|step| {
            let moved = self.parameters[start..].iter_mut().zip(&kept[start..]).zip(direction);
            moved.for_each(|((x, kept), d)| *x = kept + step * d);
            self.weighted(seen, d_logits, d_values)
        });
        self.parameters = kept;
        (above - below) / (2.0 * step)
    }
}

/// The largest of 3x3 pixels, every 2 pixels, with a border that never is the largest.
fn pooled(image: &Image) -> Image {
    let [channels, height, width] = image.shape;
    let shape = [channels, height.div_ceil(2), width.div_ceil(2)];
    let mut pixels = Vec::new();
    for at in 0..shape.iter().product() {
        let (channel, y, x) = (at / (shape[1] * shape[2]), at / shape[2] % shape[1], at % shape[2]);
        let rows = (2 * y).saturating_sub(1)..(2 * y + 2).min(height);
        let window = rows.flat_map(|row| {
            let columns = (2 * x).saturating_sub(1)..(2 * x + 2).min(width);
            columns.map(move |column| image.pixels[(channel * height + row) * width + column])
        });
        pixels.push(window.fold(f64::NEG_INFINITY, f64::max));
    }
    Image { shape, pixels }
}
