//! The product's own parts for a configuration: what a role of the pool builds, for one process.

use std::ffi::OsString;

use serde::Serialize;

use super::error::BenchError;
use crate::config::{
    Activation, Args, Config, Engine as EngineKind, Optimiser as OptimiserConfig,
    Reduction as ReductionConfig, RewardClip as RewardClipConfig, Torso, refusal,
};
use crate::env::{Registry, VectorEnv};
use crate::learner::engine::Engine;
use crate::learner::loss::{LossConfig, Reduction, RewardClip};
use crate::learner::native_engine::NativeEngine;
use crate::learner::optimiser::{Optimiser, OptimiserKind};
use crate::learner::update::Updater;
use crate::learner::vtrace::Clips;
use crate::policy::act::Act;
use crate::policy::init::initial_parameters;
use crate::policy::native::NativePolicy;
use crate::policy::spec::{self, Conv, NetworkSpec, ParamSpec};

/// A configuration and the network that it describes.
#[derive(Debug, Clone)]
pub struct Product {
    /// What was asked for.
    pub config: Config,
    /// Its network.
    pub network: NetworkSpec,
    /// The network's parameters.
    pub parameters: ParamSpec,
}

/// What was measured, for the head of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Described {
    /// Name of the environment.
    pub env: String,
    /// Actor processes.
    pub actors: usize,
    /// E.
    pub envs_per_actor: usize,
    /// T.
    pub unroll: usize,
    /// B.
    pub batch: usize,
    /// K.
    pub blocks: usize,
    /// What computes the network.
    pub engine: &'static str,
    /// Numbers in the flat parameter vector.
    pub parameters: usize,
}

impl Product {
    /// From flags of the supervisor, without the name of the program.
    ///
    /// # Errors
    /// If they are wrong.
    pub fn from_flags(flags: &[OsString]) -> Result<Self, BenchError> {
        Self::from_args(&parse(flags)?)
    }

    /// From parsed flags.
    ///
    /// # Errors
    /// If the configuration is wrong.
    pub fn from_args(args: &Args) -> Result<Self, BenchError> {
        let config = Config::resolve(&args.layers()?, &Registry::builtin())?;
        let network = network_spec(&config);
        let parameters = ParamSpec::new(&network)?;
        Ok(Self { config, network, parameters })
    }

    /// For the head of a report.
    #[must_use]
    pub fn described(&self) -> Described {
        let pool = &self.config.pool;
        Described {
            env: self.config.env.id.clone(),
            actors: pool.actors,
            envs_per_actor: pool.envs_per_actor,
            unroll: pool.unroll,
            batch: pool.batch,
            blocks: pool.blocks,
            engine: match pool.engine {
                EngineKind::Native => "native",
                EngineKind::Libtorch => "libtorch",
            },
            parameters: self.parameters.len(),
        }
    }

    /// The environments of one actor.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn env(&self) -> Result<Box<dyn VectorEnv>, BenchError> {
        let Config { env, pool, run, .. } = &self.config;
        Ok(Registry::builtin().make(&env.id, &env.options, pool.envs_per_actor, run.seed)?)
    }

    /// The weights that a run starts from.
    #[must_use]
    pub fn weights(&self) -> Vec<f32> {
        initial_parameters(&self.parameters, self.config.run.seed)
    }

    /// An actor's policy, with those weights.
    ///
    /// # Errors
    /// If the engine cannot be set up.
    pub fn policy(&self) -> Result<Box<dyn Act>, BenchError> {
        let mut policy: Box<dyn Act> = match self.config.pool.engine {
            EngineKind::Native => Box::new(NativePolicy::new(&self.network)?),
            EngineKind::Libtorch => libtorch::policy(self)?,
        };
        policy.load(&self.weights());
        Ok(policy)
    }

    /// A learner's network, loss and optimiser, with those weights.
    ///
    /// # Errors
    /// If the engine cannot be set up.
    pub fn updater(&self) -> Result<Updater, BenchError> {
        let engine: Box<dyn Engine> = match self.config.pool.engine {
            EngineKind::Native => Box::new(NativeEngine::new(&self.network, 1)?),
            EngineKind::Libtorch => libtorch::engine(self)?,
        };
        let learner = &self.config.learner;
        Ok(Updater::new(
            engine,
            loss_config(&self.config),
            learner.max_grad_norm as f32,
            Optimiser::new(optimiser_kind(learner.optimiser), self.parameters.len()),
            self.weights(),
        ))
    }
}

