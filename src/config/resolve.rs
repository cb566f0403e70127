//! Resolves layers of settings to a [`Config`], with every check of a configuration.

use num_traits::ToPrimitive as _;

use super::choice::{
    CoreName, Engine, EngineChoice, Exchange, Inference, InferenceName, OptimizerName, Schedule,
    ScheduleName, TorsoName,
};
use super::defaults::{self, ALGORITHMS, OPTIMIZERS, PRESETS};
use super::error::ConfigError;
use super::network::with_own_widths;
use super::ranges;
use super::settings::Settings;
use super::{
    ActionBounds, Config, EnvConfig, FaultConfig, LearnerConfig, NetworkConfig, Optimizer,
    PoolConfig, ReplayConfig, Returns, RunConfig, StopConfig, TaskConfig, tasks,
};
use crate::env::{Dtype, EnvSpec, ObservationSpec, Registry};
use crate::policy::bounds::is_bounded;
use crate::policy::spec::ParamSpec;
use crate::unroll::{BlockLayout, LayoutError, UnrollSpec};

/// [`Config::resolve`], for a build with or without libtorch.
pub(super) fn resolve(
    explicit: &Settings,
    registry: &Registry,
    libtorch: bool,
) -> Result<Config, ConfigError> {
    let mut all = layered(explicit, Settings::default())?;
    ranges::check(&all)?;
    let mut tasks = tasks::found(&all, registry)?;
    let mut kind = defaults::of_kind(&tasks::spec(&tasks, all.pad_observations)?);
    // An environment in Rust says itself how many frames it is seen with.
    if !tasks.iter().all(|task| defaults::is_outside(&task.id)) {
        kind.frame_stack = None;
    }
    // Now its kind is known; and a name without its version has the defaults of what it stands for.
    let ids: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
    let renamed = all.env.as_ref() != Some(&ids);
    let stack_before = all.frame_stack;
    all = layered(&Settings { env: Some(ids), ..explicit.clone() }, kind)?;
    if renamed || all.frame_stack != stack_before {
        for TaskConfig { options, spec, .. } in &mut tasks {
            options.frame_stack = all.frame_stack;
            spec.observation.frame_stack = all.frame_stack.unwrap_or(spec.observation.frame_stack);
        }
    }
    let env = with_bounds(tasks::together(tasks, all.pad_observations)?, &all)?;
    let env_tasks = env.tasks.len();
    popart(explicit, &all, env_tasks)?;
    let (network, engine) = network(explicit, &all, &env, libtorch)?;
    let pool = pool(explicit, &all, &env, &network, engine)?;
    Ok(Config {
        learner: learner(&all, network.torso, engine, replay(&all, &pool)?, pool.batch),
        pool,
        env,
        network,
        faults: FaultConfig {
            actor_hang_timeout_s: all.actor_hang_timeout.filter(|limit| limit.is_finite()),
            actor_start_timeout_s: all.actor_start_timeout.filter(|limit| limit.is_finite()),
            learner_hang_timeout_s: all.learner_hang_timeout.filter(|limit| limit.is_finite()),
            on_bad_env: set(all.on_bad_env),
        },
        stop: StopConfig {
            total_frames: set(all.total_frames),
            stop_at_return: tasks::targets(all.stop_at_return.as_deref(), env_tasks)?,
            stop_window: set(all.stop_window),
            time_limit_s: all.time_limit.filter(|limit| limit.is_finite()),
        },
        run: RunConfig {
            algorithm: set(all.algorithm),
            preset: all.preset.clone(),
            run_dir: all.run_dir.clone(),
            seed: set(all.seed),
            distributed: set(all.distributed),
            log_interval_s: set(all.log_interval),
            checkpoint_interval_s: all.checkpoint_interval.filter(|interval| interval.is_finite()),
            keep_checkpoints: set(all.keep_checkpoints),
            tensorboard: set(all.tensorboard),
            report: set(all.report),
            quiet: set(all.quiet),
        },
    })
}

