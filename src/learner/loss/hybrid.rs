//! Loss gradients for actions that are discrete and continuous at once, independent given the observation:
//! log-probabilities and entropies add up, so the logits have the gradients of [`super::categorical`] and the rest
//! those of [`super::gaussian`].

use super::categorical::Categorical;
use super::gaussian::Gaussian;
use super::transitions::PolicyGradientWeights;
use crate::policy::parts::{join_rows, split_rows};

/// The policy of a strip.
#[derive(Debug, Default)]
pub(super) struct Hybrid {
    discrete: Categorical,
    continuous: Gaussian,
    /// `[T][strip][logits]`, then their gradients.
    logits: Vec<f32>,
    /// `[T][strip][2 D]`, likewise.
    outputs: Vec<f32>,
    /// `[T][strip]`.
    densities: Vec<f32>,
    /// `[T][strip][W]`.
    words: Vec<i32>,
}

impl Hybrid {
    /// Computes the policy from `outputs`, `[T][strip][logits + 2 D]`, and writes log pi of the actions whose
    /// `words` (`[T][strip][W]`) are given.
    pub(super) fn evaluate(
        &mut self,
        outputs: &[f32],
        (sizes, dims): (&[usize], usize),
        words: impl Iterator<Item = i32>,
        taken: &mut Vec<f32>,
    ) {
        let logits = sizes.iter().sum::<usize>();
        let parts = (logits, logits + 2 * dims);
        split_rows(outputs, parts, &mut self.logits, &mut self.outputs);
        self.words.clear();
        self.words.extend(words);
        let rows = || self.words.chunks_exact(sizes.len() + dims);
        let chosen = rows().flat_map(|row| &row[..sizes.len()]).copied();
        self.discrete.evaluate(&self.logits, sizes, chosen, taken);
        let drawn = rows().flat_map(|row| &row[sizes.len()..]).copied();
        self.continuous.evaluate(&self.outputs, dims, drawn, &mut self.densities);
        taken.iter_mut().zip(&self.densities).for_each(|(sum, density)| *sum += density);
    }

    /// Writes dL/doutputs and gives the sum of entropies.
    pub(super) fn gradients(
        &mut self,
        (sizes, dims): (&[usize], usize),
        weights: PolicyGradientWeights<'_>,
        d_outputs: &mut [f32],
    ) -> f32 {
        let logits = sizes.iter().sum::<usize>();
        let entropies = self.discrete.gradients(sizes, weights, &mut self.logits)
            + self.continuous.gradients(dims, weights, &mut self.outputs);
        join_rows(&self.logits, &self.outputs, (logits, logits + 2 * dims), d_outputs);
        entropies
    }
}
