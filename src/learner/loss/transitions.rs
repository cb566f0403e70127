//! The part of the loss that is the same for every kind of action: importance ratios, V-trace targets and advantages of
//! each transition.

use std::ops::Range;

use super::{Batch, LossConfig, LossSums, Returns, TaskLoss};
use crate::env::flag;
use crate::policy::math::exp_in_place;

/// Further off than this the divergence pulls no harder.
const MAX_KL_RATIO: f32 = 10.0;
/// Advantages deviate by at least this: where all are alike there is nothing to learn from their differences.
const LEAST_DEVIATION: f64 = 1e-4;

/// Number, sum and sum of squares of advantages.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AdvantageMoments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl AdvantageMoments {
    /// Adds those of another part of the block.
    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    fn mean_and_scale(&self) -> (f32, f32) {
        let count = self.count.max(1.0);
        let mean = self.sum / count;
        let deviation = (self.squares / count - mean * mean).max(0.0).sqrt();
        (mean as f32, deviation.max(LEAST_DEVIATION).recip() as f32)
    }
}

/// The transitions of a strip, `[T][strip]`.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    /// log pi of the action that was taken.
    pub(super) taken: Vec<f32>,
    /// 1, or 0 for a transition that crosses a reset.
    pub(super) keep: Vec<f32>,
    pub(super) ratios: Vec<f32>,
    pub(super) discounts: Vec<f32>,
    pub(super) rewards: Vec<f32>,
    pub(super) vs: Vec<f32>,
    pub(super) advantages: Vec<f32>,
}

/// The weights of the policy-gradient and entropy terms of each transition, with all its factors; 0 where it crosses a reset.
#[derive(Debug, Clone, Copy)]
pub(super) struct PolicyGradientWeights<'a> {
    keep: &'a [f32],
    advantages: &'a [f32],
    entropy_cost: f32,
    weight: f32,
}

/// One transition's.
#[derive(Debug, Clone, Copy)]
pub(super) struct PolicyGradientWeight {
    /// 1 or 0.
    pub(super) keep: f32,
    /// Factor of - log pi(a).
    pub(super) advantage: f32,
    /// Factor of - H.
    pub(super) entropy_cost: f32,
}

impl PolicyGradientWeights<'_> {
    #[inline(always)]
    pub(super) fn each(self) -> impl Iterator<Item = PolicyGradientWeight> {
        self.keep.iter().zip(self.advantages).map(move |(&keep, advantage)| {
            // A factor of 0 rather than a branch.
            let weight = keep * self.weight;
            let entropy_cost = self.entropy_cost * weight;
            PolicyGradientWeight { keep, advantage: advantage * weight, entropy_cost }
        })
    }
}

impl Transitions {
    /// Takes what the strip needs of the block's fields. Leaves log pi - log mu in `ratios`.
    pub(super) fn gather(&mut self, batch: &Batch<'_>, strip: &Range<usize>, config: &LossConfig) {
        for buffer in [&mut self.keep, &mut self.discounts, &mut self.rewards, &mut self.ratios] {
            buffer.clear();
        }
        let ends = match config.returns {
            Returns::Bootstrapped => flag::TERMINATED | flag::FIRST,
            Returns::MonteCarlo => flag::DONE | flag::FIRST,
        };
        for next in batch.rows(&batch.flags[batch.columns..], 1, strip) {
            let cut = |mask: u8, kept: f32| {
                next.iter().map(move |flags| if flags & mask == 0 { kept } else { 0.0 })
            };
            self.keep.extend(cut(flag::FIRST, 1.0));
            self.discounts.extend(cut(ends, config.discount));
        }
        if config.returns == Returns::MonteCarlo {
            // What is longer than the unroll counts until there.
            let last = self.discounts.len().saturating_sub(strip.len());
            self.discounts[last..].fill(0.0);
        }
        let clipped = |reward: f32| config.reward_clip.apply(reward);
        for rewards in batch.rows(batch.rewards, 1, strip) {
            if batch.reward_factors.is_empty() {
                self.rewards.extend(rewards.iter().map(|r| clipped(r * config.reward_scale)));
            } else {
                let factors = &batch.reward_factors[strip.clone()];
                let scaled = rewards.iter().zip(factors).map(|(r, f)| r * f * config.reward_scale);
                self.rewards.extend(scaled.map(clipped));
            }
        }
        let mut taken = self.taken.iter();
        for row in batch.rows(batch.behaviour_log_probs, 1, strip) {
            self.ratios.extend(row.iter().zip(&mut taken).map(|(mu, pi)| pi - mu));
        }
    }

    /// Turns `ratios` into pi/mu, 0 where the transition crosses a reset.
    pub(super) fn importance_ratios(&mut self, config: &LossConfig) -> LossSums {
        let mut sums = LossSums::default();
        // Of ratio - 1 - log ratio, whose mean over the actions taken is the divergence (Schulman 2020).
        let log_ratios = self.ratios.iter().zip(&self.keep).map(|(log, keep)| log * keep);
        let log_ratio = log_ratios.sum::<f32>();
        exp_in_place(&mut self.ratios);
        let (mut rho, mut c) = (0.0_f32, 0.0_f32);
        for (ratio, &keep) in self.ratios.iter_mut().zip(&self.keep) {
            if keep == 0.0 {
                *ratio = 0.0;
                continue;
            }
            sums.transitions += 1;
            rho += *ratio;
            c += ratio.min(config.vtrace.c_bar);
            sums.rho_min = sums.rho_min.min(*ratio);
            sums.rho_max = sums.rho_max.max(*ratio);
            sums.rho_clipped += u64::from(*ratio > config.vtrace.rho_bar);
            sums.c_clipped += u64::from(*ratio > config.vtrace.c_bar);
        }
        (sums.rho, sums.c) = (f64::from(rho), f64::from(c));
        sums.kl = sums.rho - sums.transitions as f64 - f64::from(log_ratio);
        sums
    }

