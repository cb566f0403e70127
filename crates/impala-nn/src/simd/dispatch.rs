//! Which instructions the kernels are compiled for, chosen once at run time.
//!
//! Each instruction set has one function here, compiled for that set, into which a kernel is inlined. The
//! only thing that could go wrong is to call such a function on a CPU without the instructions, hence
//! this door. Invariants:
//!
//! - I1: a [`Level`] with `Isa::Avx2Fma` is made in [`Level::detect`] alone, after the CPU was seen to
//!   have AVX2 and FMA; the field is private. What a CPU has does not change while a process runs.
#![allow(unsafe_code)]

use crate::simd;

/// The instruction sets that there is code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isa {
    /// What the crate is compiled for: SSE2 on x86-64, NEON on 64-bit Arm.
    Baseline,
    /// 256-bit vectors and fused multiply-add: x86-64 since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2Fma,
}

/// The instructions that kernels may use on this CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(Isa);

impl Level {
    /// Works on every CPU that the crate is compiled for.
    pub const BASELINE: Self = Self(Isa::Baseline);

    /// The best that this CPU has; a few nanoseconds.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            return Self(Isa::Avx2Fma);
        }
        Self::BASELINE
    }

    /// What to call it in a log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Isa::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2Fma => "avx2+fma",
        }
    }
}

/// Runs `kernel` with the instructions of `level`.
///
/// ```
/// use impala_nn::simd::{Kernel, LANES, Level, Simd, launch};
///
/// struct Sum<'a>(&'a [[f32; LANES]]);
///
/// impl Kernel for Sum<'_> {
///     type Output = f32;
///
///     #[inline(always)]
///     fn run<S: Simd>(self, simd: S) -> f32 {
///         let zero = simd.splat(0.0);
///         let sum = self.0.iter().fold(zero, |sum, x| simd.add(sum, simd.load(x)));
///         simd.sums([sum, zero, zero, zero])[0]
///     }
/// }
///
/// assert_eq!(launch(Level::detect(), Sum(&[[0.5; LANES]; 3])), 12.0);
/// ```
pub fn launch<K: simd::Kernel>(level: Level, kernel: K) -> K::Output {
    match level.0 {
        Isa::Baseline => simd::run_baseline(kernel),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2Fma => {
            // SAFETY: the CPU has AVX2 and FMA (I1).
            unsafe { run_avx2_fma(kernel) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2_fma<K: simd::Kernel>(kernel: K) -> K::Output {
    use simd::{Instructions, MANTISSA_MASK, Op, SQRT_HALF_BITS};
    use std::arch::x86_64::*;

    let op = |op: Op, a: __m256, b: __m256, c: __m256| {
        let bits = _mm256_castps_si256(a);
        let sqrt_half = _mm256_set1_epi32(SQRT_HALF_BITS);
        match op {
            Op::MulAdd => _mm256_fmadd_ps(a, b, c),
            Op::Add => _mm256_add_ps(a, b),
            Op::Mul => _mm256_mul_ps(a, b),
            Op::Div => _mm256_div_ps(a, b),
            // With a NaN, the result of either is its second operand.
            Op::Max => _mm256_max_ps(a, b),
            Op::Min => _mm256_min_ps(a, b),
            Op::WherePositive => {
                let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(a, _mm256_setzero_ps());
                _mm256_blendv_ps(c, b, positive)
            }
            Op::AddPairs => _mm256_hadd_ps(a, b),
            Op::Scale => {
                let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(b));
                _mm256_castsi256_ps(_mm256_add_epi32(bits, n))
            }
            Op::Exponent => {
                let above = _mm256_sub_epi32(bits, sqrt_half);
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(above))
            }
            Op::Mantissa => {
                let above = _mm256_sub_epi32(bits, sqrt_half);
                let mantissa = _mm256_and_si256(above, _mm256_set1_epi32(MANTISSA_MASK));
                _mm256_castsi256_ps(_mm256_add_epi32(mantissa, sqrt_half))
            }
        }
    };
    let splat = |x: f32| _mm256_set1_ps(x);
    kernel.run(Instructions { op, splat })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Simd;

    struct Dot<'a>(&'a [f32; 8], &'a [f32; 8]);

    impl simd::Kernel for Dot<'_> {
        type Output = f32;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            let zero = s.splat(0.0);
            s.sums([s.mul_add(s.load(self.0), s.load(self.1), zero), zero, zero, zero])[0]
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        let (a, b) = ([1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 4.0], [5.0; 8]);
        for level in [Level::BASELINE, Level::detect()] {
            assert_eq!(launch(level, Dot(&a, &b)), 50.0, "{}", level.name());
        }
    }
}
