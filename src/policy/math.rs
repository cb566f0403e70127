//! exp, ln and tanh over arrays of f32: a few instructions an element, where libm takes a call.
//!
//! The coefficients are minimax fits (Lawson's iteration) made for this file. Errors are bounded by the
//! tests, over every binade of the argument.

use super::mlp::dispatch::{Kernel, Level, fma, run};

/// Elements that a kernel works on at once: two 256-bit vectors, so that one's latency hides the other's.
const LANES: usize = 16;

/// Adding it rounds a small f32 to an integer, which is then in the low bits of the sum.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// Replaces each x by e^x, to 2e-7 relative. Below -87 the result is e^-87 (1.6e-38), above 88 it is
/// e^88 (1.7e38); NaN stays NaN.
pub fn exp_in_place(values: &mut [f32]) {
    run(Level::detect(), ExpInPlace(values));
}

/// Replaces each x, positive and normal, by its natural logarithm, to 2e-7 (relative, or absolute near
/// 1). Undefined, but finite, for zero, subnormal and negative numbers.
pub fn ln_in_place(values: &mut [f32]) {
    run(Level::detect(), LnInPlace(values));
}

struct ExpInPlace<'a>(&'a mut [f32]);

impl Kernel for ExpInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        in_lanes(self.0, exp::<FMA, LANES>);
    }
}

struct LnInPlace<'a>(&'a mut [f32]);

impl Kernel for LnInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        in_lanes(self.0, ln::<FMA, LANES>);
    }
}

/// Applies `f` to all elements, the last few padded with 1 (which all functions here take).
#[inline(always)]
pub(crate) fn in_lanes<const N: usize>(values: &mut [f32], f: impl Fn([f32; N]) -> [f32; N]) {
    let (chunks, rest) = values.as_chunks_mut::<N>();
    for chunk in chunks {
        *chunk = f(*chunk);
    }
    if !rest.is_empty() {
        let mut padded = [1.0; N];
        padded[..rest.len()].copy_from_slice(rest);
        rest.copy_from_slice(&f(padded)[..rest.len()]);
    }
}

/// e^x = 2^n e^r with n whole and |r| <= ln 2 / 2.
#[inline(always)]
pub(crate) fn exp<const FMA: bool, const N: usize>(mut x: [f32; N]) -> [f32; N] {
    // ln 2 in two parts: n times the first is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    for value in &mut x {
        let x = value.clamp(-87.0, 88.0);
        let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = fma::<FMA>(n, -LN2_LOW, fma::<FMA>(n, -LN2_HIGH, x));
        let p = fma::<FMA>(1.381_446_7e-3, r, 8.368_781e-3);
        let p = fma::<FMA>(p, r, 4.166_839_4e-2);
        let p = fma::<FMA>(p, r, 1.666_652e-1);
        let p = fma::<FMA>(p, r, 4.999_999_3e-1);
        let p = fma::<FMA>(p * r, r, r) + 1.0;
        // Times 2^n: n goes straight into the exponent, from the low bits of the sum above.
        *value = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    }
    x
}

/// ln(m 2^e) = e ln 2 + 2 artanh((m - 1) / (m + 1)) with m between sqrt(1/2) and sqrt(2).
#[inline(always)]
pub(crate) fn ln<const FMA: bool, const N: usize>(mut x: [f32; N]) -> [f32; N] {
    /// Bits of sqrt(1/2): subtracting them moves the cut between exponents there.
    const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
    for value in &mut x {
        let above = value.to_bits().wrapping_sub(SQRT_HALF_BITS);
        let exponent = (above.cast_signed() >> 23) as f32;
        let m = f32::from_bits((above & 0x007f_ffff).wrapping_add(SQRT_HALF_BITS));
        let s = (m - 1.0) / (m + 1.0);
        let square = s * s;
        let p = fma::<FMA>(2.987_307_4e-1, square, 3.997_749_6e-1);
        let p = fma::<FMA>(p, square, 6.666_678e-1);
        let artanh = fma::<FMA>(p * square, s, s + s);
        *value = fma::<FMA>(exponent, std::f32::consts::LN_2, artanh);
    }
    x
}

