//! Portable vector instructions, and the kernels over them that engines and samplers share.
//!
//! A computation is a [`Kernel`], generic over the instructions ([`Simd`]) that it may use; [`launch`] compiles it once per
//! instruction set and runs it with those of a [`Level`]. `kernels` has the products of layers, `aligned` the memory
//! that they work on.
//!
//! Instructions are closures, made inside a function that is compiled for them: a closure may use what
//! the function around it may use, and is safe to call. So a value of type [`Simd`] is the proof that its
//! instructions exist, and kernels over it are safe code whose vectors do not depend on what the
//! compiler's vectoriser recognises.

pub(crate) mod aligned;
mod dispatch;
pub(crate) mod kernels;
mod peak;
pub(crate) mod weights;

pub use dispatch::{Level, NoSuchVectors, Vectors, launch};
pub use peak::{peak_multiply_adds, run_peak};

/// Numbers in a vector: those of one register of AVX-512. With other instructions a vector is several registers.
pub const LANES: usize = 16;

/// Vector instructions. Operands that are NaN come through, also in `min` and `max`.
pub trait Simd: Copy {
    /// [`LANES`] numbers in a register.
    type V: Copy;
    /// Whether a vector is one register of 32, so that larger blocks of sums fit: a constant, so what is asked of
    /// it costs nothing.
    const WIDE: bool;
    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// From memory.
    fn load(self, x: &[f32; LANES]) -> Self::V;
    /// To memory.
    fn store(self, x: Self::V, to: &mut [f32; LANES]);
    /// `a * b + c`, fused if there is an instruction for it.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b` to two units in the last place, for `b` normal and less than 2^126: without a division where that is slow.
    fn ratio(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger of `bound` and `x`.
    fn max(self, bound: Self::V, x: Self::V) -> Self::V;
    /// The smaller of `bound` and `x`.
    fn min(self, bound: Self::V, x: Self::V) -> Self::V;
    /// `x` where `a > 0`, else `y`.
    fn where_positive(self, a: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Sums of neighbours: 8 of `a` and 8 of `b`, two by two in turns.
    fn add_pairs(self, a: Self::V, b: Self::V) -> Self::V;
    /// The sum of each vector's lanes.
    #[inline(always)]
    fn sums(self, [a, b, c, d]: [Self::V; 4]) -> [f32; 4] {
        let mut parts = [0.0; LANES];
        let pairs = self.add_pairs(self.add_pairs(a, b), self.add_pairs(c, d));
        self.store(pairs, &mut parts);
        let mut sums = [0.0; 4];
        for (n, sum) in sums.iter_mut().enumerate() {
            *sum = (parts[n] + parts[n + 4]) + (parts[n + 8] + parts[n + 12]);
        }
        sums
    }
    /// `x * 2^n`, with n in the low bits of `shifted` (1.5 * 2^23 + n).
    fn scale(self, x: Self::V, shifted: Self::V) -> Self::V;
    /// e of `x = m 2^e` with m from sqrt(1/2) to sqrt(2), for x positive and normal.
    fn exponent(self, x: Self::V) -> Self::V;
    /// m of `x = m 2^e`, likewise.
    fn mantissa(self, x: Self::V) -> Self::V;
}

/// Bits of sqrt(1/2): subtracting them from those of a number moves the cut between exponents there.
pub(super) const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
pub(super) const MANTISSA_MASK: i32 = 0x007f_ffff;

/// A computation that is compiled once per instruction set.
///
/// `run`, and all that it calls with a [`Simd`], must be `#[inline(always)]`: what is not inlined is
/// compiled for the baseline, where the instructions become calls.
pub trait Kernel {
    /// What it returns.
    type Output;

    /// The computation.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The instructions of [`Simd`], as closures take them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    MulAdd,
    Add,
    Mul,
    Div,
    Ratio,
    Max,
    Min,
    WherePositive,
    AddPairs,
    Scale,
    Exponent,
    Mantissa,
}

/// Closures that are the instructions. Calls name their [`Op`] as a constant, so nothing is left of the
/// choice after inlining.
#[derive(Clone, Copy)]
pub(super) struct Instructions<F, G, const WIDE: bool> {
    pub op: F,
    pub splat: G,
}

/// Runs `kernel` with what every CPU has, left to the compiler.
pub(super) fn run_baseline<K: Kernel>(kernel: K) -> K::Output {
    let op = |op: Op, a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]| {
        let mut out = [0.0; LANES];
        for n in 0..LANES {
            let bits = a[n].to_bits().cast_signed();
            out[n] = match op {
                Op::MulAdd if FUSED => a[n].mul_add(b[n], c[n]),
                Op::MulAdd => a[n] * b[n] + c[n],
                Op::Add => a[n] + b[n],
                Op::Mul => a[n] * b[n],
                Op::Div | Op::Ratio => a[n] / b[n],
                Op::Max => {
                    if a[n] > b[n] {
                        a[n]
                    } else {
                        b[n]
                    }
                }
                Op::Min => {
                    if a[n] < b[n] {
                        a[n]
                    } else {
                        b[n]
                    }
                }
                Op::WherePositive => {
                    if a[n] > 0.0 {
                        b[n]
                    } else {
                        c[n]
                    }
                }
                Op::AddPairs => {
                    let from = if n % 4 < 2 { a } else { b };
                    let first = n / 4 * 4 + n % 2 * 2;
                    from[first] + from[first + 1]
                }
                Op::Scale => {
                    let n = b[n].to_bits().cast_signed() << 23;
                    from_bits(bits.wrapping_add(n))
                }
                Op::Exponent => (bits.wrapping_sub(SQRT_HALF_BITS) >> 23) as f32,
                Op::Mantissa => {
                    let mantissa = bits.wrapping_sub(SQRT_HALF_BITS) & MANTISSA_MASK;
                    from_bits(mantissa.wrapping_add(SQRT_HALF_BITS))
                }
            };
        }
        out
    };
    let splat = |x: f32| [x; LANES];
    kernel.run(Instructions::<_, _, false> { op, splat })
}

/// Whether all CPUs that this is compiled for have fused multiply-add, as those of 64-bit Arm do. Where
/// they do not, the emulation in software would be slow.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

fn from_bits(bits: i32) -> f32 {
    f32::from_bits(bits.cast_unsigned())
}

impl<V, F, G, const WIDE: bool> Simd for Instructions<F, G, WIDE>
where
    V: bytemuck::Pod,
    F: Fn(Op, V, V, V) -> V + Copy,
    G: Fn(f32) -> V + Copy,
{
    type V = V;
    const WIDE: bool = WIDE;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        (self.splat)(x)
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> V {
        bytemuck::cast(*x)
    }

    #[inline(always)]
    fn store(self, x: V, to: &mut [f32; LANES]) {
        *to = bytemuck::cast(x);
    }

    #[inline(always)]
    fn mul_add(self, a: V, b: V, c: V) -> V {
        (self.op)(Op::MulAdd, a, b, c)
    }

    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        (self.op)(Op::Add, a, b, b)
    }

    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        (self.op)(Op::Mul, a, b, b)
    }

    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        (self.op)(Op::Div, a, b, b)
    }

    #[inline(always)]
    fn ratio(self, a: V, b: V) -> V {
        (self.op)(Op::Ratio, a, b, b)
    }

    #[inline(always)]
    fn max(self, bound: V, x: V) -> V {
        (self.op)(Op::Max, bound, x, x)
    }

    #[inline(always)]
    fn min(self, bound: V, x: V) -> V {
        (self.op)(Op::Min, bound, x, x)
    }

    #[inline(always)]
    fn where_positive(self, a: V, x: V, y: V) -> V {
        (self.op)(Op::WherePositive, a, x, y)
    }

    #[inline(always)]
    fn add_pairs(self, a: V, b: V) -> V {
        (self.op)(Op::AddPairs, a, b, b)
    }

    #[inline(always)]
    fn scale(self, x: V, shifted: V) -> V {
        (self.op)(Op::Scale, x, shifted, shifted)
    }

    #[inline(always)]
    fn exponent(self, x: V) -> V {
        (self.op)(Op::Exponent, x, x, x)
    }

    #[inline(always)]
    fn mantissa(self, x: V) -> V {
        (self.op)(Op::Mantissa, x, x, x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, launch};

    /// Both halves of a vector.
    fn twice(half: [f32; LANES / 2]) -> [f32; LANES] {
        std::array::from_fn(|n| half[n % half.len()])
    }

    /// Every instruction on one pair of vectors.
    struct All;

    impl Kernel for All {
        type Output = Vec<[f32; LANES]>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let a = s.load(&twice([1.0, -2.0, 0.0, 4.0, f32::NAN, 6.0, -7.0, 8.0]));
            let b = s.load(&twice([8.0, 7.0, -6.0, 5.0, 4.0, f32::INFINITY, 2.0, 1.0]));
            let x = s.load(&twice([3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 5.0]));
            let one = s.splat(1.0);
            let results = [
                s.mul_add(a, b, x),
                s.add(a, b),
                s.mul(a, b),
                s.div(a, b),
                s.max(one, a),
                s.min(one, a),
                s.where_positive(a, x, one),
                s.add_pairs(a, b),
                s.scale(x, s.splat(12_582_912.0 - 3.0)),
                s.exponent(s.mul(x, x)),
                s.mantissa(s.mul(x, x)),
            ];
            let mut stored = [[0.0; LANES]; 12];
            for (to, x) in stored.iter_mut().zip(results) {
                s.store(x, to);
            }
            stored[11][..4].copy_from_slice(&s.sums([b, one, one, s.mul(one, s.splat(0.5))]));
            stored.to_vec()
        }
    }

    struct Ratio([f32; LANES], [f32; LANES]);

    impl Kernel for Ratio {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let mut ratios = [0.0; LANES];
            s.store(s.ratio(s.load(&self.0), s.load(&self.1)), &mut ratios);
            ratios
        }
    }

    #[test]
    fn ratios_are_right_to_two_units_and_nan_comes_through() {
        for level in Level::all() {
            let all =
                (1..4000).map(|i| (i as f32 * 0.37 - 300.0, 1.7_f32.powi(i % 200 - 80) * 1.3));
            for (a, b) in all {
                let exact = f64::from(a) / f64::from(b);
                for ratio in launch(level, Ratio([a; LANES], [b; LANES])) {
                    let error = (f64::from(ratio) / exact - 1.0).abs();
                    let units = error / f64::from(f32::EPSILON);
                    assert!(units <= 2.0, "{} {a} / {b}: {ratio}, {units} off", level.name());
                }
            }
            for (a, b) in [(f32::NAN, 2.0), (2.0, f32::NAN)] {
                let ratios = launch(level, Ratio([a; LANES], [b; LANES]));
                assert!(ratios.iter().all(|ratio| ratio.is_nan()), "{}", level.name());
            }
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let expected = [
            [11.0, -11.0, 3.0, 23.0, nan, inf, -11.0, 13.0],
            [9.0, 5.0, -6.0, 9.0, nan, inf, -5.0, 9.0],
            [8.0, -14.0, 0.0, 20.0, nan, inf, -14.0, 8.0],
            [0.125, -2.0 / 7.0, 0.0, 0.8, nan, 0.0, -3.5, 8.0],
            [1.0, 1.0, 1.0, 4.0, nan, 6.0, 1.0, 8.0],
            [1.0, -2.0, 0.0, 1.0, nan, 1.0, -7.0, 1.0],
            [3.0, 1.0, 1.0, 3.0, 1.0, 3.0, 1.0, 5.0],
            [-1.0, 4.0, 15.0, -1.0, nan, 1.0, inf, 3.0],
            [0.375, 0.375, 0.375, 0.375, 0.375, 0.375, 0.375, 0.625],
            [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 5.0],
            [1.125, 1.125, 1.125, 1.125, 1.125, 1.125, 1.125, 0.78125],
            [inf, 16.0, 16.0, 8.0, 0.0, 0.0, 0.0, 0.0],
        ];
        for level in Level::all() {
            for (op, (actual, half)) in launch(level, All).iter().zip(expected).enumerate() {
                let mut expected = twice(half);
                if op == 11 {
                    // Four sums, not lanes.
                    expected[8..].fill(0.0);
                }
                for (a, e) in actual.iter().zip(expected) {
                    assert!(
                        *a == e || a.is_nan() && e.is_nan(),
                        "{} {op}: {actual:?}",
                        level.name()
                    );
                }
            }
        }
    }
}
