//! Backward pass of the convolutional network: from the gradient with respect to its outputs to that with respect to
//! its parameters.
//!
//! From the heads down, with `d` the gradient with respect to a layer's output before its relu, `x` the
//! patches of its input and `a` the output of the layer below:
//!
//! ```text
//! dW += d^T x      db += sum over rows of d      d_below = (d W, each number added to where it came from) * [a > 0]
//! ```
//!
//! Dense layers take all rows at once; convolutions take one image after the other through all layers. The
//! patches of the frames are found again, not kept.

use super::forward::{Network, Weights};
use super::products::{Ends, Mask, Patches, Product, Scatter, WeightSums};
use super::residual::ResidualBackward;
use super::shape::{Layer, Shape};
use crate::frames::StackedFrames;
use crate::simd::aligned::{Aligned, padded};
use crate::simd::kernels::{Rows, column_sums};
use crate::simd::launch;
use crate::simd::{Kernel, Simd};

/// Numbers of a patch that are copied next to each other for the sums of a dense layer: so many of all
/// rows are in the first-level cache.
const PACK: usize = 24;

/// What the way back needs beside the network: sums so far, turned weights, gradients of activations.
#[derive(Debug)]
pub(super) struct Backward {
    sums: Vec<Weights>,
    /// Of all layers but the first, `[K / 16][outputs][16]`.
    turned: Vec<Aligned>,
    /// Gradients of the outputs of dense layers and of the last convolution, `[rows][row stride]`.
    dense: Vec<Aligned>,
    /// Gradients of the outputs of the other convolutions, of one image.
    image: Vec<Aligned>,
    /// Some columns of a dense layer's input, `[rows][PACK]`, and where their rows start.
    packed: Aligned,
    packed_starts: Vec<usize>,
    /// In place of convolutions.
    residual: Option<ResidualBackward>,
}

impl Backward {
    /// All zero.
    pub(super) fn zeros(network: &Network) -> Self {
        let shape = &network.shape;
        let sums = |layer: &Layer| Weights {
            weight: Aligned::zeros(layer.weight_len()),
            bias: Aligned::zeros(padded(layer.outputs)),
        };
        let turned = |(index, layer): (usize, &Layer)| {
            Aligned::zeros(if index == 0 { 0 } else { layer.patch * layer.outputs })
        };
        let image = |layer: &Layer| Aligned::zeros(layer.output_len());
        Self {
            sums: shape.layers.iter().map(sums).collect(),
            turned: shape.layers.iter().enumerate().map(turned).collect(),
            dense: shape.layers[shape.convs - 1..].iter().map(|_| Aligned::zeros(0)).collect(),
            image: shape.layers[..shape.convs - 1].iter().map(image).collect(),
            packed: Aligned::zeros(0),
            packed_starts: Vec::new(),
            residual: network.residual.as_ref().map(ResidualBackward::zeros),
        }
    }

    /// Takes the weights of `network`, and forgets the sums.
    pub(super) fn load(&mut self, network: &Network) {
        let layers = network.shape.layers.iter().zip(&network.weights).zip(&mut self.turned);
        for ((layer, weights), turned) in layers.skip(1) {
            layer.turn(&weights.weight, turned);
        }
        for sums in &mut self.sums {
            sums.weight.fill(0.0);
            sums.bias.fill(0.0);
        }
        if let Some((residual, of)) = self.residual.as_mut().zip(network.residual.as_ref()) {
            residual.load(of);
        }
    }

    /// Writes the sums in the order of the flat vector.
    pub(super) fn write(&self, network: &Network, flat: &mut [f32]) {
        for (layer, sums) in network.shape.layers.iter().zip(&self.sums) {
            layer.unpack(&sums.weight, &sums.bias, flat);
        }
        if let Some((residual, of)) = self.residual.as_ref().zip(network.residual.as_ref()) {
            residual.write(of, flat);
        }
    }

    /// Adds the share of the first `d_values.len()` rows of the last forward pass of `network`.
    pub(super) fn add(
        &mut self,
        network: &mut Network,
        images: &StackedFrames<'_>,
        d_logits: &[f32],
        d_values: &[f32],
    ) {
        let rows = d_values.len();
        self.reserve(&network.shape, rows);
        let actions = network.shape.actions();
        if let Some(d) = self.dense.last_mut() {
            let d = d.chunks_exact_mut(network.shape.heads().row_stride());
            for (d, (d_logits, &d_value)) in d.zip(d_logits.chunks_exact(actions).zip(d_values)) {
                d[..actions].copy_from_slice(d_logits);
                d[actions] = d_value;
            }
        }
        self.below(network, images, rows);
    }

    /// The same without heads, from the gradient with respect to what the last layer gives, `[rows][..]`.
    pub(super) fn add_features(
        &mut self,
        network: &mut Network,
        images: &StackedFrames<'_>,
        features: Rows<'_>,
    ) {
        let rows = features.data.len() / features.stride;
        self.reserve(&network.shape, rows);
        let last = network.shape.layers.len() - 1;
        let (layer, activations) = (&network.shape.layers[last], &network.activations[last]);
        let (len, stride) = (layer.output_len(), layer.row_stride());
        if let Some(d) = self.dense.last_mut() {
            let to = d.chunks_exact_mut(stride).zip(features.data.chunks_exact(features.stride));
            to.for_each(|(d, features)| d[..len].copy_from_slice(&features[..len]));
            // A convolution masks its images one by one.
            if last >= network.shape.convs {
                let a = &activations[..rows * stride];
                launch(network.level, Mask { a, d: &mut d[..rows * stride] });
            }
        }
        self.below(network, images, rows);
    }