/// Reads flags of the supervisor, without the name of the program.
pub(super) fn parse(flags: &[OsString]) -> Result<Args, BenchError> {
    let argv = std::iter::once(OsString::from("impala-supervisor")).chain(flags.iter().cloned());
    Args::from_argv(argv).map_err(|error| {
        BenchError::Flags(refusal(&error).unwrap_or_else(|| "--help is for the supervisor".into()))
    })
}

#[cfg(feature = "torch")]
use super::torch_engine as libtorch;

/// A build without libtorch refuses configurations that need it long before this.
#[cfg(not(feature = "torch"))]
mod libtorch {
    use super::{Act, BenchError, Engine, Product};

    fn absent<T>() -> Result<T, BenchError> {
        Err(BenchError::Flags("this build has no libtorch".into()))
    }

    pub(super) fn policy(_product: &Product) -> Result<Box<dyn Act>, BenchError> {
        absent()
    }

    pub(super) fn engine(_product: &Product) -> Result<Box<dyn Engine>, BenchError> {
        absent()
    }
}

fn network_spec(config: &Config) -> NetworkSpec {
    let network = &config.network;
    let torso = match network.torso {
        Torso::Mlp => spec::Torso::Mlp {
            hidden: network.hidden.clone(),
            activation: match network.activation {
                Activation::Tanh => spec::Activation::Tanh,
                Activation::Relu => spec::Activation::Relu,
            },
        },
        Torso::Cnn => spec::Torso::Cnn {
            convs: network
                .convs
                .iter()
                .map(|conv| Conv {
                    filters: conv.filters,
                    kernel: conv.kernel,
                    stride: conv.stride,
                })
                .collect(),
            hidden: network.hidden.clone(),
        },
    };
    NetworkSpec {
        observation: config.env.spec.observation.clone(),
        logits: config.env.spec.action.logits_len(),
        torso,
    }
}

fn loss_config(config: &Config) -> LossConfig {
    let learner = &config.learner;
    LossConfig {
        discount: learner.discount as f32,
        baseline_cost: learner.baseline_cost as f32,
        entropy_cost: learner.entropy_cost as f32,
        clips: Clips {
            rho_bar: learner.rho_bar as f32,
            c_bar: learner.c_bar as f32,
            pg_rho_bar: learner.pg_rho_bar as f32,
            lambda: learner.lambda as f32,
        },
        reduction: match learner.reduction {
            ReductionConfig::Sum => Reduction::Sum,
            ReductionConfig::Mean => Reduction::Mean,
        },
        reward_clip: match learner.reward_clip {
            RewardClipConfig::None => RewardClip::None,
            RewardClipConfig::AbsOne => RewardClip::AbsOne,
            RewardClipConfig::SoftAsymmetric => RewardClip::SoftAsymmetric,
        },
        reward_scale: learner.reward_scale as f32,
    }
}

const fn optimiser_kind(optimiser: OptimiserConfig) -> OptimiserKind {
    match optimiser {
        OptimiserConfig::Adam { beta1, beta2, epsilon } => OptimiserKind::Adam {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: epsilon as f32,
        },
        OptimiserConfig::RmspropTf { decay, epsilon, momentum } => OptimiserKind::RmspropTf {
            decay: decay as f32,
            momentum: momentum as f32,
            epsilon: epsilon as f32,
        },
        OptimiserConfig::RmspropTorch { decay, epsilon, momentum } => OptimiserKind::RmspropTorch {
            decay: decay as f32,
            momentum: momentum as f32,
            epsilon: epsilon as f32,
        },
    }
}
