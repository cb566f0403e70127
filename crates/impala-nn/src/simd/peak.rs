//! Measures the peak rate of multiply-adds of a core, with which kernels are compared.

use super::{Kernel, LANES, Level, Simd, launch};

/// Independent chains: two pipes for the five cycles that a multiply-add takes at most.
const CHAINS: usize = 10;

/// Chains of multiply-adds in registers.
struct Peak<'a> {
    rounds: usize,
    factor: &'a [f32; LANES],
}

impl Kernel for Peak<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        if S::WIDE {
            chains::<S, CHAINS>(s, self.rounds, self.factor)
        } else {
            // Vectors of several registers: half as many fit.
            chains::<S, { CHAINS / 2 }>(s, 2 * self.rounds, self.factor)
        }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(s: S, rounds: usize, factor: &[f32; LANES]) -> f32 {
    let factor = s.load(factor);
    let mut sums = [s.splat(0.5); N];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = s.mul_add(*sum, factor, factor);
        }
    }
    let mut total = factor;
    for sum in sums {
        total = s.add(total, sum);
    }
    s.sums([total; 4])[0]
}

/// Does [`peak_multiply_adds`] of `rounds` with the instructions of `level`, all in registers; gives a number that follows from
/// them, so that they are not left out.
#[must_use]
pub fn run_peak(level: Level, rounds: usize, factor: &[f32; LANES]) -> f32 {
    launch(level, Peak { rounds, factor })
}

/// How many multiply-adds [`run_peak`] does in so many rounds.
#[must_use]
pub const fn peak_multiply_adds(rounds: usize) -> usize {
    rounds * CHAINS * LANES
}
