//! The life of an actor.

use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

use super::{Ending, Inheritance, conclude, internal, native, pin, resources};
use crate::actor::{ActorError, ActorLoop, ActorParts};
use crate::config::Engine;
use crate::metrics::{Actor, Phase};
use crate::params::{PageMismatch, ParamReader};
use crate::policy::act::Act;
use crate::policy::native::NativePolicy;
use crate::policy::sample::Sampler;
use crate::policy::spec::{NetworkSpec, ParamSpec};
use crate::pool::memory::all_words;
use crate::ring::{ClaimError, Owner, Producer, Slab};
use crate::rng::Rng;
use crate::shm::{Access, Inherit, Region};
use crate::supervisor::{ChildControl, ExitKind};

/// Streams of the run's seed, one kind of randomness each.
const ENV_STREAM: u64 = 1 << 32;
const ACTION_STREAM: u64 = 2 << 32;
/// How long an actor waits for the first learner of a run.
const LAYOUT_PATIENCE: Duration = Duration::from_secs(10);

pub(in crate::pool) fn play_actor(
    pool: &Inheritance,
    index: u16,
    incarnation: u16,
    control: &ChildControl,
) -> ExitKind {
    conclude(act(pool, index, incarnation, control), control)
}

fn act(pool: &Inheritance, index: u16, incarnation: u16, control: &ChildControl) -> Ending {
    let config = &pool.config;
    let counters = pool.memory.actor(usize::from(index));
    counters.set_phase(Phase::Init);
    counters.set(Actor::Incarnation, u64::from(incarnation));
    // The learner comes first; actors share the remaining places evenly.
    pin(config, usize::from(index) + 1);

    // Every life of every actor sees other episodes.
    let stream = u64::from(incarnation) << 16 | u64::from(index);
    let env_seed = Rng::new(config.run.seed, ENV_STREAM | stream).next_u64();
    let env = pool
        .registry
        .make(&config.env.id, &config.env.options, config.pool.envs_per_actor, env_seed)
        .map_err(|e| (ExitKind::EnvFailed, e.to_string()))?;
    let policy =
        policy_of(config.pool.engine, &pool.network, &pool.parameters).map_err(internal)?;

    let mut payload = pool.memory.payload.map(Access::ReadWrite, Inherit::No).map_err(resources)?;
    let page = pool.memory.parameters.map(Access::ReadOnly, Inherit::No).map_err(resources)?;
    let ring = pool.memory.ring().map_err(internal)?;
    let slab = Slab::new(ring, &mut payload, &config.pool.layout).map_err(internal)?;
    let owner = Owner::new(index, incarnation).map_err(internal)?;
    let parts = ActorParts {
        producer: Producer::new(slab, owner).map_err(internal)?,
        reader: reader(pool, &page)?,
        counters,
        env,
        policy,
        sampler: Sampler::new(Rng::new(config.run.seed, ACTION_STREAM | stream)),
        owner,
        unroll: config.pool.unroll,
        parameter_count: pool.parameters.len(),
    };
    let acting = ActorLoop::new(parts);
    control.ready();
    match acting.and_then(ActorLoop::run) {
        Ok(()) => Ok(ExitKind::Finished),
        Err(error) => {
            let exit = match &error {
                ActorError::Commit(_) => ExitKind::Fenced,
                ActorError::Claim(ClaimError::Ring(_)) => ExitKind::Corrupt,
                ActorError::Env(_) | ActorError::NotFinite { .. } => ExitKind::EnvFailed,
                _ => ExitKind::Internal,
            };
            Err((exit, error.to_string()))
        }
    }
}

/// Opens the parameter page. The learner lays it out, and on a busy machine it may start later than this
/// process.
fn reader<'m>(pool: &Inheritance, page: &'m Region) -> Result<ParamReader<'m>, (ExitKind, String)> {
    let started = Instant::now();
    loop {
        let (len, fingerprint) = (pool.parameters.len(), pool.parameters.fingerprint());
        match ParamReader::new(all_words(page), len, fingerprint) {
            Err(PageMismatch::NotLaidOut) if started.elapsed() < LAYOUT_PATIENCE => {
                // Nothing to be woken by yet: a short nap.
                let _woken = poll(&mut [], PollTimeout::from(2_u8));
            }
            other => return other.map_err(internal),
        }
    }
}

/// The policy that an engine makes of a network, with weights still to be loaded.
///
/// # Errors
/// If this build lacks the engine, or the engine refuses the network; in words.
pub fn policy_of(
    engine: Engine,
    network: &NetworkSpec,
    parameters: &ParamSpec,
) -> Result<Box<dyn Act>, String> {
    if native(engine) {
        return Ok(Box::new(NativePolicy::new(network).map_err(|e| e.to_string())?));
    }
    #[cfg(feature = "torch")]
    return Ok(Box::new(
        crate::policy::torch::TorchActor::new(network, parameters).map_err(|e| e.to_string())?,
    ));
    #[cfg(not(feature = "torch"))]
    {
        let _only_libtorch_asks = parameters;
        Err("this build has no libtorch".to_owned())
    }
}
