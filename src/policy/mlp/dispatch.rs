//! Which instructions the kernels are compiled for, chosen once at run time.
//!
//! A kernel is safe Rust over fixed-size arrays that the compiler vectorises. Its body is inlined into
//! one function per instruction set, and compiled there for that set. The only thing that could go wrong
//! is to call a function compiled for instructions that the CPU does not have, hence this door. Invariants:
//!
//! - **I1** A [`Level`] with `Isa::Avx2Fma` is made in [`Level::detect`] alone, after the CPU was seen to
//!   have AVX2 and FMA; the field is private. What a CPU has does not change while a process runs.
#![allow(unsafe_code)]

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

/// A computation that is compiled once per instruction set.
///
/// `run` and all that it calls in its inner loops must be `#[inline(always)]`: what is not inlined is
/// compiled for the baseline.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;

    /// The computation. With `FMA`, [`fma`] is one instruction.
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Runs `kernel` with the instructions of `level`.
pub(crate) fn run<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level.0 {
        // 64-bit Arm always has fused multiply-add.
        Isa::Baseline => {
            kernel.run::<{ cfg!(any(target_feature = "fma", target_arch = "aarch64")) }>()
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2Fma => {
            // SAFETY: the CPU has AVX2 and FMA (I1).
            unsafe { run_avx2_fma(kernel) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2_fma<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

/// `a * b + c`, rounded once with `FMA`; never the slow emulation of it in software.
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dot<'a>(&'a [f32], &'a [f32]);

    impl Kernel for Dot<'_> {
        type Output = (f32, bool);

        #[inline(always)]
        fn run<const FMA: bool>(self) -> Self::Output {
            (self.0.iter().zip(self.1).fold(0.0, |sum, (&a, &b)| fma::<FMA>(a, b, sum)), FMA)
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        let (a, b) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
        let best = Level::detect();
        assert_eq!(run(Level::BASELINE, Dot(&a, &b)).0, 32.0);
        assert_eq!(run(best, Dot(&a, &b)).0, 32.0);
        if best != Level::BASELINE {
            assert!(run(best, Dot(&a, &b)).1, "{} must fuse", best.name());
        }
    }
}
