//! All settings of a run, in one struct for flags and TOML keys, so that the two cannot drift apart.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::choice::{
    Algorithm, CoreName, Decay, Device, Distributed, EngineChoice, Exchange, InferenceName,
    OnBadEnv, OptimizerName, ScheduleName, TorsoName,
};
use super::{ActionBounds, Activation, Conv, Correction, Reduction, Returns, RewardClip};
use crate::env::EnvOptions;
use crate::policy::simd::Vectors;

/// Every setting, each of them optional: one layer (flags, a file, a preset, a table of defaults).
///
/// The name of a field in kebab-case is both the flag and the TOML key.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Environment to learn; once for each task that one agent is to learn. `--list-envs` prints those there are
    #[arg(long, value_name = "ID", help_heading = "Environment")]
    #[serde(alias = "tasks", with = "one_or_several")]
    pub env: Option<Vec<String>>,
    /// Use the settings that are known to suit this environment; false for those of any environment
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Environment")]
    pub env_defaults: Option<bool>,
    /// Option of the environment, once for each. Replaces those of the file as a whole
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Environment")]
    #[serde(deserialize_with = "options_in_toml")]
    pub env_arg: Option<Vec<String>>,
    /// Function that each Gymnasium environment is passed through; a file.py may stand for the module
    #[arg(long, value_name = "MODULE:FUNCTION", help_heading = "Environment")]
    pub env_wrapper: Option<String>,
    /// Parts of a Dict observation that are seen, in this order [default: all]
    #[arg(long, value_name = "KEY,KEY", value_delimiter = ',', help_heading = "Environment")]
    pub observation_keys: Option<Vec<String>>,
    /// Frames that the network sees at once; they are stored once [default: the environment's]
    #[arg(long, value_parser = whole::<usize>, value_name = "K", help_heading = "Environment")]
    pub frame_stack: Option<usize>,
    /// Fill vectors up with zeros to this length, so that tasks of different ones fit one network
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Environment")]
    pub pad_observations: Option<usize>,
    /// Python for environments of Gymnasium and EnvPool [default: that of $VIRTUAL_ENV, else the one beside this program, else python3]
    #[arg(long, value_name = "PATH", help_heading = "Environment")]
    pub python: Option<PathBuf>,
    /// Folder that Python modules are looked for in first [default: the current one]
    #[arg(long, value_name = "DIR", help_heading = "Environment")]
    pub python_path: Option<PathBuf>,
    /// File with the token that servers of environments (grpcs://HOST:PORT, grpc://HOST:PORT) ask for
    #[arg(long, value_name = "FILE", help_heading = "Environment")]
    pub env_token_file: Option<PathBuf>,
    /// PEM file with the certificates of those who may have signed that of a server of environments (grpcs://HOST:PORT)
    /// [default: those that the system trusts]
    #[arg(long, value_name = "FILE", help_heading = "Environment")]
    pub env_ca_file: Option<PathBuf>,
    /// Seconds that a server of environments may take for an answer, and that one which is gone is waited for
    #[arg(long, value_parser = real, value_name = "S", help_heading = "Environment")]
    pub env_timeout: Option<f64>,

    /// Actor processes. As many as cores is a good start; more do no harm if environments wait
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Pool")]
    pub actors: Option<usize>,
    /// Environments that each actor steps together (E). More make inference cheaper per frame
    #[arg(long, value_parser = whole::<usize>, value_name = "E", help_heading = "Pool")]
    pub envs_per_actor: Option<usize>,
    /// Parts of each actor's environments that take turns: those of one step, or wait for their actions, while the actor works on another
    #[arg(long, value_parser = whole::<usize>, value_name = "S", help_heading = "Pool")]
    pub splits: Option<usize>,
    /// Steps in an unroll (T). Longer for far-off rewards, shorter for fresher data
    #[arg(long, value_parser = whole::<usize>, value_name = "T", help_heading = "Pool")]
    pub unroll: Option<usize>,
    /// Unrolls in a training batch (B), a multiple of --envs-per-actor. Larger is faster, smaller
    /// learns from fewer frames
    #[arg(long, value_parser = whole::<usize>, value_name = "B", help_heading = "Pool")]
    pub batch: Option<usize>,
    /// Training batches that the ring has room for (K)
    /// [default: enough for the actors, at least 3]
    #[arg(long, value_parser = whole::<usize>, value_name = "K", help_heading = "Pool")]
    pub blocks: Option<usize>,
    /// Batches that may wait for the learner, so about the updates by which data is old. Actors beyond that
    /// sleep, unless the learner starves while cores are idle
    #[arg(long, value_parser = whole::<usize>, value_name = "L", help_heading = "Pool")]
    pub max_lag: Option<usize>,
    /// Which weights fill which batch. With lockstep and the native engine a run repeats itself to the bit
    #[arg(long, help_heading = "Pool")]
    pub schedule: Option<ScheduleName>,
    /// With --schedule lockstep: batches by which the weights that act are older than those that learn; 0 takes turns
    #[arg(long, value_parser = whole::<usize>, value_name = "L", help_heading = "Pool")]
    pub lag: Option<usize>,
    /// What travels from actors to the learner: what they saw and did, or the gradients of it, which they compute
    #[arg(long, help_heading = "Pool")]
    pub exchange: Option<Exchange>,
    /// With --exchange gradients: gradients that one update is made of [default: 1, in lockstep one of each actor]
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Pool")]
    pub gradients_per_update: Option<usize>,
    /// Who runs the network for the actors: each its own, or one process for all, in batches. `central` is for large
    /// networks with few environments per actor
    #[arg(long, help_heading = "Pool")]
    pub inference: Option<InferenceName>,
    /// With --inference central: observations that go through the network together at most
    /// [default: those of all actors]
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Pool")]
    pub inference_batch: Option<usize>,
    /// With --inference central: how long a batch waits for more observations, in microseconds [default: 0]
    #[arg(long, value_parser = whole::<u64>, value_name = "U", help_heading = "Pool")]
    pub inference_wait_us: Option<u64>,
    /// What computes the network. Leave it at auto unless you compare the two
    #[arg(long, help_heading = "Pool")]
    pub engine: Option<EngineChoice>,
    /// How wide the vectors are that this project's own code computes with: what differs are speed and last digits
    #[arg(long, help_heading = "Pool")]
    pub vectors: Option<Vectors>,
    /// Bind each process to a core. Worth a try on a machine that does nothing else
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Pool")]
    pub pin: Option<bool>,
    /// How far actors give way to the learner where they share cores, in steps of `nice`
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Pool")]
    pub actor_nice: Option<usize>,

    /// Bundle of settings that makes an algorithm; each can be set on its own as well
    #[arg(long, help_heading = "Run")]
    pub algorithm: Option<Algorithm>,
    /// Bundle of settings for a purpose: fast-learning (few seconds, few frames) or throughput
    #[arg(long, value_name = "NAME", help_heading = "Run")]
    pub preset: Option<String>,
    /// Seed of weights, actions and environments. Asynchrony still makes runs differ; --schedule lockstep does not
    #[arg(long, value_parser = whole::<u64>, value_name = "S", help_heading = "Run")]
    pub seed: Option<u64>,
    /// Learn together with the other ranks that mpirun or srun has started (docs/scaling.md)
    #[arg(long, help_heading = "Run")]
    pub distributed: Option<Distributed>,
    /// Folder for everything that the run writes [default: a new one below runs/]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub run_dir: Option<PathBuf>,
    /// Seconds between lines of metrics
    #[arg(long, value_parser = real, value_name = "S", help_heading = "Run")]
    pub log_interval: Option<f64>,
    /// Seconds between checkpoints, or inf for one at the end only
    #[arg(long, value_parser = real, value_name = "S", help_heading = "Run")]
    pub checkpoint_interval: Option<f64>,
    /// Checkpoints to keep; the oldest go first
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Run")]
    pub keep_checkpoints: Option<usize>,
    /// Write TensorBoard event files to the run folder
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Run")]
    pub tensorboard: Option<bool>,
    /// Write report.html to the run folder at the end
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Run")]
    pub report: Option<bool>,
    /// Print nothing but errors and the last line
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Run")]
    pub quiet: Option<bool>,

    /// Seconds without a step after which an actor counts as hung and is replaced, or inf for never
    #[arg(long, value_parser = real, value_name = "S", help_heading = "Faults")]
    pub actor_hang_timeout: Option<f64>,
    /// The same while it builds its environments and its network
    #[arg(long, value_parser = real, value_name = "S", help_heading = "Faults")]
    pub actor_start_timeout: Option<f64>,
    /// Seconds without an update after which the learner counts as hung, waits for data aside, or inf
    #[arg(long, value_parser = real, value_name = "S", help_heading = "Faults")]
    pub learner_hang_timeout: Option<f64>,
    /// What follows when an environment fails, or gives a reward or an observation that is not a number
    #[arg(long, value_name = "WHAT", help_heading = "Faults")]
    pub on_bad_env: Option<OnBadEnv>,

    /// Stop after learning from this many frames; 1e6 and 1_000_000 are read too
    #[arg(long, value_parser = whole::<u64>, value_name = "N", help_heading = "When to stop")]
    #[serde(deserialize_with = "whole_in_toml")]
    pub total_frames: Option<u64>,
    /// Stop as soon as the mean return of the last --stop-window episodes reaches this, in every task; give it once for
    /// all tasks, or once for each in their order [default: never]
    #[arg(long, value_parser = real, value_name = "R", help_heading = "When to stop")]
    #[serde(with = "one_or_several")]
    pub stop_at_return: Option<Vec<f64>>,
    /// Episodes in that mean. Fewer stop sooner and by luck
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "When to stop")]
    pub stop_window: Option<usize>,
    /// Stop after this many seconds of wall time [default: never]
    #[arg(long, value_parser = real, value_name = "S", help_heading = "When to stop")]
    pub time_limit: Option<f64>,

    /// Kind of network
    #[arg(long, help_heading = "Network")]
    pub torso: Option<TorsoName>,
    /// Widths of the fully connected layers [default of a named torso: its own]
    #[arg(
        long, value_parser = whole::<usize>,
        value_name = "N,N",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub hidden: Option<Vec<usize>>,
    /// What follows each layer
    #[arg(long, help_heading = "Network")]
    pub activation: Option<Activation>,
    /// Convolutions of the cnn torso, as filters x kernel / stride: 16x8/4,32x4/2
    #[arg(long, value_name = "FxK/S,...", value_delimiter = ',', help_heading = "Network")]
    pub conv: Option<Vec<Conv>>,
    /// Memory between the torso and the heads
    #[arg(long, help_heading = "Network")]
    pub core: Option<CoreName>,
    /// Width of the core
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Network")]
    pub core_size: Option<usize>,
    /// Show the network its last action and reward [default: with a core]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Network")]
    pub action_reward_inputs: Option<bool>,
    /// Give the value a torso of its own, as large as that of the policy. Only for mlp without a core
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Network")]
    pub separate_value: Option<bool>,

    /// Discount (gamma). 1 - 1/horizon, for the horizon in steps that matters
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub discount: Option<f64>,
    /// Weight of the entropy bonus. Raise it if the policy settles too early
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub entropy_cost: Option<f64>,
    /// Weight of the baseline (value) loss
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub baseline_cost: Option<f64>,
    /// What makes up for the lag between the policy that acted and the one that learns
    #[arg(long, help_heading = "Algorithm")]
    pub correction: Option<Correction>,
    /// V-trace: truncation of the importance weights in the temporal differences; inf for none
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub rho_bar: Option<f64>,
    /// V-trace: truncation of the weights that carry corrections back in time; inf for none
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub c_bar: Option<f64>,
    /// V-trace: truncation of the weights in the policy gradient; inf for none
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub pg_rho_bar: Option<f64>,
    /// V-trace: 1 for full multi-step targets, lower for less variance and more bias
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub lambda: Option<f64>,
    /// Which returns are learnt from. With monte-carlo unrolls are whole episodes, of at most --unroll steps
    #[arg(long, help_heading = "Algorithm")]
    pub returns: Option<Returns>,
    /// How losses are put together. With sum, the best learning rate depends on T x B
    #[arg(long, help_heading = "Algorithm")]
    pub reduction: Option<Reduction>,
    /// What happens to rewards before they are learnt from; reported returns are never clipped
    #[arg(long, value_name = "CLIP", help_heading = "Algorithm")]
    pub reward_clip: Option<RewardClip>,
    /// Divide rewards by the running deviation of discounted returns, so that their size needs no tuning
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Algorithm")]
    pub normalize_rewards: Option<bool>,
    /// PopArt: bring the targets of values to mean 0 and deviation 1 as they come, in place of --normalize-rewards
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Algorithm")]
    pub popart: Option<bool>,
    /// Bring each element of vector observations to mean 0 and deviation 1. On for vectors of f32
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Algorithm")]
    pub normalize_observations: Option<bool>,
    /// Normalised observations are at most so far from 0
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub observation_clip: Option<f64>,
    /// Take the mean off the advantages of a batch, and divide by their deviation
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Algorithm")]
    pub normalize_advantages: Option<bool>,
    /// Clipped surrogate (PPO's epsilon): no gradient where the policy has moved further than this from the one that
    /// acted; inf for IMPALA's policy gradient
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub clip_range: Option<f64>,
    /// Weight of the divergence from the policy that acted
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub kl_cost: Option<f64>,
    /// Divergence, in nats, that this weight is adapted to; inf leaves it as it is
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub kl_target: Option<f64>,
    /// Divergence, in nats, at which the passes over a batch stop; inf for never
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub stop_passes_at_kl: Option<f64>,
    /// Factor on rewards, before the clip. Bring returns to about 1 to 100
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Algorithm")]
    pub reward_scale: Option<f64>,
    /// How continuous actions come within the bounds of the environment's
    #[arg(long, value_name = "BOUNDS", help_heading = "Algorithm")]
    pub action_bounds: Option<ActionBounds>,

    /// Rule that turns gradients into steps
    #[arg(long, help_heading = "Optimizer")]
    pub optimizer: Option<OptimizerName>,
    /// Learning rate. The first thing to tune, in factors of 3
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Optimizer")]
    pub learning_rate: Option<f64>,
    /// How it changes over --total-frames
    #[arg(long, value_name = "DECAY", help_heading = "Optimizer")]
    pub learning_rate_decay: Option<Decay>,
    /// Adam: decay of the mean of gradients
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Optimizer")]
    pub adam_beta1: Option<f64>,
    /// Adam: decay of the mean of squared gradients
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Optimizer")]
    pub adam_beta2: Option<f64>,
    /// Added to the root, or under it for rmsprop-tf. Larger is steadier and slower
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Optimizer")]
    pub optimizer_epsilon: Option<f64>,
    /// RMSProp: decay of the mean of squared gradients
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Optimizer")]
    pub rmsprop_decay: Option<f64>,
    /// RMSProp: momentum
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Optimizer")]
    pub rmsprop_momentum: Option<f64>,
    /// Longest gradient; longer ones are scaled down to it. inf for no limit
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Optimizer")]
    pub max_grad_norm: Option<f64>,
    /// With --exchange gradients: longest gradient of one actor, before they are put together; inf for no limit
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Optimizer")]
    pub worker_max_grad_norm: Option<f64>,

    /// Where the learner computes: cpu, cuda, cuda:N or cuda:auto (one for each rank). A GPU pays off for images and large batches
    #[arg(long, value_name = "DEVICE", help_heading = "Learner")]
    pub device: Option<Device>,
    /// Threads of the learner [default: native engine: one per core, at most 8; libtorch: 1]
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Learner")]
    pub learner_threads: Option<usize>,
    /// How often each batch is learnt from. Learns more from each frame where frames are dear; V-trace corrects for
    /// the distance that the policy has moved
    #[arg(long, value_parser = whole::<u64>, value_name = "N", help_heading = "Learner")]
    pub passes: Option<u64>,
    /// Parts that a batch is learnt from in, one after the other, in each pass; at most --batch
    #[arg(long, value_parser = whole::<u64>, value_name = "N", help_heading = "Learner")]
    pub minibatches: Option<u64>,
    /// Unrolls of a batch that go through the network at a time, whose gradients add up; fewer take less memory
    /// [default: what suits the caches]
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Learner")]
    pub micro_batch: Option<usize>,
    /// Part of each batch that is drawn from unrolls which were learnt from before; 0 for none
    #[arg(long, value_parser = real, value_name = "X", help_heading = "Learner")]
    pub replay_fraction: Option<f64>,
    /// Unrolls that are kept to be drawn from; the oldest go first
    #[arg(long, value_parser = whole::<usize>, value_name = "N", help_heading = "Learner")]
    pub replay_unrolls: Option<usize>,
    /// Updates between two publications of the weights. 1 unless the network is huge
    #[arg(long, value_parser = whole::<u64>, value_name = "N", help_heading = "Learner")]
    pub publish_every: Option<u64>,
}

