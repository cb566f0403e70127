//! The inner loops: products of tall thin matrices with small ones, in registers.
//!
//! The block of 4 rows times 16 columns keeps 8 vectors of sums in registers: as many as two multipliers
//! with a latency of 4 cycles need to be always busy. Every function is inlined into a [`super::dispatch`]
//! kernel. What the compiler makes of them was read: the loops over `k` hold nothing but loads, broadcasts
//! and `vfmadd231ps` on ymm registers.

use super::dispatch::fma;

/// Columns of a panel: two 256-bit vectors.
pub(super) const PANEL: usize = 16;
/// Rows of a block.
const ROWS: usize = 4;

/// Sums of a block of M rows.
type Block<const M: usize> = [[f32; PANEL]; M];

/// Rows of a matrix: `stride` numbers from one row to the next, of which the first `width` count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    /// Row-major.
    pub data: &'a [f32],
    /// Numbers in a row.
    pub stride: usize,
    /// Columns.
    pub width: usize,
}

impl<'a> Rows<'a> {
    /// The numbers of row `row` that count.
    #[inline(always)]
    fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.width]
    }

    /// How many rows there are.
    #[inline(always)]
    fn count(&self) -> usize {
        self.data.len() / self.stride
    }
}

/// Writes `x W + bias` to `out`, rows of `stride` numbers. `weights` is `[panel][width][PANEL]`, `bias`
/// `[panels * PANEL]` or none.
#[inline(always)]
pub(super) fn product<const FMA: bool>(
    x: Rows<'_>,
    weights: &[f32],
    bias: Option<&[f32]>,
    stride: usize,
    out: &mut [f32],
) {
    let weights = weights.as_chunks::<PANEL>().0;
    let out = out.as_chunks_mut::<PANEL>().0;
    let stride = stride / PANEL;
    for (panel, weights) in weights.chunks_exact(x.width).enumerate() {
        let bias = match bias {
            Some(bias) => bias.as_chunks().0[panel],
            None => [0.0; PANEL],
        };
        let mut blocks = out.chunks_exact_mut(ROWS * stride);
        let mut row = 0;
        for out in &mut blocks {
            block::<FMA, ROWS>(&x, row, weights, &bias, &mut out[panel..], stride);
            row += ROWS;
        }
        let out = blocks.into_remainder();
        match out.len() / stride {
            3 => block::<FMA, 3>(&x, row, weights, &bias, &mut out[panel..], stride),
            2 => block::<FMA, 2>(&x, row, weights, &bias, &mut out[panel..], stride),
            1 => block::<FMA, 1>(&x, row, weights, &bias, &mut out[panel..], stride),
            _ => {}
        }
    }
}

#[inline(always)]
fn block<const FMA: bool, const M: usize>(
    x: &Rows<'_>,
    row: usize,
    weights: &[[f32; PANEL]],
    bias: &[f32; PANEL],
    out: &mut [[f32; PANEL]],
    stride: usize,
) {
    let rows: [&[f32]; M] = std::array::from_fn(|m| &x.row(row + m)[..weights.len()]);
    let mut sums: Block<M> = [*bias; M];
    for (k, weights) in weights.iter().enumerate() {
        for m in 0..M {
            accumulate::<FMA>(rows[m][k], weights, &mut sums[m]);
        }
    }
    for m in 0..M {
        out[m * stride] = sums[m];
    }
}

/// Adds `a^T b` to `sums`: for each panel of b's columns and each column of a, a sum over the rows.
/// `sums` is `[panel][a.width][PANEL]`; b's stride is a multiple of [`PANEL`].
#[inline(always)]
pub(super) fn outer_product<const FMA: bool>(a: Rows<'_>, b: Rows<'_>, sums: &mut [f32]) {
    let (sums, _) = sums.as_chunks_mut::<PANEL>();
    for (panel, sums) in sums.chunks_exact_mut(a.width).enumerate() {
        let (blocks, rest) = sums.as_chunks_mut::<ROWS>();
        let done = blocks.len() * ROWS;
        for (index, block) in blocks.iter_mut().enumerate() {
            outer_block::<FMA, ROWS>(&a, index * ROWS, &b, panel, block);
        }
        match rest {
            [x, y, z] => outer_rest::<FMA, 3>(&a, done, &b, panel, [x, y, z]),
            [x, y] => outer_rest::<FMA, 2>(&a, done, &b, panel, [x, y]),
            [x] => outer_rest::<FMA, 1>(&a, done, &b, panel, [x]),
            _ => {}
        }
    }
}

#[inline(always)]
fn outer_block<const FMA: bool, const M: usize>(
    a: &Rows<'_>,
    column: usize,
    b: &Rows<'_>,
    panel: usize,
    sums: &mut Block<M>,
) {
    let mut local = *sums;
    let rows = a.data.chunks_exact(a.stride).zip(b.data.chunks_exact(b.stride));
    for (a, b) in rows {
        let a = &a[column..column + M];
        let b = &b.as_chunks::<PANEL>().0[panel];
        for m in 0..M {
            accumulate::<FMA>(a[m], b, &mut local[m]);
        }
    }
    *sums = local;
}

