//! The IMPALA loss and its gradient with respect to the network's outputs, in closed form.
//!
//! With `pi` the softmax of the logits, and sums over the transitions that are not masked:
//!
//! ```text
//! policy    L_p = - sum A_t log pi(a_t|x_t)            A_t: V-trace advantage, a constant
//! baseline  L_b = 1/2 sum (v_t - V(x_t))^2             v_t: V-trace target, a constant
//! entropy   L_e = - sum H(pi(.|x_t))
//! total     L   = L_p + baseline_cost L_b + entropy_cost L_e
//!
//! dL/dz_j = A (pi_j - [j = a]) + entropy_cost pi_j (log pi_j + H),   dL/dV = baseline_cost (V - v)
//! ```
//!
//! (Espeholt et al. 2018, section 4.2.) Both engines take these gradients from here, so there is one
//! loss; a test holds them against libtorch's autograd.

mod stats;

use std::ops::Range;

use super::vtrace::{Clips, Inputs, vtrace};
use crate::env::flag;
use crate::policy::math::{exp_in_place, ln_in_place};

pub use stats::{LossStats, LossSums};

/// Whether losses are summed over a batch (the paper) or averaged over its transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Sum over time and batch.
    Sum,
    /// Mean over the transitions that are not masked.
    Mean,
}

/// What happens to rewards before they are learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewardClip {
    /// Nothing.
    None,
    /// To `[-1, 1]`.
    AbsOne,
    /// The paper's optimistic asymmetric clip: `0.3 min(tanh r, 0) + 5 max(tanh r, 0)`.
    SoftAsymmetric,
}

impl RewardClip {
    fn apply(self, reward: f32) -> f32 {
        match self {
            Self::None => reward,
            Self::AbsOne => reward.clamp(-1.0, 1.0),
            Self::SoftAsymmetric => {
                let squashed = reward.tanh();
                0.3 * squashed.min(0.0) + 5.0 * squashed.max(0.0)
            }
        }
    }
}

/// Constants of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossConfig {
    /// Gamma.
    pub discount: f32,
    /// Weight of the baseline loss.
    pub baseline_cost: f32,
    /// Weight of the entropy loss.
    pub entropy_cost: f32,
    /// V-trace's truncation levels.
    pub clips: Clips<f32>,
    /// Sum or mean.
    pub reduction: Reduction,
    /// Applied after scaling.
    pub reward_clip: RewardClip,
    /// Factor on rewards.
    pub reward_scale: f32,
}

impl LossConfig {
    /// What each transition's loss is multiplied by, if `transitions` count in the whole block.
    #[must_use]
    pub fn weight(&self, transitions: usize) -> f32 {
        match self.reduction {
            Reduction::Sum => 1.0,
            Reduction::Mean => 1.0 / transitions.max(1) as f32,
        }
    }
}

/// The stored fields of one block that the loss needs, time-major.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// B.
    pub columns: usize,
    /// `[T][B]`.
    pub actions: &'a [i32],
    /// `[T][B]`.
    pub rewards: &'a [f32],
    /// `[T][B]`.
    pub behaviour_log_probs: &'a [f32],
    /// `[T + 1][B]`, bits of [`flag`].
    pub flags: &'a [u8],
}

impl<'a> Batch<'a> {
    /// How many transitions count: those that do not cross a reset.
    #[must_use]
    pub fn transitions(&self) -> usize {
        self.flags[self.columns..].iter().filter(|&next| next & flag::FIRST == 0).count()
    }

