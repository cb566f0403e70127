//! Tables of the default values of all settings. To tune an environment, edit its row here and in
//! `docs/configuration.md`; a test compares the two.
//!
//! From the bottom: [`built_in`], [`OPTIMIZERS`] (constants that belong to an optimizer), `of_kind`, [`ENVIRONMENTS`],
//! [`ALGORITHMS`], [`PRESETS`], then what a file and the command line say. Some settings follow from others unless
//! they are set: `blocks` from the number of actors, `batch` and `envs-per-actor` from each other,
//! `learner-threads` from engine and machine, and in lockstep `actors` from the groups that there are.

use super::choice::{
    Algorithm, CoreName, Decay, Device, Distributed, Engine, EngineChoice, Exchange, InferenceName,
    OnBadEnv, OptimizerName, Schedule, ScheduleName, TorsoName,
};
use super::settings::Settings;
use super::{ActionBounds, Activation, Conv, Correction, Reduction, Returns, RewardClip};
use crate::env::{ActionSpec, Dtype, EnvSpec, ObservationSpec};
use crate::policy::bounds::is_bounded;
use crate::policy::simd::Vectors;
use crate::{grpc, gym};

/// A row of a table: settings that go with a name.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The name: an environment, a preset, an optimizer.
    pub name: &'static str,
    /// What it sets.
    pub settings: fn() -> Settings,
}

/// The settings of the row `name`, nothing if there is none.
#[must_use]
pub(crate) fn find(table: &[Row], name: &str) -> Option<Settings> {
    table.iter().find(|row| row.name == name).map(|row| (row.settings)())
}

/// The settings that suit all of some environments: those of a row that is for each of them.
#[must_use]
pub(crate) fn of_environments(ids: &[String]) -> Option<Settings> {
    let mut rows = ids.iter().map(|id| of_environment(id));
    let first = rows.next()??;
    rows.all(|row| row.as_ref() == Some(&first)).then_some(first)
}

/// The settings that suit an environment, nothing if no row is for it. An environment of Gymnasium or `EnvPool` has those of the
/// built-in one of the same name.
#[must_use]
pub(crate) fn of_environment(id: &str) -> Option<Settings> {
    let bare = gym::Source::of(id).map(|(_, name)| name.rsplit(':').next().unwrap_or(name));
    let matches = |row: &&Row| row.name == id || Some(row.name) == bare;
    ENVIRONMENTS.iter().find(matches).map(|row| (row.settings)())
}

/// The lowest layer.
#[must_use]
pub fn built_in() -> Settings {
    Settings {
        env: Some(vec!["CartPole-v1".into()]),
        env_defaults: Some(true),
        env_arg: Some(Vec::new()),
        env_timeout: Some(30.0),
        actors: Some(4),
        envs_per_actor: Some(4),
        splits: Some(1),
        unroll: Some(16),
        batch: Some(8),
        max_lag: Some(2),
        schedule: Some(ScheduleName::Async),
        exchange: Some(Exchange::Trajectories),
        inference: Some(InferenceName::Local),
        engine: Some(EngineChoice::Auto),
        vectors: Some(Vectors::Auto),
        pin: Some(false),
        actor_nice: Some(5),
        algorithm: Some(Algorithm::Impala),
        seed: Some(1),
        distributed: Some(Distributed::Auto),
        log_interval: Some(1.0),
        checkpoint_interval: Some(60.0),
        keep_checkpoints: Some(3),
        tensorboard: Some(true),
        report: Some(true),
        quiet: Some(false),
        actor_hang_timeout: Some(60.0),
        actor_start_timeout: Some(300.0),
        learner_hang_timeout: Some(600.0),
        on_bad_env: Some(OnBadEnv::Restart),
        total_frames: Some(10_000_000),
        stop_window: Some(100),
        torso: Some(TorsoName::Mlp),
        hidden: Some(vec![64, 64]),
        activation: Some(Activation::Relu),
        conv: Some(vec![conv(16, 3, 1), conv(32, 3, 1)]),
        core: Some(CoreName::None),
        core_size: Some(256),
        separate_value: Some(false),
        discount: Some(0.99),
        entropy_cost: Some(0.003),
        baseline_cost: Some(0.5),
        correction: Some(Correction::Vtrace),
        rho_bar: Some(1.0),
        c_bar: Some(1.0),
        pg_rho_bar: Some(1.0),
        lambda: Some(0.95),
        returns: Some(Returns::Bootstrapped),
        reduction: Some(Reduction::Mean),
        reward_clip: Some(RewardClip::None),
        normalize_rewards: Some(true),
        popart: Some(false),
        normalize_observations: Some(false),
        observation_clip: Some(10.0),
        normalize_advantages: Some(false),
        clip_range: Some(f64::INFINITY),
        kl_cost: Some(0.0),
        kl_target: Some(f64::INFINITY),
        stop_passes_at_kl: Some(f64::INFINITY),
        reward_scale: Some(1.0),
        action_bounds: Some(ActionBounds::Clip),
        optimizer: Some(OptimizerName::Adam),
        learning_rate: Some(0.001),
        learning_rate_decay: Some(Decay::None),
        max_grad_norm: Some(0.5),
        worker_max_grad_norm: Some(f64::INFINITY),
        device: Some(Device::Cpu),
        passes: Some(1),
        minibatches: Some(1),
        replay_fraction: Some(0.0),
        replay_unrolls: Some(10_000),
        publish_every: Some(1),
        ..Settings::default()
    }
}

