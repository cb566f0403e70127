//! Backward pass of the MLP: from the gradient with respect to its outputs to that with respect to its parameters.
//!
//! Per tile of rows, from the heads down, with `d` the gradient with respect to a layer's output before
//! its activation and `a` the activation of the layer below:
//!
//! ```text
//! dW += d^T a      db += sum over rows of d      d_below = (d W) * act'(a)
//! ```
//!
//! `act'` is a function of the activation itself: 1 - a^2 for tanh, [a > 0] for relu.

use super::forward::{ForwardWeights, TILE_ROWS};
use super::pack::{Shape, pack_backward, unpack_backward, unpack_forward};
use crate::simd::aligned::{Aligned, padded, stride};
use crate::simd::kernels::{
    Finish, PANEL, Panel, Rows, column_sums, outer_product, panels, panels_mut, product,
};
use crate::simd::{Kernel, Simd};
use crate::spec::Activation;

/// The weights of the hidden layers above the first, in backward order.
#[derive(Debug)]
pub(super) struct BackwardWeights(Vec<Aligned>);

impl BackwardWeights {
    /// All zero.
    pub(super) fn zeros(shape: &Shape) -> Self {
        Self(shape.hidden[1..].iter().map(|layer| Aligned::zeros(layer.backward_len())).collect())
    }

    /// Takes the weights from the flat vector.
    pub(super) fn load(&mut self, shape: &Shape, flat: &[f32]) {
        for (layer, packed) in shape.hidden[1..].iter().zip(&mut self.0) {
            pack_backward(&flat[layer.weight.clone()], layer.inputs, layer.outputs, 0, packed);
        }
    }
}

/// Sums over the tiles so far.
#[derive(Debug)]
pub(super) struct Gradient {
    /// The first layer in forward order (it has few inputs, which are broadcast), the others in backward
    /// order (no padding of their outputs, and no transposition at the end).
    hidden: Vec<Aligned>,
    hidden_bias: Vec<Aligned>,
    heads: Aligned,
    heads_bias: Vec<f32>,
    /// Gradients with respect to the outputs of one tile, `[rows][outputs]`.
    outputs: Vec<f32>,
    /// Gradients with respect to two layers' outputs in one tile, `[rows][padded]`.
    layers: [Aligned; 2],
}

impl Gradient {
    /// All zero.
    pub(super) fn zeros(shape: &Shape) -> Self {
        let first = Aligned::zeros(shape.hidden[0].forward_len());
        let others = shape.hidden[1..].iter().map(|layer| Aligned::zeros(layer.backward_len()));
        let tile = || Aligned::zeros(TILE_ROWS * shape.widest());
        Self {
            hidden: std::iter::once(first).chain(others).collect(),
            hidden_bias: shape
                .hidden
                .iter()
                .map(|layer| Aligned::zeros(padded(layer.outputs)))
                .collect(),
            heads: Aligned::zeros(padded(shape.features()) * shape.outputs()),
            heads_bias: vec![0.0; shape.outputs()],
            outputs: vec![0.0; TILE_ROWS * shape.outputs()],
            layers: [tile(), tile()],
        }
    }

    /// Back to zero.
    pub(super) fn clear(&mut self) {
        for sums in self.hidden.iter_mut().chain(&mut self.hidden_bias) {
            sums.fill(0.0);
        }
        self.heads.fill(0.0);
        self.heads_bias.fill(0.0);
    }

    /// Writes the sums in the order of the flat vector.
    pub(super) fn write(&self, shape: &Shape, flat: &mut [f32]) {
        let sums = self.hidden.iter().zip(&self.hidden_bias);
        for (index, (layer, (weight, bias))) in shape.hidden.iter().zip(sums).enumerate() {
            let target = &mut flat[layer.weight.clone()];
            if index == 0 {
                unpack_forward(weight, layer.inputs, target);
            } else {
                unpack_backward(weight, layer.inputs, layer.outputs, 0, target);
            }
            flat[layer.bias.clone()].copy_from_slice(&bias[..layer.outputs]);
        }
        for (first, head) in shape.heads() {
            let target = &mut flat[head.weight.clone()];
            unpack_backward(&self.heads, head.inputs, shape.outputs(), first, target);
            flat[head.bias.clone()].copy_from_slice(&self.heads_bias[first..first + head.outputs]);
        }
    }
}

/// What a tile's gradient comes from.
#[derive(Debug)]
pub(super) enum Above<'a> {
    /// The gradient with respect to the outputs of the heads.
    Heads {
        /// `[rows][A]`, which a part without the policy's head does not look at.
        d_logits: &'a [f32],
        /// `[rows]`, which a part without the value's head only counts.
        d_values: &'a [f32],
    },
    /// The gradient with respect to what the last hidden layer gives, `[rows][padded]`.
    Features(Rows<'a>),
}