/// [`Config::resized`], to what `settings` say of the pool.
pub(super) fn resize(config: &Config, settings: &Settings) -> Result<Config, ConfigError> {
    // What has no meaning for a configuration is not in its settings.
    let all = settings.clone().or(defaults::built_in());
    ranges::check(&all)?;
    let pool = pool(settings, &all, &config.env, &config.network, config.pool.engine)?;
    let replay = replay(&all, &pool)?;
    let threads = set(all.learner_threads);
    let learner = LearnerConfig { threads, replay, ..config.learner.clone() };
    Ok(Config { pool, learner, ..config.clone() })
}

/// Takes a setting that the lowest layer has.
fn set<T>(setting: Option<T>) -> T {
    setting.expect("the tables of `defaults` set everything that has no other source")
}

/// The explicit settings (flags and file) over preset, algorithm, environment, its kind, optimizer and built-in ones.
fn layered(explicit: &Settings, kind: Settings) -> Result<Settings, ConfigError> {
    let preset = match &explicit.preset {
        None => Settings::default(),
        Some(name) => defaults::find(PRESETS, name).ok_or_else(|| ConfigError::UnknownName {
            key: "preset",
            value: name.clone(),
            known: PRESETS.iter().map(|row| row.name).collect(),
        })?,
    };
    let mut base = explicit.clone().or(preset);
    if let Some(algorithm) = base.algorithm {
        base = base.or(defaults::find(ALGORITHMS, algorithm.as_str()).unwrap_or_default());
    }
    let ids = base.env.clone().or(defaults::built_in().env).unwrap_or_default();
    let row = match base.env_defaults {
        Some(false) => Settings::default(),
        _ => defaults::of_environments(&ids).unwrap_or_default(),
    };
    let decay = base.learning_rate_decay.or(row.learning_rate_decay);
    let kind = defaults::at_constant_rate(kind, decay);
    let mut below = with_own_widths(row).or(with_own_widths(kind)).or(defaults::built_in());
    if base.optimizer.is_some() && base.optimizer != below.optimizer {
        // It belongs to the optimizer that was not taken.
        below.optimizer_epsilon = None;
    }
    let all = with_own_widths(base).or(below);
    let constants = defaults::find(OPTIMIZERS, set(all.optimizer).as_str()).unwrap_or_default();
    Ok(all.or(constants))
}

/// Whether values can be scaled, if they are to be.
fn popart(explicit: &Settings, all: &Settings, tasks: usize) -> Result<(), ConfigError> {
    let refused = |with: &'static str, remedy| Err(ConfigError::PopArt { with, remedy });
    if !set(all.popart) {
        return Ok(());
    }
    if tasks > 1 {
        return refused(
            "several tasks, whose values have one head",
            "--normalize-rewards scales the rewards of each",
        );
    }
    if explicit.normalize_rewards == Some(true) {
        return refused("--normalize-rewards, which does the same in another way", "leave one out");
    }
    if set(all.exchange) == Exchange::Gradients {
        return refused(
            "--exchange gradients, whose actors do not know the statistics",
            "use --normalize-rewards",
        );
    }
    if all.baseline_cost == Some(0.0) {
        return refused("--baseline-cost 0: there are no values", "leave one out");
    }
    Ok(())
}

fn with_bounds(env: EnvConfig, all: &Settings) -> Result<EnvConfig, ConfigError> {
    let (low, high) = env.spec.action.bounds();
    if low.is_empty() {
        return Ok(env);
    }
    let action_bounds = set(all.action_bounds);
    if action_bounds == ActionBounds::Squash {
        let endless = low.iter().zip(high).position(|(&low, &high)| !is_bounded(low, high));
        if let Some(dimension) = endless {
            let (low, high) = (low[dimension], high[dimension]);
            return Err(ConfigError::Endless { env: env.id, dimension, low, high });
        }
    }
    Ok(EnvConfig { action_bounds, ..env })
}