/// Whether an environment is stepped by another program, which says less of it than one in Rust does.
pub(super) fn is_outside(id: &str) -> bool {
    gym::Source::of(id).is_some() || grpc::is_remote(id)
}

/// What suits a kind of environment, below its row and above [`built_in`].
#[must_use]
pub(crate) fn of_kind(spec: &EnvSpec) -> Settings {
    of_both(spec)
        .or(of_large_images(spec))
        .or(of_observations(&spec.observation))
        .or(of_actions(&spec.action))
}

/// What suits vectors with continuous actions alone, as those of bodies: value and policy see different things in them, and
/// many small steps go further than few large ones (docs/learning.md).
fn of_both(spec: &EnvSpec) -> Settings {
    let vector = spec.observation.dtype == Dtype::F32 && spec.observation.shape.len() == 1;
    let continuous = spec.action.logits() == 0 && !spec.action.bounds().0.is_empty();
    if !(vector && continuous) {
        return Settings::default();
    }
    Settings {
        separate_value: Some(true),
        passes: Some(10),
        minibatches: Some(4),
        learning_rate: Some(0.0003),
        ..Settings::default()
    }
}

/// The settings of a kind, if the learning rate decays as `decay` says. A rate that was to fall to 0 is half as high if it
/// stays: the mean is the same, and with the higher one solved policies are lost (docs/learning.md).
#[must_use]
pub(super) fn at_constant_rate(mut kind: Settings, decay: Option<Decay>) -> Settings {
    if decay == Some(Decay::None) && kind.learning_rate_decay == Some(Decay::Linear) {
        kind.learning_rate = kind.learning_rate.map(|rate| rate / 2.0);
    }
    kind
}

/// Pixels from here on, along both axes, are an image that small kernels see too little of.
const LARGE_IMAGE: usize = 60;

/// What suits large images, as those of games: as for vectors, with fewer passes, because an update costs more, and smaller
/// steps (docs/learning.md, Atari Pong).
fn of_large_images(spec: &EnvSpec) -> Settings {
    let (Dtype::U8, [channels @ .., height, width]) =
        (spec.observation.dtype, &spec.observation.shape[..])
    else {
        return Settings::default();
    };
    if *height.min(width) < LARGE_IMAGE {
        return Settings::default();
    }
    let channels: usize = channels.iter().product();
    let (discrete, is_one_frame) =
        (spec.action.bounds().0.is_empty(), spec.observation.frame_stack == 1 && channels <= 3);
    Settings {
        // One picture does not show which way things move.
        frame_stack: is_one_frame.then_some(4),
        envs_per_actor: Some(8),
        unroll: Some(32),
        batch: Some(32),
        torso: Some(TorsoName::AtariShallow),
        discount: Some(0.99),
        entropy_cost: discrete.then_some(0.01),
        normalize_advantages: Some(true),
        passes: Some(3),
        minibatches: Some(4),
        clip_range: Some(0.1),
        kl_cost: Some(0.3),
        kl_target: Some(0.02),
        // Its first thousand steps are small: with Adam's most units die (docs/learning.md).
        optimizer: Some(OptimizerName::RmspropTf),
        optimizer_epsilon: Some(1e-8),
        learning_rate: Some(0.0003),
        learning_rate_decay: Some(Decay::Linear),
        ..Settings::default()
    }
}

