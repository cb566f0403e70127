//! Inner loops of dense layers: products of tall thin matrices with small ones, in registers.
//!
//! A block of some rows times 16 or 32 columns keeps its sums in registers, as many vectors as two multipliers with
//! a latency of 4 cycles need to be always busy. With AVX-512 a vector is 16 columns: two side by side let 8 rows take
//! one load for each multiplication and more, where one of them leaves the loads behind. Elsewhere 16 columns are two vectors
//! or four, and 4 rows are what the registers hold. All functions are inlined into a [`super::Kernel`].

use super::{LANES, Simd};

/// Columns of a panel: one vector.
pub(crate) const PANEL: usize = LANES;
/// Rows of a block.
const ROWS: usize = 4;
/// Rows of a block of two panels with wide vectors: 16 vectors of sums.
pub(crate) const WIDE_ROWS: usize = 8;
/// Rows of a block of one panel with wide vectors: more rows for each load of weights.
pub(crate) const WIDE_ROWS_OF_ONE: usize = 12;
/// Rows for which blocks are four panels wide, with wide vectors.
const FEW_ROWS: usize = 3;

/// One row of a panel in memory.
pub(crate) type Panel = [f32; PANEL];

/// Numbers in memory as panels; what is left over is left out.
#[inline(always)]
pub(crate) const fn panels(data: &[f32]) -> &[Panel] {
    data.as_chunks().0
}

/// [`panels`] to write to.
#[inline(always)]
pub(crate) const fn panels_mut(data: &mut [f32]) -> &mut [Panel] {
    data.as_chunks_mut().0
}

/// Rows of a matrix: `stride` numbers from one row to the next, of which the first `width` count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Row-major.
    pub data: &'a [f32],
    /// Numbers in a row.
    pub stride: usize,
    /// Columns.
    pub width: usize,
}

impl<'a> Rows<'a> {
    /// M rows from `row` on, each of `width` numbers.
    #[inline(always)]
    fn block<const M: usize>(&self, row: usize, width: usize) -> [&'a [f32]; M] {
        // A loop: `array::from_fn` is not always inlined.
        let mut rows = [&self.data[..0]; M];
        for (m, to) in rows.iter_mut().enumerate() {
            *to = &self.data[(row + m) * self.stride..][..width];
        }
        rows
    }

    /// How many rows there are.
    #[inline(always)]
    fn count(&self) -> usize {
        self.data.len() / self.stride
    }
}

/// Work that is done in blocks of rows, whose number the compiler knows.
pub(crate) trait Blocks<S: Simd> {
    /// Works on M rows from `row` on. Must be `#[inline(always)]`.
    fn block<const M: usize>(&mut self, s: S, row: usize);
}

/// Works on `count` rows in blocks of `MOST`, and on what is left in smaller ones.
#[inline(always)]
pub(crate) fn in_blocks<S: Simd, const MOST: usize>(s: S, count: usize, work: &mut impl Blocks<S>) {
    let mut row = 0;
    while row + MOST <= count {
        work.block::<MOST>(s, row);
        row += MOST;
    }
    if MOST > 8 && count - row >= 8 {
        work.block::<8>(s, row);
        row += 8;
    }
    if MOST > 6 && count - row >= 6 {
        work.block::<6>(s, row);
        row += 6;
    }
    match count - row {
        5 if MOST > 5 => work.block::<5>(s, row),
        4 if MOST > 4 => work.block::<4>(s, row),
        3 => work.block::<3>(s, row),
        2 => work.block::<2>(s, row),
        1 => work.block::<1>(s, row),
        _ => {}
    }
}

/// Works on the panels from `panel` to `count`: with wide vectors two at a time, then one by one.
#[inline(always)]
pub(crate) fn in_pairs<S: Simd>(s: S, mut panel: usize, count: usize, work: &mut impl Pairs<S>) {
    while S::WIDE && panel + 2 <= count {
        work.panels::<2>(s, panel);
        panel += 2;
    }
    while panel < count {
        work.panels::<1>(s, panel);
        panel += 1;
    }
}

/// Work that is done panel by panel, or on two of them at once.
pub(crate) trait Pairs<S: Simd> {
    /// Works on N panels from `panel` on. Must be `#[inline(always)]`.
    fn panels<const N: usize>(&mut self, s: S, panel: usize);
}

