//! The IMPALA loss and its gradient with respect to the network's outputs, in closed form.
//!
//! With sums over the transitions that are not masked:
//!
//! ```text
//! policy    L_p = - sum A_t log pi(a_t|x_t)            A_t: V-trace advantage, a constant
//! baseline  L_b = 1/2 sum (v_t - V(x_t))^2             v_t: V-trace target, a constant
//! entropy   L_e = - sum H(pi(.|x_t))
//! total     L   = L_p + baseline_cost L_b + entropy_cost L_e,     dL/dV = baseline_cost (V - v)
//! ```
//!
//! (Espeholt et al. 2018, section 4.2.) What `log pi`, `H` and their derivatives are depends on the kind of
//! action: `categorical`, `gaussian`, `hybrid`. Both engines take these gradients from here, so there
//! is one loss; a test holds them against libtorch's autograd.

mod categorical;
mod config;
mod gaussian;
mod hybrid;
mod stats;
mod transitions;

use std::ops::Range;

use super::vtrace::{Inputs, VtraceConfig, vtrace};
use crate::env::{ActionSpec, flag};
use crate::policy::mask::extend_masked_rows;

pub use config::{Correction, LossConfig, Reduction, Returns, RewardClip};
pub(crate) use stats::LossStats;
pub use stats::{LossSums, TaskLoss};
pub use transitions::AdvantageMoments;

use categorical::Categorical;
use gaussian::Gaussian;
use hybrid::Hybrid;
use transitions::Transitions;

/// The stored fields of one block that the loss needs, time-major.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// B.
    pub columns: usize,
    /// What actions are.
    pub action: &'a ActionSpec,
    /// `[T][B][W]` words.
    pub actions: &'a [i32],
    /// `[T + 1][B][logits]`, 0 where a choice is forbidden; empty without masks.
    pub masks: &'a [u8],
    /// `[T][B]`.
    pub rewards: &'a [f32],
    /// `[T][B]`.
    pub behaviour_log_probs: &'a [f32],
    /// `[T + 1][B]`, bits of [`flag`].
    pub flags: &'a [u8],
    /// `[B]`: factor on the rewards of each column, beside that of the configuration; empty for 1.
    pub reward_factors: &'a [f32],
}

/// How many transitions count, of those that lead to observations with the flags `next`: all that do not cross a reset.
pub(super) fn count_transitions(next: &[u8]) -> usize {
    next.iter().filter(|&next| next & flag::FIRST == 0).count()
}

impl<'a> Batch<'a> {
    /// How many transitions of the columns `part` count: those that do not cross a reset.
    #[must_use]
    pub(crate) fn transitions(&self, part: &Range<usize>) -> usize {
        self.rows(&self.flags[self.columns..], 1, part).map(count_transitions).sum()
    }

    /// The `strip` of columns of `field`, `[T][B][width]`: one slice per time step.
    fn rows<T>(
        &self,
        field: &'a [T],
        width: usize,
        strip: &Range<usize>,
    ) -> impl Iterator<Item = &'a [T]> {
        let strip = strip.start * width..strip.end * width;
        field.chunks_exact(self.columns * width).map(move |row| &row[strip.clone()])
    }

    /// The words of a strip, in order.
    fn words(&self, strip: &Range<usize>) -> impl Iterator<Item = i32> {
        self.rows(self.actions, self.action.words(), strip).flatten().copied()
    }
}

/// Computes the loss of strips of columns; its buffers are reused from one to the next.
#[derive(Debug, Default)]
pub struct Loss {
    steps: Transitions,
    categorical: Categorical,
    gaussian: Gaussian,
    hybrid: Hybrid,
    /// Logits with those of forbidden choices replaced.
    masked: Vec<f32>,
    /// Values where they are not what the network gives: none without a baseline, scaled ones.
    values: Vec<f32>,
    d_logits: Vec<f32>,
    d_values: Vec<f32>,
}