fn of_observations(observation: &ObservationSpec) -> Settings {
    match (observation.dtype, &observation.shape[..]) {
        // Measured in whatever units: each number as far as it deviates. Batches are large and used many times, and the
        // divergence from the policy that saw them has a price (docs/learning.md).
        (Dtype::F32, [_]) => Settings {
            envs_per_actor: Some(8),
            unroll: Some(32),
            batch: Some(32),
            normalize_observations: Some(true),
            normalize_advantages: Some(true),
            activation: Some(Activation::Tanh),
            passes: Some(16),
            clip_range: Some(0.2),
            kl_cost: Some(0.3),
            kl_target: Some(0.02),
            learning_rate: Some(0.001),
            learning_rate_decay: Some(Decay::Linear),
            ..Settings::default()
        },
        _ => Settings::default(),
    }
}

fn of_actions(action: &ActionSpec) -> Settings {
    let (low, high) = action.bounds();
    let (one_discrete, continuous) = (action.words() == 1 && low.is_empty(), !low.is_empty());
    let finite = low.iter().zip(high).all(|(&low, &high)| is_bounded(low, high));
    Settings {
        // Where every step moves a body, what is far off is noise; where actions are discrete the end is what counts.
        discount: (!continuous).then_some(0.995),
        // With relu the means of a Gaussian run away from the data that they were learnt from, and some of several
        // discrete actions stop half-way.
        activation: (!one_discrete).then_some(Activation::Tanh),
        // A Gaussian that narrows early finds nothing more; a choice that stays open costs return.
        entropy_cost: continuous.then(|| 0.01 / low.len() as f64),
        action_bounds: (continuous && finite).then_some(ActionBounds::Squash),
        learning_rate: (continuous && action.logits() > 0).then_some(0.0005),
        ..Settings::default()
    }
}

/// Each batch is learnt from once, by the policy gradient of the paper: nothing needs to hold the policy back.
fn no_trust_region() -> Settings {
    Settings {
        passes: Some(1),
        minibatches: Some(1),
        clip_range: Some(f64::INFINITY),
        kl_cost: Some(0.0),
        kl_target: Some(f64::INFINITY),
        ..Settings::default()
    }
}

/// Constants that have a meaning for one optimizer only.
pub const OPTIMIZERS: &[Row] = &[
    Row {
        name: "adam",
        // The safe choice.
        settings: || Settings {
            adam_beta1: Some(0.9),
            adam_beta2: Some(0.999),
            optimizer_epsilon: Some(1e-5),
            ..Settings::default()
        },
    },
    Row {
        name: "rmsprop-tf",
        // The paper's.
        settings: || Settings {
            rmsprop_decay: Some(0.99),
            rmsprop_momentum: Some(0.0),
            optimizer_epsilon: Some(0.1),
            ..Settings::default()
        },
    },
    Row {
        name: "rmsprop-torch",
        // TorchBeast's.
        settings: || Settings {
            rmsprop_decay: Some(0.99),
            rmsprop_momentum: Some(0.0),
            optimizer_epsilon: Some(0.01),
            ..Settings::default()
        },
    },
];