fn pool(
    explicit: &Settings,
    all: &Settings,
    env: &EnvConfig,
    network: &NetworkConfig,
    engine: Engine,
) -> Result<PoolConfig, ConfigError> {
    let spec = &env.spec;
    let schedule = schedule(all)?;
    let exchange = exchange(explicit, all, schedule)?;
    let (batch, envs) = match exchange {
        Some(gradients) => (gradients * set(all.envs_per_actor), set(all.envs_per_actor)),
        None => defaults::fit_group(explicit, schedule, set(all.batch), set(all.envs_per_actor)),
    };
    let splits = splits(all, exchange.is_some(), envs)?;
    let unroll = set(all.unroll);
    let unrolls = UnrollSpec {
        unroll,
        batch,
        envs: envs / splits,
        frame_bytes: spec.observation.frame_bytes(),
        frame_stack: spec.observation.frame_stack,
        action_words: spec.action.words(),
        mask_bytes: spec.mask_bytes(),
        state_len: network.spec(env).state_len(),
        gradient_len: 0,
    };
    let of_ring = match exchange {
        Some(_) => UnrollSpec {
            // The learner follows what observations are like, and sees nothing else of them.
            frame_bytes: if network.observation_clip.is_some() { unrolls.frame_bytes } else { 0 },
            // A network that cannot be built is refused in its place.
            gradient_len: ParamSpec::new(&network.spec(env)).map_or(1, |spec| spec.len()),
            ..unrolls
        },
        None => unrolls,
    };
    let refused = |source| match source {
        LayoutError::BatchNotMultiple { .. } => {
            ConfigError::Group { source, divisor: defaults::largest_divisor(batch, envs) }
        }
        LayoutError::FrameStack(_) => {
            ConfigError::Layout { source, remedy: "choose a shorter one with --env-arg" }
        }
        _ => ConfigError::Layout {
            source,
            remedy: "lower --unroll or --batch, or the size of the observation",
        },
    };
    let layout = BlockLayout::new(of_ring).map_err(refused)?;
    let one_actors = UnrollSpec { batch: envs, ..unrolls };
    let record = exchange.map(|_| BlockLayout::new(one_actors).map_err(refused)).transpose()?;
    let groups = layout.groups();
    let actors = match schedule {
        Schedule::Lockstep { .. } if explicit.actors.is_none() => {
            set(all.actors).min((groups / splits).max(1))
        }
        _ => set(all.actors),
    };
    let tasks = env.tasks.len();
    let more_groups = |groups: usize| match exchange {
        Some(_) => format!("--gradients-per-update {groups}"),
        None => format!("--batch {}", groups * (envs / splits)),
    };
    if schedule.is_lockstep() && actors * splits > groups {
        return Err(ConfigError::IdleActors {
            actors,
            splits,
            groups,
            fewer: (groups / splits).max(1),
            remedy: more_groups(actors * splits),
        });
    }
    if schedule.is_lockstep() && tasks > groups {
        return Err(ConfigError::TaskWithoutGroup { groups, tasks, remedy: more_groups(tasks) });
    }
    let blocks =
        all.blocks.unwrap_or_else(|| defaults::blocks_for(actors * splits, groups, schedule));
    let slots = blocks * groups;
    if slots < actors * splits {
        let needed = (actors * splits).div_ceil(groups).max(2);
        return Err(ConfigError::TooFewBlocks { blocks, slots, actors, needed });
    }
    let ring_bytes = layout.block_bytes().checked_mul(blocks);
    if ring_bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        let source = LayoutError::TooLarge;
        return Err(ConfigError::Layout { source, remedy: "lower --blocks, --unroll or --batch" });
    }
    Ok(PoolConfig {
        actors,
        tasks,
        envs_per_actor: envs,
        splits,
        unroll,
        batch,
        blocks,
        max_lag: set(all.max_lag),
        schedule,
        inference: inference(all, schedule, actors * envs)?,
        engine,
        vectors: set(all.vectors),
        pin: set(all.pin),
        actor_nice: set(all.actor_nice),
        layout,
        record,
    })
}

