//! From logits to actions: softmax, one uniform number per row, inverse of the cumulative distribution.
//!
//! Done here and not in libtorch, where sampling costs as much as the network.

use super::math::{exp_in_place, ln_in_place};
use crate::rng::Rng;

/// Draws actions from a categorical policy, and says how likely they were.
#[derive(Debug)]
pub struct Sampler {
    rng: Rng,
    /// `[E][A]`: logits less the row's largest, then their exponentials.
    weights: Vec<f32>,
    /// `[E]`: sums of the rows of `weights`, then their logarithms.
    sums: Vec<f32>,
}

impl Sampler {
    /// A sampler with its own stream of random numbers.
    #[must_use]
    pub const fn new(rng: Rng) -> Self {
        Self { rng, weights: Vec::new(), sums: Vec::new() }
    }

    /// Draws one action for each row of `logits` (`[E][A]`) and writes its log-probability.
    ///
    /// Gives false, with `actions` and `log_probs` valid but meaningless, if a logit is not finite.
    ///
    /// # Panics
    /// If lengths do not agree.
    #[must_use = "logits that are not finite make the actions meaningless"]
    pub fn sample(&mut self, logits: &[f32], actions: &mut [i32], log_probs: &mut [f32]) -> bool {
        let count = logits.len() / actions.len();
        assert_eq!(logits.len(), actions.len() * count, "logits");
        assert_eq!(log_probs.len(), actions.len(), "log-probabilities");
        if !self.softmax(logits, count) {
            actions.fill(0);
            log_probs.fill(0.0);
            return false;
        }
        let rows = self.weights.chunks_exact(count).zip(&self.sums);
        for ((row, &sum), action) in rows.zip(actions.iter_mut()) {
            let mut left = self.rng.unit_f32() * sum;
            // Rounding may leave something after the last: then it is the last.
            let mut chosen = 0_i32;
            for weight in &row[..count - 1] {
                left -= weight;
                if left < 0.0 {
                    break;
                }
                chosen += 1;
            }
            *action = chosen;
        }
        ln_in_place(&mut self.sums);
        let rows = logits.chunks_exact(count).zip(&self.sums);
        for ((row, log_sum), (action, log_prob)) in rows.zip(actions.iter().zip(log_probs)) {
            let largest = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            *log_prob = row[action.cast_unsigned() as usize] - largest - log_sum;
        }
        true
    }

    /// Fills `weights` and `sums`; false if a logit is not finite.
    fn softmax(&mut self, logits: &[f32], count: usize) -> bool {
        self.weights.clear();
        let mut check = 0.0;
        for row in logits.chunks_exact(count) {
            let largest = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            // NaN and infinity times 0 are NaN, and stay in the sum.
            check += row.iter().map(|z| z * 0.0).sum::<f32>();
            self.weights.extend(row.iter().map(|z| z - largest));
        }
        if check != 0.0 {
            return false;
        }
        exp_in_place(&mut self.weights);
        self.sums.clear();
        let sums = self.weights.chunks_exact(count).map(|row| row.iter().sum::<f32>());
        self.sums.extend(sums);
        true
    }
}

/// The most likely action of each row of `logits` (`[E][A]`), the first of equals.
///
/// # Panics
/// If lengths do not agree.
pub fn greedy(logits: &[f32], actions: &mut [i32]) {
    let count = logits.len() / actions.len();
    assert_eq!(logits.len(), actions.len() * count, "logits");
    for (row, action) in logits.chunks_exact(count).zip(actions) {
        let mut best = 0;
        for (index, z) in row.iter().enumerate() {
            if *z > row[best] {
                best = index;
            }
        }
        *action = i32::try_from(best).unwrap_or(i32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Log-softmax in f64, straight from its definition.
    fn reference(row: &[f32]) -> Vec<f64> {
        let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
        row.iter().map(|&z| f64::from(z) - sum.ln()).collect()
    }

    #[test]
    fn frequencies_are_the_probabilities() {
        const DRAWS: usize = 20_000;
        for row in [&[0.3_f32, -1.2][..], &[2.0, 0.0, -2.0, 1.0, 0.5, -0.3], &[0.0]] {
            let logits = row.repeat(DRAWS);
            let (mut actions, mut log_probs) = (vec![0; DRAWS], vec![0.0; DRAWS]);
            let mut sampler = Sampler::new(Rng::new(5, 0));
            assert!(sampler.sample(&logits, &mut actions, &mut log_probs));
            let expected = reference(row);
            let mut counts = vec![0_u32; row.len()];
            for (&action, &log_prob) in actions.iter().zip(&log_probs) {
                let action = usize::try_from(action).expect("not negative");
                counts[action] += 1;
                assert!((f64::from(log_prob) - expected[action]).abs() < 1e-6);
            }
            let chi_squared: f64 = counts
                .iter()
                .zip(&expected)
                .map(|(&n, log_p)| {
                    let mean = log_p.exp() * DRAWS as f64;
                    (f64::from(n) - mean).powi(2) / mean
                })
                .sum();
            // 99.99 % of chi-squared with 5 degrees of freedom lies below 26.
            assert!(chi_squared < 26.0, "{counts:?}");
        }
    }

    #[test]
    fn extreme_logits_stay_in_range() {
        let logits = [1e30_f32, -1e30, 0.0, -5e4, 5e4, 5e4, 80.0, 80.0, -200.0];
        let (mut actions, mut log_probs) = ([9; 3], [9.0; 3]);
        assert!(Sampler::new(Rng::new(1, 1)).sample(&logits, &mut actions, &mut log_probs));
        assert_eq!(actions[0], 0);
        assert!(actions.iter().all(|a| (0..3).contains(a)));
        assert!(log_probs.iter().all(|p| (-1.0..=0.0).contains(p)), "{log_probs:?}");
    }

    #[test]
    fn what_is_not_finite_is_reported() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (mut actions, mut log_probs) = ([7; 2], [7.0; 2]);
            let logits = [0.0, 1.0, bad, 0.0];
            assert!(!Sampler::new(Rng::new(1, 1)).sample(&logits, &mut actions, &mut log_probs));
            assert_eq!(actions, [0, 0]);
        }
    }

    #[test]
    fn greedy_takes_the_first_largest() {
        let mut actions = [9; 3];
        greedy(&[1.0, 2.0, 3.0, 3.0, -1.0, -2.0], &mut actions);
        assert_eq!(actions, [1, 0, 0]);
    }
}
