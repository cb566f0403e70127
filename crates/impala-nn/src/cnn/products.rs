//! The inner loops: products of patches with weights, forwards and backwards.
//!
//! As in the MLP's kernels, a block of some rows times 16 columns stays in registers while its sums run. A
//! row here is a position of an image, or an image of a dense layer: `origins` says where each starts.

use crate::simd::kernels::{PANEL, Panel, accumulate, add, load, panels, panels_mut, store};
use crate::simd::{Kernel, LANES, Simd};

/// Rows of a block: 12 vectors of sums, 2 of weights and one of input fill the registers of AVX2.
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
    fn run<S: Simd>(mut self, s: S) {
        let runs = (PIECE / self.x.run).max(1);
        let mut done = 0;
        for offsets in self.x.offsets.chunks(runs) {
            let piece = (offsets.len() * self.x.run).min(self.patch - done);
            let (first, last) = (done == 0, done + piece == self.patch);
            let every = panels(self.weights).chunks_exact(self.patch).enumerate();
            for (panel, weights) in every {
                let weights = &weights[done..done + piece];
                let mut block = Block { offsets, weights, panel, first, last };
                self.panel(s, &mut block);
            }
            done += piece;
        }
    }
}

/// One panel of columns and one piece of K.
struct Block<'a> {
    offsets: &'a [usize],
    weights: &'a [Panel],
    panel: usize,
    first: bool,
    last: bool,
}

impl Product<'_> {
    #[inline(always)]
    fn panel<S: Simd>(&mut self, s: S, block: &mut Block<'_>) {
        let count = self.x.origins.len();
        let mut row = 0;
        while row + ROWS <= count {
            self.block::<S, ROWS>(s, row, block);
            row += ROWS;
        }
        match count - row {
            5 => self.block::<S, 5>(s, row, block),
            4 => self.block::<S, 4>(s, row, block),
            3 => self.block::<S, 3>(s, row, block),
            2 => self.block::<S, 2>(s, row, block),
            1 => self.block::<S, 1>(s, row, block),
            _ => {}
        }
    }

    #[inline(always)]
    fn block<S: Simd, const M: usize>(&mut self, s: S, row: usize, block: &Block<'_>) {
        let (panel, stride) = (block.panel, self.stride / PANEL);
        let mut origins = [0; M];
        origins.copy_from_slice(&self.x.origins[row..row + M]);
        let start = match self.ends {
            Ends::Linear(bias) | Ends::Relu(bias) => load(s, &panels(bias)[panel]),
            Ends::Plain => [s.splat(0.0); 2],
        };
        let mut sums = [start; M];
        let out = &mut panels_mut(self.out)[row * stride + panel..][..(M - 1) * stride + 1];
        if !block.first {
            for m in 0..M {
                sums[m] = load(s, &out[m * stride]);
            }
        }
        let mut x = [&self.x.data[..0]; M];
        for (weights, &offset) in block.weights.chunks(self.x.run).zip(block.offsets) {
            for m in 0..M {
                x[m] = &self.x.data[origins[m] + offset..][..weights.len()];
            }
            // The usual kernel over frames, unrolled.
            if let Ok(weights) = <&[Panel; 8]>::try_from(weights) {
                for (k, weights) in weights.iter().enumerate() {
                    step(s, &x, k, weights, &mut sums);
                }
            } else {
                for (k, weights) in weights.iter().enumerate() {
                    step(s, &x, k, weights, &mut sums);
                }
            }
        }
        if let (true, Ends::Relu(_)) = (block.last, self.ends) {
            let zero = s.splat(0.0);
            for sum in sums.as_flattened_mut() {
                *sum = s.max(zero, *sum);
            }
        }
        for m in 0..M {
            store(s, sums[m], &mut out[m * stride]);
        }
    }
}

