//! Chooses once, at run time, the instruction set that the kernels run with.
//!
//! Each instruction set has one function here, compiled for that set, into which a kernel is inlined. The
//! only thing that could go wrong is to call such a function on a CPU without the instructions, hence
//! this file. Invariants:
//!
//! - I1: a [`Level`] beyond the baseline is made in [`Level::of`] alone, after the CPU was seen to have the instructions
//!   that the function for it is compiled for; the field is private. What a CPU has does not change while a process runs.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::simd;

/// What [`Level::choose`] has chosen.
static CHOSEN: OnceLock<Level> = OnceLock::new();

/// How wide vectors are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Vectors {
    /// The widest that the CPU has
    #[default]
    Auto,
    /// Those of every CPU of its kind: 128 bits
    Baseline,
    /// 256 bits, with fused multiply-add
    Avx2,
    /// 512 bits
    Avx512,
}

impl std::fmt::Display for Vectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

/// Vectors that the CPU lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this CPU has no {vectors}; the widest vectors that it has are {best}")]
pub struct NoSuchVectors {
    /// What was asked for.
    pub vectors: Vectors,
    /// [`Level::name`] of the best.
    pub best: &'static str,
}

/// The instruction sets that there is code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isa {
    /// What the crate is compiled for: SSE2 on x86-64, NEON on 64-bit Arm.
    Baseline,
    /// 256-bit vectors and fused multiply-add: x86-64 since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2Fma,
    /// 512-bit vectors, twice as many registers: servers since 2017 (F, BW, CD, DQ and VL).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The instructions that kernels may use on this CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(Isa);

impl Level {
    /// Works on every CPU that the crate is compiled for.
    pub const BASELINE: Self = Self(Isa::Baseline);