    /// dL/d(output for V), and the sums of baseline and policy loss. Targets become those of outputs.
    pub(super) fn value_gradients(
        &mut self,
        values: &[f32],
        config: &LossConfig,
        weight: f32,
        d_values: &mut [f32],
        sums: &mut LossSums,
    ) {
        if let Some(scale) = config.value_scale {
            for (target, keep) in self.vs.iter_mut().zip(&self.keep) {
                let kept = f64::from(*target) * f64::from(*keep);
                sums.target += kept;
                sums.target_square += kept * kept;
                *target = scale.output(*target);
            }
        }
        let (mut policy, mut baseline) = (0.0_f32, 0.0_f32);
        let steps = (d_values.iter_mut().zip(values).zip(&self.vs))
            .zip(self.keep.iter().zip(&self.advantages).zip(&self.taken));
        for (((d_value, value), target), ((keep, advantage), taken)) in steps {
            let error = value - target;
            *d_value = config.baseline_cost * (keep * weight) * error;
            policy -= keep * advantage * taken;
            baseline += keep * 0.5 * error * error;
        }
        (sums.policy, sums.baseline) = (f64::from(policy), f64::from(baseline));
    }

    /// Gives the losses of each of `columns` columns, as [`Transitions::value_gradients`] adds them up over all.
    pub(super) fn add_by_column(
        &self,
        values: &[f32],
        columns: usize,
        mut each: impl FnMut(usize, TaskLoss),
    ) {
        let steps = self.vs.iter().zip(values).zip(&self.keep).zip(&self.advantages);
        for (at, ((((target, value), keep), advantage), taken)) in
            steps.zip(&self.taken).enumerate()
        {
            let error = value - target;
            let loss = TaskLoss {
                transitions: u64::from(*keep > 0.0),
                policy: f64::from(-keep * advantage * taken),
                baseline: f64::from(keep * 0.5 * error * error),
            };
            each(at % columns, loss);
        }
    }

    /// Those of the transitions that count.
    pub(super) fn advantage_moments(&self) -> AdvantageMoments {
        let mut moments = AdvantageMoments::default();
        for (&advantage, &keep) in self.advantages.iter().zip(&self.keep) {
            let (advantage, keep) = (f64::from(advantage), f64::from(keep));
            moments.count += keep;
            moments.sum += keep * advantage;
            moments.squares += keep * advantage * advantage;
        }
        moments
    }

    /// Takes the mean of the block's advantages off, and divides by their deviation.
    pub(super) fn normalize_advantages(&mut self, moments: AdvantageMoments, config: &LossConfig) {
        let (mean, scale) = moments.mean_and_scale();
        self.for_each_weighted(config, |advantage, weight| {
            *advantage = (*advantage - weight * mean) * scale;
        });
    }

    /// Weights advantages as the correction says, if V-trace has not done so.
    pub(super) fn weight_advantages(&mut self, config: &LossConfig) {
        self.for_each_weighted(config, |advantage, weight| *advantage *= weight);
    }

    /// Calls `each` with every advantage, and the factor of its policy gradient: 0 where the transition crosses a reset.
    fn for_each_weighted(&mut self, config: &LossConfig, each: impl Fn(&mut f32, f32)) {
        let (correction, pg_rho_bar) = (config.correction, config.vtrace.pg_rho_bar);
        let steps = self.ratios.iter().zip(&self.taken).zip(&self.keep);
        for (advantage, ((&ratio, &taken), keep)) in self.advantages.iter_mut().zip(steps) {
            each(advantage, keep * correction.policy_weight(ratio, taken, pg_rho_bar));
        }
    }

    /// The clipped surrogate, and the gradient of the divergence: d/dpi (ratio - 1 - log ratio) = (ratio - 1) d log pi.
    pub(super) fn stay_close(&mut self, config: &LossConfig, sums: &mut LossSums) {
        let (low, high) = (1.0 - config.clip_range, 1.0 + config.clip_range);
        for (advantage, &ratio) in self.advantages.iter_mut().zip(&self.ratios) {
            if (*advantage > 0.0 && ratio > high) || (*advantage < 0.0 && ratio < low) {
                *advantage = 0.0;
                sums.surrogate_clipped += 1;
            }
            *advantage -= config.kl_cost * (ratio.min(MAX_KL_RATIO) - 1.0);
        }
    }

    /// What the gradient of the policy's outputs is made of.
    pub(super) fn weights(&self, entropy_cost: f32, weight: f32) -> PolicyGradientWeights<'_> {
        PolicyGradientWeights {
            keep: &self.keep,
            advantages: &self.advantages,
            entropy_cost,
            weight,
        }
    }
}