impl Loss {
    /// dL/dlogits of the last [`Loss::compute`], `[T][strip][outputs]`. The bootstrap row has none: it is
    /// zero.
    #[must_use]
    pub fn d_logits(&self) -> &[f32] {
        &self.d_logits
    }

    /// dL/dV of the last [`Loss::compute`], `[T][strip]`; likewise.
    #[must_use]
    pub fn d_values(&self) -> &[f32] {
        &self.d_values
    }

    /// Computes loss and gradients of the `strip` of columns from the network's outputs for its T + 1
    /// observations: `logits` `[T + 1][strip][outputs]`, `values` `[T + 1][strip]`. Columns have nothing to
    /// do with each other but for what they share as parts of a block. Give its `weight`,
    /// `LossConfig::weight`, and its `moments`, the sum of `Loss::advantage_moments` over all of its strips; without
    /// them the strip counts as the whole.
    ///
    /// # Panics
    /// If lengths do not agree or a choice is not below the number of its actions (the block is checked
    /// before it gets here).
    pub fn compute(
        &mut self,
        batch: &Batch<'_>,
        strip: Range<usize>,
        (logits, values): (&[f32], &[f32]),
        config: &LossConfig,
        (weight, moments): (f32, Option<AdvantageMoments>),
    ) -> LossSums {
        let mut sums = self.correct(batch, &strip, (logits, values), config);
        if config.normalize_advantages {
            let moments = moments.unwrap_or_else(|| self.steps.advantage_moments());
            self.steps.normalize_advantages(moments, config);
        }
        if config.clip_range.is_finite() || config.kl_cost > 0.0 {
            self.steps.stay_close(config, &mut sums);
        }
        let steps = self.steps.vs.len();
        self.d_logits.resize(steps * batch.action.outputs(), 0.0);
        self.d_values.resize(steps, 0.0);
        self.steps.value_gradients(values, config, weight, &mut self.d_values, &mut sums);
        sums.entropy = f64::from(self.policy_gradients(batch, &strip, config, weight));
        sums
    }

    /// The advantages of a strip of columns, before they are normalised; arguments as for [`Loss::compute`].
    ///
    /// # Panics
    /// As [`Loss::compute`].
    pub(crate) fn advantage_moments(
        &mut self,
        batch: &Batch<'_>,
        strip: Range<usize>,
        outputs: (&[f32], &[f32]),
        config: &LossConfig,
    ) -> AdvantageMoments {
        self.correct(batch, &strip, outputs, config);
        self.steps.advantage_moments()
    }

    /// Adds the losses of the last [`Loss::compute`], each column's to that of `sums` which `sum_of` names for it. `values` are those that it was given.
    ///
    /// # Panics
    /// If there is no such sum.
    pub(crate) fn add_by_column(
        &self,
        strip: Range<usize>,
        values: &[f32],
        sum_of: impl Fn(usize) -> usize,
        sums: &mut [TaskLoss],
    ) {
        self.steps.add_by_column(values, strip.len(), |column, loss| {
            sums[sum_of(strip.start + column)].add(loss);
        });
    }

