//! Forward pass of the convolutional network: from images to the outputs of the heads.

use super::frames::Planes;
use super::products::{Ends, Patches, Product};
use super::residual::Residual;
use super::shape::{Layer, Shape};
use crate::frames::StackedFrames;
use crate::simd::aligned::{Aligned, padded};
use crate::simd::{Level, launch};

/// A layer's weight and bias in the kernels' order.
#[derive(Debug)]
pub(super) struct Weights {
    pub weight: Aligned,
    pub bias: Aligned,
}

/// A network with its weights, and the activations of the last images.
#[derive(Debug)]
pub(super) struct Network {
    pub level: Level,
    pub shape: Shape,
    pub weights: Vec<Weights>,
    pub planes: Planes,
    /// In place of convolutions.
    pub residual: Option<Residual>,
    /// Of each layer, `[rows][positions][padded outputs]`, or one row of those that were not to be kept.
    pub activations: Vec<Aligned>,
    /// Of each layer, where the rows of its output start.
    pub starts: Vec<Vec<usize>>,
    /// Whether the activations of all layers are kept.
    keep: bool,
}

impl Network {
    /// A network with zero weights, which keeps all activations or only what it needs.
    pub(super) fn new(shape: Shape, level: Level, keep: bool) -> Self {
        let weights = |layer: &Layer| Weights {
            weight: Aligned::zeros(layer.weight_len()),
            bias: Aligned::zeros(padded(layer.outputs)),
        };
        Self {
            level,
            weights: shape.layers.iter().map(weights).collect(),
            planes: Planes::new(&shape, level),
            residual: shape.sections.as_ref().map(|s| Residual::new(s, level, keep)),
            activations: shape.layers.iter().map(|_| Aligned::zeros(0)).collect(),
            starts: vec![Vec::new(); shape.layers.len()],
            shape,
            keep,
        }
    }

    /// Takes new weights, the flat vector of a `ParamSpec`.
    pub(super) fn load(&mut self, flat: &[f32]) {
        assert_eq!(flat.len(), self.shape.parameters, "parameters");
        for (layer, to) in self.shape.layers.iter().zip(&mut self.weights) {
            layer.pack(flat, &mut to.weight, &mut to.bias);
        }
        if let Some(residual) = &mut self.residual {
            residual.load(flat);
        }
    }

    /// Computes all activations; returns N.
    pub(super) fn forward(&mut self, images: &StackedFrames<'_>) -> usize {
        let (rows, columns) =
            (images.count(self.shape.frame_stack * self.shape.frame_len), images.envs());
        self.reserve(rows);
        self.planes.clear();
        // Column by column: neighbours in time share frames.
        for column in 0..columns {
            for step in 0..rows / columns {
                self.convolutions(images, (step, column), step * columns + column);
            }
        }
        for index in self.shape.convs..self.shape.layers.len() {
            let layer = &self.shape.layers[index];
            let (below, above) = self.activations.split_at_mut(index);
            let x = Patches {
                data: &below[index - 1],
                origins: &self.starts[index - 1][..rows],
                offsets: &layer.offsets,
                run: layer.run,
            };
            let stride = layer.row_stride();
            let out = &mut above[0][..rows * stride];
            multiply(self.level, layer, &self.weights[index], x, out, stride);
        }
        rows
    }

    /// All convolutions of one image, whose activations are then in the second-level cache.
    fn convolutions(&mut self, images: &StackedFrames<'_>, at: (usize, usize), row: usize) {
        if let Some(residual) = &mut self.residual {
            let len = self.shape.layers[0].output_len();
            let out = &mut self.activations[0][self.starts[0][row]..][..len];
            return residual.forward(images, at, row, out);
        }
        for index in 0..self.shape.convs {
            let layer = &self.shape.layers[index];
            let (below, above) = self.activations.split_at_mut(index);
            let x = match below.last() {
                None => self.planes.patches(images, at, layer),
                Some(below) => Patches {
                    data: &below[self.starts[index - 1][row]..],
                    origins: &layer.origins,
                    offsets: &layer.offsets,
                    run: layer.run,
                },
            };
            let out = &mut above[0][self.starts[index][row]..][..layer.output_len()];
            multiply(self.level, layer, &self.weights[index], x, out, padded(layer.outputs));
        }
    }

    /// Makes room for `rows`.
    fn reserve(&mut self, rows: usize) {
        if let Some(residual) = &mut self.residual {
            residual.reserve(rows);
        }
        let layers = self.shape.layers.iter().enumerate();
        let stores = self.activations.iter_mut().zip(&mut self.starts);
        for ((index, layer), (activations, starts)) in layers.zip(stores) {
            let keep = self.keep || index + 1 >= self.shape.convs;
            let stride = layer.row_stride();
            if starts.len() < rows {
                starts.clear();
                starts.extend((0..rows).map(|row| if keep { row * stride } else { 0 }));
            }
            let len = if keep { rows * stride } else { stride };
            if activations.len() < len {
                *activations = Aligned::zeros(len);
            }
        }
    }

    /// Writes the logits `[N][A]`, and the values `[N]` unless nobody wants them.
    pub(super) fn write_outputs(&self, rows: usize, logits: &mut [f32], values: &mut [f32]) {
        let actions = self.shape.actions();
        assert_eq!(logits.len(), rows * actions, "logits");
        let Some(outputs) = self.activations.last() else { return };
        let outputs = outputs.chunks_exact(self.shape.heads().row_stride());
        for (logits, outputs) in logits.chunks_exact_mut(actions).zip(outputs.clone()) {
            logits.copy_from_slice(&outputs[..actions]);
        }
        for (value, outputs) in values.iter_mut().zip(outputs) {
            *value = outputs[actions];
        }
    }
}

fn multiply(
    level: Level,
    layer: &Layer,
    weights: &Weights,
    x: Patches<'_>,
    out: &mut [f32],
    stride: usize,
) {
    let ends = if layer.relu { Ends::Relu(&weights.bias) } else { Ends::Linear(&weights.bias) };
    launch(level, Product { x, patch: layer.patch, weights: &weights.weight, ends, out, stride });
}
