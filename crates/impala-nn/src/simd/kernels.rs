//! The inner loops: products of tall thin matrices with small ones, in registers.
//!
//! A block of 4 rows times 16 columns keeps 8 vectors of sums in registers: as many as two multipliers
//! with a latency of 4 cycles need to be always busy. All functions are inlined into a
//! [`super::Kernel`].

use super::{LANES, Simd};

/// Columns of a panel: two vectors.
pub(crate) const PANEL: usize = VECTORS * LANES;
const VECTORS: usize = 2;
/// Rows of a block.
const ROWS: usize = 4;

/// One row of a panel in memory.
pub(crate) type Panel = [[f32; LANES]; VECTORS];

/// Numbers in memory as panels; what is left over is left out.
#[inline(always)]
pub(crate) const fn panels(data: &[f32]) -> &[Panel] {
    data.as_chunks().0.as_chunks().0
}

/// [`panels`] to write to.
#[inline(always)]
pub(crate) const fn panels_mut(data: &mut [f32]) -> &mut [Panel] {
    data.as_chunks_mut().0.as_chunks_mut().0
}

/// A row of a panel, in registers.
#[inline(always)]
pub(crate) fn load<S: Simd>(s: S, panel: &Panel) -> [S::V; VECTORS] {
    [s.load(&panel[0]), s.load(&panel[1])]
}

