//! Loss gradients for discrete actions: one categorical distribution for each choice, with `pi` the softmax of its
//! logits `z`; several choices are independent given the observation.
//!
//! ```text
//! - d log pi(a) / dz_j = pi_j - [j = a],        - dH / dz_j = pi_j (log pi_j + H)
//! ```
//!
//! Log-probabilities and entropies of several choices add up, so each has this gradient, with its own entropy.
//!
//! Below, `sizes` are the numbers of actions of the choices. The loops are compiled apart for a single choice, which most
//! environments have.

use super::transitions::{PolicyGradientWeight, PolicyGradientWeights};
use crate::policy::math::{exp_in_place, ln_in_place};

/// The policy of a strip.
#[derive(Debug, Default)]
pub(super) struct Categorical {
    /// `[T][strip][logits]`.
    log_probs: Vec<f32>,
    /// `[T][strip][logits]`.
    probs: Vec<f32>,
    /// `[T][strip][choices]`.
    log_sums: Vec<f32>,
    /// `[T][strip][choices]`.
    actions: Vec<usize>,
}

impl Categorical {
    /// Computes the policy from `logits`, `[T][strip][logits]`, and writes log pi of the `chosen`
    /// actions, `[T][strip][choices]`.
    pub(super) fn evaluate(
        &mut self,
        logits: &[f32],
        sizes: &[usize],
        chosen: impl Iterator<Item = i32>,
        taken: &mut Vec<f32>,
    ) {
        // A number of actions that is known to the compiler unrolls the loops over actions.
        match *sizes {
            [2] => self.evaluate_of(logits, One(2), chosen, taken),
            [3] => self.evaluate_of(logits, One(3), chosen, taken),
            [4] => self.evaluate_of(logits, One(4), chosen, taken),
            [6] => self.evaluate_of(logits, One(6), chosen, taken),
            [n] => self.evaluate_of(logits, One(n), chosen, taken),
            _ => self.evaluate_of(logits, Several(sizes), chosen, taken),
        }
    }

    #[inline(always)]
    fn evaluate_of(
        &mut self,
        logits: &[f32],
        choices: impl Choices,
        chosen: impl Iterator<Item = i32>,
        taken: &mut Vec<f32>,
    ) {
        self.log_softmax(logits, choices);
        self.actions.clear();
        self.actions.extend(chosen.zip(choices.sizes()).map(|(a, size)| action_index(a, size)));
        let policies = choices.parts(&self.log_probs).zip(&self.actions);
        taken.clear();
        taken.extend(choices.row_sums(policies.map(|(log_probs, &action)| log_probs[action])));
    }

    #[inline(always)]
    fn log_softmax(&mut self, logits: &[f32], choices: impl Choices) {
        self.log_probs.resize(logits.len(), 0.0);
        for (shifted, z) in choices.parts_mut(&mut self.log_probs).zip(choices.parts(logits)) {
            let max = z.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            shifted.iter_mut().zip(z).for_each(|(s, z)| *s = z - max);
        }
        self.probs.clone_from(&self.log_probs);
        exp_in_place(&mut self.probs);
        self.log_sums.clear();
        self.log_sums.extend(choices.parts(&self.probs).map(|part| part.iter().sum::<f32>()));
        for (part, &sum) in choices.parts_mut(&mut self.probs).zip(&self.log_sums) {
            let scale = 1.0 / sum;
            part.iter_mut().for_each(|p| *p *= scale);
        }
        ln_in_place(&mut self.log_sums);
        for (part, &log_sum) in choices.parts_mut(&mut self.log_probs).zip(&self.log_sums) {
            part.iter_mut().for_each(|z| *z -= log_sum);
        }
    }

    /// Writes dL/dlogits and gives the sum of entropies.
    pub(super) fn gradients(
        &self,
        sizes: &[usize],
        weights: PolicyGradientWeights<'_>,
        d_logits: &mut [f32],
    ) -> f32 {
        match *sizes {
            [2] => self.gradients_of(One(2), weights, d_logits),
            [3] => self.gradients_of(One(3), weights, d_logits),
            [4] => self.gradients_of(One(4), weights, d_logits),
            [6] => self.gradients_of(One(6), weights, d_logits),
            [n] => self.gradients_of(One(n), weights, d_logits),
            _ => self.gradients_of(Several(sizes), weights, d_logits),
        }
    }

