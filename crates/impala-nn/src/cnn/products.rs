//! Inner loops of convolutions and dense layers: products of image patches with weights, forward and backward.
//!
//! As in the MLP's kernels, a block of some rows times 16 or 32 columns stays in registers while its sums run. A
//! row here is a position of an image, or an image of a dense layer: `origins` says where each starts.

use crate::simd::kernels::{
    Blocks, PANEL, Pairs, Panel, accumulate, in_fitting_blocks, in_pairs, load_all, panels,
    panels_mut, steps,
};
use crate::simd::{Kernel, Simd};

/// Rows of a block where vectors are not wide: 12 registers of sums, 2 of weights and one of input are those of AVX2.
pub(super) const ROWS: usize = 6;
/// K of a product is taken in pieces of about this: a panel of weights stays in the first-level cache.
const PIECE: usize = 288;
/// The best length of the runs of a dense layer.
pub(super) const RUN: usize = PIECE;
/// Numbers in a panel's row.
pub(super) const WIDE: usize = PANEL;

/// Where the rows of a product's left side are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patches<'a> {
    pub data: &'a [f32],
    /// Start of each row.
    pub origins: &'a [usize],
    /// Start of each run, from the start of a row.
    pub offsets: &'a [usize],
    /// Longest run; only the last may be shorter.
    pub run: usize,
}

/// What a product starts from and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends<'a> {
    /// `x W + bias`.
    Linear(&'a [f32]),
    /// `max(x W + bias, 0)`.
    Relu(&'a [f32]),
    /// `x W`.
    Plain,
}

/// `out = x W`, with a beginning and an end. `weights` is `[panel][K][16]`, `out` `[rows][stride]`.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub x: Patches<'a>,
    pub patch: usize,
    pub weights: &'a [f32],
    pub ends: Ends<'a>,
    pub out: &'a mut [f32],
    /// Numbers from one row to the next, whole panels.
    pub stride: usize,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let runs = (PIECE / self.x.run).max(1);
        let panels_of_all = panels(self.weights).len() / self.patch;
        let mut piece = Piece { product: self, offsets: &[], done: 0, len: 0 };
        for offsets in piece.product.x.offsets.chunks(runs) {
            let len = (offsets.len() * piece.product.x.run).min(piece.product.patch - piece.done);
            (piece.offsets, piece.len) = (offsets, len);
            in_pairs(s, 0, panels_of_all, &mut piece);
            piece.done += len;
        }
    }
}

/// A product, and the piece of K that is worked on.
struct Piece<'a> {
    product: Product<'a>,
    offsets: &'a [usize],
    /// Where it starts.
    done: usize,
    len: usize,
}

impl<S: Simd> Pairs<S> for Piece<'_> {
    #[inline(always)]
    fn panels<const N: usize>(&mut self, s: S, panel: usize) {
        let Self { ref mut product, offsets, done, len } = *self;
        let mut weights = [&panels(product.weights)[..0]; N];
        for (n, weights) in weights.iter_mut().enumerate() {
            *weights = &panels(product.weights)[(panel + n) * product.patch + done..][..len];
        }
        let mut start = [s.splat(0.0); N];
        if let Ends::Linear(bias) | Ends::Relu(bias) = product.ends {
            load_all(s, &panels(bias)[panel..], &mut start);
        }
        let last = done + len == product.patch;
        let relu = last && matches!(product.ends, Ends::Relu(_));
        let stride = product.stride / PANEL;
        let out = &mut panels_mut(product.out)[panel..];
        let x = product.x;
        let mut block = Block { x, offsets, weights, start, first: done == 0, relu, out, stride };
        in_fitting_blocks::<S, N, ROWS>(s, x.origins.len(), &mut block);
    }
}

