//! Several choices at once, independent given the observation: log-probabilities and entropies are sums
//! over them, so each choice has the gradient of [`super::categorical`], with its own entropy.

use super::categorical::{action_index, choice_gradient};
use super::transitions::PolicyGradientWeights;
use crate::policy::math::{exp_in_place, ln_in_place};

/// The policy of a strip.
#[derive(Debug, Default)]
pub(super) struct MultiCategorical {
    /// `[T][strip][outputs]`.
    log_probs: Vec<f32>,
    /// `[T][strip][outputs]`.
    probs: Vec<f32>,
    /// `[T][strip][choices]`.
    log_sums: Vec<f32>,
    /// `[T][strip][choices]`.
    actions: Vec<usize>,
}

impl MultiCategorical {
    /// Computes the policy from `logits`, `[T][strip][sum of sizes]`, and writes log pi of the `chosen`
    /// actions, `[T][strip][choices]`.
    pub(super) fn evaluate(
        &mut self,
        logits: &[f32],
        sizes: &[usize],
        chosen: impl Iterator<Item = i32>,
        taken: &mut Vec<f32>,
    ) {
        self.log_softmax(logits, sizes);
        self.actions.clear();
        let sizes_again = sizes.iter().cycle();
        self.actions.extend(chosen.zip(sizes_again).map(|(a, &size)| action_index(a, size)));
        taken.clear();
        let outputs = sizes.iter().sum();
        let rows = self.log_probs.chunks_exact(outputs);
        taken.extend(rows.zip(self.actions.chunks_exact(sizes.len())).map(|(row, actions)| {
            choices(row, sizes).zip(actions).map(|(choice, &action)| choice[action]).sum::<f32>()
        }));
    }

    fn log_softmax(&mut self, logits: &[f32], sizes: &[usize]) {
        self.log_probs.clear();
        for choice in choices(logits, sizes) {
            let max = choice.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            self.log_probs.extend(choice.iter().map(|z| z - max));
        }
        self.probs.clone_from(&self.log_probs);
        exp_in_place(&mut self.probs);
        self.log_sums.clear();
        self.log_sums.extend(choices(&self.probs, sizes).map(|choice| choice.iter().sum::<f32>()));
        for (choice, &sum) in choices_mut(&mut self.probs, sizes).zip(&self.log_sums) {
            let scale = 1.0 / sum;
            choice.iter_mut().for_each(|p| *p *= scale);
        }
        ln_in_place(&mut self.log_sums);
        for (choice, &log_sum) in choices_mut(&mut self.log_probs, sizes).zip(&self.log_sums) {
            choice.iter_mut().for_each(|z| *z -= log_sum);
        }
    }

    /// Writes dL/dlogits and gives the sum of entropies.
    pub(super) fn gradients(
        &self,
        sizes: &[usize],
        weights: PolicyGradientWeights<'_>,
        d_logits: &mut [f32],
    ) -> f32 {
        let parts = choices_mut(d_logits, sizes)
            .zip(choices(&self.probs, sizes))
            .zip(choices(&self.log_probs, sizes))
            .zip(&self.actions);
        let weights = weights.each().flat_map(|weight| sizes.iter().map(move |_| weight));
        let mut entropies = 0.0;
        for ((((d_logits, probs), log_probs), &action), weight) in parts.zip(weights) {
            entropies += choice_gradient(d_logits, (probs, log_probs), action, weight);
        }
        entropies
    }
}

/// The parts of each row, one for each choice.
fn choices<'a>(mut rows: &'a [f32], sizes: &'a [usize]) -> impl Iterator<Item = &'a [f32]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || rows.split_off(..*sizes.next()?))
}

/// Likewise.
fn choices_mut<'a>(
    mut rows: &'a mut [f32],
    sizes: &'a [usize],
) -> impl Iterator<Item = &'a mut [f32]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || rows.split_off_mut(..*sizes.next()?))
}
