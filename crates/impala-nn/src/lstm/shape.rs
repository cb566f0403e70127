//! The sizes of the LSTM cell, and where its numbers lie in memory.
//!
//! A row of gates is `[units / 16][gate][16]`, gates in PyTorch's order (input, forget, cell, output): the four that one unit needs
//! are next to each other, and a vector holds as many units. Units beyond the real ones have weights of zero, and their
//! state stays zero: `c' = sigmoid(0) * 0 + sigmoid(0) * tanh(0)`.

use std::ops::Range;

use crate::simd::aligned::{padded, stride};
use crate::simd::kernels::PANEL;
use crate::simd::weights::Placement;
use crate::spec::ParamSpec;

/// Input, forget, cell, output.
pub(super) const GATES: usize = 4;

/// The sizes of one cell.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// H.
    pub(super) hidden: usize,
    /// K: numbers in a row of its input, gaps included.
    pub(super) inputs: usize,
    /// Place in that row of each input of the flat weight.
    places: Vec<usize>,
    /// Likewise of what it remembers: without gaps.
    units: Vec<usize>,
    /// Column of each row of the flat weights.
    columns: Vec<usize>,
    weight_ih: Range<usize>,
    weight_hh: Range<usize>,
    biases: [Range<usize>; 2],
}

impl Shape {
    /// The cell of `parameters`, over rows of `inputs` numbers, of which those at `places` are the inputs; `None` if there
    /// is no cell.
    pub(crate) fn of(parameters: &ParamSpec, inputs: usize, places: Vec<usize>) -> Option<Self> {
        let range = |name| parameters.get(name).map(crate::spec::ParamEntry::range);
        let hidden = parameters.get("core.weight_hh")?.shape[1];
        let column = |row: usize| {
            let (gate, unit) = (row / hidden, row % hidden);
            (unit / PANEL * GATES + gate) * PANEL + unit % PANEL
        };
        Some(Self {
            hidden,
            inputs,
            places,
            units: (0..hidden).collect(),
            columns: (0..GATES * hidden).map(column).collect(),
            weight_ih: range("core.weight_ih")?,
            weight_hh: range("core.weight_hh")?,
            biases: [range("core.bias_ih")?, range("core.bias_hh")?],
        })
    }

    /// H.
    pub(crate) const fn hidden(&self) -> usize {
        self.hidden
    }

    /// Numbers of a row of gates.
    pub(super) const fn gates(&self) -> usize {
        GATES * padded(self.hidden)
    }

    /// From one row of gates to the next.
    pub(super) const fn gates_stride(&self) -> usize {
        stride(self.gates())
    }

    /// From one row of outputs, or of cells, to the next.
    pub(crate) const fn stride(&self) -> usize {
        stride(self.hidden)
    }

    const fn of_inputs(&self) -> Placement<'_> {
        Placement { columns: self.columns.as_slice(), places: self.places.as_slice() }
    }

    const fn of_units(&self) -> Placement<'_> {
        Placement { columns: self.columns.as_slice(), places: self.units.as_slice() }
    }

    /// Writes the weights in forward order, and the sum of both biases.
    pub(super) fn pack_forward(
        &self,
        flat: &[f32],
        input: &mut [f32],
        recurrent: &mut [f32],
        bias: &mut [f32],
    ) {
        self.of_inputs().pack_forward(&flat[self.weight_ih.clone()], self.inputs, input);
        self.of_units().pack_forward(&flat[self.weight_hh.clone()], self.hidden, recurrent);
        let [one, other] = self.biases.clone().map(|range| &flat[range]);
        for (&column, (a, b)) in self.columns.iter().zip(one.iter().zip(other)) {
            bias[column] = a + b;
        }
    }

    /// Writes the weights in backward order.
    pub(super) fn pack_backward(&self, flat: &[f32], input: &mut [f32], recurrent: &mut [f32]) {
        self.of_inputs().pack_backward(&flat[self.weight_ih.clone()], self.gates(), input);
        self.of_units().pack_backward(&flat[self.weight_hh.clone()], self.gates(), recurrent);
    }

    /// The inverse of [`Shape::pack_forward`], for gradients: each bias has that of the sum.
    pub(super) fn unpack_forward(
        &self,
        input: &[f32],
        recurrent: &[f32],
        bias: &[f32],
        flat: &mut [f32],
    ) {
        let [of_inputs, of_units] = [self.of_inputs(), self.of_units()];
        of_inputs.unpack_forward(input, self.inputs, &mut flat[self.weight_ih.clone()]);
        of_units.unpack_forward(recurrent, self.hidden, &mut flat[self.weight_hh.clone()]);
        for range in self.biases.clone() {
            let columns = self.columns.iter();
            flat[range].iter_mut().zip(columns).for_each(|(x, &column)| *x = bias[column]);
        }
    }
}