/// What suits an environment.
///
/// A `cnn` here holds for observations that its convolutions fit on. Elsewhere the default is `mlp`.
pub const ENVIRONMENTS: &[Row] = &[
    Row {
        name: "CartPole-v1",
        // Balance a pole; solved at a mean return of 475.
        settings: || Settings {
            envs_per_actor: Some(4),
            unroll: Some(32),
            batch: Some(8),
            total_frames: Some(2_000_000),
            learning_rate: Some(0.002),
            learning_rate_decay: Some(Decay::Linear),
            adam_beta1: Some(0.0),
            adam_beta2: Some(0.99),
            max_grad_norm: Some(0.1),
            reward_scale: Some(0.05),
            discount: Some(0.99),
            entropy_cost: Some(0.001),
            lambda: Some(1.0),
            activation: Some(Activation::Tanh),
            normalize_rewards: Some(false),
            normalize_observations: Some(false),
            normalize_advantages: Some(false),
            ..no_trust_region()
        },
    },
    Row {
        name: "Catch-v0",
        // Catch a falling ball, on pixels; perfect at 1.
        settings: || Settings {
            envs_per_actor: Some(16),
            unroll: Some(9),
            batch: Some(32),
            total_frames: Some(1_000_000),
            torso: Some(TorsoName::Cnn),
            hidden: Some(vec![64]),
            activation: Some(Activation::Relu),
            conv: Some(vec![conv(16, 3, 1), conv(16, 3, 1)]),
            learning_rate: Some(0.002),
            discount: Some(0.99),
            entropy_cost: Some(0.01),
            lambda: Some(1.0),
            normalize_rewards: Some(false),
            max_grad_norm: Some(5.0),
            ..Settings::default()
        },
    },
    Row {
        name: "Recall-v0",
        // Remember a cue; 1 with memory, 1 / cues without.
        settings: || Settings {
            envs_per_actor: Some(16),
            unroll: Some(32),
            batch: Some(32),
            total_frames: Some(1_000_000),
            hidden: Some(vec![32]),
            core: Some(CoreName::Lstm),
            core_size: Some(32),
            // The task is for the core: who sees the last action can repeat it, and needs no memory.
            action_reward_inputs: Some(false),
            learning_rate: Some(0.003),
            learning_rate_decay: Some(Decay::Linear),
            max_grad_norm: Some(0.5),
            // Only the last action counts: what is far off is noise for those before it.
            discount: Some(0.9),
            entropy_cost: Some(0.003),
            lambda: Some(1.0),
            activation: Some(Activation::Tanh),
            normalize_rewards: Some(false),
            normalize_observations: Some(false),
            normalize_advantages: Some(false),
            ..no_trust_region()
        },
    },
    Row {
        name: "Synthetic-v0",
        // Nothing to learn: any size of observation, to measure throughput.
        settings: || Settings {
            envs_per_actor: Some(32),
            unroll: Some(20),
            batch: Some(64),
            total_frames: Some(20_000_000),
            torso: Some(TorsoName::Cnn),
            hidden: Some(vec![256]),
            activation: Some(Activation::Relu),
            conv: Some(vec![conv(16, 8, 4), conv(32, 4, 2)]),
            learning_rate: Some(0.0006),
            learning_rate_decay: Some(Decay::None),
            discount: Some(0.995),
            normalize_advantages: Some(false),
            lambda: Some(1.0),
            normalize_rewards: Some(false),
            max_grad_norm: Some(5.0),
            entropy_cost: Some(0.01),
            ..no_trust_region()
        },
    },
];

/// What makes an algorithm, above the table of environments.
pub const ALGORITHMS: &[Row] = &[
    Row {
        name: "impala",
        // What the other layers say: asynchronous actors, corrected by V-trace.
        settings: Settings::default,
    },
    Row {
        name: "a2c",
        // Actors and learner take turns: on-policy, n-step returns.
        settings: || Settings {
            // Its lag is 0 unless it is set.
            schedule: Some(ScheduleName::Lockstep),
            lambda: Some(1.0),
            stop_passes_at_kl: Some(f64::INFINITY),
            ..no_trust_region()
        },
    },
    // Gradients travel: each actor computes its own, and the learner applies them as they come.
    Row {
        name: "a3c",
        settings: || Settings {
            exchange: Some(Exchange::Gradients),
            // An actor learns from what it has just done with the weights that it has.
            correction: Some(Correction::None),
            lambda: Some(1.0),
            stop_passes_at_kl: Some(f64::INFINITY),
            ..no_trust_region()
        },
    },
    // Gradients of whole episodes, averaged over all actors, which take turns with the learner.
    Row {
        name: "reinforce",
        settings: || Settings {
            exchange: Some(Exchange::Gradients),
            // Its lag is 0 unless it is set.
            schedule: Some(ScheduleName::Lockstep),
            returns: Some(Returns::MonteCarlo),
            correction: Some(Correction::None),
            // Episodes that end early would wait for the longest of their actor's.
            envs_per_actor: Some(1),
            // The longest episode.
            unroll: Some(1000),
            stop_passes_at_kl: Some(f64::INFINITY),
            ..no_trust_region()
        },
    },
];

/// Bundles for a purpose, above the table of environments. They set sizes of the pool and what
/// depends on them, never what belongs to an environment.
pub const PRESETS: &[Row] = &[
    Row {
        name: "fast-learning",
        // Small, fresh batches: the fewest frames to a good policy.
        settings: || Settings {
            envs_per_actor: Some(2),
            unroll: Some(16),
            batch: Some(4),
            ..Settings::default()
        },
    },
    Row {
        name: "throughput",
        // Large batches: the most frames per second.
        settings: || Settings {
            envs_per_actor: Some(64),
            unroll: Some(32),
            batch: Some(256),
            ..Settings::default()
        },
    },
];

const fn conv(filters: usize, kernel: usize, stride: usize) -> Conv {
    Conv { filters, kernel, stride }
}