    #[inline(always)]
    fn gradients_of(
        &self,
        choices: impl Choices,
        weights: PolicyGradientWeights<'_>,
        d_logits: &mut [f32],
    ) -> f32 {
        let policies = choices
            .parts_mut(d_logits)
            .zip(choices.parts(&self.probs))
            .zip(choices.parts(&self.log_probs))
            .zip(&self.actions);
        let mut entropies = 0.0;
        for ((((d_logits, probs), log_probs), &action), weight) in
            policies.zip(choices.each(weights.each()))
        {
            entropies += choice_gradient(d_logits, (probs, log_probs), action, weight);
        }
        entropies
    }
}

/// How rows of logits are made of choices.
trait Choices: Copy {
    /// Numbers of actions, row after row.
    fn sizes(self) -> impl Iterator<Item = usize>;
    /// The parts of rows that belong to one choice each.
    fn parts(self, rows: &[f32]) -> impl Iterator<Item = &[f32]>;
    /// Likewise.
    fn parts_mut(self, rows: &mut [f32]) -> impl Iterator<Item = &mut [f32]>;
    /// What belongs to a row, for each of its choices.
    fn each<T: Copy>(self, rows: impl Iterator<Item = T>) -> impl Iterator<Item = T>;
    /// Sums of what belongs to the choices of a row.
    fn row_sums(self, choices: impl Iterator<Item = f32>) -> impl Iterator<Item = f32>;
}

#[derive(Clone, Copy)]
struct One(usize);

impl Choices for One {
    #[inline(always)]
    fn sizes(self) -> impl Iterator<Item = usize> {
        std::iter::repeat(self.0)
    }

    #[inline(always)]
    fn parts(self, rows: &[f32]) -> impl Iterator<Item = &[f32]> {
        rows.chunks_exact(self.0)
    }

    #[inline(always)]
    fn parts_mut(self, rows: &mut [f32]) -> impl Iterator<Item = &mut [f32]> {
        rows.chunks_exact_mut(self.0)
    }

    #[inline(always)]
    fn each<T: Copy>(self, rows: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        rows
    }

    #[inline(always)]
    fn row_sums(self, choices: impl Iterator<Item = f32>) -> impl Iterator<Item = f32> {
        choices
    }
}

#[derive(Clone, Copy)]
struct Several<'a>(&'a [usize]);

impl Choices for Several<'_> {
    #[inline(always)]
    fn sizes(self) -> impl Iterator<Item = usize> {
        self.0.iter().copied().cycle()
    }

    #[inline(always)]
    fn parts(self, mut rows: &[f32]) -> impl Iterator<Item = &[f32]> {
        let mut sizes = self.sizes();
        std::iter::from_fn(move || rows.split_off(..sizes.next()?))
    }

    #[inline(always)]
    fn parts_mut(self, mut rows: &mut [f32]) -> impl Iterator<Item = &mut [f32]> {
        let mut sizes = self.sizes();
        std::iter::from_fn(move || rows.split_off_mut(..sizes.next()?))
    }

    #[inline(always)]
    fn each<T: Copy>(self, rows: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        let count = self.0.len();
        rows.flat_map(move |row| std::iter::repeat_n(row, count))
    }

    #[inline(always)]
    fn row_sums(self, mut choices: impl Iterator<Item = f32>) -> impl Iterator<Item = f32> {
        let others = self.0.len().saturating_sub(1);
        std::iter::from_fn(move || {
            let first = choices.next()?;
            Some(choices.by_ref().take(others).fold(first, |sum, choice| sum + choice))
        })
    }
}

/// The gradient of one choice, and its entropy times the weight of the transition.
#[inline(always)]
fn choice_gradient(
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
fn action_index(action: i32, n: usize) -> usize {
    usize::try_from(action)
        .ok()
        .filter(|&action| action < n)
        .expect("actions are checked when the block is taken")
}