impl Settings {
    /// These settings, and where one is not set, that of the layer below.
    #[must_use]
    pub fn or(self, below: Self) -> Self {
        // A struct literal without `..`: a field that is forgotten here does not compile.
        macro_rules! first {
            ($($field:ident)*) => { Self { $($field: self.$field.or(below.$field)),* } };
        }
        first! {
            env env_defaults env_arg env_wrapper observation_keys frame_stack pad_observations python python_path env_token_file
            env_ca_file env_timeout
            actors envs_per_actor splits unroll batch blocks max_lag schedule lag exchange gradients_per_update
            inference inference_batch inference_wait_us engine vectors pin actor_nice
            algorithm preset seed distributed run_dir log_interval checkpoint_interval keep_checkpoints tensorboard
            report quiet
            actor_hang_timeout actor_start_timeout learner_hang_timeout on_bad_env
            total_frames stop_at_return stop_window time_limit
            torso hidden activation conv core core_size action_reward_inputs separate_value
            discount entropy_cost baseline_cost correction rho_bar c_bar pg_rho_bar lambda returns reduction
            reward_clip normalize_rewards popart normalize_observations observation_clip normalize_advantages clip_range
            kl_cost kl_target stop_passes_at_kl reward_scale action_bounds
            optimizer learning_rate learning_rate_decay adam_beta1 adam_beta2 optimizer_epsilon
            rmsprop_decay rmsprop_momentum max_grad_norm worker_max_grad_norm
            device learner_threads passes minibatches micro_batch replay_fraction replay_unrolls publish_every
        }
    }

