//! From observations to logits and values: weights in the kernels' order, and one tile through all
//! layers.

use super::dispatch::Kernel;
use super::kernels::{FinishDot, PANEL, Rows, dots, product};
use super::pack::{Aligned, Layer, Shape, pack_forward, padded};
use crate::policy::math::tanh;
use crate::policy::spec::Activation;

/// Rows that go through all layers before the next ones do: their activations stay in the first-level
/// cache.
pub(super) const TILE_ROWS: usize = 64;

/// The weights of a network, as the forward kernels read them.
#[derive(Debug)]
pub(super) struct ForwardWeights {
    hidden: Vec<(Aligned, Aligned)>,
    /// Both heads, backward order.
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
            heads: Aligned::zeros(padded(shape.policy.inputs) * shape.outputs()),
            heads_bias: vec![0.0; shape.outputs()],
        }
    }

    /// Takes the weights from the flat vector.
    pub(super) fn load(&mut self, shape: &Shape, flat: &[f32]) {
        assert_eq!(flat.len(), shape.parameters, "parameters");
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
    /// `[rows][A]`.
    pub logits: &'a mut [f32],
    /// `[rows]`, or empty if nobody wants them.
    pub values: &'a mut [f32],
}

impl Kernel for ForwardTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { shape, weights, x, activations, first, logits, values } = self;
        let rows = x.len() / shape.inputs();
        let mut x = Rows { data: x, stride: shape.inputs(), width: shape.inputs() };
        let layers = shape.hidden.iter().zip(&weights.hidden).zip(activations);
        for ((layer, (weight, bias)), out) in layers {
            let stride = padded(layer.outputs);
            let out = &mut out[first * stride..][..rows * stride];
            product::<FMA>(x, weight, Some(bias), stride, out);
            activate::<FMA>(shape.activation, out);
            x = Rows { data: out, stride, width: layer.outputs };
        }
        let mut outputs =
            Outputs { actions: shape.actions(), bias: &weights.heads_bias, logits, values };
        dots::<FMA>(x, &weights.heads, shape.outputs(), &mut outputs);
    }
}

/// Replaces the outputs of a layer by its activations.
#[inline(always)]
fn activate<const FMA: bool>(activation: Activation, out: &mut [f32]) {
    for out in out.as_chunks_mut::<PANEL>().0 {
        match activation {
            Activation::Tanh => *out = tanh::<FMA, PANEL>(*out),
            Activation::Relu => {
                for x in out {
                    // NaN must stay visible: a comparison lets it through, f32::max would not.
                    *x = if *x < 0.0 { 0.0 } else { *x };
                }
            }
        }
    }
}

/// Stores logits and values.
struct Outputs<'a> {
    actions: usize,
    bias: &'a [f32],
    logits: &'a mut [f32],
    values: &'a mut [f32],
}

impl FinishDot for Outputs<'_> {
    #[inline(always)]
    fn finish(&mut self, row: usize, output: usize, sum: f32) {
        let y = sum + self.bias[output];
        if output < self.actions {
            self.logits[row * self.actions + output] = y;
        } else if let Some(value) = self.values.get_mut(row) {
            *value = y;
        }
    }
}