/// One tile of rows, from the outputs down.
#[derive(Debug)]
pub(super) struct BackwardTile<'a> {
    pub shape: &'a Shape,
    pub forward: &'a ForwardWeights,
    pub backward: &'a BackwardWeights,
    /// `[rows][inputs]`.
    pub x: &'a [f32],
    /// For each hidden layer, `[..][padded]`.
    pub activations: &'a [Aligned],
    /// The row of `activations` that the tile starts at.
    pub first: usize,
    /// What comes from above.
    pub above: Above<'a>,
    /// Where the tile's share is added.
    pub gradient: &'a mut Gradient,
}

impl Kernel for BackwardTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, activations, first, gradient, .. } = self;
        let rows = self.x.len() / shape.inputs();
        let activation = |layer: usize| {
            let width = shape.hidden[layer].outputs;
            let stride = stride(width);
            Rows { data: &activations[layer][first * stride..][..rows * stride], stride, width }
        };
        let last = shape.hidden.len() - 1;
        let [above, below] = &mut gradient.layers;
        let (mut above, mut below) = (&mut above[..], &mut below[..]);
        match self.above {
            Above::Heads { d_logits, d_values } => {
                // Their outputs side by side.
                let outputs = shape.outputs();
                let d = &mut gradient.outputs[..rows * outputs];
                let actions = shape.actions();
                for (row, d) in d.chunks_exact_mut(outputs).enumerate() {
                    let (of_policy, of_value) = d.split_at_mut(actions);
                    of_policy.copy_from_slice(&d_logits[row * actions..][..of_policy.len()]);
                    of_value.fill(d_values[row]);
                    gradient.heads_bias.iter_mut().zip(&*d).for_each(|(sum, d)| *sum += d);
                }
                let d = Rows { data: d, stride: outputs, width: outputs };
                outer_product(s, d, activation(last), &mut gradient.heads);
                through(s, shape.activation, d, &self.forward.heads, activation(last), above);
            }
            Above::Features(d) => derive(s, shape.activation, d, activation(last), above),
        }
        for layer in (0..=last).rev() {
            let width = shape.hidden[layer].outputs;
            let stride = stride(width);
            let d = Rows { data: &above[..rows * stride], stride, width };
            column_sums(s, d, &mut gradient.hidden_bias[layer]);
            if layer == 0 {
                let x = Rows { data: self.x, stride: shape.inputs(), width: shape.inputs() };
                outer_product(s, x, d, &mut gradient.hidden[0]);
            } else {
                let a = activation(layer - 1);
                outer_product(s, d, a, &mut gradient.hidden[layer]);
                through(s, shape.activation, d, &self.backward.0[layer - 1], a, below);
                std::mem::swap(&mut above, &mut below);
            }
        }
    }
}

/// `out = (d W) * act'(a)`: the gradient with respect to the layer below, before its activation `a`.
#[inline(always)]
fn through<S: Simd>(
    s: S,
    activation: Activation,
    d: Rows<'_>,
    weight: &[f32],
    a: Rows<'_>,
    out: &mut [f32],
) {
    let (out, stride) = (panels_mut(out), a.stride / PANEL);
    product(s, d, weight, None, &mut Through { activation, a: panels(a.data), out, stride });
}

/// `out = d * act'(a)`.
#[inline(always)]
fn derive<S: Simd>(s: S, activation: Activation, d: Rows<'_>, a: Rows<'_>, out: &mut [f32]) {
    let (out, stride) = (panels_mut(out), a.stride / PANEL);
    let mut through = Through { activation, a: panels(a.data), out, stride };
    for (row, d) in d.data.chunks_exact(d.stride).enumerate() {
        for (panel, d) in panels(d)[..padded(a.width) / PANEL].iter().enumerate() {
            through.finish(s, row, panel, s.load(d));
        }
    }
}

/// Stores a gradient times the derivative of the activation.
struct Through<'a> {
    activation: Activation,
    a: &'a [Panel],
    out: &'a mut [Panel],
    stride: usize,
}

impl Finish for Through<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: S::V) {
        let at = row * self.stride + panel;
        let a = s.load(&self.a[at]);
        let d = match self.activation {
            // 1 - a^2, times the sum.
            Activation::Tanh => {
                let minus_a = s.mul(a, s.splat(-1.0));
                s.mul(sums, s.mul_add(minus_a, a, s.splat(1.0)))
            }
            Activation::Relu => s.where_positive(a, sums, s.splat(0.0)),
        };
        s.store(d, &mut self.out[at]);
    }
}
