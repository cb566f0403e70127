//! Vectorised exp, ln and tanh over arrays of f32: a few instructions for each element, where libm takes a call.
//!
//! The coefficients are minimax fits (Lawson's iteration) made for this file. Errors are bounded by the
//! tests, over every binade of the argument.

use crate::simd::{Kernel, LANES, Simd};
use crate::simd::{Level, launch};

/// Replaces each x by e^x, to 2e-7 relative. Below -87 the result is e^-87 (1.6e-38), above 88 it is
/// e^88 (1.7e38); NaN stays NaN.
pub fn exp_in_place(values: &mut [f32]) {
    launch(Level::active(), InPlace(values, Exp));
}

/// Replaces each x, positive and normal, by its natural logarithm, to 2e-7 (relative, or absolute near
/// 1). Of no meaning for zero, subnormal and negative numbers.
pub fn ln_in_place(values: &mut [f32]) {
    launch(Level::active(), InPlace(values, Ln));
}

/// Replaces each x by tanh x, to 8e-7 absolute; never outside `[-1, 1]`. NaN stays NaN.
pub(crate) fn tanh_in_place(values: &mut [f32]) {
    launch(Level::active(), InPlace(values, Tanh));
}

/// A function of one number.
trait Function {
    fn of<S: Simd>(s: S, x: S::V) -> S::V;
}

struct Exp;

impl Function for Exp {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::V) -> S::V {
        exp(s, x)
    }
}

struct Ln;

impl Function for Ln {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::V) -> S::V {
        ln(s, x)
    }
}

struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::V) -> S::V {
        tanh(s, x)
    }
}

/// Applies a function to all elements.
struct InPlace<'a, F>(&'a mut [f32], F);

impl<F: Function> Kernel for InPlace<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (chunks, rest) = self.0.as_chunks_mut::<LANES>();
        for chunk in chunks {
            s.store(F::of(s, s.load(chunk)), chunk);
        }
        if !rest.is_empty() {
            // Padded with something that every function takes.
            let mut padded = [1.0; LANES];
            padded[..rest.len()].copy_from_slice(rest);
            s.store(F::of(s, s.load(&padded)), &mut padded);
            rest.copy_from_slice(&padded[..rest.len()]);
        }
    }
}

/// e^x = 2^n e^r with n whole and |r| <= ln 2 / 2.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    /// 1.5 * 2^23: adding it rounds to a whole number, which is then in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: n times the first is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = s.min(s.splat(88.0), s.max(s.splat(-87.0), x));
    let shifted = s.mul_add(x, s.splat(std::f32::consts::LOG2_E), s.splat(ROUND));
    let n = s.add(shifted, s.splat(-ROUND));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let p = s.mul_add(s.splat(1.381_446_7e-3), r, s.splat(8.368_781e-3));
    let p = s.mul_add(p, r, s.splat(4.166_839_4e-2));
    let p = s.mul_add(p, r, s.splat(1.666_652e-1));
    let p = s.mul_add(p, r, s.splat(4.999_999_3e-1));
    let p = s.add(s.mul_add(s.mul(p, r), r, r), s.splat(1.0));
    s.scale(p, shifted)
}

/// ln(m 2^e) = e ln 2 + 2 artanh((m - 1) / (m + 1)).
#[inline(always)]
pub(crate) fn ln<S: Simd>(s: S, x: S::V) -> S::V {
    let m = s.mantissa(x);
    let a = s.div(s.add(m, s.splat(-1.0)), s.add(m, s.splat(1.0)));
    let square = s.mul(a, a);
    let p = s.mul_add(s.splat(2.987_307_4e-1), square, s.splat(3.997_749_6e-1));
    let p = s.mul_add(p, square, s.splat(6.666_678e-1));
    let artanh = s.mul_add(s.mul(p, square), a, s.add(a, a));
    s.mul_add(s.exponent(x), s.splat(std::f32::consts::LN_2), artanh)
}

