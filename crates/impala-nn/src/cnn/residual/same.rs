//! The kernel for 3x3 convolutions with one pixel of padding; the caller says what is done with each sum.

use super::grid::Grid;
use crate::cnn::products::ROWS;
use crate::simd::kernels::{
    Blocks, Finish, Pairs, Panel, in_fitting_blocks, in_pairs, load_all, panels, steps,
};
use crate::simd::{Kernel, Simd};

/// Taps of a kernel.
pub(super) const TAPS: usize = 9;

/// Hands the sums of a convolution to `finish`, pixel by pixel, with the number of the pixel in an image of the same sides. `weights` is
/// `[panel of outputs][9 * pixel][16]`.
pub(super) struct Same<'a, F> {
    pub x: &'a [f32],
    /// That of `x`.
    pub grid: Grid,
    pub weights: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub finish: F,
}

impl<F: Finish> Kernel for Same<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let count = panels(self.weights).len() / (TAPS * self.grid.pixel);
        in_pairs(s, 0, count, &mut self);
    }
}

impl<S: Simd, F: Finish> Pairs<S> for Same<'_, F> {
    #[inline(always)]
    fn panels<const N: usize>(&mut self, s: S, panel: usize) {
        let Grid { height, width, pixel } = self.grid;
        let line = self.grid.line();
        let mut start = [s.splat(0.0); N];
        if let Some(bias) = self.bias {
            load_all(s, &panels(bias)[panel..], &mut start);
        }
        let len = TAPS * pixel;
        let mut weights = [&panels(self.weights)[..0]; N];
        for (n, weights) in weights.iter_mut().enumerate() {
            *weights = &panels(self.weights)[(panel + n) * len..][..len];
        }
        for y in 0..height {
            let lines = &self.x[y * line..(y + 3) * line];
            let place = self.grid.place(y, 0);
            let finish = &mut self.finish;
            let mut row = Row { lines, line, pixel, weights, panel, start, place, finish };
            in_fitting_blocks::<S, N, ROWS>(s, width, &mut row);
        }
    }
}

/// One row of the output, N panels of its channels.
struct Row<'a, 'f, F, V, const N: usize> {
    /// Three rows of the input.
    lines: &'a [f32],
    line: usize,
    pixel: usize,
    weights: [&'a [Panel]; N],
    panel: usize,
    start: [V; N],
    /// Number of the row's first pixel.
    place: usize,
    finish: &'f mut F,
}

impl<S: Simd, F: Finish, const N: usize> Blocks<S> for Row<'_, '_, F, S::V, N> {
    /// M pixels from `at` on.
    #[inline(always)]
    fn block<const M: usize>(&mut self, s: S, at: usize) {
        let run = 3 * self.pixel;
        let mut sums = [self.start; M];
        let mut x = [&self.lines[..0]; M];
        for (tap, line) in self.lines.chunks_exact(self.line).enumerate() {
            for (m, x) in x.iter_mut().enumerate() {
                *x = &line[(at + m) * self.pixel..][..run];
            }
            let mut weights = self.weights;
            for weights in &mut weights {
                *weights = &weights[tap * run..][..run];
            }
            steps(s, &x, &weights, &mut sums);
        }
        for (m, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                self.finish.finish(s, self.place + at + m, self.panel + n, sum);
            }
        }
    }
}

/// `out = max(sums, 0)`.
pub(super) struct Relu<'a> {
    pub out: &'a mut [Panel],
    /// Panels of a pixel.
    pub panels: usize,
}

impl Finish for Relu<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: S::V) {
        s.store(s.max(s.splat(0.0), sums), &mut self.out[row * self.panels + panel]);
    }
}

/// `x += sums`, and `relu = max(x, 0)`.
pub(super) struct AddRelu<'a> {
    pub x: &'a mut [Panel],
    pub relu: &'a mut [Panel],
    pub panels: usize,
}

impl Finish for AddRelu<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: S::V) {
        let at = row * self.panels + panel;
        let sums = s.add(sums, s.load(&self.x[at]));
        s.store(sums, &mut self.x[at]);
        s.store(s.max(s.splat(0.0), sums), &mut self.relu[at]);
    }
}

/// `out = sums` where `a` is positive, else 0; or that is added to `out`.
pub(super) struct Masked<'a> {
    pub a: &'a [Panel],
    pub out: &'a mut [Panel],
    pub panels: usize,
    pub adds: bool,
}

impl Finish for Masked<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: S::V) {
        let at = row * self.panels + panel;
        let mut kept = s.where_positive(s.load(&self.a[at]), sums, s.splat(0.0));
        if self.adds {
            kept = s.add(kept, s.load(&self.out[at]));
        }
        s.store(kept, &mut self.out[at]);
    }
}
