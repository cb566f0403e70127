//! The diagonal Gaussian policy for continuous actions: sampling, log-probability and entropy.
//!
//! The network gives 2 D outputs: D means `m`, then D raw log-deviations `s`. An action is drawn as
//! `u = m + sigma eps`, number by number, with `eps` standard normal and
//!
//! ```text
//! log sigma = -1.5 + 3.5 tanh((s + 1.5) / 3.5)           between -5 and 2, and close to s in the middle
//! log pi(u) = - sum (log sigma + z^2 / 2 + log(2 pi) / 2),  z = (u - m) / sigma
//! H         = sum (log sigma + log(2 pi e) / 2)
//! ```
//!
//! `u` is what is stored, and all of this is about `u`: how it becomes an action within its bounds
//! ([`super::bounds`]) is a part of the environment, so importance ratios are exact whatever it does.

use super::math::{exp_in_place, ln_in_place, tanh_in_place};
use impala_env::rng::Rng;

/// Smallest log-deviation.
pub const LOG_STD_MIN: f32 = -5.0;
/// Largest log-deviation.
pub const LOG_STD_MAX: f32 = 2.0;

const LOG_STD_MIDDLE: f32 = (LOG_STD_MIN + LOG_STD_MAX) / 2.0;
const LOG_STD_REACH: f32 = (LOG_STD_MAX - LOG_STD_MIN) / 2.0;
/// log(2 pi) / 2.
const HALF_LOG_TAU: f32 = 0.918_938_5;

/// What follows from the raw log-deviations of some rows of outputs; all `[rows][D]`.
#[derive(Debug, Default)]
pub struct Deviations {
    /// log sigma.
    pub log: Vec<f32>,
    /// 1 / sigma.
    pub inverse: Vec<f32>,
    /// The derivative of log sigma by the raw output, between 0 and 1.
    pub slope: Vec<f32>,
}

impl Deviations {
    /// Takes them from `outputs`, `[rows][2 D]`.
    ///
    /// # Panics
    /// If `dims` (D) is 0 or the outputs are not whole rows.
    pub fn set(&mut self, outputs: &[f32], dims: usize) {
        assert!(dims > 0 && outputs.len().is_multiple_of(2 * dims), "outputs of {dims} numbers");
        self.log.clear();
        for row in outputs.chunks_exact(2 * dims) {
            let raw = row[dims..].iter();
            self.log.extend(raw.map(|s| (s - LOG_STD_MIDDLE) * (1.0 / LOG_STD_REACH)));
        }
        tanh_in_place(&mut self.log);
        self.slope.clear();
        self.slope.extend(self.log.iter().map(|t| 1.0 - t * t));
        self.log.iter_mut().for_each(|t| *t = LOG_STD_MIDDLE + LOG_STD_REACH * *t);
        self.inverse.clear();
        self.inverse.extend(self.log.iter().map(|log| -log));
        exp_in_place(&mut self.inverse);
    }
}

/// Log-probability density of a `u` that is `z` deviations from the mean, number by number: what it adds
/// to that of the action.
#[must_use]
pub fn log_density(z: f32, log_std: f32) -> f32 {
    -(log_std + 0.5 * z * z + HALF_LOG_TAU)
}

/// Entropy of one number, in nats.
#[must_use]
pub fn entropy(log_std: f32) -> f32 {
    log_std + (0.5 + HALF_LOG_TAU)
}

/// Draws actions of a Gaussian policy. One uniform number for each number of an action, in their order.
#[derive(Debug)]
pub struct GaussianSampler {
    dims: usize,
    rng: Rng,
    deviations: Deviations,
    noise: Normals,
}

impl GaussianSampler {
    /// A sampler of actions of `dims` (D) numbers, which draws from `rng`.
    #[must_use]
    pub fn new(dims: usize, rng: Rng) -> Self {
        Self { dims, rng, deviations: Deviations::default(), noise: Normals::default() }
    }

