//! The configuration of a run: flags ([`Args`]), a file ([`mod@file`]) and defaults ([`defaults`]) are resolved to a
//! [`Config`], which is validated once and has one struct for each part of the system.
//!
//! A setting has one name: the field of [`Settings`], which is the flag and the TOML key alike.
//! `docs/configuration.md` lists them all; a test compares it with the code.

mod advice;
mod args;
mod chaos;
mod choice;
mod error;
mod external;
mod network;
mod render;
mod resolve;
mod settings;
mod tasks;

pub mod defaults;
pub mod environment;
pub mod file;
pub mod preflight;
pub mod ranges;

pub use args::{Args, refusal};
pub use chaos::{ChaosError, ChaosSpec};
pub use choice::{
    Algorithm, CoreName, Decay, Device, Distributed, Engine, EngineChoice, Exchange, Inference,
    InferenceName, OnBadEnv, OptimizerName, Schedule, ScheduleName, TorsoName, UnknownDevice,
};
pub use error::ConfigError;
pub use render::values;
pub use settings::Settings;

pub use crate::learner::loss::{Correction, Reduction, Returns, RewardClip};
pub use crate::policy::bounds::ActionBounds;
pub use crate::policy::spec::{Activation, Conv};

use std::path::PathBuf;

use crate::env::{EnvOptions, EnvSpec, Registry};
use crate::policy::simd::Vectors;
use crate::unroll::BlockLayout;

/// A valid configuration, complete: nothing in it needs another look.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// What is learnt.
    pub env: EnvConfig,
    /// Processes, and the ring between them.
    pub pool: PoolConfig,
    /// The network.
    pub network: NetworkConfig,
    /// Loss and optimizer.
    pub learner: LearnerConfig,
    /// What is done about faults.
    pub faults: FaultConfig,
    /// When a run ends.
    pub stop: StopConfig,
    /// The run itself: where it writes, and how often.
    pub run: RunConfig,
}

impl Config {
    /// Puts what is `explicit` (flags over a file, see [`Args::layers`]) over the defaults and checks all of it.
    ///
    /// # Errors
    /// For the first thing that is wrong, with its remedy, on one line.
    pub fn resolve(explicit: &Settings, registry: &Registry) -> Result<Self, ConfigError> {
        resolve::resolve(explicit, registry, cfg!(feature = "torch"))
    }

    /// The same with other numbers of actors, of environments of each, and of threads of the learner. `blocks` is what was asked
    /// for; else they follow from the actors. What an update learns from stays.
    ///
    /// # Errors
    /// If they do not fit the batch or the ring.
    pub(crate) fn resized(
        &self,
        blocks: Option<usize>,
        (actors, envs_per_actor, learner_threads): (usize, usize, usize),
    ) -> Result<Self, ConfigError> {
        let settings = Settings {
            actors: Some(actors),
            envs_per_actor: Some(envs_per_actor),
            learner_threads: Some(learner_threads),
            blocks,
            ..self.to_settings()
        };
        resolve::resize(self, &settings)
    }
}

/// What is learnt: one task, or several that one network learns.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvConfig {
    /// What it is called: the name of its task, or of some of its tasks.
    pub id: String,
    /// The tasks, at least one.
    pub tasks: Vec<TaskConfig>,
    /// Length that vectors are filled up to with zeros.
    pub padded_len: Option<usize>,
    /// What the network sees and does in every task.
    pub spec: EnvSpec,
    /// How continuous actions come within their bounds.
    pub action_bounds: ActionBounds,
}

impl EnvConfig {
    /// The options that were given for all tasks, with what those in Python are run with, if there are any.
    #[must_use]
    pub(crate) fn shared_options(&self) -> &EnvOptions {
        let in_python = self.tasks.iter().find(|task| task.options.external.python.is_some());
        &in_python.unwrap_or(&self.tasks[0]).options
    }
}

/// The environment of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskConfig {
    /// The name it is registered under: for one of Gymnasium the one that was found, with its version.
    pub id: String,
    /// Its options.
    pub options: EnvOptions,
    /// What it looks like by itself, with these options.
    pub spec: EnvSpec,
    /// What is odd about it, and no fault: a line each.
    pub notes: Vec<String>,
}

/// Processes and ring.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolConfig {
    /// Actor processes, 1 to 8191.
    pub actors: usize,
    /// Tasks, which actors share out among themselves.
    pub tasks: usize,
    /// E: environments of one actor.
    pub envs_per_actor: usize,
    /// S: parts of these that take turns, a divisor of E.
    pub splits: usize,
    /// T: steps of an unroll.
    pub unroll: usize,
    /// B: columns of a block, a multiple of E / S.
    pub batch: usize,
    /// K: blocks of the ring, at least 2; there is a slot for every split of every actor.
    pub blocks: usize,
    /// L: blocks in flight beside the one that the learner works on, before actors sleep; at least 1.
    pub max_lag: usize,
    /// Which weights fill which batch.
    pub schedule: Schedule,
    /// Who runs the network for the actors.
    pub inference: Inference,
    /// What computes the network, in actors and learner.
    pub engine: Engine,
    /// How wide the vectors are that are computed with. Whether this CPU has them is not for a configuration to say.
    pub vectors: Vectors,
    /// Whether each process is bound to a core.
    pub pin: bool,
    /// Steps of `nice` that actors give way by, at most 19.
    pub actor_nice: usize,
    /// Where the fields lie in a block of the ring.
    pub layout: BlockLayout,
    /// Where gradients travel: the same of what an actor records an unroll of its own in.
    pub record: Option<BlockLayout>,
}

