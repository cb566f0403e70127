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

use super::vtrace::{Clips, Inputs, vtrace};
use crate::env::flag;
use crate::policy::math::{exp_in_place, ln_in_place};

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

/// What one loss computation found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossStats {
    /// Transitions that count: T * B less those that cross a reset.
    pub transitions: usize,
    /// Policy loss, per transition.
    pub policy_loss: f32,
    /// Baseline loss before its cost, per transition.
    pub baseline_loss: f32,
    /// Entropy of the target policy, per transition, in nats.
    pub entropy: f32,
    /// Mean of the importance ratio before truncation.
    pub rho_mean: f32,
    /// Smallest.
    pub rho_min: f32,
    /// Largest.
    pub rho_max: f32,
    /// Mean of the ratios after truncation at c-bar.
    pub c_mean: f32,
    /// Smallest.
    pub c_min: f32,
    /// Largest.
    pub c_max: f32,
    /// Share of ratios above rho-bar.
    pub rho_clipped: f32,
    /// Share of ratios above c-bar.
    pub c_clipped: f32,
}

/// Buffers of the computation, reused from block to block.
#[derive(Debug, Default)]
pub struct Loss {
    log_probs: Vec<f32>,
    probs: Vec<f32>,
    log_sums: Vec<f32>,
    taken: Vec<f32>,
    ratios: Vec<f32>,
    discounts: Vec<f32>,
    rewards: Vec<f32>,
    vs: Vec<f32>,
    advantages: Vec<f32>,
    d_logits: Vec<f32>,
    d_values: Vec<f32>,
}

impl Loss {
    /// dL/dlogits of the last [`Loss::compute`], `[T + 1][B][A]`; the bootstrap row is zero.
    #[must_use]
    pub fn d_logits(&self) -> &[f32] {
        &self.d_logits
    }

    /// dL/dV of the last [`Loss::compute`], `[T + 1][B]`; the bootstrap row is zero.
    #[must_use]
    pub fn d_values(&self) -> &[f32] {
        &self.d_values
    }

    /// Computes loss and gradients from the network's outputs for all T + 1 observations of `batch`:
    /// `logits` `[T + 1][B][A]`, `values` `[T + 1][B]`.
    ///
    /// # Panics
    /// If lengths do not agree or an action is not below A (the block is checked before it gets here).
    pub fn compute(
        &mut self,
        batch: &Batch<'_>,
        logits: &[f32],
        values: &[f32],
        config: &LossConfig,
    ) -> LossStats {
        let columns = batch.columns;
        let steps = batch.actions.len();
        let outputs = steps + columns;
        let actions = logits.len() / outputs;
        assert_eq!(logits.len(), outputs * actions, "logits");
        assert_eq!(values.len(), outputs, "values");
        assert_eq!(batch.flags.len(), outputs, "flags");

        self.log_softmax(&logits[..steps * actions], actions);
        self.importance_ratios(batch, actions);
        let stats = self.ratio_stats(batch, config);
        let next_flags = &batch.flags[columns..];
        refill(
            &mut self.discounts,
            next_flags.iter().map(|f| {
                if f & (flag::TERMINATED | flag::FIRST) == 0 { config.discount } else { 0.0 }
            }),
        );
        refill(
            &mut self.rewards,
            batch.rewards.iter().map(|r| config.reward_clip.apply(r * config.reward_scale)),
        );
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
        self.gradients(batch, values, actions, config, stats)
    }

    /// Fills `log_probs` and `probs` (`[T][B][A]`) from the logits.
    fn log_softmax(&mut self, logits: &[f32], actions: usize) {
        let rows = logits.len() / actions;
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
        debug_assert_eq!(self.log_sums.len(), rows);
        ln_in_place(&mut self.log_sums);
        for (row, &log_sum) in self.log_probs.chunks_exact_mut(actions).zip(&self.log_sums) {
            row.iter_mut().for_each(|z| *z -= log_sum);
        }
    }