    /// The policy of a strip, its importance ratios, and what V-trace makes of them.
    fn correct(
        &mut self,
        batch: &Batch<'_>,
        strip: &Range<usize>,
        (logits, values): (&[f32], &[f32]),
        config: &LossConfig,
    ) -> LossSums {
        let (columns, outputs) = (strip.len(), batch.action.outputs());
        let steps = batch.rewards.len() / batch.columns * columns;
        assert_eq!(logits.len(), (steps + columns) * outputs, "logits");
        assert_eq!(values.len(), steps + columns, "values");
        assert_eq!(batch.flags.len(), batch.rewards.len() + batch.columns, "flags");

        let logits = &logits[..steps * outputs];
        let logits = if batch.masks.is_empty() {
            logits
        } else {
            let width = batch.action.logits();
            let masks = batch.rows(batch.masks, width, strip);
            self.masked.clear();
            for (rows, masks) in logits.chunks_exact(columns * outputs).zip(masks) {
                // What is not finite shows in the loss; where it is forbidden it does no harm.
                let parts = (width, outputs - width);
                let _shows = extend_masked_rows(&mut self.masked, rows, masks, parts);
            }
            &self.masked
        };
        let (words, taken) = (batch.words(strip), &mut self.steps.taken);
        match batch.action {
            ActionSpec::Discrete { .. } | ActionSpec::MultiDiscrete { .. } => {
                self.categorical.evaluate(logits, batch.action.sizes(), words, taken);
            }
            ActionSpec::Continuous { low, .. } => {
                self.gaussian.evaluate(logits, low.len(), words, taken);
            }
            ActionSpec::Hybrid { sizes, low, .. } => {
                self.hybrid.evaluate(logits, (sizes, low.len()), words, taken);
            }
        }
        self.steps.gather(batch, strip, config);
        let sums = self.steps.importance_ratios(config);
        let Transitions { vs, advantages, ratios, discounts, rewards, keep, .. } = &mut self.steps;
        vs.resize(steps, 0.0);
        advantages.resize(steps, 0.0);
        // Without V-trace targets are those of policies that are equal.
        let (ratios, mut clips) = match config.correction {
            Correction::Vtrace => (&*ratios, config.vtrace),
            _ => (&*keep, VtraceConfig { lambda: config.vtrace.lambda, ..VtraceConfig::ONE }),
        };
        if config.returns == Returns::MonteCarlo {
            clips.lambda = 1.0;
        }
        let values = match config.value_scale {
            _ if config.baseline_cost == 0.0 => {
                self.values.clear();
                self.values.resize(values.len(), 0.0);
                &self.values
            }
            Some(scale) => {
                self.values.clear();
                self.values.extend(values.iter().map(|&output| scale.value(output)));
                &self.values
            }
            None => values,
        };
        vtrace(Inputs { columns, ratios, discounts, rewards, values }, clips, vs, advantages);
        if let Some(scale) = config.value_scale {
            advantages.iter_mut().for_each(|advantage| *advantage /= scale.deviation);
        }
        if config.correction != Correction::Vtrace {
            self.steps.weight_advantages(config);
        }
        sums
    }

    /// Writes dL/dlogits, and gives the sum of entropies.
    fn policy_gradients(
        &mut self,
        batch: &Batch<'_>,
        strip: &Range<usize>,
        config: &LossConfig,
        weight: f32,
    ) -> f32 {
        let weights = self.steps.weights(config.entropy_cost, weight);
        let d_logits = &mut self.d_logits[..];
        let entropy = match batch.action {
            ActionSpec::Discrete { .. } | ActionSpec::MultiDiscrete { .. } => {
                self.categorical.gradients(batch.action.sizes(), weights, d_logits)
            }
            ActionSpec::Continuous { low, .. } => {
                self.gaussian.gradients(low.len(), weights, d_logits)
            }
            ActionSpec::Hybrid { sizes, low, .. } => {
                self.hybrid.gradients((sizes, low.len()), weights, d_logits)
            }
        };
        if !batch.masks.is_empty() {
            let (width, outputs) = (batch.action.logits(), batch.action.outputs());
            let masks = batch.rows(batch.masks, width, strip);
            let masks = masks.flat_map(|masks| masks.chunks_exact(width));
            for (row, mask) in d_logits.chunks_exact_mut(outputs).zip(masks) {
                row.iter_mut().zip(mask).filter(|(_, m)| **m == 0).for_each(|(d, _)| *d = 0.0);
            }
        }
        entropy
    }
}

#[cfg(test)]
mod correction_tests;
#[cfg(test)]
mod kind_tests;
#[cfg(test)]
mod returns_tests;
#[cfg(test)]
mod tests;