/// B or E, whichever was not set, bent to fit the other: `(batch, envs_per_actor)`.
pub(super) fn fit_group(
    explicit: &Settings,
    schedule: Schedule,
    batch: usize,
    envs: usize,
) -> (usize, usize) {
    // In lockstep each actor fills a group of its own at least: of fewer environments where the batch has enough, because
    // how much an update learns from should not depend on how many processes act; else the batch grows.
    let (batch, envs) = match explicit.actors {
        Some(actors) if schedule.is_lockstep() && explicit.batch.is_none() && actors > 0 => {
            if explicit.envs_per_actor.is_none() && batch >= actors {
                (batch, largest_divisor(batch, envs.min(batch / actors)))
            } else {
                (batch.max(actors.saturating_mul(envs)), envs)
            }
        }
        _ => (batch, envs),
    };
    match (explicit.batch, explicit.envs_per_actor) {
        (None, Some(_)) => (batch.next_multiple_of(envs), envs),
        (Some(_), None) => (batch, largest_divisor(batch, envs)),
        _ => (batch, envs),
    }
}

/// The largest divisor of `batch` that is at most `limit`.
pub(super) fn largest_divisor(batch: usize, limit: usize) -> usize {
    (1..=limit.min(batch)).rev().find(|&envs| batch.is_multiple_of(envs)).unwrap_or(1)
}

/// Threads of the learner, which wake only those that a block is large enough for. Threads within
/// libtorch, which it uses where there are no convolutions, cost more than they bring for small networks.
#[must_use]
pub(crate) fn learner_threads_for(engine: Engine, convolutions: bool) -> usize {
    match engine {
        Engine::Libtorch if !convolutions => 1,
        _ => std::thread::available_parallelism().map_or(1, usize::from).min(8),
    }
}

/// K unless it is set: a slot for every actor and one block at the learner, at least 3. In lockstep one block to fill and
/// one at the learner.
#[must_use]
pub(crate) const fn blocks_for(
    actors: usize,
    groups_per_block: usize,
    schedule: Schedule,
) -> usize {
    if schedule.is_lockstep() {
        return 2;
    }
    let needed = actors.div_ceil(groups_per_block) + 1;
    if needed < 3 { 3 } else { needed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_bend_to_what_was_typed() {
        let explicit =
            |batch, envs_per_actor| Settings { batch, envs_per_actor, ..Settings::default() };
        let (free, lockstep) = (Schedule::Async, Schedule::Lockstep { lag: 0 });
        assert_eq!(fit_group(&explicit(None, None), free, 32, 16), (32, 16));
        assert_eq!(fit_group(&explicit(None, Some(12)), free, 32, 12), (36, 12));
        assert_eq!(fit_group(&explicit(Some(24), None), free, 24, 16), (24, 12));
        assert_eq!(fit_group(&explicit(Some(7), None), free, 7, 16), (7, 7));
        let both = explicit(Some(7), Some(2));
        assert_eq!(fit_group(&both, free, 7, 2), (7, 2), "both explicit: left to fail");
        let four = |batch| Settings { actors: Some(4), ..explicit(batch, None) };
        assert_eq!(fit_group(&four(None), lockstep, 8, 4), (8, 2), "a group for each");
        assert_eq!(fit_group(&four(None), lockstep, 6, 4), (6, 1), "all groups are of one size");
        assert_eq!(fit_group(&four(None), lockstep, 64, 4), (64, 4), "groups enough");
        assert_eq!(fit_group(&four(None), lockstep, 2, 1), (4, 1), "more actors than columns");
        let typed = Settings { envs_per_actor: Some(4), ..four(None) };
        assert_eq!(fit_group(&typed, lockstep, 8, 4), (16, 4), "environments that were typed");
        assert_eq!(fit_group(&four(None), free, 8, 4), (8, 4));
        assert_eq!(fit_group(&four(Some(8)), lockstep, 8, 4), (8, 4), "explicit");
    }

    #[test]
    fn blocks_grow_with_actors() {
        assert_eq!(blocks_for(1, 2, Schedule::Async), 3);
        assert_eq!(blocks_for(4, 2, Schedule::Async), 3);
        assert_eq!(blocks_for(16, 2, Schedule::Async), 9);
        assert_eq!(blocks_for(8191, 1, Schedule::Async), 8192);
        assert_eq!(blocks_for(4, 8, Schedule::Lockstep { lag: 9 }), 2);
    }

    #[test]
    fn no_name_is_twice_in_a_table() {
        for table in [OPTIMIZERS, ENVIRONMENTS, ALGORITHMS, PRESETS] {
            for (i, row) in table.iter().enumerate() {
                assert!(table[..i].iter().all(|other| other.name != row.name), "{}", row.name);
            }
        }
    }
}