#[inline(always)]
fn outer_rest<const FMA: bool, const M: usize>(
    a: &Rows<'_>,
    column: usize,
    b: &Rows<'_>,
    panel: usize,
    sums: [&mut [f32; PANEL]; M],
) {
    let mut block: Block<M> = std::array::from_fn(|m| *sums[m]);
    outer_block::<FMA, M>(a, column, b, panel, &mut block);
    for (sum, new) in sums.into_iter().zip(block) {
        *sum = new;
    }
}

#[inline(always)]
fn accumulate<const FMA: bool>(a: f32, b: &[f32; PANEL], sums: &mut [f32; PANEL]) {
    for n in 0..PANEL {
        sums[n] = fma::<FMA>(a, b[n], sums[n]);
    }
}

/// Adds the sum over the rows of `d` to `sums`, column by column.
#[inline(always)]
pub(super) fn column_sums(d: Rows<'_>, sums: &mut [f32]) {
    for (panel, sums) in sums.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
        let mut local = [[0.0_f32; PANEL]; 2];
        let mut pairs = d.data.chunks_exact(2 * d.stride);
        for pair in &mut pairs {
            for (half, row) in local.iter_mut().zip(pair.chunks_exact(d.stride)) {
                let row = &row.as_chunks::<PANEL>().0[panel];
                half.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
        }
        for row in pairs.remainder().chunks_exact(d.stride) {
            let row = &row.as_chunks::<PANEL>().0[panel];
            local[0].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        for n in 0..PANEL {
            sums[n] += local[0][n] + local[1][n];
        }
    }
}

/// What becomes of a dot product.
pub(super) trait FinishDot {
    /// Takes the one of row `row` and output `output`. Must be `#[inline(always)]`.
    fn finish(&mut self, row: usize, output: usize, sum: f32);
}

/// Hands `x W^T` to `finish`, for a layer with few outputs: a dot product for each row and output.
/// `weights` is `[panel][outputs][PANEL]`, zero beyond the real columns, as are the rows of `x`.
#[inline(always)]
pub(super) fn dots<const FMA: bool>(
    x: Rows<'_>,
    weights: &[f32],
    outputs: usize,
    finish: &mut impl FinishDot,
) {
    let count = x.count();
    let mut row = 0;
    while row + ROWS <= count {
        dot_rows::<FMA, ROWS>(&x, row, weights, outputs, finish);
        row += ROWS;
    }
    while row < count {
        dot_rows::<FMA, 1>(&x, row, weights, outputs, finish);
        row += 1;
    }
}

#[inline(always)]
fn dot_rows<const FMA: bool, const M: usize>(
    x: &Rows<'_>,
    row: usize,
    weights: &[f32],
    outputs: usize,
    finish: &mut impl FinishDot,
) {
    let mut output = 0;
    while output + 3 <= outputs {
        dot_block::<FMA, M, 3>(x, row, weights, outputs, output, finish);
        output += 3;
    }
    match outputs - output {
        2 => dot_block::<FMA, M, 2>(x, row, weights, outputs, output, finish),
        1 => dot_block::<FMA, M, 1>(x, row, weights, outputs, output, finish),
        _ => {}
    }
}

#[inline(always)]
fn dot_block<const FMA: bool, const M: usize, const O: usize>(
    x: &Rows<'_>,
    row: usize,
    weights: &[f32],
    outputs: usize,
    output: usize,
    finish: &mut impl FinishDot,
) {
    const HALF: usize = PANEL / 2;
    let mut sums = [[[0.0_f32; HALF]; O]; M];
    let weights = weights.as_chunks::<HALF>().0.chunks_exact(2 * outputs);
    let stride = weights.len() * PANEL;
    let rows: [&[[f32; HALF]]; M] =
        std::array::from_fn(|m| x.data[(row + m) * x.stride..][..stride].as_chunks().0);
    for (panel, weights) in weights.enumerate() {
        for half in 0..2 {
            for o in 0..O {
                let weights = &weights[2 * (output + o) + half];
                for m in 0..M {
                    let x = &rows[m][2 * panel + half];
                    for n in 0..HALF {
                        sums[m][o][n] = fma::<FMA>(x[n], weights[n], sums[m][o][n]);
                    }
                }
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        for (o, sum) in sums.iter().enumerate() {
            finish.finish(row + m, output + o, horizontal_sum(sum));
        }
    }
}

#[inline(always)]
fn horizontal_sum(x: &[f32; 8]) -> f32 {
    let four: [f32; 4] = std::array::from_fn(|n| x[n] + x[n + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