    /// Fills `ratios` with pi/mu, 0 where the transition crosses a reset.
    fn importance_ratios(&mut self, batch: &Batch<'_>, actions: usize) {
        let rows = self.log_probs.chunks_exact(actions);
        refill(
            &mut self.taken,
            batch.actions.iter().zip(rows).map(|(&a, row)| row[action_index(a, actions)]),
        );
        refill(
            &mut self.ratios,
            self.taken.iter().zip(batch.behaviour_log_probs).map(|(pi, mu)| pi - mu),
        );
        exp_in_place(&mut self.ratios);
        let masked = batch.flags[batch.columns..].iter().map(|f| f & flag::FIRST != 0);
        self.ratios.iter_mut().zip(masked).for_each(|(ratio, masked)| {
            if masked {
                *ratio = 0.0;
            }
        });
    }

    fn ratio_stats(&self, batch: &Batch<'_>, config: &LossConfig) -> LossStats {
        let mut stats = LossStats { rho_min: f32::INFINITY, ..LossStats::default() };
        let (mut sum, mut c_sum) = (0.0_f32, 0.0_f32);
        let (mut above_rho, mut above_c) = (0_usize, 0_usize);
        for (&ratio, &next) in self.ratios.iter().zip(&batch.flags[batch.columns..]) {
            if next & flag::FIRST == 0 {
                stats.transitions += 1;
                sum += ratio;
                c_sum += ratio.min(config.clips.c_bar);
                stats.rho_min = stats.rho_min.min(ratio);
                stats.rho_max = stats.rho_max.max(ratio);
                above_rho += usize::from(ratio > config.clips.rho_bar);
                above_c += usize::from(ratio > config.clips.c_bar);
            }
        }
        let count = stats.transitions.max(1) as f32;
        stats.rho_mean = sum / count;
        stats.rho_min = stats.rho_min.min(stats.rho_max);
        stats.c_mean = c_sum / count;
        stats.c_min = stats.rho_min.min(config.clips.c_bar);
        stats.c_max = stats.rho_max.min(config.clips.c_bar);
        stats.rho_clipped = above_rho as f32 / count;
        stats.c_clipped = above_c as f32 / count;
        stats
    }

    fn gradients(
        &mut self,
        batch: &Batch<'_>,
        values: &[f32],
        actions: usize,
        config: &LossConfig,
        mut stats: LossStats,
    ) -> LossStats {
        let steps = batch.actions.len();
        self.d_logits.resize((steps + batch.columns) * actions, 0.0);
        self.d_values.resize(steps + batch.columns, 0.0);
        self.d_logits[steps * actions..].fill(0.0);
        self.d_values[steps..].fill(0.0);
        let count = stats.transitions.max(1) as f32;
        let scale = if config.reduction == Reduction::Mean { 1.0 / count } else { 1.0 };
        let (mut policy, mut baseline, mut entropy_sum) = (0.0_f32, 0.0_f32, 0.0_f32);
        #[expect(clippy::needless_range_loop, reason = "one index into nine arrays")]
        for t in 0..steps {
            // A reset transition contributes nothing; its factor is 0 rather than a branch.
            let keep = if batch.flags[batch.columns + t] & flag::FIRST == 0 { 1.0 } else { 0.0 };
            let row = t * actions..(t + 1) * actions;
            let (probs, log_probs) = (&self.probs[row.clone()], &self.log_probs[row.clone()]);
            let entropy = -probs.iter().zip(log_probs).map(|(p, l)| p * l).sum::<f32>();
            let weight = keep * scale;
            let advantage = self.advantages[t] * weight;
            let entropy_cost = config.entropy_cost * weight;
            for ((d, &p), &l) in self.d_logits[row.clone()].iter_mut().zip(probs).zip(log_probs) {
                *d = advantage * p + entropy_cost * p * (l + entropy);
            }
            self.d_logits[row.start + action_index(batch.actions[t], actions)] -= advantage;
            let error = values[t] - self.vs[t];
            self.d_values[t] = config.baseline_cost * weight * error;
            policy -= keep * self.advantages[t] * self.taken[t];
            baseline += keep * 0.5 * error * error;
            entropy_sum += keep * entropy;
        }
        stats.policy_loss = policy / count;
        stats.baseline_loss = baseline / count;
        stats.entropy = entropy_sum / count;
        stats
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
