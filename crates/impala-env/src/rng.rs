//! Seeded random numbers: one stream per actor and environment, the same on every machine.

use rand_core::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A small, fast, seedable generator (xoshiro256++). Not for secrets.
#[derive(Debug, Clone)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// A generator for `stream` of `seed`: different streams of one seed are independent.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        // splitmix64 (inside `seed_from_u64`) spreads neighbouring seeds; the odd constant keeps
        // (seed, stream) and (seed + 1, stream - 1) apart.
        let mixed = seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        Self(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64")]
    pub fn unit_f64(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform in `[0, 1)`, 24 bits.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
    pub fn unit_f32(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in `[low, high)`.
    pub fn uniform_f64(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit_f64()
    }

    /// Uniform in `0..n`, by multiplication (bias below 2^-32 for the small `n` used here).
    ///
    /// # Panics
    /// If `n` is 0 or above `u32::MAX`.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).expect("usize fits u64");
        assert!(n > 0 && n <= u64::from(u32::MAX), "below({n}) out of range");
        usize::try_from(((self.0.next_u64() >> 32) * n) >> 32).expect("below n")
    }

    /// A standard normal number (Box-Muller; for initialisation, not for hot paths).
    pub fn normal_f64(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit_f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit_f64()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 1));
    }

    #[test]
    fn ranges_hold() {
        let mut rng = Rng::new(7, 0);
        let mut seen = [0_u32; 3];
        for _ in 0..3_000 {
            assert!((0.0..1.0).contains(&rng.unit_f32()));
            let x = rng.uniform_f64(-0.05, 0.05);
            assert!((-0.05..0.05).contains(&x));
            seen[rng.below(3)] += 1;
        }
        assert!(seen.iter().all(|&n| n > 800), "{seen:?}");
    }
}