    /// That of `vectors`, if this CPU has the instructions; a few nanoseconds.
    fn of(vectors: Vectors) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            let avx512 = avx2
                && has!("avx512f")
                && has!("avx512bw")
                && has!("avx512cd")
                && has!("avx512dq")
                && has!("avx512vl");
            match vectors {
                Vectors::Avx512 | Vectors::Auto if avx512 => return Some(Self(Isa::Avx512)),
                Vectors::Avx2 | Vectors::Auto if avx2 => return Some(Self(Isa::Avx2Fma)),
                _ => {}
            }
        }
        matches!(vectors, Vectors::Auto | Vectors::Baseline).then_some(Self::BASELINE)
    }

    /// What this process computes with: what [`Level::choose`] has chosen, else the best that this CPU has.
    #[must_use]
    pub fn active() -> Self {
        CHOSEN.get().copied().unwrap_or_else(Self::best)
    }

    /// The best that this CPU has.
    #[must_use]
    pub fn best() -> Self {
        Self::of(Vectors::Auto).unwrap_or(Self::BASELINE)
    }

    /// All that this CPU has, the best last.
    #[must_use]
    pub fn all() -> Vec<Self> {
        [Vectors::Baseline, Vectors::Avx2, Vectors::Avx512]
            .into_iter()
            .filter_map(Self::of)
            .collect()
    }

    /// Makes all that is built from now on, in this process and those that it forks, compute with `vectors`. Only the first
    /// choice counts.
    ///
    /// # Errors
    /// [`NoSuchVectors`] if this CPU lacks them; nothing is chosen then.
    pub fn choose(vectors: Vectors) -> Result<Self, NoSuchVectors> {
        let best = Self::best().name();
        let level = Self::of(vectors).ok_or(NoSuchVectors { vectors, best })?;
        Ok(*CHOSEN.get_or_init(|| level))
    }

    /// What to call it in a log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Isa::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2Fma => "avx2+fma",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
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
/// assert_eq!(launch(Level::active(), Sum(&[[0.5; LANES]; 3])), 24.0);
/// ```
pub fn launch<K: simd::Kernel>(level: Level, kernel: K) -> K::Output {
    match level.0 {
        Isa::Baseline => simd::run_baseline(kernel),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2Fma => {
            // SAFETY: the CPU has AVX2 and FMA (I1).
            unsafe { run_avx2_fma(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            // SAFETY: the CPU has these parts of AVX-512, AVX2 and FMA (I1).
            unsafe { run_avx512(kernel) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2_fma<K: simd::Kernel>(kernel: K) -> K::Output {
    use simd::{Instructions, MANTISSA_MASK, Op, SQRT_HALF_BITS};
    use std::arch::x86_64::*;

    let half = |op: Op, a: __m256, b: __m256, c: __m256| {
        let bits = _mm256_castps_si256(a);
        let sqrt_half = _mm256_set1_epi32(SQRT_HALF_BITS);
        match op {
            Op::MulAdd => _mm256_fmadd_ps(a, b, c),
            Op::Add => _mm256_add_ps(a, b),
            Op::Mul => _mm256_mul_ps(a, b),
            Op::Div | Op::Ratio => _mm256_div_ps(a, b),
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
    let op = |op: Op, [a, d]: [__m256; 2], [b, e]: [__m256; 2], [c, f]: [__m256; 2]| {
        [half(op, a, b, c), half(op, d, e, f)]
    };
    let splat = |x: f32| [_mm256_set1_ps(x); 2];
    kernel.run(Instructions::<_, _, false> { op, splat })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<K: simd::Kernel>(kernel: K) -> K::Output {
    use simd::{Instructions, MANTISSA_MASK, Op, SQRT_HALF_BITS};
    use std::arch::x86_64::*;

    let op = |op: Op, a: __m512, b: __m512, c: __m512| {
        let bits = _mm512_castps_si512(a);
        let sqrt_half = _mm512_set1_epi32(SQRT_HALF_BITS);
        match op {
            Op::MulAdd => _mm512_fmadd_ps(a, b, c),
            Op::Add => _mm512_add_ps(a, b),
            Op::Mul => _mm512_mul_ps(a, b),
            Op::Div => _mm512_div_ps(a, b),
            // An estimate to 2^-14 and one step of Newton's method.
            Op::Ratio => {
                let inverse = _mm512_rcp14_ps(b);
                let ratio = _mm512_mul_ps(a, inverse);
                let error = _mm512_fnmadd_ps(b, inverse, _mm512_set1_ps(1.0));
                _mm512_fmadd_ps(ratio, error, ratio)
            }
            // With a NaN, the result of either is its second operand.
            Op::Max => _mm512_max_ps(a, b),
            Op::Min => _mm512_min_ps(a, b),
            Op::WherePositive => {
                let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, _mm512_setzero_ps());
                _mm512_mask_blend_ps(positive, c, b)
            }
            Op::AddPairs => {
                let first = _mm512_shuffle_ps::<0b10_00_10_00>(a, b);
                _mm512_add_ps(first, _mm512_shuffle_ps::<0b11_01_11_01>(a, b))
            }
            Op::Scale => {
                let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(b));
                _mm512_castsi512_ps(_mm512_add_epi32(bits, n))
            }
            Op::Exponent => {
                let above = _mm512_sub_epi32(bits, sqrt_half);
                _mm512_cvtepi32_ps(_mm512_srai_epi32::<23>(above))
            }
            Op::Mantissa => {
                let above = _mm512_sub_epi32(bits, sqrt_half);
                let mantissa = _mm512_and_si512(above, _mm512_set1_epi32(MANTISSA_MASK));
                _mm512_castsi512_ps(_mm512_add_epi32(mantissa, sqrt_half))
            }
        }
    };
    let splat = |x: f32| _mm512_set1_ps(x);
    kernel.run(Instructions::<_, _, true> { op, splat })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{LANES, Simd};

    struct Dot<'a>(&'a [f32; LANES], &'a [f32; LANES]);

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
        let (mut a, b) = ([0.0; LANES], [5.0; LANES]);
        (a[0], a[1], a[2], a[7], a[15]) = (1.0, 2.0, 3.0, 4.0, 6.0);
        for level in Level::all() {
            assert_eq!(launch(level, Dot(&a, &b)), 80.0, "{}", level.name());
        }
    }

    #[test]
    fn the_best_is_the_last_and_what_is_missing_is_refused() {
        let all = Level::all();
        assert_eq!(all[0], Level::BASELINE);
        assert_eq!(all.last(), Some(&Level::best()));
        for vectors in [Vectors::Baseline, Vectors::Avx2, Vectors::Avx512] {
            let has = all.iter().any(|level| level.name().starts_with(&vectors.to_string()));
            assert_eq!(Level::of(vectors).is_some(), has, "{vectors}");
        }
        let missing = NoSuchVectors { vectors: Vectors::Avx512, best: "avx2+fma" };
        assert!(missing.to_string().contains("no avx512"));
    }
}
