//! Builds what the roles of a pool work with from a configuration, for use in one process: environments, policy,
//! engine, weights.

use std::ffi::OsString;

use serde::Serialize;

use super::error::BenchError;
use impala_rl::build;
use impala_rl::config::{Args, Config, Engine as EngineKind, refusal};
use impala_rl::env::VectorEnv;
use impala_rl::learner::engine::Engine;
use impala_rl::learner::native_engine::NativeEngine;
use impala_rl::learner::optimizer::Optimizer;
use impala_rl::learner::update::Updater;
use impala_rl::policy::act::Policy;
use impala_rl::policy::init::initial_parameters;
use impala_rl::policy::sampler::ActionSampler;
use impala_rl::policy::simd::Level;
use impala_rl::policy::spec::{NetworkSpec, ParamSpec};
use impala_rl::rng::Rng;

/// A configuration and the network that it describes.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What was asked for.
    pub config: Config,
    /// Its network.
    pub network: NetworkSpec,
    /// The network's parameters.
    pub parameters: ParamSpec,
}

/// What was measured, for the head of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Described {
    /// Name of the environment.
    pub(crate) env: String,
    /// Actor processes.
    pub(crate) actors: usize,
    /// E.
    pub(crate) envs_per_actor: usize,
    /// T.
    pub(crate) unroll: usize,
    /// B.
    pub(crate) batch: usize,
    /// K.
    pub(crate) blocks: usize,
    /// What computes the network.
    pub(crate) engine: &'static str,
    /// Numbers in the flat parameter vector.
    pub(crate) parameters: usize,
}

impl Setup {
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
    pub(crate) fn from_args(args: &Args) -> Result<Self, BenchError> {
        let config = Config::resolve(&args.layers()?, &build::registry())?;
        if config.env.tasks.len() > 1 {
            return Err(BenchError::SeveralTasks { env: config.env.id });
        }
        Level::choose(config.pool.vectors)?;
        let (network, parameters) = build::network(&config)?;
        Ok(Self { config, network, parameters })
    }

    /// For the head of a report.
    #[must_use]
    pub(crate) fn described(&self) -> Described {
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
        let sizes = (pool.envs_per_group(), run.seed);
        Ok(build::environments(env, 0, &build::registry(), sizes, (0, None))?)
    }

    /// The weights that a run starts from.
    #[must_use]
    pub(crate) fn weights(&self) -> Vec<f32> {
        initial_parameters(&self.parameters, self.config.run.seed)
    }

    /// An actor's policy, with those weights.
    ///
    /// # Errors
    /// If the engine cannot be set up.
    pub fn policy(&self) -> Result<Box<dyn Policy>, BenchError> {
        let mut policy = build::policy(
            self.config.pool.engine,
            &self.network,
            &self.parameters,
            self.config.pool.envs_per_group(),
        )?;
        policy.load(&self.weights());
        Ok(policy)
    }

    /// An actor's choice of actions.
    #[must_use]
    pub(crate) fn sampler(&self) -> ActionSampler {
        build::sampler(&self.config, Rng::new(self.config.run.seed, 1))
    }

    /// A learner's network, loss and optimizer, with those weights.
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
            build::loss(&self.config),
            learner.max_grad_norm as f32,
            Optimizer::new(build::optimizer(learner.optimizer), self.parameters.len()),
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
    use super::{BenchError, Engine, Setup};

    pub(super) fn engine(_product: &Setup) -> Result<Box<dyn Engine>, BenchError> {
        Err(BenchError::Flags("this build has no libtorch".into()))
    }
}