/// S, for `envs` environments of an actor.
fn splits(all: &Settings, exchanges_gradients: bool, envs: usize) -> Result<usize, ConfigError> {
    let splits = set(all.splits);
    if splits > 1 && exchanges_gradients {
        let what = format!("--splits {splits}");
        let why = "an actor computes one gradient at a time; leave it out";
        return Err(ConfigError::Exchange { what, why });
    }
    if !envs.is_multiple_of(splits) {
        let more = envs.next_multiple_of(splits);
        return Err(ConfigError::Splits { splits, envs, more });
    }
    Ok(splits)
}

/// Who runs the network for `rows` environments of all actors.
fn inference(all: &Settings, schedule: Schedule, rows: usize) -> Result<Inference, ConfigError> {
    let name = set(all.inference);
    let refused = |what: String, why| {
        let inference = match name {
            InferenceName::Local => "local",
            InferenceName::Central => "central",
        };
        Err(ConfigError::Inference { what, inference, why })
    };
    if name == InferenceName::Local {
        let why = "actors run the network themselves; add --inference central or leave it out";
        if let Some(batch) = all.inference_batch {
            return refused(format!("--inference-batch {batch}"), why);
        }
        if let Some(wait_us) = all.inference_wait_us {
            return refused(format!("--inference-wait-us {wait_us}"), why);
        }
        return Ok(Inference::Local);
    }
    // Before the schedule: some algorithms have both, and this is what tells them apart.
    if set(all.exchange) == Exchange::Gradients {
        return refused(
            "--exchange gradients".to_owned(),
            "actors need the weights to compute gradients; use --inference local",
        );
    }
    if schedule.is_lockstep() {
        return refused(
            "--schedule lockstep".to_owned(),
            "batches of whoever waits make no run that repeats itself; use --inference local or --schedule async",
        );
    }
    Ok(Inference::Central {
        batch: all.inference_batch.unwrap_or(rows),
        wait_us: all.inference_wait_us.unwrap_or(0),
    })
}

/// How many gradients make an update, if gradients travel.
fn exchange(
    explicit: &Settings,
    all: &Settings,
    schedule: Schedule,
) -> Result<Option<usize>, ConfigError> {
    let gradients = set(all.exchange) == Exchange::Gradients;
    let refused = |what: String, why| Err(ConfigError::Exchange { what, why });
    if !gradients {
        if let Some(count) = all.gradients_per_update {
            let what = format!("--gradients-per-update {count}");
            return refused(what, "add --exchange gradients or --algorithm a3c");
        }
        if set(all.returns) == Returns::MonteCarlo {
            let what = "--returns monte-carlo".to_owned();
            return refused(
                what,
                "whole episodes need --exchange gradients; --algorithm reinforce sets both",
            );
        }
        if explicit.worker_max_grad_norm.is_some() {
            let what = "--worker-max-grad-norm".to_owned();
            return refused(what, "actors compute none; use --max-grad-norm");
        }
        return Ok(None);
    }
    if let Some(passes) = explicit.passes.filter(|&passes| passes > 1) {
        return refused(format!("--passes {passes}"), "a gradient is applied once; leave it out");
    }
    let device = set(all.device);
    if device.is_gpu() {
        return refused(
            format!("--device {device}"),
            "actors compute gradients on the CPU; leave it out",
        );
    }
    if let Some(batch) = explicit.batch {
        let envs = set(all.envs_per_actor);
        let whole = batch.is_multiple_of(envs).then_some(batch / envs);
        if whole.is_none() || all.gradients_per_update.is_some_and(|n| Some(n) != whole) {
            return refused(
                format!("--batch {batch}"),
                "it is --gradients-per-update times --envs-per-actor; leave it out",
            );
        }
        return Ok(whole);
    }
    Ok(Some(all.gradients_per_update.unwrap_or(match schedule {
        Schedule::Lockstep { .. } => set(all.actors),
        Schedule::Async => 1,
    })))
}

fn schedule(all: &Settings) -> Result<Schedule, ConfigError> {
    let every = set(all.publish_every);
    match (set(all.schedule), all.lag) {
        (ScheduleName::Async, None) => Ok(Schedule::Async),
        (ScheduleName::Async, Some(lag)) => Err(ConfigError::LagWithoutLockstep { lag }),
        (ScheduleName::Lockstep, _) if every > 1 => {
            Err(ConfigError::PublishEveryInLockstep { every })
        }
        (ScheduleName::Lockstep, lag) => Ok(Schedule::Lockstep { lag: lag.unwrap_or(0) }),
    }
}