    /// Draws `u` for each row of `outputs` (`[E][2 D]`), and writes the bits of its numbers (`[E][D]`) and
    /// its log-probability density (`[E]`). Returns false if something is not finite.
    ///
    /// # Panics
    /// If lengths do not agree.
    #[must_use = "actions from outputs that are not finite mean nothing"]
    pub fn sample(&mut self, outputs: &[f32], words: &mut [i32], log_probs: &mut [f32]) -> bool {
        let Self { dims, rng, deviations, noise } = self;
        let dims = *dims;
        assert_eq!(outputs.len(), 2 * words.len(), "outputs");
        assert_eq!(log_probs.len() * dims, words.len(), "log-probabilities");
        deviations.set(outputs, dims);
        let noise = noise.draw(rng, words.len());
        let rows = words.chunks_exact_mut(dims).zip(outputs.chunks_exact(2 * dims));
        let scales = deviations.log.chunks_exact(dims).zip(deviations.inverse.chunks_exact(dims));
        let rows = rows.zip(scales).zip(noise.chunks_exact(dims)).zip(log_probs);
        let mut finite = true;
        for ((((words, means), (log_stds, inverses)), noise), log_prob) in rows {
            *log_prob = 0.0;
            for (dim, word) in words.iter_mut().enumerate() {
                let u = means[dim] + noise[dim] / inverses[dim];
                // From what is stored, after rounding: the learner computes the very same.
                let z = (u - means[dim]) * inverses[dim];
                *log_prob += log_density(z, log_stds[dim]);
                *word = u.to_bits().cast_signed();
            }
            finite &= log_prob.is_finite();
        }
        finite & all_finite(outputs)
    }
}

/// Writes the means of `outputs` (`[E][2 D]`) as words (`[E][D]`), for actions of `dims` (D) numbers.
/// Returns false if an output is not finite.
///
/// # Panics
/// If lengths do not agree.
#[must_use = "actions from outputs that are not finite mean nothing"]
pub fn means(outputs: &[f32], dims: usize, words: &mut [i32]) -> bool {
    assert_eq!(outputs.len(), 2 * words.len(), "outputs");
    for (words, row) in words.chunks_exact_mut(dims).zip(outputs.chunks_exact(2 * dims)) {
        for (word, mean) in words.iter_mut().zip(row) {
            *word = mean.to_bits().cast_signed();
        }
    }
    all_finite(outputs)
}

fn all_finite(numbers: &[f32]) -> bool {
    numbers.iter().fold(true, |finite, x| finite & x.is_finite())
}

/// Standard normal numbers by inversion of their distribution function, one uniform number each: up to
/// 5.3, in steps that no test of the policy's statistics could see.
#[derive(Debug, Default)]
struct Normals {
    /// From -1 to 1, then what is made of it.
    values: Vec<f32>,
    logs: Vec<f32>,
}

impl Normals {
    fn draw(&mut self, rng: &mut Rng, count: usize) -> &[f32] {
        /// Half a step of [`Rng::unit_f32`]: never 0 or 1, and symmetric.
        const HALF_STEP: f32 = 1.0 / 33_554_432.0;
        self.values.clear();
        self.values.extend((0..count).map(|_| (rng.unit_f32() - 0.5 + HALF_STEP) * 2.0));
        self.logs.clear();
        self.logs.extend(self.values.iter().map(|x| (1.0 - x) * (1.0 + x)));
        ln_in_place(&mut self.logs);
        for (x, log) in self.values.iter_mut().zip(&self.logs) {
            *x *= std::f32::consts::SQRT_2 * erfinv_over_x(-log);
        }
        &self.values
    }
}

/// erfinv(x) / x from `w = - ln(1 - x^2)`, to 4e-7: Giles, "Approximating the erfinv function" (GPU Computing
/// Gems 2, 2011), single precision.
fn erfinv_over_x(w: f32) -> f32 {
    const MIDDLE: [f32; 9] = [
        2.810_226_4e-8,
        3.432_739_4e-7,
        -3.523_387_7e-6,
        -4.391_506_5e-6,
        2.185_808_7e-4,
        -1.253_725e-3,
        -4.177_681_6e-3,
        2.466_407_3e-1,
        1.501_409_4,
    ];
    const TAIL: [f32; 9] = [
        -2.002_142_6e-4,
        1.009_505_6e-4,
        1.349_343_2e-3,
        -3.673_428_4e-3,
        5.739_507_7e-3,
        -7.622_461_3e-3,
        9.438_870_5e-3,
        1.001_674,
        2.832_976_8,
    ];
    let polynomial =
        |coefficients: &[f32; 9], x: f32| coefficients.iter().fold(0.0, |p, c| p * x + c);
    if w < 5.0 { polynomial(&MIDDLE, w - 2.5) } else { polynomial(&TAIL, w.sqrt() - 3.0) }
}

#[cfg(test)]
mod tests;