    /// Names of all settings, in order: flags without their dashes, and TOML keys.
    #[must_use]
    pub fn keys() -> Vec<String> {
        Self::headed_keys().into_iter().map(|(_, key)| key).collect()
    }

    /// Names of all settings, in order, each after the heading under which `--help` has it.
    pub(super) fn headed_keys() -> Vec<(String, String)> {
        <Self as clap::Args>::augment_args(clap::Command::new("settings"))
            .get_arguments()
            .filter_map(|arg| {
                Some((arg.get_help_heading()?.to_owned(), arg.get_long()?.to_owned()))
            })
            .collect()
    }
}

/// Reads a whole number that may be written `1000000`, `1_000_000` or `1e6`.
fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let plain = text.replace('_', "");
    let number = plain.parse().ok().or_else(|| whole_of_real(plain.parse().ok()?));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| "not a whole number, write one such as 4, 2_000_000 or 2e6".into())
}

/// Reads a real number; which ones are allowed is for `ranges` to say.
fn real(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "not a number, write one such as 0.003, 3e-4 or inf".into())
}

fn whole_of_real(real: f64) -> Option<u64> {
    // Printed without decimals, then parsed: exact, and a number that is too large stays an error.
    (real.is_finite() && real.fract() == 0.0).then(|| format!("{real:.0}").parse().ok())?
}