    /// The `strip` of columns of `field`, one slice per time step.
    fn rows<T>(&self, field: &'a [T], strip: &Range<usize>) -> impl Iterator<Item = &'a [T]> {
        let strip = strip.clone();
        field.chunks_exact(self.columns).map(move |row| &row[strip.clone()])
    }
}

/// Computes the loss of strips of columns; its buffers are reused from one to the next.
#[derive(Debug, Default)]
pub struct Loss {
    log_probs: Vec<f32>,
    probs: Vec<f32>,
    log_sums: Vec<f32>,
    actions: Vec<usize>,
    taken: Vec<f32>,
    /// 1, or 0 for a transition that crosses a reset.
    keep: Vec<f32>,
    ratios: Vec<f32>,
    discounts: Vec<f32>,
    rewards: Vec<f32>,
    vs: Vec<f32>,
    advantages: Vec<f32>,
    d_logits: Vec<f32>,
    d_values: Vec<f32>,
}

impl Loss {
    /// dL/dlogits of the last [`Loss::compute`], `[T][strip][A]`. The bootstrap row has none: it is zero.
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
    /// observations: `logits` `[T + 1][strip][A]`, `values` `[T + 1][strip]`. Columns have nothing to do
    /// with each other but for `weight`, which is [`LossConfig::weight`] of the whole block.
    ///
    /// # Panics
    /// If lengths do not agree or an action is not below A (the block is checked before it gets here).
    pub fn compute(
        &mut self,
        batch: &Batch<'_>,
        strip: Range<usize>,
        (logits, values): (&[f32], &[f32]),
        config: &LossConfig,
        weight: f32,
    ) -> LossSums {
        let columns = strip.len();
        let steps = batch.actions.len() / batch.columns * columns;
        let outputs = steps + columns;
        let actions = logits.len() / outputs;
        assert_eq!(logits.len(), outputs * actions, "logits");
        assert_eq!(values.len(), outputs, "values");
        assert_eq!(batch.flags.len(), batch.actions.len() + batch.columns, "flags");

        self.log_softmax(&logits[..steps * actions], actions);
        self.gather(batch, &strip, actions, config);
        let mut sums = self.importance_ratios(config);
        self.vs.resize(steps, 0.0);
        self.advantages.resize(steps, 0.0);
        vtrace(
            Inputs {
                columns,
                ratios: &self.ratios,
                discounts: &self.discounts,
                rewards: &self.rewards,
                values,
            },
            config.clips,
            &mut self.vs,
            &mut self.advantages,
        );
        self.d_logits.resize(steps * actions, 0.0);
        self.d_values.resize(steps, 0.0);
        match actions {
            2 => self.gradients::<2>(values, config, weight, &mut sums),
            3 => self.gradients::<3>(values, config, weight, &mut sums),
            4 => self.gradients::<4>(values, config, weight, &mut sums),
            6 => self.gradients::<6>(values, config, weight, &mut sums),
            _ => self.gradients_of_any(actions, values, config, weight, &mut sums),
        }
        sums
    }

    /// Fills `log_probs` and `probs` (`[T][strip][A]`) from the logits.
    fn log_softmax(&mut self, logits: &[f32], actions: usize) {
        self.log_probs.resize(logits.len(), 0.0);
        for (shifted, row) in
            self.log_probs.chunks_exact_mut(actions).zip(logits.chunks_exact(actions))
        {
            let max = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            shifted.iter_mut().zip(row).for_each(|(s, z)| *s = z - max);
        }
        self.probs.clone_from(&self.log_probs);
        exp_in_place(&mut self.probs);
        refill(
            &mut self.log_sums,
            self.probs.chunks_exact(actions).map(|row| row.iter().sum::<f32>()),
        );
        for (row, &sum) in self.probs.chunks_exact_mut(actions).zip(&self.log_sums) {
            let scale = 1.0 / sum;
            row.iter_mut().for_each(|p| *p *= scale);
        }
        ln_in_place(&mut self.log_sums);
        for (row, &log_sum) in self.log_probs.chunks_exact_mut(actions).zip(&self.log_sums) {
            row.iter_mut().for_each(|z| *z -= log_sum);
        }
    }

    /// Takes what the strip needs of the block's fields. Leaves log pi - log mu in `ratios`.
    fn gather(
        &mut self,
        batch: &Batch<'_>,
        strip: &Range<usize>,
        actions: usize,
        config: &LossConfig,
    ) {
        for buffer in [&mut self.keep, &mut self.discounts, &mut self.rewards, &mut self.ratios] {
            buffer.clear();
        }
        self.actions.clear();
        for next in batch.rows(&batch.flags[batch.columns..], strip) {
            let cut = |mask: u8, kept: f32| {
                next.iter().map(move |flags| if flags & mask == 0 { kept } else { 0.0 })
            };
            self.keep.extend(cut(flag::FIRST, 1.0));
            self.discounts.extend(cut(flag::TERMINATED | flag::FIRST, config.discount));
        }
        for rewards in batch.rows(batch.rewards, strip) {
            let scaled = rewards.iter().map(|r| config.reward_clip.apply(r * config.reward_scale));
            self.rewards.extend(scaled);
        }
        for row in batch.rows(batch.actions, strip) {
            self.actions.extend(row.iter().map(|&action| action_index(action, actions)));
        }
        let rows = self.log_probs.chunks_exact(actions);
        refill(&mut self.taken, rows.zip(&self.actions).map(|(row, &action)| row[action]));
        let mut taken = self.taken.iter();
        for row in batch.rows(batch.behaviour_log_probs, strip) {
            self.ratios.extend(row.iter().zip(&mut taken).map(|(mu, pi)| pi - mu));
        }
    }