fn network(
    explicit: &Settings,
    all: &Settings,
    env: &EnvConfig,
    libtorch: bool,
) -> Result<(NetworkConfig, Engine), ConfigError> {
    let spec = &env.spec;
    let (choice, device) = (set(all.engine), set(all.device));
    let core = set(all.core);
    let mut network = NetworkConfig {
        torso: set(all.torso),
        hidden: set(all.hidden.clone()),
        activation: set(all.activation),
        convs: set(all.conv.clone()),
        core,
        core_size: if core == CoreName::None { 0 } else { set(all.core_size) },
        action_reward_inputs: all.action_reward_inputs.unwrap_or(core == CoreName::Lstm),
        separate_value: false,
        observation_clip: None,
    };
    network.use_named_torso();
    let fits = check_convs(&network, spec);
    let may_bend = explicit.torso.is_none() && explicit.conv.is_none();
    if may_bend && fits.is_err() {
        network.torso = TorsoName::Mlp;
        network.use_named_torso();
    }
    if network.torso.is_convolutional() {
        fits?;
    }
    let separable = network.torso == TorsoName::Mlp && core == CoreName::None;
    network.separate_value = separable && set(all.separate_value);
    if explicit.separate_value == Some(true) && !separable {
        return Err(ConfigError::NotSeparable);
    }
    let vectors = spec.observation.dtype == Dtype::F32 && !network.torso.is_convolutional();
    let asked = explicit.normalize_observations == Some(true);
    if asked && !vectors {
        return Err(ConfigError::NotNormalizable { env: spec.id.clone() });
    }
    network.observation_clip =
        (vectors && set(all.normalize_observations)).then(|| set(all.observation_clip));
    let remedies = [
        (device.is_gpu(), format!("--device {device}"), "use --device cpu"),
        (choice == EngineChoice::Libtorch, "--engine libtorch".to_owned(), "use --engine native"),
    ];
    for (wanted, what, remedy) in remedies {
        if wanted && !libtorch {
            return Err(ConfigError::NoLibtorch { what, remedy });
        }
        if wanted && choice == EngineChoice::Native {
            return Err(ConfigError::NotNative { what, remedy });
        }
    }
    let engine = match choice {
        EngineChoice::Native => Engine::Native,
        EngineChoice::Libtorch => Engine::Libtorch,
        EngineChoice::Auto if device.is_gpu() => Engine::Libtorch,
        EngineChoice::Auto => Engine::Native,
    };
    Ok((network, engine))
}

/// Whether the convolutions fit on the frames: the last two axes are height and width.
fn check_convs(network: &NetworkConfig, spec: &EnvSpec) -> Result<(), ConfigError> {
    let ObservationSpec { shape, .. } = &spec.observation;
    let [.., mut height, mut width] = shape[..] else {
        // Bent to an mlp it would say so of nothing that was asked for.
        let torso = if network.torso.is_convolutional() { network.torso } else { TorsoName::Cnn };
        let (torso, env, shape) = (torso.as_str(), spec.id.clone(), shape.clone());
        return Err(ConfigError::NotAnImage { torso, env, shape });
    };
    for conv in &network.convs {
        let Some(sides) = conv.output_side(height).zip(conv.output_side(width)) else {
            let (conv, remedy) = match network.torso {
                TorsoName::Mlp | TorsoName::Cnn => {
                    (format!("--conv {conv}"), "use a smaller kernel or stride")
                }
                named => (
                    format!("{conv} of --torso {}", named.as_str()),
                    "use larger images, or --torso cnn with a smaller --conv",
                ),
            };
            return Err(ConfigError::ConvTooLarge { conv, remedy, height, width });
        };
        (height, width) = sides;
    }
    Ok(())
}