impl PoolConfig {
    /// Environments of one group, which fill one slot together.
    #[must_use]
    pub const fn envs_per_group(&self) -> usize {
        self.envs_per_actor / self.splits
    }

    /// G: groups (slots) of one block.
    #[must_use]
    pub const fn groups_per_block(&self) -> usize {
        self.batch / self.envs_per_group()
    }

    /// Most groups of environments that one actor has: those of its [`PoolConfig::places`].
    #[must_use]
    pub(crate) const fn groups_per_actor(&self) -> usize {
        self.groups_per_actor_of(self.actors)
    }

    /// The same with another number of `actors`, at least 1.
    #[must_use]
    pub(crate) const fn groups_per_actor_of(&self, actors: usize) -> usize {
        self.places_of(actors).div_ceil(actors)
    }

    /// Places for groups of environments among `actors` actors. In lockstep they are the groups of a block, so that it makes no
    /// difference how many actors there are; else as few as give every actor and every task as many as any other.
    const fn places_of(&self, actors: usize) -> usize {
        if self.schedule.is_lockstep() {
            return self.groups_per_block();
        }
        // So have the splits of an actor.
        let splits = actors * self.splits;
        let (mut divisor, mut rest) = (splits, self.tasks);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        splits / divisor * self.tasks
    }

    /// The places of one actor, which its splits have in turn. A split acts in all of its own in turn, or in lockstep in that which
    /// is open.
    pub(crate) fn places(&self, actor: usize) -> impl Iterator<Item = usize> + use<> {
        (actor..self.places_of(self.actors)).step_by(self.actors)
    }

    /// The task of a place.
    #[must_use]
    pub(crate) const fn task_of(&self, place: usize) -> usize {
        place % self.tasks
    }

    /// What travels from actors to the learner.
    #[must_use]
    pub(crate) const fn exchange(&self) -> Exchange {
        if self.record.is_some() { Exchange::Gradients } else { Exchange::Trajectories }
    }

    /// Blocks that may be in flight beside the one at the learner. Where gradients travel, all actors compute them at once.
    #[must_use]
    pub(crate) const fn blocks_in_flight(&self) -> usize {
        let of_actors = self.actors.div_ceil(self.groups_per_block());
        match self.exchange() {
            Exchange::Gradients if of_actors > self.max_lag => of_actors,
            _ => self.max_lag,
        }
    }

    /// Slots of the ring: K * G.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.blocks * self.groups_per_block()
    }

    /// Frames in one batch: T * B.
    #[must_use]
    pub const fn frames_per_batch(&self) -> usize {
        self.unroll * self.batch
    }

    /// Bytes of all blocks.
    #[must_use]
    pub(crate) const fn ring_bytes(&self) -> usize {
        self.blocks * self.layout.block_bytes()
    }
}

/// The network between observation and heads.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// Kind.
    pub torso: TorsoName,
    /// Widths of the fully connected layers, at least one.
    pub hidden: Vec<usize>,
    /// What follows each layer; always relu after convolutions.
    pub activation: Activation,
    /// Convolutions without padding, in order; empty in an mlp and in the residual network.
    pub convs: Vec<Conv>,
    /// What remembers.
    pub core: CoreName,
    /// Width of the core; 0 if there is none.
    pub core_size: usize,
    /// Whether the network sees its last action and reward.
    pub action_reward_inputs: bool,
    /// Whether the value has a torso of its own.
    pub separate_value: bool,
    /// How far normalised observations are from 0 at most; `None`: they are seen as they are.
    pub observation_clip: Option<f64>,
}

impl LearnerConfig {
    /// Steps of the optimizer with each batch, if none is left out.
    #[must_use]
    pub const fn updates_per_batch(&self) -> u64 {
        self.passes * self.minibatches
    }
}