    /// All layers, from the gradient with respect to the last one's output before its relu.
    fn below(&mut self, network: &mut Network, images: &StackedFrames<'_>, rows: usize) {
        for index in (network.shape.convs..network.shape.layers.len()).rev() {
            self.dense_layer(network, index, rows);
        }
        network.planes.clear();
        let columns = images.envs();
        for column in 0..columns {
            for row in (column..rows).step_by(columns) {
                self.convolutions(network, images, (row / columns, column), row);
            }
        }
    }

    fn dense_layer(&mut self, network: &Network, index: usize, rows: usize) {
        let Network { level, ref shape, .. } = *network;
        let (layer, below) = (&shape.layers[index], &shape.layers[index - 1]);
        let (stride, x_stride) = (layer.row_stride(), below.row_stride());
        let x = &network.activations[index - 1][..rows * x_stride];
        let (others, d) = self.dense.split_at_mut(index + 1 - shape.convs);
        let d = &d[0][..rows * stride];
        let sums = &mut self.sums[index];
        launch(level, BiasSums { d, stride, width: layer.outputs, sums: &mut sums.bias });
        for first in (0..layer.patch).step_by(PACK) {
            let count = PACK.min(layer.patch - first);
            let packed = &mut self.packed[..rows * PACK];
            for (to, x) in packed.chunks_exact_mut(PACK).zip(x.chunks_exact(x_stride)) {
                to[..count].copy_from_slice(&x[first..first + count]);
            }
            let origins = &self.packed_starts[..rows];
            let x = Patches { data: packed, origins, offsets: &[0], run: count };
            let (sums, patch) = (&mut sums.weight, layer.patch);
            launch(level, WeightSums { x, d, stride, sums, patch, first, count });
        }
        let Some(below_d) = others.last_mut() else { return };
        let origins: Vec<usize> = (0..rows).map(|row| row * stride).collect();
        let product = Product {
            x: Patches { data: d, origins: &origins, offsets: &[0], run: layer.outputs },
            patch: layer.outputs,
            weights: &self.turned[index],
            ends: Ends::Plain,
            out: &mut below_d[..rows * x_stride],
            stride: x_stride,
        };
        launch(level, product);
        if index > shape.convs {
            launch(level, Mask { a: x, d: &mut below_d[..x.len()] });
        }
    }

    /// One image through all convolutions.
    fn convolutions(
        &mut self,
        network: &mut Network,
        images: &StackedFrames<'_>,
        at: (usize, usize),
        row: usize,
    ) {
        let Network { level, ref shape, ref activations, ref starts, .. } = *network;
        let first = &shape.layers[0];
        if let Some((backward, residual)) = self.residual.as_mut().zip(network.residual.as_mut()) {
            let d = &mut self.dense[0][row * first.row_stride()..][..first.output_len()];
            let a = &activations[0][starts[0][row]..][..first.output_len()];
            launch(level, Mask { a, d: &mut *d });
            return backward.add(residual, images, at, row, d);
        }
        for index in (0..shape.convs).rev() {
            let layer = &shape.layers[index];
            let (below, above) = self.image.split_at_mut(index);
            let d = match above.first_mut() {
                Some(d) => &mut d[..],
                None => &mut self.dense[0][row * layer.row_stride()..][..layer.output_len()],
            };
            let a = &activations[index][starts[index][row]..][..layer.output_len()];
            launch(level, Mask { a, d: &mut *d });
            let d = &*d;
            let (sums, stride) = (&mut self.sums[index], padded(layer.outputs));
            launch(level, BiasSums { d, stride, width: layer.outputs, sums: &mut sums.bias });
            let x = match index.checked_sub(1) {
                None => network.planes.patches(images, at, layer),
                Some(lower) => Patches {
                    data: &activations[lower][starts[lower][row]..]
                        [..shape.layers[lower].output_len()],
                    origins: &layer.origins,
                    offsets: &layer.offsets,
                    run: layer.run,
                },
            };
            let (sums, patch) = (&mut sums.weight, layer.patch);
            launch(level, WeightSums { x, d, stride, sums, patch, first: 0, count: patch });
            let Some(below_d) = below.last_mut() else { return };
            below_d.fill(0.0);
            let scatter = Scatter {
                d,
                stride,
                outputs: layer.outputs,
                weights: &self.turned[index],
                origins: &layer.origins,
                offsets: &layer.offsets,
                run: layer.run,
                out: below_d,
            };
            launch(level, scatter);
        }
    }

    fn reserve(&mut self, shape: &Shape, rows: usize) {
        for (layer, d) in shape.layers[shape.convs - 1..].iter().zip(&mut self.dense) {
            let len = rows * layer.row_stride();
            if d.len() < len {
                *d = Aligned::zeros(len);
            }
        }
        if self.packed_starts.len() < rows {
            self.packed = Aligned::zeros(rows * PACK);
            self.packed_starts = (0..rows).map(|row| row * PACK).collect();
        }
    }
}

/// Adds the sum over the rows of `d` to `sums`.
pub(super) struct BiasSums<'a> {
    pub d: &'a [f32],
    pub stride: usize,
    pub width: usize,
    pub sums: &'a mut [f32],
}

impl Kernel for BiasSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        column_sums(s, Rows { data: self.d, stride: self.stride, width: self.width }, self.sums);
    }
}