/// What is learnt from again.
fn replay(all: &Settings, pool: &PoolConfig) -> Result<Option<ReplayConfig>, ConfigError> {
    let (fraction, unrolls) = (set(all.replay_fraction), set(all.replay_unrolls));
    if fraction == 0.0 {
        return Ok(None);
    }
    if pool.exchange() == Exchange::Gradients {
        let what = format!("--replay-fraction {fraction}");
        return Err(ConfigError::Exchange {
            what,
            why: "gradients cannot be learnt from again; leave it out",
        });
    }
    // Beside the fresh groups, as many as make the fraction, and one at least.
    let drawn = (pool.groups_per_block() as f64 * fraction / (1.0 - fraction)).round().max(1.0);
    let drawn = drawn.to_usize().unwrap_or(usize::MAX);
    let kept_groups = unrolls / pool.envs_per_group();
    if kept_groups < drawn {
        let needed = drawn.saturating_mul(pool.envs_per_group());
        return Err(ConfigError::ReplayTooSmall { unrolls, needed });
    }
    let batch = drawn.saturating_mul(pool.envs_per_group());
    let spec = UnrollSpec { batch, ..*pool.layout.spec() };
    let layout = BlockLayout::new(spec).map_err(|source| ConfigError::Layout {
        source,
        remedy: "lower --replay-fraction, --unroll or --batch",
    })?;
    Ok(Some(ReplayConfig { fraction, unrolls, kept_groups, layout }))
}

fn learner(
    all: &Settings,
    torso: TorsoName,
    engine: Engine,
    replay: Option<ReplayConfig>,
    batch: usize,
) -> LearnerConfig {
    // One column is the least that can be learnt from.
    let most_parts = replay.as_ref().map_or(batch, |replay| replay.layout.spec().batch.min(batch));
    let epsilon = set(all.optimizer_epsilon);
    let rmsprop = || (set(all.rmsprop_decay), set(all.rmsprop_momentum));
    LearnerConfig {
        discount: set(all.discount),
        entropy_cost: set(all.entropy_cost),
        baseline_cost: set(all.baseline_cost),
        correction: set(all.correction),
        rho_bar: set(all.rho_bar),
        c_bar: set(all.c_bar),
        pg_rho_bar: set(all.pg_rho_bar),
        lambda: set(all.lambda),
        returns: set(all.returns),
        reduction: set(all.reduction),
        reward_clip: set(all.reward_clip),
        normalize_rewards: set(all.normalize_rewards) && !set(all.popart),
        popart: set(all.popart),
        normalize_advantages: set(all.normalize_advantages),
        clip_range: set(all.clip_range),
        kl_cost: set(all.kl_cost),
        kl_target: set(all.kl_target),
        stop_passes_at_kl: set(all.stop_passes_at_kl),
        reward_scale: set(all.reward_scale),
        optimizer: match set(all.optimizer) {
            OptimizerName::Adam => {
                Optimizer::Adam { beta1: set(all.adam_beta1), beta2: set(all.adam_beta2), epsilon }
            }
            OptimizerName::RmspropTf => {
                let (decay, momentum) = rmsprop();
                Optimizer::RmspropTf { decay, epsilon, momentum }
            }
            OptimizerName::RmspropTorch => {
                let (decay, momentum) = rmsprop();
                Optimizer::RmspropTorch { decay, epsilon, momentum }
            }
        },
        learning_rate: set(all.learning_rate),
        learning_rate_decay: set(all.learning_rate_decay),
        max_grad_norm: set(all.max_grad_norm),
        worker_max_grad_norm: set(all.worker_max_grad_norm),
        threads: all
            .learner_threads
            .unwrap_or_else(|| defaults::learner_threads_for(engine, torso.is_convolutional())),
        device: set(all.device),
        // A gradient is of the weights that acted, and is applied once.
        passes: match set(all.exchange) {
            Exchange::Trajectories => set(all.passes),
            Exchange::Gradients => 1,
        },
        micro_batch: all.micro_batch,
        minibatches: match set(all.exchange) {
            Exchange::Trajectories => set(all.minibatches).min(most_parts as u64),
            Exchange::Gradients => 1,
        },
        replay,
        publish_every: set(all.publish_every),
    }
}

#[cfg(test)]
mod tests;