fn whole_in_toml<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a whole number such as 2000000, 2_000_000 or 2e6")]
    enum Number {
        Whole(u64),
        Real(f64),
    }
    match Number::deserialize(deserializer)? {
        Number::Whole(whole) => Some(whole),
        Number::Real(real) => whole_of_real(real),
    }
    .map(Some)
    .ok_or_else(|| {
        serde::de::Error::custom("expected a whole number such as 2000000, 2_000_000 or 2e6")
    })
}

/// A value alone, or a list of some; written down as short as it can be.
mod one_or_several {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        values: &Option<Vec<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match values.as_deref() {
            Some([one]) => serializer.serialize_some(one),
            Some(several) => serializer.serialize_some(several),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<T>>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected one value, or a list of values of this kind")]
        enum Values<T> {
            One(T),
            Several(Vec<T>),
        }
        Ok(Some(match Values::deserialize(deserializer)? {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        }))
    }
}

/// A list of `"key=value"`, or a table.
fn options_in_toml<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected a list such as [\"size=84\"] or a table such as { size = 84 }"
    )]
    enum Options {
        List(Vec<String>),
        Table(Box<EnvOptions>),
    }
    Ok(Some(match Options::deserialize(deserializer)? {
        Options::List(list) => list,
        Options::Table(table) => {
            table.iter().map(|(key, value)| format!("{key}={value}")).collect()
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_come_in_three_spellings() {
        for text in ["2000000", "2_000_000", "2e6", "2.0e6"] {
            assert_eq!(whole::<u64>(text), Ok(2_000_000), "{text}");
        }
        for text in ["", "-1", "1.5", "inf", "NaN", "1e40", "many", "-2e6"] {
            assert!(whole::<u64>(text).is_err(), "{text}");
        }
        assert!(whole::<u8>("256").is_err());
    }

    #[test]
    fn an_upper_layer_wins() {
        let upper = Settings { actors: Some(2), ..Settings::default() };
        let lower = Settings { actors: Some(3), batch: Some(5), ..Settings::default() };
        let both = upper.or(lower);
        assert_eq!((both.actors, both.batch, both.unroll), (Some(2), Some(5), None));
    }
}