/// Loss and optimizer. Letters are those of Espeholt et al. 2018, section 4.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerConfig {
    /// Gamma.
    pub discount: f64,
    /// Weight of the entropy bonus.
    pub entropy_cost: f64,
    /// Weight of the baseline loss.
    pub baseline_cost: f64,
    /// What makes up for the lag of policies.
    pub correction: Correction,
    /// Truncation of the importance weights in the temporal differences; may be infinite.
    pub rho_bar: f64,
    /// Truncation of the weights that carry corrections back; may be infinite.
    pub c_bar: f64,
    /// Truncation of the weights in the policy gradient; may be infinite.
    pub pg_rho_bar: f64,
    /// Lambda of remark 2.
    pub lambda: f64,
    /// Which returns are learnt from.
    pub returns: Returns,
    /// Sum or mean of the losses.
    pub reduction: Reduction,
    /// What happens to rewards.
    pub reward_clip: RewardClip,
    /// Whether rewards are divided by the deviation of returns.
    pub normalize_rewards: bool,
    /// Whether the value head learns targets of mean 0 and deviation 1.
    pub popart: bool,
    /// Whether the advantages of a batch are.
    pub normalize_advantages: bool,
    /// Epsilon of the clipped surrogate; may be infinite.
    pub clip_range: f64,
    /// Weight of the divergence from the policy that acted.
    pub kl_cost: f64,
    /// Divergence that this weight is adapted to; may be infinite.
    pub kl_target: f64,
    /// Divergence at which passes over a batch stop; may be infinite.
    pub stop_passes_at_kl: f64,
    /// Factor on rewards, before the clip.
    pub reward_scale: f64,
    /// Optimizer with its constants.
    pub optimizer: Optimizer,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// How it changes until `stop.total_frames`.
    pub learning_rate_decay: Decay,
    /// Longest gradient; may be infinite.
    pub max_grad_norm: f64,
    /// Longest gradient of one actor, where gradients travel; may be infinite.
    pub worker_max_grad_norm: f64,
    /// Threads of the learner.
    pub threads: usize,
    /// Where it computes.
    pub device: Device,
    /// Updates with each batch.
    pub passes: u64,
    /// Parts of a batch, each with an update in every pass; at most B.
    pub minibatches: u64,
    /// Most columns that go through the network at a time; none: what suits the caches.
    pub micro_batch: Option<usize>,
    /// What is learnt from again, if anything is.
    pub replay: Option<ReplayConfig>,
    /// Updates between two publications.
    pub publish_every: u64,
}

/// Unrolls that are learnt from again.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayConfig {
    /// Part of each batch that was asked for.
    pub fraction: f64,
    /// Unrolls that were asked to be kept.
    pub unrolls: usize,
    /// Groups of columns that are kept: at least those that one update draws.
    pub kept_groups: usize,
    /// Where the fields lie in what an update draws.
    pub layout: BlockLayout,
}

/// An optimizer with its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// Adam.
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root.
        epsilon: f64,
    },
    /// RMSProp as in TensorFlow 1.
    RmspropTf {
        /// Decay of the mean square.
        decay: f64,
        /// Added under the root.
        epsilon: f64,
        /// Momentum.
        momentum: f64,
    },
    /// RMSProp as in PyTorch.
    RmspropTorch {
        /// Decay of the mean square.
        decay: f64,
        /// Added to the root.
        epsilon: f64,
        /// Momentum.
        momentum: f64,
    },
}

impl Optimizer {
    /// Its name.
    #[must_use]
    pub(crate) const fn name(self) -> OptimizerName {
        match self {
            Self::Adam { .. } => OptimizerName::Adam,
            Self::RmspropTf { .. } => OptimizerName::RmspropTf,
            Self::RmspropTorch { .. } => OptimizerName::RmspropTorch,
        }
    }
}

/// What is done about processes that stand still and environments that fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultConfig {
    /// Time without a step after which an actor hangs; `None`: it never does.
    pub actor_hang_timeout_s: Option<f64>,
    /// The same while it builds environments and network.
    pub actor_start_timeout_s: Option<f64>,
    /// Time without an update after which the learner hangs.
    pub learner_hang_timeout_s: Option<f64>,
    /// What follows when an environment fails.
    pub on_bad_env: OnBadEnv,
}

/// When a run ends: at whichever comes first.
#[derive(Debug, Clone, PartialEq)]
pub struct StopConfig {
    /// Frames learnt from.
    pub total_frames: u64,
    /// Mean return of the last `stop_window` episodes, for each task: all are to be reached.
    pub stop_at_return: Option<Vec<f64>>,
    /// Episodes in that mean.
    pub stop_window: usize,
    /// Wall time, at most 1e9 seconds.
    pub time_limit_s: Option<f64>,
}

/// The run itself.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    /// The algorithm that was asked for; its settings are in the rest already.
    pub algorithm: Algorithm,
    /// The preset that was asked for; its settings are in the rest already.
    pub preset: Option<String>,
    /// Folder that the run writes to.
    pub run_dir: Option<PathBuf>,
    /// Seed of weights, actions and environments.
    pub seed: u64,
    /// Whether ranks that a launcher has started learn together.
    pub distributed: Distributed,
    /// Time between lines of metrics.
    pub log_interval_s: f64,
    /// Time between checkpoints, at most 1e9 seconds; `None` for one at the end only.
    pub checkpoint_interval_s: Option<f64>,
    /// Checkpoints that are kept.
    pub keep_checkpoints: usize,
    /// Write TensorBoard event files.
    pub tensorboard: bool,
    /// Write an HTML report at the end.
    pub report: bool,
    /// Print errors and the last line only.
    pub quiet: bool,
}
