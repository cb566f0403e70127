//! Builds from a configuration what it describes: the network, the policy that acts with it, and how it is learnt.
//! Training, evaluation and benchmarks all build here; no other module knows both configuration and networks.

use std::path::PathBuf;

use crate::config::{Config, Engine, EnvConfig, Optimizer as OptimizerConfig, TaskConfig};
use crate::env::tasks::seen_as;
use crate::env::{EnvError, Registry, VectorEnv};
use crate::hint::with_hint;
use crate::learner::loss::LossConfig;
use crate::learner::optimizer::OptimizerKind;
use crate::learner::vtrace::VtraceConfig;
use crate::policy::act::Policy;
use crate::policy::native::NativePolicy;
use crate::policy::sampler::ActionSampler;
use crate::policy::spec::{NetworkSpec, ParamSpec, SpecError};
use crate::rng::Rng;

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The engine does not compute this network.
    #[error("{}", with_hint(.0))]
    Spec(#[from] SpecError),
    /// The configuration asks for libtorch.
    #[error("this build has no libtorch; build it with the feature torch")]
    NoLibtorch,
    /// libtorch refuses the network.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Libtorch(#[from] crate::policy::act::ActError),
}

/// The network that a configuration describes.
///
/// # Errors
/// If it cannot be built.
pub fn network(config: &Config) -> Result<(NetworkSpec, ParamSpec), SpecError> {
    let network = config.network.spec(&config.env);
    let parameters = ParamSpec::new(&network)?;
    Ok((network, parameters))
}

/// All environments there are: the built-in ones, those of Gymnasium and EnvPool, and those of servers.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = crate::gym::registry();
    crate::grpc::register(&mut registry);
    registry
}

/// `envs` environments of task `task`, as the network sees them; `place` is their number among
/// those of the run, and what those in Python say goes to `log`.
///
/// # Errors
/// As [`Registry::make`], and if they look otherwise than when the configuration was resolved.
///
/// # Panics
/// If there is no such task, or `envs` is 0.
pub fn environments(
    env: &EnvConfig,
    task: usize,
    registry: &Registry,
    (envs, seed): (usize, u64),
    (place, log): (usize, Option<PathBuf>),
) -> Result<Box<dyn VectorEnv>, EnvError> {
    let TaskConfig { id, options, spec, .. } = &env.tasks[task];
    let mut options = options.clone();
    (options.external.place, options.external.log) = (place, log);
    let made = registry.make(id, &options, envs, seed)?;
    let own = made.spec();
    // A server may have been started again with another one meanwhile.
    if (&own.observation, &own.action, own.masks) != (&spec.observation, &spec.action, spec.masks) {
        return Err(EnvError::failed(id, "it looks otherwise than at the start of the run"));
    }
    Ok(seen_as(made, &env.spec))
}

/// The policy that an engine makes of a network for `envs` environments, with weights still to be loaded.
///
/// # Errors
/// If this build lacks the engine, or the engine refuses the network.
pub fn policy(
    engine: Engine,
    network: &NetworkSpec,
    parameters: &ParamSpec,
    envs: usize,
) -> Result<Box<dyn Policy>, BuildError> {
    match engine {
        Engine::Native => Ok(Box::new(NativePolicy::new(network, envs)?)),
        #[cfg(feature = "torch")]
        Engine::Libtorch => {
            let policy = crate::policy::torch::TorchPolicy::new(network, parameters, envs)?;
            Ok(Box::new(policy))
        }
        #[cfg(not(feature = "torch"))]
        Engine::Libtorch => {
            let _only_libtorch_asks = parameters;
            Err(BuildError::NoLibtorch)
        }
    }
}

/// What chooses actions of a configuration's environment.
#[must_use]
pub fn sampler(config: &Config, rng: Rng) -> ActionSampler {
    ActionSampler::new(&config.env.spec.action, config.env.action_bounds, rng)
}

/// The loss that a configuration asks for.
#[must_use]
pub const fn loss(config: &Config) -> LossConfig {
    let learner = &config.learner;
    LossConfig {
        discount: learner.discount as f32,
        returns: learner.returns,
        baseline_cost: learner.baseline_cost as f32,
        entropy_cost: learner.entropy_cost as f32,
        correction: learner.correction,
        vtrace: VtraceConfig {
            rho_bar: learner.rho_bar as f32,
            c_bar: learner.c_bar as f32,
            pg_rho_bar: learner.pg_rho_bar as f32,
            lambda: learner.lambda as f32,
        },
        reduction: learner.reduction,
        reward_clip: learner.reward_clip,
        reward_scale: learner.reward_scale as f32,
        clip_range: learner.clip_range as f32,
        kl_cost: learner.kl_cost as f32,
        normalize_advantages: learner.normalize_advantages,
        // The learner says so when it has seen targets.
        value_scale: None,
    }
}

/// The optimizer that a configuration asks for.
#[must_use]
pub const fn optimizer(optimizer: OptimizerConfig) -> OptimizerKind {
    match optimizer {
        OptimizerConfig::Adam { beta1, beta2, epsilon } => OptimizerKind::Adam {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: epsilon as f32,
        },
        OptimizerConfig::RmspropTf { decay, epsilon, momentum } => OptimizerKind::RmspropTf {
            decay: decay as f32,
            momentum: momentum as f32,
            epsilon: epsilon as f32,
        },
        OptimizerConfig::RmspropTorch { decay, epsilon, momentum } => OptimizerKind::RmspropTorch {
            decay: decay as f32,
            momentum: momentum as f32,
            epsilon: epsilon as f32,
        },
    }
}
