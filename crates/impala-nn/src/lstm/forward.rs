//! Forward pass of the LSTM over some time steps of all columns.

use super::cell::ForwardRow;
use super::shape::Shape;
use crate::simd::aligned::{Aligned, padded};
use crate::simd::kernels::{PANEL, Rows, Sums, panels, panels_mut, product};
use crate::simd::{Kernel, Simd};
use impala_env::flag;

/// Weights in forward order.
#[derive(Debug)]
pub(super) struct ForwardWeights {
    /// `[gates / 16][K][16]`.
    input: Aligned,
    /// `[gates / 16][H][16]`.
    recurrent: Aligned,
    /// `[gates]`, the sum of both.
    bias: Aligned,
}

impl ForwardWeights {
    /// All zero.
    pub(super) fn zeros(shape: &Shape) -> Self {
        Self {
            input: Aligned::zeros(shape.gates() * shape.inputs),
            recurrent: Aligned::zeros(shape.gates() * shape.hidden),
            bias: Aligned::zeros(shape.gates()),
        }
    }

    /// Takes the weights from the flat vector.
    pub(super) fn load(&mut self, shape: &Shape, flat: &[f32]) {
        shape.pack_forward(flat, &mut self.input, &mut self.recurrent, &mut self.bias);
    }
}

/// What is kept of each row for the way back, time-major: `[T * columns]`, or a step more of what is carried.
#[derive(Debug)]
pub(super) struct Trace {
    /// What the gates let through, `[rows][gates]`.
    pub gates: Aligned,
    /// tanh of the cells after the step, `[rows][H]`.
    pub squashed: Aligned,
    /// Outputs, `[rows][H]`.
    pub outputs: Aligned,
    /// Cells before the step, zero where an episode begins, `[rows + columns][H]`.
    pub cells: Aligned,
    /// Outputs of the step before, likewise.
    pub hidden: Aligned,
}

impl Trace {
    /// For no rows.
    pub(super) fn empty() -> Self {
        let none = || Aligned::zeros(0);
        Self { gates: none(), squashed: none(), outputs: none(), cells: none(), hidden: none() }
    }

    /// Makes room for `rows` rows of `columns` columns. What is there is forgotten, but padding is zero.
    pub(super) fn reserve(&mut self, shape: &Shape, rows: usize, columns: usize) {
        let grow = |buffer: &mut Aligned, len: usize| {
            if buffer.len() < len {
                *buffer = Aligned::zeros(len);
            }
        };
        grow(&mut self.gates, rows * shape.gates_stride());
        for buffer in [&mut self.squashed, &mut self.outputs] {
            grow(buffer, rows * shape.stride());
        }
        for buffer in [&mut self.cells, &mut self.hidden] {
            grow(buffer, (rows + columns) * shape.stride());
        }
    }
}

/// Some steps of all columns.
pub(super) struct ForwardSteps<'a> {
    pub shape: &'a Shape,
    pub weights: &'a ForwardWeights,
    /// Inputs of the steps, `[rows][K]`.
    pub x: Rows<'a>,
    /// `[rows]`: at [`flag::FIRST`] nothing is remembered.
    pub flags: &'a [u8],
    pub columns: usize,
    pub trace: &'a mut Trace,
    /// Row of the trace that the steps start at. Cells and hidden outputs are there already.
    pub first: usize,
}

impl Kernel for ForwardSteps<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, weights, x, flags, columns, trace, first } = self;
        let (width, stride) = (shape.gates_stride(), shape.stride());
        let used = padded(shape.hidden) / PANEL;
        let gates = &mut trace.gates[first * width..][..flags.len() * width];
        // What does not depend on the state, for all steps in one product.
        let mut sums = Sums { out: panels_mut(gates), stride: width / PANEL, adds: false };
        product(s, x, &weights.input, Some(&weights.bias), &mut sums);
        let steps = flags.chunks_exact(columns).zip(gates.chunks_exact_mut(columns * width));
        for (step, (flags, gates)) in steps.enumerate() {
            let first = first + step * columns;
            let (before, after) = trace.cells.split_at_mut((first + columns) * stride);
            let before = &mut before[first * stride..];
            let (hidden, next) = trace.hidden.split_at_mut((first + columns) * stride);
            let hidden = &mut hidden[first * stride..];
            for (column, flags) in flags.iter().enumerate() {
                if flags & flag::FIRST != 0 {
                    before[column * stride..][..stride].fill(0.0);
                    hidden[column * stride..][..stride].fill(0.0);
                }
            }
            let mut sums = Sums { out: panels_mut(gates), stride: width / PANEL, adds: true };
            let hidden = Rows { data: hidden, stride, width: shape.hidden };
            product(s, hidden, &weights.recurrent, None, &mut sums);
            let rows = before
                .chunks_exact(stride)
                .zip(after.chunks_exact_mut(stride))
                .zip(trace.squashed[first * stride..].chunks_exact_mut(stride))
                .zip(trace.outputs[first * stride..].chunks_exact_mut(stride))
                .zip(next.chunks_exact_mut(stride))
                .zip(gates.chunks_exact_mut(width));
            for (((((before, after), squashed), output), next), gates) in rows {
                let row = ForwardRow {
                    gates: panels_mut(gates),
                    before: &panels(before)[..used],
                    after: panels_mut(after),
                    squashed: panels_mut(squashed),
                    output: panels_mut(output),
                };
                row.run(s);
                next.copy_from_slice(output);
            }
        }
    }
}
