//! One choice: `pi` is the softmax of the logits `z`.
//!
//! ```text
//! - d log pi(a) / dz_j = pi_j - [j = a],        - dH / dz_j = pi_j (log pi_j + H)
//! ```

use super::transitions::{PolicyGradientWeight, PolicyGradientWeights};
use crate::policy::math::{exp_in_place, ln_in_place};

/// The policy of a strip.
#[derive(Debug, Default)]
pub(super) struct Categorical {
    /// `[T][strip][n]`.
    log_probs: Vec<f32>,
    /// `[T][strip][n]`.
    probs: Vec<f32>,
    log_sums: Vec<f32>,
    actions: Vec<usize>,
}

impl Categorical {
    /// Computes the policy from `logits`, `[T][strip][n]`, and writes log pi of the `chosen` actions.
    pub(super) fn evaluate(
        &mut self,
        logits: &[f32],
        n: usize,
        chosen: impl Iterator<Item = i32>,
        taken: &mut Vec<f32>,
    ) {
        self.log_softmax(logits, n);
        self.actions.clear();
        self.actions.extend(chosen.map(|action| action_index(action, n)));
        let rows = self.log_probs.chunks_exact(n);
        taken.clear();
        taken.extend(rows.zip(&self.actions).map(|(row, &action)| row[action]));
    }

    fn log_softmax(&mut self, logits: &[f32], n: usize) {
        self.log_probs.resize(logits.len(), 0.0);
        for (shifted, row) in self.log_probs.chunks_exact_mut(n).zip(logits.chunks_exact(n)) {
            let max = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            shifted.iter_mut().zip(row).for_each(|(s, z)| *s = z - max);
        }
        self.probs.clone_from(&self.log_probs);
        exp_in_place(&mut self.probs);
        self.log_sums.clear();
        self.log_sums.extend(self.probs.chunks_exact(n).map(|row| row.iter().sum::<f32>()));
        for (row, &sum) in self.probs.chunks_exact_mut(n).zip(&self.log_sums) {
            let scale = 1.0 / sum;
            row.iter_mut().for_each(|p| *p *= scale);
        }
        ln_in_place(&mut self.log_sums);
        for (row, &log_sum) in self.log_probs.chunks_exact_mut(n).zip(&self.log_sums) {
            row.iter_mut().for_each(|z| *z -= log_sum);
        }
    }

    /// Writes dL/dlogits and gives the sum of entropies.
    pub(super) fn gradients(
        &self,
        n: usize,
        weights: PolicyGradientWeights<'_>,
        d_logits: &mut [f32],
    ) -> f32 {
        // A number of actions that is known to the compiler unrolls the loops over actions.
        match n {
            2 => self.gradients_of::<2>(weights, d_logits),
            3 => self.gradients_of::<3>(weights, d_logits),
            4 => self.gradients_of::<4>(weights, d_logits),
            6 => self.gradients_of::<6>(weights, d_logits),
            _ => self.gradients_of_any(n, weights, d_logits),
        }
    }

    fn gradients_of<const N: usize>(
        &self,
        weights: PolicyGradientWeights<'_>,
        d_logits: &mut [f32],
    ) -> f32 {
        self.gradients_of_any(N, weights, d_logits)
    }

    #[inline(always)]
    fn gradients_of_any(
        &self,
        n: usize,
        weights: PolicyGradientWeights<'_>,
        d_logits: &mut [f32],
    ) -> f32 {
        let rows = d_logits
            .chunks_exact_mut(n)
            .zip(self.probs.chunks_exact(n))
            .zip(self.log_probs.chunks_exact(n));
        let mut entropies = 0.0;
        for ((((d_logits, probs), log_probs), weight), &action) in
            rows.zip(weights.each()).zip(&self.actions)
        {
            entropies += choice_gradient(d_logits, (probs, log_probs), action, weight);
        }
        entropies
    }
}

/// The gradient of one choice, and its entropy times the weight of the transition.
#[inline(always)]
pub(super) fn choice_gradient(
    d_logits: &mut [f32],
    (probs, log_probs): (&[f32], &[f32]),
    action: usize,
    weight: PolicyGradientWeight,
) -> f32 {
    let entropy = -probs.iter().zip(log_probs).map(|(p, l)| p * l).sum::<f32>();
    for ((d, &p), &l) in d_logits.iter_mut().zip(probs).zip(log_probs) {
        *d = p * (weight.advantage + weight.entropy_cost * (l + entropy));
    }
    d_logits[action] -= weight.advantage;
    weight.keep * entropy
}

/// A word as an index, below `n`.
pub(super) fn action_index(action: i32, n: usize) -> usize {
    usize::try_from(action)
        .ok()
        .filter(|&action| action < n)
        .expect("actions are checked when the block is taken")
}
