//! Writes settings as TOML: for `--print-config` and for the run folder.

use std::fmt::Write as _;

use super::choice::{
    CoreName, EngineChoice, Inference, InferenceName, Schedule, ScheduleName, TorsoName,
};
use super::settings::Settings;
use super::{Config, Engine, Optimizer};

/// Names and values of what is set, in order, each value as a flag takes it.
#[must_use]
pub fn values(settings: &Settings) -> Vec<(String, String)> {
    let table = table(settings);
    let value_text = |value: &toml::Value| match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Settings::keys()
        .into_iter()
        .filter_map(|key| {
            let text = match table.get(&key)? {
                toml::Value::Array(items) => {
                    items.iter().map(value_text).collect::<Vec<_>>().join(",")
                }
                other => value_text(other),
            };
            Some((key, text))
        })
        .collect()
}

impl Config {
    /// The configuration as TOML for `--config`: it resolves to the same configuration again, but for
    /// the run folder, which is a comment only, so that a second run gets its own.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let settings = Settings { run_dir: None, ..self.to_settings() };
        let table = table(&settings);
        let mut text = String::from(
            "# Every setting of a run. `impala-supervisor --config` on this file repeats it.\n",
        );
        if let Some(folder) = &self.run.run_dir {
            // Quoted: a name may hold a line break.
            let _ = writeln!(
                text,
                "# The run folder was {folder:?}; it is not set here, so that a second run gets its own."
            );
        }
        let mut last_heading = String::new();
        for (heading, key) in Settings::headed_keys() {
            let Some(value) = table.get(&key) else {
                continue;
            };
            if heading != last_heading {
                let _ = writeln!(text, "\n# {heading}");
                last_heading = heading;
            }
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }

