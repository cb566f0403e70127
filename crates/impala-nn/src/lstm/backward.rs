//! Backward pass of the LSTM through time: from the gradient with respect to its outputs to those of its weights and
//! inputs.
//!
//! Some steps at a time, the last ones first. Step by step, with `d` the gradient with respect to the sums of the gates and `h` the outputs of
//! the step before, of which nothing is left where an episode begins:
//!
//! ```text
//! d_h = d W_hh, which the step before adds to its own
//! ```
//!
//! and then, over all rows of these steps at once:
//!
//! ```text
//! dW_ih += d^T x    dW_hh += d^T h    db += sum over rows of d    d_x = d W_ih
//! ```

use super::cell::BackwardRow;
use super::forward::Trace;
use super::shape::Shape;
use crate::simd::aligned::{Aligned, padded};
use crate::simd::kernels::{
    PANEL, Rows, Sums, column_sums, outer_product, panels, panels_mut, product,
};
use crate::simd::{Kernel, Simd};
use impala_env::flag;

/// What the way back needs beside what was computed forwards.
#[derive(Debug)]
pub(super) struct Backward {
    /// `[K / 16][gates][16]`.
    input: Aligned,
    /// `[H / 16][gates][16]`.
    recurrent: Aligned,
    /// Sums over the rows so far, in forward order.
    input_sums: Aligned,
    recurrent_sums: Aligned,
    bias_sums: Aligned,
    /// Gradients with respect to the gates of some steps, `[rows][gates]`.
    d_gates: Aligned,
    /// What the next step says of outputs and cells, `[columns][H]`.
    d_hidden: Aligned,
    d_cells: Aligned,
}

impl Backward {
    /// All zero.
    pub(super) fn zeros(shape: &Shape) -> Self {
        let (gates, hidden) = (shape.gates(), shape.hidden);
        Self {
            input: Aligned::zeros(padded(shape.inputs) * gates),
            recurrent: Aligned::zeros(padded(hidden) * gates),
            input_sums: Aligned::zeros(gates * shape.inputs),
            recurrent_sums: Aligned::zeros(gates * hidden),
            bias_sums: Aligned::zeros(gates),
            d_gates: Aligned::zeros(0),
            d_hidden: Aligned::zeros(0),
            d_cells: Aligned::zeros(0),
        }
    }

    /// Takes the weights from the flat vector, and forgets the sums.
    pub(super) fn load(&mut self, shape: &Shape, flat: &[f32]) {
        shape.pack_backward(flat, &mut self.input, &mut self.recurrent);
        self.input_sums.fill(0.0);
        self.recurrent_sums.fill(0.0);
        self.bias_sums.fill(0.0);
    }

    /// Writes the sums in the order of the flat vector.
    pub(super) fn write(&self, shape: &Shape, flat: &mut [f32]) {
        shape.unpack_forward(&self.input_sums, &self.recurrent_sums, &self.bias_sums, flat);
    }

    /// Begins at the end of an unroll, worked through `rows` rows at a time: nothing comes from later steps.
    pub(super) fn begin(&mut self, shape: &Shape, rows: usize, columns: usize) {
        if self.d_gates.len() < rows * shape.gates_stride() {
            self.d_gates = Aligned::zeros(rows * shape.gates_stride());
        }
        for carried in [&mut self.d_hidden, &mut self.d_cells] {
            if carried.len() < columns * shape.stride() {
                *carried = Aligned::zeros(columns * shape.stride());
            } else {
                carried.fill(0.0);
            }
        }
    }
}

/// Some steps of all columns.
pub(super) struct BackwardSteps<'a> {
    pub shape: &'a Shape,
    pub backward: &'a mut Backward,
    pub trace: &'a Trace,
    /// Row of the trace that the steps start at.
    pub first: usize,
    /// Inputs of the steps, `[rows][K]`.
    pub x: Rows<'a>,
    /// `[rows]`.
    pub flags: &'a [u8],
    pub columns: usize,
    /// Gradient with respect to the outputs of the steps, `[rows][H]`.
    pub d_outputs: &'a [f32],
    /// Where that of their inputs goes, `[rows]` of as many numbers as a row of `x` is apart from the next.
    pub d_x: &'a mut [f32],
}

impl Kernel for BackwardSteps<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, backward, trace, first, x, flags, columns, d_outputs, d_x } = self;
        let Backward { input, recurrent, input_sums, recurrent_sums, bias_sums, .. } = backward;
        let Backward { d_gates, d_hidden, d_cells, .. } = backward;
        let (width, stride) = (shape.gates_stride(), shape.stride());
        let used = padded(shape.hidden) / PANEL;
        let rows = flags.len();
        let d_gates = &mut d_gates[..rows * width];
        let d_hidden = &mut d_hidden[..columns * stride];
        for (step, flags) in flags.chunks_exact(columns).enumerate().rev() {
            let at = first + step * columns;
            let d_gates = &mut d_gates[step * columns * width..][..columns * width];
            let kept = trace.gates[at * width..]
                .chunks_exact(width)
                .zip(trace.cells[at * stride..].chunks_exact(stride))
                .zip(trace.squashed[at * stride..].chunks_exact(stride));
            let given = d_outputs[step * columns * stride..]
                .chunks_exact(stride)
                .zip(d_hidden.chunks_exact(stride))
                .zip(d_cells.chunks_exact_mut(stride))
                .zip(d_gates.chunks_exact_mut(width));
            for (((gates, before), squashed), (((d_output, d_hidden), d_cell), d_gates)) in
                kept.zip(given)
            {
                let row = BackwardRow {
                    gates: panels(gates),
                    before: &panels(before)[..used],
                    squashed: panels(squashed),
                    d_output: panels(d_output),
                    d_hidden: panels(d_hidden),
                    d_cell: panels_mut(d_cell),
                    d_gates: panels_mut(d_gates),
                };
                row.run(s);
            }
            // The state before the first step is what it is.
            if at > 0 {
                let d = Rows { data: d_gates, stride: width, width: shape.gates() };
                let out = panels_mut(d_hidden);
                product(
                    s,
                    d,
                    recurrent,
                    None,
                    &mut Sums { out, stride: stride / PANEL, adds: false },
                );
                for (column, flags) in flags.iter().enumerate() {
                    if flags & flag::FIRST != 0 {
                        d_hidden[column * stride..][..stride].fill(0.0);
                        d_cells[column * stride..][..stride].fill(0.0);
                    }
                }
            }
        }
        let d = Rows { data: d_gates, stride: width, width: shape.gates() };
        column_sums(s, d, bias_sums);
        let hidden = &trace.hidden[first * stride..][..rows * stride];
        outer_product(s, Rows { data: hidden, stride, width: shape.hidden }, d, recurrent_sums);
        outer_product(s, x, d, input_sums);
        let out = panels_mut(d_x);
        product(s, d, input, None, &mut Sums { out, stride: x.stride / PANEL, adds: false });
    }
}