/// tanh x as x P(x^2) / Q(x^2), to 8e-7 absolute; beyond 7.8 it is constant. Never outside [-1, 1].
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.min(s.splat(7.8), s.max(s.splat(-7.8), x));
    let t = s.mul(x, x);
    let p = s.mul_add(s.splat(46.244_934), t, s.splat(11_875.375));
    let p = s.mul_add(p, t, s.splat(519_134.62));
    let p = s.mul_add(p, t, s.splat(4_014_441.5));
    // Q is scaled such that it begins with 1 t: an addition, which does not compete for the multipliers.
    let q = s.add(t, s.splat(962.512_5));
    let q = s.mul_add(q, t, s.splat(95_716.28));
    let q = s.mul_add(q, t, s.splat(1_857_274.8));
    let q = s.mul_add(q, t, s.splat(4_014_443.5));
    s.ratio(s.mul(x, p), q)
}

/// 1 / (1 + e^-x) by the tanh of half of x, to 5e-7 absolute; from 0 to 1.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.splat(0.5);
    s.mul_add(tanh(s, s.mul(x, half)), half, half)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of both signs and all sizes up to `limit`, dense enough to meet every binade often.
    fn arguments(limit: f32) -> Vec<f32> {
        let fine = (-40_000..=40_000).map(|i| limit * i as f32 / 40_000.0);
        let small = (0..20_000).map(|i| limit * (-(i as f32) / 300.0).exp2());
        fine.chain(small.flat_map(|x| [x, -x])).collect()
    }

    #[test]
    fn exp_is_right_to_2e7() {
        for level in Level::all() {
            let x = arguments(87.0);
            let mut y = x.clone();
            launch(level, InPlace(&mut y, Exp));
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
        for level in Level::all() {
            let exponents = arguments(87.0);
            let x: Vec<f32> = exponents
                .iter()
                .map(|x| x.exp())
                .chain([f32::MIN_POSITIVE, 1.0, f32::MAX])
                .collect();
            let mut y = x.clone();
            launch(level, InPlace(&mut y, Ln));
            for (x, y) in x.iter().zip(y) {
                let exact = f64::from(*x).ln();
                let error = (f64::from(y) - exact) / exact.abs().max(1.0);
                assert!(error.abs() < 2e-7, "ln({x}) = {y}, {error:e} off");
            }
        }
    }

    #[test]
    fn tanh_is_right_to_8e7_and_stays_within_one() {
        for level in Level::all() {
            let mut x = arguments(12.0);
            x.extend([f32::MAX, f32::INFINITY, f32::NEG_INFINITY]);
            let mut y = x.clone();
            launch(level, InPlace(&mut y, Tanh));
            for (x, y) in x.iter().zip(y) {
                let error = f64::from(y) - f64::from(*x).tanh();
                assert!(error.abs() < 8e-7 && y.abs() <= 1.0, "tanh({x}) = {y}, {error:e} off");
            }
        }
    }

    struct Sigmoid;

    impl Function for Sigmoid {
        #[inline(always)]
        fn of<S: Simd>(s: S, x: S::V) -> S::V {
            sigmoid(s, x)
        }
    }

    #[test]
    fn sigmoid_is_right_to_5e7_and_stays_between_0_and_1() {
        for level in Level::all() {
            let mut x = arguments(24.0);
            x.extend([f32::MAX, f32::INFINITY, f32::NEG_INFINITY]);
            let mut y = x.clone();
            launch(level, InPlace(&mut y, Sigmoid));
            for (x, y) in x.iter().zip(y) {
                let error = f64::from(y) - 1.0 / (1.0 + f64::from(-x).exp());
                let within = (0.0..=1.0).contains(&y);
                assert!(error.abs() < 5e-7 && within, "sigmoid({x}) = {y}, {error:e} off");
            }
        }
    }

    #[test]
    fn nan_is_not_hidden() {
        let mut y = [f32::NAN; 3];
        launch(Level::active(), InPlace(&mut y, Tanh));
        assert!(y.iter().all(|y| y.is_nan()));
    }
}