    /// Turns `ratios` into pi/mu, 0 where the transition crosses a reset.
    fn importance_ratios(&mut self, config: &LossConfig) -> LossSums {
        let mut sums = LossSums::default();
        exp_in_place(&mut self.ratios);
        let (mut rho, mut c) = (0.0_f32, 0.0_f32);
        for (ratio, &keep) in self.ratios.iter_mut().zip(&self.keep) {
            if keep == 0.0 {
                *ratio = 0.0;
                continue;
            }
            sums.transitions += 1;
            rho += *ratio;
            c += ratio.min(config.clips.c_bar);
            sums.rho_min = sums.rho_min.min(*ratio);
            sums.rho_max = sums.rho_max.max(*ratio);
            sums.rho_clipped += usize::from(*ratio > config.clips.rho_bar);
            sums.c_clipped += usize::from(*ratio > config.clips.c_bar);
        }
        (sums.rho, sums.c) = (f64::from(rho), f64::from(c));
        sums
    }

    /// [`Loss::gradients_of_any`] for a number of actions that the compiler knows: its loops over actions
    /// unroll.
    fn gradients<const A: usize>(
        &mut self,
        values: &[f32],
        config: &LossConfig,
        weight: f32,
        sums: &mut LossSums,
    ) {
        self.gradients_of_any(A, values, config, weight, sums);
    }

    #[inline(always)]
    fn gradients_of_any(
        &mut self,
        actions: usize,
        values: &[f32],
        config: &LossConfig,
        weight: f32,
        sums: &mut LossSums,
    ) {
        let (mut policy, mut baseline, mut entropy_sum) = (0.0_f32, 0.0_f32, 0.0_f32);
        let rows = self
            .d_logits
            .chunks_exact_mut(actions)
            .zip(self.probs.chunks_exact(actions))
            .zip(self.log_probs.chunks_exact(actions));
        let steps = (self.d_values.iter_mut().zip(values).zip(&self.vs))
            .zip(self.keep.iter().zip(&self.advantages))
            .zip(self.actions.iter().zip(&self.taken));
        for (((d_logits, probs), log_probs), step) in rows.zip(steps) {
            let ((((d_value, value), target), (keep, advantage)), (&action, taken)) = step;
            let entropy = -probs.iter().zip(log_probs).map(|(p, l)| p * l).sum::<f32>();
            // A reset transition contributes nothing; its factor is 0 rather than a branch.
            let weight = keep * weight;
            let weighted = advantage * weight;
            let entropy_cost = config.entropy_cost * weight;
            for ((d, &p), &l) in d_logits.iter_mut().zip(probs).zip(log_probs) {
                *d = p * (weighted + entropy_cost * (l + entropy));
            }
            d_logits[action] -= weighted;
            let error = value - target;
            *d_value = config.baseline_cost * weight * error;
            policy -= keep * advantage * taken;
            baseline += keep * 0.5 * error * error;
            entropy_sum += keep * entropy;
        }
        sums.policy = f64::from(policy);
        sums.baseline = f64::from(baseline);
        sums.entropy = f64::from(entropy_sum);
    }
}

fn action_index(action: i32, actions: usize) -> usize {
    usize::try_from(action)
        .ok()
        .filter(|&a| a < actions)
        .expect("actions are checked when the block is taken")
}

fn refill(buffer: &mut Vec<f32>, items: impl Iterator<Item = f32>) {
    buffer.clear();
    buffer.extend(items);
}

#[cfg(test)]
mod tests;
