//! Convolutions of 3x3 with one pixel of padding, and what becomes of their sums.

use super::grid::Grid;
use crate::cnn::products::{ROWS, step};
use crate::simd::kernels::{Finish, Panel, add, load, panels, store};
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
        let Grid { height, width, pixel } = self.grid;
        let line = self.grid.line();
        for (panel, weights) in panels(self.weights).chunks_exact(TAPS * pixel).enumerate() {
            let start = match self.bias {
                Some(bias) => load(s, &panels(bias)[panel]),
                None => [s.splat(0.0); 2],
            };
            for y in 0..height {
                let lines = &self.x[y * line..(y + 3) * line];
                let row = Row { lines, line, pixel, weights, panel, start };
                let mut at = 0;
                while at + ROWS <= width {
                    row.block::<S, F, ROWS>(s, at, self.grid.place(y, at), &mut self.finish);
                    at += ROWS;
                }
                let place = self.grid.place(y, at);
                match width - at {
                    5 => row.block::<S, F, 5>(s, at, place, &mut self.finish),
                    4 => row.block::<S, F, 4>(s, at, place, &mut self.finish),
                    3 => row.block::<S, F, 3>(s, at, place, &mut self.finish),
                    2 => row.block::<S, F, 2>(s, at, place, &mut self.finish),
                    1 => row.block::<S, F, 1>(s, at, place, &mut self.finish),
                    _ => {}
                }
            }
        }
    }
}

/// One row of the output, one panel of its channels.
struct Row<'a, V> {
    /// Three rows of the input.
    lines: &'a [f32],
    line: usize,
    pixel: usize,
    weights: &'a [Panel],
    panel: usize,
    start: [V; 2],
}

impl<V: Copy> Row<'_, V> {
    /// M pixels from `at` on.
    #[inline(always)]
    fn block<S: Simd<V = V>, F: Finish, const M: usize>(
        &self,
        s: S,
        at: usize,
        place: usize,
        finish: &mut F,
    ) {
        let run = 3 * self.pixel;
        let mut sums = [self.start; M];
        let mut x = [&self.lines[..0]; M];
        let lines = self.lines.chunks_exact(self.line);
        for (weights, line) in self.weights.chunks_exact(run).zip(lines) {
            for (m, x) in x.iter_mut().enumerate() {
                *x = &line[(at + m) * self.pixel..][..weights.len()];
            }
            for (k, weights) in weights.iter().enumerate() {
                step(s, &x, k, weights, &mut sums);
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            finish.finish(s, place + m, self.panel, sums);
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
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: [S::V; 2]) {
        let zero = s.splat(0.0);
        let kept = [s.max(zero, sums[0]), s.max(zero, sums[1])];
        store(s, kept, &mut self.out[row * self.panels + panel]);
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
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, mut sums: [S::V; 2]) {
        let at = row * self.panels + panel;
        add(s, load(s, &self.x[at]), &mut sums);
        store(s, sums, &mut self.x[at]);
        let zero = s.splat(0.0);
        store(s, [s.max(zero, sums[0]), s.max(zero, sums[1])], &mut self.relu[at]);
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
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: [S::V; 2]) {
        let at = row * self.panels + panel;
        let (a, zero) = (load(s, &self.a[at]), s.splat(0.0));
        let mut kept =
            [s.where_positive(a[0], sums[0], zero), s.where_positive(a[1], sums[1], zero)];
        if self.adds {
            add(s, load(s, &self.out[at]), &mut kept);
        }
        store(s, kept, &mut self.out[at]);
    }
}