/// N panels of columns and one piece of K.
struct Block<'a, 'o, V, const N: usize> {
    x: Patches<'a>,
    offsets: &'a [usize],
    weights: [&'a [Panel]; N],
    start: [V; N],
    /// Whether this is the first piece, which starts from `start`, not from what is there.
    first: bool,
    relu: bool,
    /// From the first of the panels on.
    out: &'o mut [Panel],
    stride: usize,
}

impl<S: Simd, const N: usize> Blocks<S> for Block<'_, '_, S::V, N> {
    #[inline(always)]
    fn block<const M: usize>(&mut self, s: S, row: usize) {
        let stride = self.stride;
        let mut origins = [0; M];
        origins.copy_from_slice(&self.x.origins[row..row + M]);
        let mut sums = [self.start; M];
        let out = &mut self.out[row * stride..][..(M - 1) * stride + N];
        if !self.first {
            for m in 0..M {
                load_all(s, &out[m * stride..], &mut sums[m]);
            }
        }
        let mut x = [&self.x.data[..0]; M];
        let len = self.weights[0].len();
        for (from, &offset) in (0..len).step_by(self.x.run).zip(self.offsets) {
            let run = self.x.run.min(len - from);
            for m in 0..M {
                x[m] = &self.x.data[origins[m] + offset..][..run];
            }
            let mut weights = self.weights;
            for weights in &mut weights {
                *weights = &weights[from..][..run];
            }
            // The usual kernel over frames, unrolled.
            if run == 8 {
                for x in &mut x {
                    *x = &x[..8];
                }
                for weights in &mut weights {
                    *weights = &weights[..8];
                }
                steps(s, &x, &weights, &mut sums);
            } else {
                steps(s, &x, &weights, &mut sums);
            }
        }
        if self.relu {
            let zero = s.splat(0.0);
            for sum in sums.as_flattened_mut() {
                *sum = s.max(zero, *sum);
            }
        }
        for m in 0..M {
            let out = &mut out[m * stride..][..N];
            for n in 0..N {
                s.store(sums[m][n], &mut out[n]);
            }
        }
    }
}

/// Adds `x^T d` to `sums`: for each panel of d's columns and each number of a patch, the sum over the rows.
/// `d` is `[rows][stride]`, `sums` `[panel][K][16]`, of which the patches are those from `first` on.
#[derive(Debug)]
pub(super) struct WeightSums<'a> {
    pub x: Patches<'a>,
    pub d: &'a [f32],
    pub stride: usize,
    pub sums: &'a mut [f32],
    /// K of `sums`.
    pub patch: usize,
    pub first: usize,
    /// How many numbers of a patch there are.
    pub count: usize,
}

impl Kernel for WeightSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let count = panels(self.sums).len() / self.patch;
        in_pairs(s, 0, count, &mut self);
    }
}

impl<S: Simd> Pairs<S> for WeightSums<'_> {
    #[inline(always)]
    fn panels<const N: usize>(&mut self, s: S, panel: usize) {
        let (x, stride) = (self.x, self.stride / PANEL);
        let mut near = [[[0.0; PANEL]; N]; NEAR];
        let rows = NEAR / N;
        let pieces = x.origins.chunks(rows).zip(panels(self.d).chunks(rows * stride));
        for (origins, d) in pieces {
            // Side by side: rows at even distances would compete for few places in the cache.
            for (near, d) in near.iter_mut().zip(d.chunks(stride)) {
                near.copy_from_slice(&d[panel..panel + N]);
            }
            let sums = &mut panels_mut(self.sums)[panel * self.patch..][..N * self.patch];
            let d = &near[..origins.len()];
            let places = Places { x, run: 0, at: 0 };
            let (data, patch, first) = (x.data, self.patch, self.first);
            let mut columns = Columns { data, origins, d, places, sums, patch, first };
            in_fitting_blocks::<S, N, ROWS>(s, self.count, &mut columns);
        }
    }
}

/// Of so many rows, a panel of d and what is read of x stay in the first-level cache.
const NEAR: usize = 200;

/// Where the numbers of a patch are, one after the other.
struct Places<'a> {
    x: Patches<'a>,
    run: usize,
    at: usize,
}

impl Places<'_> {
    #[inline(always)]
    fn next(&mut self) -> usize {
        let place = self.x.offsets[self.run] + self.at;
        self.at += 1;
        if self.at == self.x.run {
            (self.run, self.at) = (self.run + 1, 0);
        }
        place
    }
}

/// Some rows of the left side, and N panels of columns of d.
struct Columns<'a, const N: usize> {
    data: &'a [f32],
    origins: &'a [usize],
    d: &'a [[Panel; N]],
    places: Places<'a>,
    /// `[N][patch]`.
    sums: &'a mut [Panel],
    patch: usize,
    first: usize,
}

