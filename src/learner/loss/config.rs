//! Settings of the loss: costs, discount, clipping, off-policy correction.

use crate::learner::popart::ValueScale;
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

/// How the loss makes up for actions that another policy chose (Espeholt et al. 2018, section 5.2.2). Where the policies are
/// equal, all four are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// V-trace: targets and policy gradient are weighted by truncated importance ratios
    Vtrace,
    /// The importance ratio of its own step for the policy gradient, n-step returns as targets
    OneStep,
    /// No ratios; 1e-6 is added to the probability inside the logarithm of the policy gradient
    Epsilon,
    /// Nothing: actions count as if the present policy had chosen them
    None,
}

/// What [`Correction::Epsilon`] adds to probabilities.
const EPSILON: f32 = 1e-6;

impl Correction {
    /// Factor of the policy gradient of one transition, whose action was chosen with a probability `ratio` times smaller
    /// than `exp(taken)`, that of the present policy: `d log(pi + eps) = pi / (pi + eps) d log pi`.
    #[inline(always)]
    pub(super) fn policy_weight(self, ratio: f32, taken: f32, pg_rho_bar: f32) -> f32 {
        match self {
            Self::Vtrace | Self::OneStep => ratio.min(pg_rho_bar),
            // As a sigmoid, which no density is too large for.
            Self::Epsilon => 1.0 / (1.0 + EPSILON * (-taken).exp()),
            Self::None => 1.0,
        }
    }
}

/// Which returns are learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Returns {
    /// Rewards to the end of the unroll or the episode, then the value of what is seen there
    Bootstrapped,
    /// Rewards to the end of the episode and nothing else: unrolls are whole episodes
    MonteCarlo,
}

/// Constants of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossConfig {
    /// Gamma.
    pub discount: f32,
    /// Which returns are learnt from.
    pub returns: Returns,
    /// Weight of the baseline loss. With 0 there is no baseline: values count as 0 wherever they are used.
    pub baseline_cost: f32,
    /// Weight of the entropy loss.
    pub entropy_cost: f32,
    /// What makes up for the lag of policies.
    pub correction: Correction,
    /// V-trace's truncation levels; without V-trace lambda alone counts, and `pg_rho_bar` for [`Correction::OneStep`].
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
    /// What the network's outputs for values stand for; `None`: themselves.
    pub value_scale: Option<ValueScale>,
}

impl LossConfig {
    /// The loss of the paper (Espeholt et al. 2018, section 4.2), with a discount of 0.99, and none of what may be added to it.
    pub const PAPER: Self = Self {
        discount: 0.99,
        returns: Returns::Bootstrapped,
        baseline_cost: 0.5,
        entropy_cost: 0.01,
        correction: Correction::Vtrace,
        vtrace: VtraceConfig::ONE,
        reduction: Reduction::Sum,
        reward_clip: RewardClip::None,
        reward_scale: 1.0,
        clip_range: f32::INFINITY,
        kl_cost: 0.0,
        normalize_advantages: false,
        value_scale: None,
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