/// `sums += x[..][k] weights`.
#[inline(always)]
pub(super) fn step<S: Simd, const M: usize>(
    s: S,
    x: &[&[f32]; M],
    k: usize,
    weights: &Panel,
    sums: &mut [[S::V; 2]; M],
) {
    let weights = load(s, weights);
    for m in 0..M {
        accumulate(s, s.splat(x[m][k]), weights, &mut sums[m]);
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
    fn run<S: Simd>(self, s: S) {
        let Self { x, d, stride, sums, patch, first, count } = self;
        // Of so many rows, d and what is read of x stay in the first-level cache.
        const NEAR: usize = 200;
        let stride = stride / PANEL;
        let pieces = x.origins.chunks(NEAR).zip(panels(d).chunks(NEAR * stride));
        let mut near = [[[0.0; LANES]; 2]; NEAR];
        for (origins, d) in pieces {
            for (panel, sums) in panels_mut(sums).chunks_exact_mut(patch).enumerate() {
                // Side by side: rows at even distances would compete for few places in the cache.
                for (near, d) in near.iter_mut().zip(d[panel..].iter().step_by(stride)) {
                    *near = *d;
                }
                let column = Column { data: x.data, origins, d: &near[..origins.len()] };
                let mut places = Places { x, run: 0, at: 0 };
                let (blocks, rest) = sums[first..first + count].as_chunks_mut::<ROWS>();
                for sums in blocks {
                    column.add(s, &mut places, sums);
                }
                if let Ok(sums) = <&mut [Panel; 5]>::try_from(&mut *rest) {
                    column.add(s, &mut places, sums);
                } else if let Ok(sums) = <&mut [Panel; 4]>::try_from(&mut *rest) {
                    column.add(s, &mut places, sums);
                } else if let Ok(sums) = <&mut [Panel; 3]>::try_from(&mut *rest) {
                    column.add(s, &mut places, sums);
                } else if let Ok(sums) = <&mut [Panel; 2]>::try_from(&mut *rest) {
                    column.add(s, &mut places, sums);
                } else if let Ok(sums) = <&mut [Panel; 1]>::try_from(&mut *rest) {
                    column.add(s, &mut places, sums);
                }
            }
        }
    }
}

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

/// Some rows of the left side, and one panel of columns of d.
struct Column<'a> {
    data: &'a [f32],
    origins: &'a [usize],
    d: &'a [Panel],
}

impl Column<'_> {
    #[inline(always)]
    fn add<S: Simd, const M: usize>(&self, s: S, places: &mut Places<'_>, to: &mut [Panel; M]) {
        let (mut starts, mut last) = ([0; M], 0);
        for start in &mut starts {
            *start = places.next();
            last = last.max(*start);
        }
        // All of one length: one check of an origin is enough for all.
        let span = self.data.len() - last;
        let mut x = [&self.data[..0]; M];
        for m in 0..M {
            x[m] = &self.data[starts[m]..][..span];
        }
        let mut sums = [[s.splat(0.0); 2]; M];
        for m in 0..M {
            sums[m] = load(s, &to[m]);
        }
        for (&origin, d) in self.origins.iter().zip(self.d) {
            let d = load(s, d);
            for m in 0..M {
                accumulate(s, s.splat(x[m][origin]), d, &mut sums[m]);
            }
        }
        for m in 0..M {
            store(s, sums[m], &mut to[m]);
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
    fn run<S: Simd>(mut self, s: S) {
        let runs = panels(self.weights).chunks_exact(self.run / PANEL * self.outputs);
        for (weights, &offset) in runs.zip(self.offsets) {
            for (panel, weights) in weights.chunks_exact(self.outputs).enumerate() {
                let at = offset / PANEL + panel;
                let count = self.origins.len();
                let mut row = 0;
                while row + ROWS <= count {
                    self.block::<S, ROWS>(s, row, weights, at);
                    row += ROWS;
                }
                match count - row {
                    5 => self.block::<S, 5>(s, row, weights, at),
                    4 => self.block::<S, 4>(s, row, weights, at),
                    3 => self.block::<S, 3>(s, row, weights, at),
                    2 => self.block::<S, 2>(s, row, weights, at),
                    1 => self.block::<S, 1>(s, row, weights, at),
                    _ => {}
                }
            }
        }
    }
}

impl Scatter<'_> {
    #[inline(always)]
    fn block<S: Simd, const M: usize>(&mut self, s: S, row: usize, weights: &[Panel], at: usize) {
        let mut d = [&self.d[..0]; M];
        for (m, d) in d.iter_mut().enumerate() {
            *d = &self.d[(row + m) * self.stride..][..weights.len()];
        }
        let mut sums = [[s.splat(0.0); 2]; M];
        for (k, weights) in weights.iter().enumerate() {
            step(s, &d, k, weights, &mut sums);
        }
        let out = panels_mut(self.out);
        // One after the other: neighbours' patches overlap.
        for m in 0..M {
            let to = &mut out[self.origins[row + m] / PANEL + at];
            add(s, load(s, to), &mut sums[m]);
            store(s, sums[m], to);
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
            for n in 0..2 {
                let kept = s.where_positive(s.load(&a[n]), s.load(&d[n]), zero);
                s.store(kept, &mut d[n]);
            }
        }
    }
}