/// Blocks of as many rows as suit N panels, of `NARROW` where vectors are not wide.
#[inline(always)]
pub(crate) fn in_fitting_blocks<S: Simd, const N: usize, const NARROW: usize>(
    s: S,
    count: usize,
    work: &mut impl Blocks<S>,
) {
    if !S::WIDE {
        in_blocks::<S, NARROW>(s, count, work);
    } else if N == 1 {
        in_blocks::<S, WIDE_ROWS_OF_ONE>(s, count, work);
    } else if N == 4 {
        in_blocks::<S, FEW_ROWS>(s, count, work);
    } else {
        in_blocks::<S, WIDE_ROWS>(s, count, work);
    }
}

/// What becomes of the sums of a product.
pub(crate) trait Finish {
    /// Takes one row and one panel of columns of a product. Must be `#[inline(always)]`.
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: S::V);
}

/// Stores the sums of a product, or adds them to what is there.
pub(crate) struct Sums<'a> {
    /// `[rows][stride]`.
    pub out: &'a mut [Panel],
    /// Panels from one row to the next.
    pub stride: usize,
    /// Whether they are added.
    pub adds: bool,
}

impl Finish for Sums<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, mut sums: S::V) {
        let out = &mut self.out[row * self.stride + panel];
        if self.adds {
            sums = s.add(sums, s.load(out));
        }
        s.store(sums, out);
    }
}

/// Hands `x W + bias` to `finish`, row by row and panel by panel. `weights` is `[panel][width][PANEL]`,
/// `bias` `[panels * PANEL]` or none.
#[inline(always)]
pub(crate) fn product<S: Simd>(
    s: S,
    x: Rows<'_>,
    weights: &[f32],
    bias: Option<&[f32]>,
    finish: &mut impl Finish,
) {
    let weights = panels(weights);
    let count = weights.len() / x.width;
    let mut product = Product { x, weights, bias, finish };
    // Too few rows to keep the multipliers busy with: more columns instead.
    let mut panel = 0;
    while S::WIDE && x.count() <= FEW_ROWS && panel + 4 <= count {
        product.panels::<4>(s, panel);
        panel += 4;
    }
    in_pairs(s, panel, count, &mut product);
}

struct Product<'a, F> {
    x: Rows<'a>,
    weights: &'a [Panel],
    bias: Option<&'a [f32]>,
    finish: &'a mut F,
}

impl<S: Simd, F: Finish> Pairs<S> for Product<'_, F> {
    #[inline(always)]
    fn panels<const N: usize>(&mut self, s: S, panel: usize) {
        let mut start = [s.splat(0.0); N];
        if let Some(bias) = self.bias {
            load_all(s, &panels(bias)[panel..], &mut start);
        }
        let mut weights = [&self.weights[..0]; N];
        for (n, weights) in weights.iter_mut().enumerate() {
            *weights = &self.weights[(panel + n) * self.x.width..][..self.x.width];
        }
        let mut rows = ProductRows { x: self.x, weights, start, panel, finish: &mut *self.finish };
        in_fitting_blocks::<S, N, ROWS>(s, self.x.count(), &mut rows);
    }
}

struct ProductRows<'a, 'f, F, V, const N: usize> {
    x: Rows<'a>,
    weights: [&'a [Panel]; N],
    start: [V; N],
    panel: usize,
    finish: &'f mut F,
}

impl<S: Simd, F: Finish, const N: usize> Blocks<S> for ProductRows<'_, '_, F, S::V, N> {
    #[inline(always)]
    fn block<const M: usize>(&mut self, s: S, row: usize) {
        let x: [&[f32]; M] = self.x.block(row, self.x.width);
        let mut sums = [self.start; M];
        steps(s, &x, &self.weights, &mut sums);
        for (m, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                self.finish.finish(s, row + m, self.panel + n, sum);
            }
        }
    }
}

