//! One row of the LSTM cell, element by element: from the sums of its gates to its output, and the gradient back.
//!
//! ```text
//! i, f, o = sigmoid(..)    g = tanh(..)    c' = f c + i g    h' = o tanh(c')
//! ```

use super::shape::GATES;
use crate::math::{sigmoid, tanh};
use crate::simd::Simd;
use crate::simd::kernels::Panel;

/// What one row of the cell computes on its way forwards; all but the gates is `[units / 16][16]`.
pub(super) struct ForwardRow<'a> {
    /// `[units / 16][gate][16]`: sums, then what the gates let through.
    pub gates: &'a mut [Panel],
    /// c.
    pub before: &'a [Panel],
    /// c'.
    pub after: &'a mut [Panel],
    /// tanh(c').
    pub squashed: &'a mut [Panel],
    /// h'.
    pub output: &'a mut [Panel],
}

impl ForwardRow<'_> {
    #[inline(always)]
    pub(super) fn run<S: Simd>(self, s: S) {
        let Self { gates, before, after, squashed, output } = self;
        let states = before.iter().zip(after).zip(squashed.iter_mut().zip(output));
        let gates = gates.as_chunks_mut::<GATES>().0;
        for (gates, ((before, after), (squashed, output))) in gates.iter_mut().zip(states) {
            let i = sigmoid(s, s.load(&gates[0]));
            let f = sigmoid(s, s.load(&gates[1]));
            let g = tanh(s, s.load(&gates[2]));
            let o = sigmoid(s, s.load(&gates[3]));
            let c = s.mul_add(f, s.load(before), s.mul(i, g));
            let t = tanh(s, c);
            s.store(i, &mut gates[0]);
            s.store(f, &mut gates[1]);
            s.store(g, &mut gates[2]);
            s.store(o, &mut gates[3]);
            s.store(c, after);
            s.store(t, squashed);
            s.store(s.mul(o, t), output);
        }
    }
}

/// What one row of the cell computes on its way back.
pub(super) struct BackwardRow<'a> {
    /// What the gates let through.
    pub gates: &'a [Panel],
    /// c.
    pub before: &'a [Panel],
    /// tanh(c').
    pub squashed: &'a [Panel],
    /// dL/dh' by what is above.
    pub d_output: &'a [Panel],
    /// dL/dh' by the next step.
    pub d_hidden: &'a [Panel],
    /// dL/dc' by the next step; then dL/dc.
    pub d_cell: &'a mut [Panel],
    /// Gradient with respect to the sums of the gates.
    pub d_gates: &'a mut [Panel],
}

impl BackwardRow<'_> {
    #[inline(always)]
    pub(super) fn run<S: Simd>(self, s: S) {
        let Self { gates, before, squashed, d_output, d_hidden, d_cell, d_gates } = self;
        let one = s.splat(1.0);
        let gates = gates.as_chunks::<GATES>().0.iter().zip(d_gates.as_chunks_mut::<GATES>().0);
        let states = before.iter().zip(squashed).zip(d_output.iter().zip(d_hidden)).zip(d_cell);
        for ((gates, d_gates), (((before, squashed), (d_output, d_hidden)), d_cell)) in
            gates.zip(states)
        {
            let (i, f) = (s.load(&gates[0]), s.load(&gates[1]));
            let (g, o) = (s.load(&gates[2]), s.load(&gates[3]));
            let t = s.load(squashed);
            let d_h = s.add(s.load(d_output), s.load(d_hidden));
            let d_c = s.add(s.load(d_cell), less(s, s.mul(d_h, o), t, t));
            // The derivative of a sigmoid is y (1 - y): y - y y.
            let d_i = less(s, s.mul(s.mul(d_c, g), i), i, one);
            let d_f = less(s, s.mul(s.mul(d_c, s.load(before)), f), f, one);
            let d_g = less(s, s.mul(d_c, i), g, g);
            let d_o = less(s, s.mul(s.mul(d_h, t), o), o, one);
            s.store(d_i, &mut d_gates[0]);
            s.store(d_f, &mut d_gates[1]);
            s.store(d_g, &mut d_gates[2]);
            s.store(d_o, &mut d_gates[3]);
            s.store(s.mul(d_c, f), d_cell);
        }
    }
}

/// `x (1 - y z)`.
#[inline(always)]
fn less<S: Simd>(s: S, x: S::V, y: S::V, z: S::V) -> S::V {
    s.mul(x, s.mul_add(s.mul(y, s.splat(-1.0)), z, s.splat(1.0)))
}