/// tanh x as x P(x^2) / Q(x^2), to 6e-7 absolute; beyond 7.8 it is constant. Never outside [-1, 1].
#[inline(always)]
pub(crate) fn tanh<const FMA: bool, const N: usize>(mut x: [f32; N]) -> [f32; N] {
    for value in &mut x {
        let x = value.clamp(-7.8, 7.8);
        let t = x * x;
        let p = fma::<FMA>(1.151_964_3e-5, t, 2.958_162_7e-3);
        let p = fma::<FMA>(p, t, 1.293_167_1e-1);
        let p = fma::<FMA>(p, t, 9.999_994_6e-1);
        let q = fma::<FMA>(2.491_006_8e-7, t, 2.397_624_4e-4);
        let q = fma::<FMA>(q, t, 2.384_298e-2);
        let q = fma::<FMA>(q, t, 4.626_481_2e-1);
        let q = fma::<FMA>(q, t, 1.0);
        *value = x * p / q;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [fn() -> Level; 2] = [|| Level::BASELINE, Level::detect];

    /// Numbers of both signs and all sizes up to `limit`, dense enough to meet every binade often.
    fn arguments(limit: f32) -> Vec<f32> {
        let fine = (-40_000..=40_000).map(|i| limit * i as f32 / 40_000.0);
        let small = (0..20_000).map(|i| limit * (-(i as f32) / 300.0).exp2());
        fine.chain(small.flat_map(|x| [x, -x])).collect()
    }

    struct Tanh<'a>(&'a mut [f32]);

    impl Kernel for Tanh<'_> {
        type Output = ();

        #[inline(always)]
        fn run<const FMA: bool>(self) {
            in_lanes(self.0, tanh::<FMA, LANES>);
        }
    }

    #[test]
    fn exp_is_right_to_2e7() {
        for level in LEVELS {
            let x = arguments(87.0);
            let mut y = x.clone();
            run(level(), ExpInPlace(&mut y));
            for (x, y) in x.iter().zip(y) {
                let error = f64::from(y) / f64::from(*x).exp() - 1.0;
                assert!(error.abs() < 2e-7, "exp({x}) = {y}, {error:e} off");
            }
        }
    }

    #[test]
    fn exp_stays_finite_at_the_ends() {
        let mut y = [-1e30, f32::NEG_INFINITY, 1e30, f32::INFINITY, 0.0, f32::NAN];
        exp_in_place(&mut y);
        assert!(y[..2].iter().all(|y| *y > 0.0 && *y < 2e-38), "{y:?}");
        assert!(y[2..4].iter().all(|y| y.is_finite() && *y > 1e38), "{y:?}");
        assert!(y[4] == 1.0 && y[5].is_nan(), "{y:?}");
    }

    #[test]
    fn ln_is_right_to_2e7() {
        for level in LEVELS {
            let exponents = arguments(87.0);
            let x: Vec<f32> = exponents
                .iter()
                .map(|x| x.exp())
                .chain([f32::MIN_POSITIVE, 1.0, f32::MAX])
                .collect();
            let mut y = x.clone();
            run(level(), LnInPlace(&mut y));
            for (x, y) in x.iter().zip(y) {
                let exact = f64::from(*x).ln();
                let error = (f64::from(y) - exact) / exact.abs().max(1.0);
                assert!(error.abs() < 2e-7, "ln({x}) = {y}, {error:e} off");
            }
        }
    }

    #[test]
    fn tanh_is_right_to_6e7_and_stays_within_one() {
        for level in LEVELS {
            let mut x = arguments(12.0);
            x.extend([f32::MAX, f32::INFINITY, f32::NEG_INFINITY]);
            let mut y = x.clone();
            run(level(), Tanh(&mut y));
            for (x, y) in x.iter().zip(y) {
                let error = f64::from(y) - f64::from(*x).tanh();
                assert!(error.abs() < 6e-7 && y.abs() <= 1.0, "tanh({x}) = {y}, {error:e} off");
            }
        }
    }

    #[test]
    fn nan_is_not_hidden() {
        let mut y = [f32::NAN; 3];
        run(Level::detect(), Tanh(&mut y));
        assert!(y.iter().all(|y| y.is_nan()));
    }
}