/// `sums += x weights`, over as many numbers as the first of `weights` has panels; all others are as long or longer.
#[inline(always)]
pub(crate) fn steps<S: Simd, const M: usize, const N: usize>(
    s: S,
    x: &[&[f32]; M],
    weights: &[&[Panel]; N],
    sums: &mut [[S::V; N]; M],
) {
    // Several numbers for each round: their distances are constants, and what finds the rows is done once.
    const ROUND: usize = 4;
    let len = weights[0].len();
    let rounds = len / ROUND;
    let mut x_rounds = [&[[0.0; ROUND]][..0]; M];
    let mut x_all = *x;
    for m in 0..M {
        x_all[m] = &x[m][..len];
        x_rounds[m] = &x[m].as_chunks().0[..rounds];
    }
    let mut weight_rounds = [&[[[0.0; PANEL]; ROUND]][..0]; N];
    let mut weights_all = *weights;
    for n in 0..N {
        weights_all[n] = &weights[n][..len];
        weight_rounds[n] = &weights[n].as_chunks().0[..rounds];
    }
    for round in 0..rounds {
        for i in 0..ROUND {
            let mut w = [s.splat(0.0); N];
            for n in 0..N {
                w[n] = s.load(&weight_rounds[n][round][i]);
            }
            for m in 0..M {
                accumulate(s, s.splat(x_rounds[m][round][i]), w, &mut sums[m]);
            }
        }
    }
    for k in rounds * ROUND..len {
        step(s, &x_all, k, &weights_all, sums);
    }
}

/// `sums += x[..][k] weights[..][k]`.
#[inline(always)]
fn step<S: Simd, const M: usize, const N: usize>(
    s: S,
    x: &[&[f32]; M],
    k: usize,
    weights: &[&[Panel]; N],
    sums: &mut [[S::V; N]; M],
) {
    let mut w = [s.splat(0.0); N];
    for n in 0..N {
        w[n] = s.load(&weights[n][k]);
    }
    for m in 0..M {
        accumulate(s, s.splat(x[m][k]), w, &mut sums[m]);
    }
}

/// `sums += a b`.
#[inline(always)]
pub(crate) fn accumulate<S: Simd, const N: usize>(
    s: S,
    a: S::V,
    b: [S::V; N],
    sums: &mut [S::V; N],
) {
    for n in 0..N {
        sums[n] = s.mul_add(a, b[n], sums[n]);
    }
}

/// N panels that lie side by side, in registers.
#[inline(always)]
pub(crate) fn load_all<S: Simd, const N: usize>(s: S, from: &[Panel], to: &mut [S::V; N]) {
    let from = &from[..N];
    for n in 0..N {
        to[n] = s.load(&from[n]);
    }
}

/// Adds `a^T b` to `sums`: for each panel of b's columns and each column of a, a sum over the rows.
/// `sums` is `[panel][a.width][PANEL]`; b's stride is a multiple of [`PANEL`].
#[inline(always)]
pub(crate) fn outer_product<S: Simd>(s: S, a: Rows<'_>, b: Rows<'_>, sums: &mut [f32]) {
    let sums = panels_mut(sums);
    in_pairs(s, 0, sums.len() / a.width, &mut OuterProduct { a, b, sums });
}

struct OuterProduct<'a> {
    a: Rows<'a>,
    b: Rows<'a>,
    sums: &'a mut [Panel],
}

impl<S: Simd> Pairs<S> for OuterProduct<'_> {
    #[inline(always)]
    fn panels<const N: usize>(&mut self, s: S, panel: usize) {
        let width = self.a.width;
        let sums = &mut self.sums[panel * width..][..N * width];
        let mut columns = OuterColumns::<N> { a: self.a, b: self.b, panel, sums };
        in_fitting_blocks::<S, N, ROWS>(s, width, &mut columns);
    }
}

/// Sums of N panels, `[N][a.width]`.
struct OuterColumns<'a, const N: usize> {
    a: Rows<'a>,
    b: Rows<'a>,
    panel: usize,
    sums: &'a mut [Panel],
}

impl<S: Simd, const N: usize> Blocks<S> for OuterColumns<'_, N> {
    #[expect(
        clippy::needless_range_loop,
        reason = "M and N are constants: whole blocks are unrolled by their indices"
    )]
    #[inline(always)]
    fn block<const M: usize>(&mut self, s: S, column: usize) {
        let (a, b, width) = (self.a, self.b, self.a.width);
        let mut sums = [[s.splat(0.0); N]; M];
        for n in 0..N {
            let from = &self.sums[n * width + column..][..M];
            for m in 0..M {
                sums[m][n] = s.load(&from[m]);
            }
        }
        let rows = a.data.chunks_exact(a.stride).zip(panels(b.data).chunks_exact(b.stride / PANEL));
        for (a, b) in rows {
            let a = &a[column..column + M];
            let mut d = [s.splat(0.0); N];
            load_all(s, &b[self.panel..], &mut d);
            for m in 0..M {
                accumulate(s, s.splat(a[m]), d, &mut sums[m]);
            }
        }
        for n in 0..N {
            let to = &mut self.sums[n * width + column..][..M];
            for m in 0..M {
                s.store(sums[m][n], &mut to[m]);
            }
        }
    }
}

