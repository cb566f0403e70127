//! Constants of the loss.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::learner::vtrace::VtraceConfig;

/// Whether losses are summed over a batch (the paper) or averaged over its transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Sum over time and batch, as in the paper
    Sum,
    /// Mean over the transitions: gradients of the same size whatever the batch
    Mean,
}

/// What happens to rewards before they are learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RewardClip {
    /// Nothing
    None,
    /// To [-1, 1], as for Atari
    AbsOne,
    /// 0.3 min(tanh r, 0) + 5 max(tanh r, 0), as for DMLab in the paper
    SoftAsymmetric,
}

impl RewardClip {
    pub(super) fn apply(self, reward: f32) -> f32 {
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
    pub vtrace: VtraceConfig<f32>,
    /// Sum or mean.
    pub reduction: Reduction,
    /// Applied after scaling.
    pub reward_clip: RewardClip,
    /// Factor on rewards.
    pub reward_scale: f32,
    /// Epsilon of the clipped surrogate (Schulman et al. 2017, equation 7): where the ratio is further from 1 than this
    /// on the side that the advantage favours, there is no gradient. Infinite: IMPALA's policy gradient.
    pub clip_range: f32,
    /// Weight of the divergence from the policy that acted.
    pub kl_cost: f32,
    /// Whether advantages are divided by their deviation within a block, after their mean is taken off.
    pub normalize_advantages: bool,
}

impl LossConfig {
    /// The loss of the paper (Espeholt et al. 2018, section 4.2), with a discount of 0.99, and none of what may be added to it.
    pub const PAPER: Self = Self {
        discount: 0.99,
        baseline_cost: 0.5,
        entropy_cost: 0.01,
        vtrace: VtraceConfig { rho_bar: 1.0, c_bar: 1.0, pg_rho_bar: 1.0, lambda: 1.0 },
        reduction: Reduction::Sum,
        reward_clip: RewardClip::None,
        reward_scale: 1.0,
        clip_range: f32::INFINITY,
        kl_cost: 0.0,
        normalize_advantages: false,
    };

    /// What each transition's loss is multiplied by, if `transitions` count in the whole block.
    #[must_use]
    pub(crate) fn weight(&self, transitions: usize) -> f32 {
        match self.reduction {
            Reduction::Sum => 1.0,
            Reduction::Mean => 1.0 / transitions.max(1) as f32,
        }
    }
}