/// The inverse of [`load`].
#[inline(always)]
pub(crate) fn store<S: Simd>(s: S, x: [S::V; VECTORS], panel: &mut Panel) {
    s.store(x[0], &mut panel[0]);
    s.store(x[1], &mut panel[1]);
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

/// What becomes of the sums of a product.
pub(crate) trait Finish {
    /// Takes one row and one panel of columns of a product. Must be `#[inline(always)]`.
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, sums: [S::V; VECTORS]);
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
    fn finish<S: Simd>(&mut self, s: S, row: usize, panel: usize, mut sums: [S::V; 2]) {
        let out = &mut self.out[row * self.stride + panel];
        if self.adds {
            add(s, load(s, out), &mut sums);
        }
        store(s, sums, out);
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
    let count = x.count();
    for (panel, weights) in panels(weights).chunks_exact(x.width).enumerate() {
        let start = match bias {
            Some(bias) => load(s, &panels(bias)[panel]),
            None => [s.splat(0.0); VECTORS],
        };
        let mut row = 0;
        while row + ROWS <= count {
            block::<S, ROWS>(s, x, row, panel, weights, start, finish);
            row += ROWS;
        }
        match count - row {
            3 => block::<S, 3>(s, x, row, panel, weights, start, finish),
            2 => block::<S, 2>(s, x, row, panel, weights, start, finish),
            1 => block::<S, 1>(s, x, row, panel, weights, start, finish),
            _ => {}
        }
    }
}

#[inline(always)]
fn block<S: Simd, const M: usize>(
    s: S,
    x: Rows<'_>,
    row: usize,
    panel: usize,
    weights: &[Panel],
    start: [S::V; VECTORS],
    finish: &mut impl Finish,
) {
    let x: [&[f32]; M] = x.block(row, weights.len());
    let mut sums = [start; M];
    for (k, weights) in weights.iter().enumerate() {
        let weights = load(s, weights);
        for m in 0..M {
            accumulate(s, s.splat(x[m][k]), weights, &mut sums[m]);
        }
    }
    for (m, sums) in sums.into_iter().enumerate() {
        finish.finish(s, row + m, panel, sums);
    }
}

/// `sums += a b`.
#[inline(always)]
pub(crate) fn accumulate<S: Simd>(s: S, a: S::V, b: [S::V; VECTORS], sums: &mut [S::V; VECTORS]) {
    for n in 0..VECTORS {
        sums[n] = s.mul_add(a, b[n], sums[n]);
    }
}

/// Adds `a^T b` to `sums`: for each panel of b's columns and each column of a, a sum over the rows.
/// `sums` is `[panel][a.width][PANEL]`; b's stride is a multiple of [`PANEL`].
#[inline(always)]
pub(crate) fn outer_product<S: Simd>(s: S, a: Rows<'_>, b: Rows<'_>, sums: &mut [f32]) {
    for (panel, sums) in panels_mut(sums).chunks_exact_mut(a.width).enumerate() {
        let (blocks, rest) = sums.as_chunks_mut::<ROWS>();
        let done = blocks.len() * ROWS;
        for (index, block) in blocks.iter_mut().enumerate() {
            outer_block(s, a, index * ROWS, b, panel, block);
        }
        if let Ok(block) = <&mut [Panel; 3]>::try_from(&mut *rest) {
            outer_block(s, a, done, b, panel, block);
        } else if let Ok(block) = <&mut [Panel; 2]>::try_from(&mut *rest) {
            outer_block(s, a, done, b, panel, block);
        } else if let Ok(block) = <&mut [Panel; 1]>::try_from(&mut *rest) {
            outer_block(s, a, done, b, panel, block);
        }
    }
}

#[inline(always)]
fn outer_block<S: Simd, const M: usize>(
    s: S,
    a: Rows<'_>,
    column: usize,
    b: Rows<'_>,
    panel: usize,
    block: &mut [Panel; M],
) {
    let mut sums = [[s.splat(0.0); VECTORS]; M];
    for (sums, from) in sums.iter_mut().zip(&*block) {
        *sums = load(s, from);
    }
    let rows = a.data.chunks_exact(a.stride).zip(panels(b.data).chunks_exact(b.stride / PANEL));
    for (a, b) in rows {
        let a = &a[column..column + M];
        let b = load(s, &b[panel]);
        for m in 0..M {
            accumulate(s, s.splat(a[m]), b, &mut sums[m]);
        }
    }
    for (sums, to) in sums.into_iter().zip(block) {
        store(s, sums, to);
    }
}

/// Adds the sum over the rows of `d` to `sums`, column by column; strides are multiples of [`PANEL`].
#[inline(always)]
pub(crate) fn column_sums<S: Simd>(s: S, d: Rows<'_>, sums: &mut [f32]) {
    let stride = d.stride / PANEL;
    for (panel, to) in panels_mut(sums).iter_mut().enumerate() {
        // Several sums in turns: additions do not wait for each other.
        let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
        let mut groups = panels(d.data).chunks_exact(ROWS * stride);
        for group in &mut groups {
            for (m, sums) in sums.iter_mut().enumerate() {
                add(s, load(s, &group[m * stride + panel]), sums);
            }
        }
        for row in groups.remainder().chunks_exact(stride) {
            add(s, load(s, &row[panel]), &mut sums[0]);
        }
        let mut total = load(s, to);
        for sums in sums {
            add(s, sums, &mut total);
        }
        store(s, total, to);
    }
}

/// `sums += x`.
#[inline(always)]
pub(crate) fn add<S: Simd>(s: S, x: [S::V; VECTORS], sums: &mut [S::V; VECTORS]) {
    for n in 0..VECTORS {
        sums[n] = s.add(sums[n], x[n]);
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
    while row + ROWS <= count {
        dot_rows::<S, ROWS>(s, x, row, weights, outputs, finish);
        row += ROWS;
    }
    while row < count {
        dot_rows::<S, 1>(s, x, row, weights, outputs, finish);
        row += 1;
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
            for (n, x) in panels(x[m])[panel].iter().enumerate() {
                let x = s.load(x);
                for o in 0..O {
                    sums[o][m] = s.mul_add(x, s.load(&weights[o][n]), sums[o][m]);
                }
            }
        }
    }
    for (o, sums) in sums.into_iter().enumerate() {
        finish.finish(row, first + o, &s.sums(sums)[..M]);
    }
}
