//! One 3x3 convolution: its sizes, and its weights in the orders that the kernels read.

use std::ops::Range;

use super::grid::Grid;
use super::same::TAPS;
use crate::cnn::forward::Weights;
use crate::simd::aligned::{Aligned, padded};
use crate::simd::kernels::PANEL;
use crate::simd::weights::Placement;
use crate::spec::ParamEntry;

/// Sizes, and places in memory.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Of its input; that of its output has the same sides.
    pub grid: Grid,
    inputs: usize,
    outputs: usize,
    columns: Vec<usize>,
    places: Vec<usize>,
    weight: Range<usize>,
    bias: Range<usize>,
}

impl Layer {
    /// The layer whose weight `[out, in, 3, 3]` and bias are `entries`.
    pub(super) fn new(grid: Grid, entries: &[ParamEntry]) -> Self {
        let (outputs, inputs) = (entries[0].shape[0], entries[0].shape[1]);
        Self {
            grid,
            inputs,
            outputs,
            columns: (0..outputs).collect(),
            places: (0..inputs * TAPS).map(|i| i % TAPS * grid.pixel + i / TAPS).collect(),
            weight: entries[0].range(),
            bias: entries[1].range(),
        }
    }

    /// Of its output.
    pub(super) const fn output(&self) -> Grid {
        Grid { pixel: padded(self.outputs), ..self.grid }
    }

    /// K: numbers in a patch.
    pub(super) const fn patch(&self) -> usize {
        TAPS * self.grid.pixel
    }

    /// Its output channels.
    pub(super) const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Weights, or sums for their gradient, of zero.
    pub(super) fn zeros(&self) -> Weights {
        let pixel = padded(self.outputs);
        Weights { weight: Aligned::zeros(self.patch() * pixel), bias: Aligned::zeros(pixel) }
    }

    /// Takes weights from the flat vector.
    pub(super) fn pack(&self, flat: &[f32], to: &mut Weights) {
        let placement = Placement { columns: &self.columns, places: &self.places };
        placement.pack_forward(&flat[self.weight.clone()], self.patch(), &mut to.weight);
        to.bias[..self.outputs].copy_from_slice(&flat[self.bias.clone()]);
    }

    /// The inverse of [`Layer::pack`].
    pub(super) fn unpack(&self, sums: &Weights, flat: &mut [f32]) {
        let placement = Placement { columns: &self.columns, places: &self.places };
        let (patch, weight) = (self.patch(), &mut flat[self.weight.clone()]);
        placement.unpack_forward(&sums.weight, patch, weight);
        flat[self.bias.clone()].copy_from_slice(&sums.bias[..self.outputs]);
    }

    /// Room for the turned weights.
    pub(super) fn turned_zeros(&self) -> Aligned {
        Aligned::zeros(padded(self.inputs) * TAPS * padded(self.outputs))
    }

    /// The weights of the way back, `[inputs / 16][9 * padded outputs][16]`: the gradient with respect to the input is a convolution as well, whose
    /// kernel is turned by half a circle, with inputs and outputs exchanged.
    pub(super) fn turn(&self, weight: &[f32], turned: &mut [f32]) {
        let (from, to) = (self.patch(), TAPS * padded(self.outputs));
        for output in 0..self.outputs {
            for tap in 0..TAPS {
                let place = (TAPS - 1 - tap) * padded(self.outputs) + output;
                for input in 0..self.inputs {
                    let at = output / PANEL * from + tap * self.grid.pixel + input;
                    turned[(input / PANEL * to + place) * PANEL + input % PANEL] =
                        weight[at * PANEL + output % PANEL];
                }
            }
        }
    }
}