    /// The settings that resolve to this configuration.
    #[must_use]
    pub(crate) fn to_settings(&self) -> Settings {
        let Self { env, pool, network, learner, faults, stop, run } = self;
        let continuous = env.spec.action.numbers() > 0;
        let options = env.shared_options();
        let (schedule, lag) = match pool.schedule {
            Schedule::Async => (ScheduleName::Async, None),
            Schedule::Lockstep { lag } => (ScheduleName::Lockstep, Some(lag)),
        };
        let or_inf = |limit: Option<f64>| Some(limit.unwrap_or(f64::INFINITY));
        let constants = match learner.optimizer {
            Optimizer::Adam { beta1, beta2, epsilon } => Settings {
                adam_beta1: Some(beta1),
                adam_beta2: Some(beta2),
                optimizer_epsilon: Some(epsilon),
                ..Settings::default()
            },
            Optimizer::RmspropTf { decay, epsilon, momentum }
            | Optimizer::RmspropTorch { decay, epsilon, momentum } => Settings {
                rmsprop_decay: Some(decay),
                rmsprop_momentum: Some(momentum),
                optimizer_epsilon: Some(epsilon),
                ..Settings::default()
            },
        };
        let settings = Settings {
            env: Some(env.tasks.iter().map(|task| task.id.clone()).collect()),
            env_arg: Some(options.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            env_wrapper: options.external.wrapper.clone(),
            observation_keys: Some(options.external.observation_keys.clone())
                .filter(|keys| !keys.is_empty()),
            frame_stack: options.frame_stack,
            pad_observations: env.padded_len,
            python: options.external.python.clone(),
            python_path: options.external.python_path.clone(),
            env_token_file: options.external.token_file.clone(),
            env_ca_file: options.external.ca_file.clone(),
            env_timeout: options.external.answer_timeout.map(|limit| limit.as_secs_f64()),
            actors: Some(pool.actors),
            envs_per_actor: Some(pool.envs_per_actor),
            splits: Some(pool.splits),
            unroll: Some(pool.unroll),
            batch: Some(pool.batch),
            blocks: Some(pool.blocks),
            // It bounds what lockstep fixes.
            max_lag: Some(pool.max_lag).filter(|_| !pool.schedule.is_lockstep()),
            schedule: Some(schedule),
            lag,
            exchange: Some(pool.exchange()),
            gradients_per_update: pool.record.is_some().then(|| pool.groups_per_block()),
            inference: Some(if pool.inference.is_central() {
                InferenceName::Central
            } else {
                InferenceName::Local
            }),
            inference_batch: match pool.inference {
                // All rows is what it is unless it is set, also with another number of actors.
                Inference::Central { batch, .. } => {
                    Some(batch).filter(|&batch| batch != pool.actors * pool.envs_per_actor)
                }
                Inference::Local => None,
            },
            inference_wait_us: match pool.inference {
                Inference::Central { wait_us, .. } => Some(wait_us).filter(|&us| us > 0),
                Inference::Local => None,
            },
            engine: Some(match pool.engine {
                Engine::Native => EngineChoice::Native,
                Engine::Libtorch => EngineChoice::Libtorch,
            }),
            // As it was asked for: what `auto` comes to is this machine's affair.
            vectors: Some(pool.vectors),
            pin: Some(pool.pin),
            actor_nice: Some(pool.actor_nice),
            algorithm: Some(run.algorithm),
            preset: run.preset.clone(),
            seed: Some(run.seed),
            distributed: Some(run.distributed),
            run_dir: run.run_dir.clone(),
            log_interval: Some(run.log_interval_s),
            checkpoint_interval: Some(run.checkpoint_interval_s.unwrap_or(f64::INFINITY)),
            keep_checkpoints: Some(run.keep_checkpoints),
            tensorboard: Some(run.tensorboard),
            report: Some(run.report),
            quiet: Some(run.quiet),
            actor_hang_timeout: or_inf(faults.actor_hang_timeout_s),
            actor_start_timeout: or_inf(faults.actor_start_timeout_s),
            learner_hang_timeout: or_inf(faults.learner_hang_timeout_s),
            on_bad_env: Some(faults.on_bad_env),
            total_frames: Some(stop.total_frames),
            stop_at_return: stop.stop_at_return.as_deref().map(short),
            stop_window: Some(stop.stop_window),
            time_limit: stop.time_limit_s,
            torso: Some(network.torso),
            hidden: Some(network.hidden.clone()),
            activation: Some(network.activation),
            // Those of a named torso follow from its name.
            conv: (network.torso == TorsoName::Cnn).then(|| network.convs.clone()),
            core: Some(network.core),
            core_size: (network.core != CoreName::None).then_some(network.core_size),
            action_reward_inputs: Some(network.action_reward_inputs),
            separate_value: Some(network.separate_value),
            discount: Some(learner.discount),
            entropy_cost: Some(learner.entropy_cost),
            baseline_cost: Some(learner.baseline_cost),
            correction: Some(learner.correction),
            rho_bar: Some(learner.rho_bar),
            c_bar: Some(learner.c_bar),
            pg_rho_bar: Some(learner.pg_rho_bar),
            lambda: Some(learner.lambda),
            returns: Some(learner.returns),
            reduction: Some(learner.reduction),
            reward_clip: Some(learner.reward_clip),
            normalize_rewards: Some(learner.normalize_rewards),
            popart: Some(learner.popart),
            normalize_observations: Some(network.observation_clip.is_some()),
            observation_clip: network.observation_clip,
            normalize_advantages: Some(learner.normalize_advantages),
            clip_range: Some(learner.clip_range),
            kl_cost: Some(learner.kl_cost),
            kl_target: Some(learner.kl_target),
            stop_passes_at_kl: Some(learner.stop_passes_at_kl),
            reward_scale: Some(learner.reward_scale),
            action_bounds: Some(env.action_bounds).filter(|_| continuous),
            optimizer: Some(learner.optimizer.name()),
            learning_rate: Some(learner.learning_rate),
            learning_rate_decay: Some(learner.learning_rate_decay),
            max_grad_norm: Some(learner.max_grad_norm),
            worker_max_grad_norm: pool.record.is_some().then_some(learner.worker_max_grad_norm),
            device: Some(learner.device),
            learner_threads: Some(learner.threads),
            passes: Some(learner.passes),
            replay_fraction: Some(learner.replay.as_ref().map_or(0.0, |replay| replay.fraction)),
            replay_unrolls: learner.replay.as_ref().map(|replay| replay.unrolls),
            minibatches: Some(learner.minibatches),
            micro_batch: learner.micro_batch,
            publish_every: Some(learner.publish_every),
            ..Settings::default()
        };
        settings.or(constants)
    }
}

/// One target where all tasks have the same.
fn short(targets: &[f64]) -> Vec<f64> {
    let same = targets.windows(2).all(|pair| pair[0] == pair[1]);
    if same { targets[..1].to_vec() } else { targets.to_vec() }
}

fn table(settings: &Settings) -> toml::Table {
    toml::Table::try_from(settings).expect("`ranges` keeps whole numbers within TOML's")
}
