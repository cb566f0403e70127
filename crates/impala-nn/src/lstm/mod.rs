//! The recurrent core of the native engine: one LSTM cell over the steps of an unroll, with backpropagation through
//! time.
//!
//! PyTorch's `LSTMCell` (names, shapes, order of gates, two biases). Columns are worked through together, step by step; what does not
//! depend on the state is one product over the rows of many steps, before them on the way forwards and after them on the
//! way back. Where an episode begins the state is zero, and no gradient goes further back.

mod backward;
mod cell;
mod forward;
mod shape;

pub(crate) use shape::Shape;

use backward::{Backward, BackwardSteps};
use forward::{ForwardSteps, ForwardWeights, Trace};

use crate::simd::kernels::Rows;
use crate::simd::{Level, launch};

/// Rows of the steps that are taken together: their gates stay in the caches.
const TILE_ROWS: usize = 64;

/// One LSTM cell with its weights, and what it computed last. Memory grows to the largest batch seen.
#[derive(Debug)]
pub(crate) struct Lstm {
    level: Level,
    shape: Shape,
    weights: ForwardWeights,
    trace: Trace,
    /// Of who learns.
    backward: Option<Backward>,
    rows: usize,
    columns: usize,
}

impl Lstm {
    /// A cell with zero weights, for acting or for learning.
    pub(crate) fn new(shape: Shape, level: Level, learns: bool) -> Self {
        Self {
            level,
            weights: ForwardWeights::zeros(&shape),
            trace: Trace::empty(),
            backward: learns.then(|| Backward::zeros(&shape)),
            shape,
            rows: 0,
            columns: 0,
        }
    }

    /// Takes the weights from the flat vector, and forgets the gradient.
    pub(crate) fn load(&mut self, flat: &[f32]) {
        self.weights.load(&self.shape, flat);
        if let Some(backward) = &mut self.backward {
            backward.load(&self.shape, flat);
        }
    }

    /// Computes the outputs for the inputs `x`, time-major, from `state` `[columns][2 H]` (h, then c) before the first step. The state is
    /// zero wherever `flags`, `[rows]`, say that an episode begins.
    pub(crate) fn forward(&mut self, x: Rows<'_>, flags: &[u8], state: &[f32]) -> Rows<'_> {
        let hidden = self.shape.hidden();
        let (rows, columns) = (flags.len(), state.len() / (2 * hidden));
        assert!(columns > 0 && rows.is_multiple_of(columns), "{rows} rows of {columns} columns");
        (self.rows, self.columns) = (rows, columns);
        self.trace.reserve(&self.shape, rows, columns);
        let stride = self.shape.stride();
        let kept = self.trace.hidden.chunks_exact_mut(stride);
        let kept = kept.zip(self.trace.cells.chunks_exact_mut(stride));
        for ((h, c), state) in kept.zip(state.chunks_exact(2 * hidden)) {
            h[..hidden].copy_from_slice(&state[..hidden]);
            c[..hidden].copy_from_slice(&state[hidden..]);
        }
        let tile = self.tile();
        for (first, flags) in (0..).step_by(tile).zip(flags.chunks(tile)) {
            let steps = ForwardSteps {
                shape: &self.shape,
                weights: &self.weights,
                x: some(x, first, flags.len()),
                flags,
                columns,
                trace: &mut self.trace,
                first,
            };
            launch(self.level, steps);
        }
        self.outputs()
    }

    /// Rows of the steps that are taken together.
    fn tile(&self) -> usize {
        (TILE_ROWS / self.columns).max(1) * self.columns
    }

    /// The outputs of the last [`Lstm::forward`].
    pub(crate) fn outputs(&self) -> Rows<'_> {
        let stride = self.shape.stride();
        let data = &self.trace.outputs[..self.rows * stride];
        Rows { data, stride, width: self.shape.hidden() }
    }

    /// Writes the state `[columns][2 H]` after the last step.
    pub(crate) fn write_state(&self, state: &mut [f32]) {
        let (hidden, stride) = (self.shape.hidden(), self.shape.stride());
        let after = self.rows * stride;
        let kept = self.trace.hidden[after..].chunks_exact(stride);
        let kept = kept.zip(self.trace.cells[after..].chunks_exact(stride));
        for ((h, c), state) in kept.zip(state.chunks_exact_mut(2 * hidden)) {
            state[..hidden].copy_from_slice(&h[..hidden]);
            state[hidden..].copy_from_slice(&c[..hidden]);
        }
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the outputs of the first steps of the
    /// last [`Lstm::forward`], `d_outputs` `[rows][stride]`; the other steps have none. Writes that with respect to
    /// their inputs to `d_x`, `[rows]` of the stride of `x`. `x` and `flags` are those it was given.
    pub(crate) fn backward(
        &mut self,
        x: Rows<'_>,
        flags: &[u8],
        d_outputs: &[f32],
        d_x: &mut [f32],
    ) {
        let stride = self.shape.stride();
        let rows = d_outputs.len() / stride;
        assert!(rows <= self.rows && rows.is_multiple_of(self.columns), "{rows} gradients");
        let tile = self.tile();
        let backward = self.backward.as_mut().expect("a cell that learns");
        backward.begin(&self.shape, tile, self.columns);
        for first in (0..rows).step_by(tile).rev() {
            let count = tile.min(rows - first);
            let steps = BackwardSteps {
                shape: &self.shape,
                backward,
                trace: &self.trace,
                first,
                x: some(x, first, count),
                flags: &flags[first..first + count],
                columns: self.columns,
                d_outputs: &d_outputs[first * stride..][..count * stride],
                d_x: &mut d_x[first * x.stride..][..count * x.stride],
            };
            launch(self.level, steps);
        }
    }

    /// Writes the gradient in the order of the flat vector.
    pub(crate) fn write_gradient(&self, flat: &mut [f32]) {
        if let Some(backward) = &self.backward {
            backward.write(&self.shape, flat);
        }
    }
}

/// `count` rows from `first` on.
fn some(rows: Rows<'_>, first: usize, count: usize) -> Rows<'_> {
    Rows { data: &rows.data[first * rows.stride..][..count * rows.stride], ..rows }
}
