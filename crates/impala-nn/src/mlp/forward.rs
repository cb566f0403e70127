//! Forward pass of the MLP, from observations to logits and values: the weights in the kernels' order, and one tile of
//! rows through all layers.

use super::pack::{Layer, Shape, pack_forward};
use crate::heads::Outputs;
use crate::math::tanh;
use crate::simd::aligned::{Aligned, padded, stride};
use crate::simd::kernels::{Finish, PANEL, Panel, Rows, dots, panels_mut, product};
use crate::simd::{Kernel, Simd};
use crate::spec::Activation;

/// Rows that go through all layers before the next ones do: their activations stay in the first-level
/// cache.
pub(super) const TILE_ROWS: usize = 64;

/// The weights of a network, as the forward kernels read them.
#[derive(Debug)]
pub(super) struct ForwardWeights {
    hidden: Vec<(Aligned, Aligned)>,
    /// The heads, backward order.
    pub heads: Aligned,
    heads_bias: Vec<f32>,
}

impl ForwardWeights {
    /// All zero.
    pub(super) fn zeros(shape: &Shape) -> Self {
        let layer =
            |l: &Layer| (Aligned::zeros(l.forward_len()), Aligned::zeros(padded(l.outputs)));
        Self {
            hidden: shape.hidden.iter().map(layer).collect(),
            heads: Aligned::zeros(padded(shape.features()) * shape.outputs()),
            heads_bias: vec![0.0; shape.outputs()],
        }
    }

    /// Takes the weights from the flat vector.
    pub(super) fn load(&mut self, shape: &Shape, flat: &[f32]) {
        for (layer, (weight, bias)) in shape.hidden.iter().zip(&mut self.hidden) {
            pack_forward(&flat[layer.weight.clone()], layer.inputs, weight);
            bias[..layer.outputs].copy_from_slice(&flat[layer.bias.clone()]);
        }
        shape.pack_heads(flat, &mut self.heads, &mut self.heads_bias);
    }
}

/// One tile of rows through all layers.
#[derive(Debug)]
pub(super) struct ForwardTile<'a> {
    pub shape: &'a Shape,
    pub weights: &'a ForwardWeights,
    /// `[rows][inputs]`.
    pub x: &'a [f32],
    /// For each hidden layer, `[..][padded]`, where the tile's activations go.
    pub activations: &'a mut [Aligned],
    /// The row of `activations` that the tile starts at.
    pub first: usize,
    /// `[rows][A]`, of the policy's part.
    pub logits: &'a mut [f32],
    /// `[rows]`, of the value's part; empty if nobody wants them.
    pub values: &'a mut [f32],
}

impl Kernel for ForwardTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, weights, x, activations, first, logits, values } = self;
        let rows = x.len() / shape.inputs();
        let mut x = Rows { data: x, stride: shape.inputs(), width: shape.inputs() };
        let layers = shape.hidden.iter().zip(&weights.hidden).zip(activations);
        for ((layer, (weight, bias)), out) in layers {
            let stride = stride(layer.outputs);
            let out = &mut out[first * stride..][..rows * stride];
            let mut activate = Activate {
                activation: shape.activation,
                out: panels_mut(out),
                stride: stride / PANEL,
            };
            product(s, x, weight, Some(bias), &mut activate);
            x = Rows { data: out, stride, width: layer.outputs };
        }
        let mut outputs =
            Outputs { actions: shape.actions(), bias: &weights.heads_bias, logits, values };
        dots(s, x, &weights.heads, shape.outputs(), &mut outputs);
    }
}

/// Stores the activations of a layer.
struct Activate<'a> {
    activation: Activation,
    out: &'a mut [Panel],
    stride: usize,
}

impl Finish for Activate<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: S::V) {
        let y = match self.activation {
            Activation::Tanh => tanh(s, sums),
            Activation::Relu => s.max(s.splat(0.0), sums),
        };
        s.store(y, &mut self.out[row * self.stride + panel]);
    }
}