impl<S: Simd, const N: usize> Blocks<S> for Columns<'_, N> {
    #[expect(
        clippy::needless_range_loop,
        reason = "M and N are constants: whole blocks are unrolled by their indices"
    )]
    #[inline(always)]
    fn block<const M: usize>(&mut self, s: S, at: usize) {
        let (mut starts, mut last) = ([0; M], 0);
        for start in &mut starts {
            *start = self.places.next();
            last = last.max(*start);
        }
        // All of one length: one check of an origin is enough for all.
        let span = self.data.len() - last;
        let mut x = [&self.data[..0]; M];
        for m in 0..M {
            x[m] = &self.data[starts[m]..][..span];
        }
        let mut sums = [[s.splat(0.0); N]; M];
        for n in 0..N {
            let from = &self.sums[n * self.patch + self.first + at..][..M];
            for m in 0..M {
                sums[m][n] = s.load(&from[m]);
            }
        }
        for (&origin, d) in self.origins.iter().zip(self.d) {
            let mut near = [s.splat(0.0); N];
            load_all(s, d, &mut near);
            for m in 0..M {
                accumulate(s, s.splat(x[m][origin]), near, &mut sums[m]);
            }
        }
        for n in 0..N {
            let to = &mut self.sums[n * self.patch + self.first + at..][..M];
            for m in 0..M {
                s.store(sums[m][n], &mut to[m]);
            }
        }
    }
}

/// Adds `d W^T` to the patches that it belongs to: a convolution's gradient with respect to its input.
/// `d` is `[origins][stride]`, of which `outputs` count; `weights` is `[K / 16][outputs][16]`. Origins and
/// offsets are whole panels.
#[derive(Debug)]
pub(super) struct Scatter<'a> {
    pub d: &'a [f32],
    pub stride: usize,
    pub outputs: usize,
    pub weights: &'a [f32],
    pub origins: &'a [usize],
    pub offsets: &'a [usize],
    pub run: usize,
    pub out: &'a mut [f32],
}

impl Kernel for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let of_a_run = self.run / PANEL * self.outputs;
        let (offsets, all) = (self.offsets, panels(self.weights));
        let mut run = Run { scatter: self, weights: &[], offset: 0 };
        for (weights, &offset) in all.chunks_exact(of_a_run).zip(offsets) {
            (run.weights, run.offset) = (weights, offset / PANEL);
            in_pairs(s, 0, run.scatter.run / PANEL, &mut run);
        }
    }
}

/// A gradient that is scattered, and the run that is worked on.
struct Run<'a> {
    scatter: Scatter<'a>,
    weights: &'a [Panel],
    /// Panels from an origin to it.
    offset: usize,
}

impl<S: Simd> Pairs<S> for Run<'_> {
    #[inline(always)]
    fn panels<const N: usize>(&mut self, s: S, panel: usize) {
        let outputs = self.scatter.outputs;
        let mut weights = [&self.weights[..0]; N];
        for (n, weights) in weights.iter_mut().enumerate() {
            *weights = &self.weights[(panel + n) * outputs..][..outputs];
        }
        let Scatter { d, stride, origins, .. } = self.scatter;
        let out = &mut panels_mut(self.scatter.out)[self.offset + panel..];
        let mut rows = ScatterRows { d, stride, weights, origins, out };
        in_fitting_blocks::<S, N, ROWS>(s, origins.len(), &mut rows);
    }
}

/// N panels of a run.
struct ScatterRows<'a, 'o, const N: usize> {
    d: &'a [f32],
    stride: usize,
    weights: [&'a [Panel]; N],
    origins: &'a [usize],
    /// From the first of the panels on, at origin 0.
    out: &'o mut [Panel],
}

impl<S: Simd, const N: usize> Blocks<S> for ScatterRows<'_, '_, N> {
    #[expect(
        clippy::needless_range_loop,
        reason = "M and N are constants: whole blocks are unrolled by their indices"
    )]
    #[inline(always)]
    fn block<const M: usize>(&mut self, s: S, row: usize) {
        let outputs = self.weights[0].len();
        let mut d = [&self.d[..0]; M];
        for (m, d) in d.iter_mut().enumerate() {
            *d = &self.d[(row + m) * self.stride..][..outputs];
        }
        let mut weights = self.weights;
        for weights in &mut weights {
            *weights = &weights[..outputs];
        }
        let mut sums = [[s.splat(0.0); N]; M];
        steps(s, &d, &weights, &mut sums);
        // One after the other: neighbours' patches overlap.
        for m in 0..M {
            let to = &mut self.out[self.origins[row + m] / PANEL..][..N];
            for n in 0..N {
                s.store(s.add(sums[m][n], s.load(&to[n])), &mut to[n]);
            }
        }
    }
}

/// Keeps `d` where `a` is positive, and zeroes the rest.
#[derive(Debug)]
pub(super) struct Mask<'a> {
    pub a: &'a [f32],
    pub d: &'a mut [f32],
}

impl Kernel for Mask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let zero = s.splat(0.0);
        for (a, d) in panels(self.a).iter().zip(panels_mut(self.d)) {
            s.store(s.where_positive(s.load(a), s.load(d), zero), d);
        }
    }
}
