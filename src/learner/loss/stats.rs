//! Statistics of the loss: sums that add up over the parts of a block, and means per transition.

use crate::unroll::LOSS_WORDS;

/// Sums over the transitions of a part of a block. Plain bytes, so that they travel with a gradient.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct LossSums {
    /// Transitions that count: those that do not cross a reset.
    pub transitions: u64,
    /// Policy loss.
    pub policy: f64,
    /// Baseline loss before its cost.
    pub baseline: f64,
    /// Entropy of the target policy, in nats.
    pub entropy: f64,
    /// Importance ratios before truncation.
    pub rho: f64,
    /// Ratios after truncation at c-bar.
    pub c: f64,
    /// How many are above rho-bar.
    pub rho_clipped: u64,
    /// How many are above c-bar.
    pub c_clipped: u64,
    /// Divergence of the policy from the one that acted, estimated by ratio - 1 - log ratio, in nats.
    pub kl: f64,
    /// Policy gradients that the clipped surrogate takes away.
    pub surrogate_clipped: u64,
    /// Smallest of the importance ratios.
    pub rho_min: f32,
    /// Largest of them.
    pub rho_max: f32,
    /// Targets of values, where outputs are scaled.
    pub target: f64,
    /// Their squares.
    pub target_square: f64,
}

const _: () = assert!(size_of::<LossSums>() == LOSS_WORDS * 8, "a slot holds exactly this");

/// Sums over the transitions of one task.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TaskLoss {
    /// Transitions that count.
    pub transitions: u64,
    /// Policy loss.
    pub policy: f64,
    /// Baseline loss before its cost.
    pub baseline: f64,
}

impl TaskLoss {
    /// Adds another part.
    pub(crate) fn add(&mut self, other: Self) {
        self.transitions += other.transitions;
        self.policy += other.policy;
        self.baseline += other.baseline;
    }
}

impl From<&LossSums> for TaskLoss {
    fn from(sums: &LossSums) -> Self {
        Self { transitions: sums.transitions, policy: sums.policy, baseline: sums.baseline }
    }
}

impl Default for LossSums {
    fn default() -> Self {
        Self {
            transitions: 0,
            policy: 0.0,
            baseline: 0.0,
            entropy: 0.0,
            rho: 0.0,
            rho_min: f32::INFINITY,
            rho_max: 0.0,
            c: 0.0,
            rho_clipped: 0,
            c_clipped: 0,
            kl: 0.0,
            surrogate_clipped: 0,
            target: 0.0,
            target_square: 0.0,
        }
    }
}

impl LossSums {
    /// Adds another part of the same block.
    pub(crate) fn add(&mut self, other: &Self) {
        self.transitions += other.transitions;
        self.policy += other.policy;
        self.baseline += other.baseline;
        self.entropy += other.entropy;
        self.rho += other.rho;
        self.rho_min = self.rho_min.min(other.rho_min);
        self.rho_max = self.rho_max.max(other.rho_max);
        self.c += other.c;
        self.rho_clipped += other.rho_clipped;
        self.c_clipped += other.c_clipped;
        self.kl += other.kl;
        self.surrogate_clipped += other.surrogate_clipped;
        self.target += other.target;
        self.target_square += other.target_square;
    }

    /// Whether all losses are numbers.
    #[must_use]
    pub(crate) fn is_finite(&self) -> bool {
        (self.policy + self.baseline + self.entropy).is_finite()
    }

    /// The same per transition, for ratios that were truncated at `c_bar`.
    #[must_use]
    pub(crate) fn stats(&self, c_bar: f32) -> LossStats {
        let rho_min = self.rho_min.min(self.rho_max);
        let count = self.transitions.max(1) as f64;
        LossStats {
            transitions: usize::try_from(self.transitions).unwrap_or(usize::MAX),
            policy_loss: (self.policy / count) as f32,
            baseline_loss: (self.baseline / count) as f32,
            entropy: (self.entropy / count) as f32,
            rho_mean: (self.rho / count) as f32,
            rho_min,
            rho_max: self.rho_max,
            c_mean: (self.c / count) as f32,
            c_min: rho_min.min(c_bar),
            c_max: self.rho_max.min(c_bar),
            rho_clipped: (self.rho_clipped as f64 / count) as f32,
            c_clipped: (self.c_clipped as f64 / count) as f32,
            kl_mean: (self.kl / count) as f32,
            surrogate_clipped: (self.surrogate_clipped as f64 / count) as f32,
            target: self.target / count,
            target_square: self.target_square / count,
        }
    }
}

/// What one loss computation found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LossStats {
    /// Transitions that count: T * B less those that cross a reset.
    pub(crate) transitions: usize,
    /// Policy loss, per transition.
    pub(crate) policy_loss: f32,
    /// Baseline loss before its cost, per transition.
    pub(crate) baseline_loss: f32,
    /// Entropy of the target policy, per transition, in nats.
    pub(crate) entropy: f32,
    /// Mean of the importance ratio before truncation.
    pub(crate) rho_mean: f32,
    /// Smallest.
    pub(crate) rho_min: f32,
    /// Largest.
    pub(crate) rho_max: f32,
    /// Mean of the ratios after truncation at c-bar.
    pub(crate) c_mean: f32,
    /// Smallest.
    pub(crate) c_min: f32,
    /// Largest.
    pub(crate) c_max: f32,
    /// Part of ratios above rho-bar.
    pub(crate) rho_clipped: f32,
    /// Part of ratios above c-bar.
    pub(crate) c_clipped: f32,
    /// Divergence of the policy from the one that acted, in nats.
    pub(crate) kl_mean: f32,
    /// Part of the transitions whose policy gradient the clipped surrogate takes away.
    pub(crate) surrogate_clipped: f32,
    /// Mean target of values, where outputs are scaled.
    pub(crate) target: f64,
    /// Mean of their squares.
    pub(crate) target_square: f64,
}
