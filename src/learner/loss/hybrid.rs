//! Choices and numbers at once, independent given the observation: log-probabilities and entropies add up, so
//! the logits have the gradients of [`super::multi`] and the rest those of [`super::gaussian`].

use super::gaussian::Gaussian;
use super::multi::MultiCategorical;
use super::steps::Stakes;

/// The policy of a strip.
#[derive(Debug, Default)]
pub(super) struct Hybrid {
    choices: MultiCategorical,
    numbers: Gaussian,
    /// `[T][strip][logits]`, then their gradients.
    logits: Vec<f32>,
    /// `[T][strip][2 D]`, likewise.
    outputs: Vec<f32>,
    /// `[T][strip]`.
    densities: Vec<f32>,
}

impl Hybrid {
    /// Computes the policy from `outputs`, `[T][strip][logits + 2 D]`, and writes log pi of the actions whose
    /// `words` (`[T][strip][W]`) are given.
    pub(super) fn evaluate(
        &mut self,
        outputs: &[f32],
        (sizes, dims): (&[usize], usize),
        words: &[i32],
        taken: &mut Vec<f32>,
    ) {
        let logits = sizes.iter().sum::<usize>();
        self.logits.clear();
        self.outputs.clear();
        for row in outputs.chunks_exact(logits + 2 * dims) {
            self.logits.extend_from_slice(&row[..logits]);
            self.outputs.extend_from_slice(&row[logits..]);
        }
        let rows = || words.chunks_exact(sizes.len() + dims);
        let chosen = rows().flat_map(|row| &row[..sizes.len()]).copied();
        self.choices.evaluate(&self.logits, sizes, chosen, taken);
        let drawn = rows().flat_map(|row| &row[sizes.len()..]).copied();
        self.numbers.evaluate(&self.outputs, dims, drawn, &mut self.densities);
        taken.iter_mut().zip(&self.densities).for_each(|(sum, density)| *sum += density);
    }

    /// Writes dL/doutputs and gives the sum of entropies.
    pub(super) fn gradients(
        &mut self,
        (sizes, dims): (&[usize], usize),
        stakes: Stakes<'_>,
        d_outputs: &mut [f32],
    ) -> f32 {
        let logits = sizes.iter().sum::<usize>();
        let entropies = self.choices.gradients(sizes, stakes, &mut self.logits)
            + self.numbers.gradients(dims, stakes, &mut self.outputs);
        let parts = self.logits.chunks_exact(logits).zip(self.outputs.chunks_exact(2 * dims));
        for (row, (d_logits, d_numbers)) in d_outputs.chunks_exact_mut(logits + 2 * dims).zip(parts)
        {
            row[..logits].copy_from_slice(d_logits);
            row[logits..].copy_from_slice(d_numbers);
        }
        entropies
    }
}