/// Adds the sum over the rows of `d` to `sums`, column by column; strides are multiples of [`PANEL`].
#[inline(always)]
pub(crate) fn column_sums<S: Simd>(s: S, d: Rows<'_>, sums: &mut [f32]) {
    let stride = d.stride / PANEL;
    for (panel, to) in panels_mut(sums).iter_mut().enumerate() {
        // Several sums in turns: additions do not wait for each other.
        let mut sums = [s.splat(0.0); ROWS];
        let mut groups = panels(d.data).chunks_exact(ROWS * stride);
        for group in &mut groups {
            for (m, sum) in sums.iter_mut().enumerate() {
                *sum = s.add(*sum, s.load(&group[m * stride + panel]));
            }
        }
        for row in groups.remainder().chunks_exact(stride) {
            sums[0] = s.add(sums[0], s.load(&row[panel]));
        }
        let mut total = s.load(to);
        for sum in sums {
            total = s.add(total, sum);
        }
        s.store(total, to);
    }
}

/// What becomes of dot products.
pub(crate) trait FinishDots {
    /// Takes those of output `output` and up to 4 rows from `row` on. Must be `#[inline(always)]`.
    fn finish(&mut self, row: usize, output: usize, sums: &[f32]);
}

/// Hands `x W^T` to `finish`, for a layer with few outputs: a dot product for each row and output.
/// `weights` is `[panel][outputs][PANEL]`, zero beyond the real columns, as are the rows of `x`.
#[inline(always)]
pub(crate) fn dots<S: Simd>(
    s: S,
    x: Rows<'_>,
    weights: &[f32],
    outputs: usize,
    finish: &mut impl FinishDots,
) {
    let count = x.count();
    let mut row = 0;
    // Vectors of several registers leave room for fewer sums.
    if S::WIDE {
        while row + ROWS <= count {
            dot_rows::<S, ROWS>(s, x, row, weights, outputs, finish);
            row += ROWS;
        }
    }
    while row + 2 <= count {
        dot_rows::<S, 2>(s, x, row, weights, outputs, finish);
        row += 2;
    }
    if row < count {
        dot_rows::<S, 1>(s, x, row, weights, outputs, finish);
    }
}

#[inline(always)]
fn dot_rows<S: Simd, const M: usize>(
    s: S,
    x: Rows<'_>,
    row: usize,
    weights: &[f32],
    outputs: usize,
    finish: &mut impl FinishDots,
) {
    let mut first = 0;
    while first + 3 <= outputs {
        dot_block::<S, M, 3>(s, x, row, weights, outputs, first, finish);
        first += 3;
    }
    match outputs - first {
        2 => dot_block::<S, M, 2>(s, x, row, weights, outputs, first, finish),
        1 => dot_block::<S, M, 1>(s, x, row, weights, outputs, first, finish),
        _ => {}
    }
}

#[inline(always)]
fn dot_block<S: Simd, const M: usize, const O: usize>(
    s: S,
    x: Rows<'_>,
    row: usize,
    weights: &[f32],
    outputs: usize,
    first: usize,
    finish: &mut impl FinishDots,
) {
    let x: [&[f32]; M] = x.block(row, x.stride);
    let mut sums = [[s.splat(0.0); ROWS]; O];
    for (panel, weights) in panels(weights).chunks_exact(outputs).enumerate() {
        let weights = &weights[first..first + O];
        for m in 0..M {
            let x = s.load(&panels(x[m])[panel]);
            for o in 0..O {
                sums[o][m] = s.mul_add(x, s.load(&weights[o]), sums[o][m]);
            }
        }
    }
    for (o, sums) in sums.into_iter().enumerate() {
        finish.finish(row, first + o, &s.sums(sums)[..M]);
    }
}
