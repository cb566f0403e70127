//! The policy process, from the fork to its exit code.

use std::time::Duration;

use super::actor::first_weights;
use super::{Ending, RunContext, conclude, give_way, internal, pin, resources};
use crate::build;
use crate::config::Inference;
use crate::inference::{PolicyError, PolicyLoop, PolicyParts};
use crate::metrics::{Phase, PolicyCounter};
use crate::shm::{Access, Inherit};
use crate::supervisor::{ChildControl, ExitKind};

pub(in crate::pool) fn run_policy(
    pool: &RunContext,
    incarnation: u16,
    control: &ChildControl,
) -> ExitKind {
    conclude(answer(pool, incarnation, control), control)
}

fn answer(pool: &RunContext, incarnation: u16, control: &ChildControl) -> Ending {
    let config = &pool.config;
    let Inference::Central { batch, wait_us } = config.pool.inference else {
        return Err(internal("actors run the network themselves"));
    };
    let counters = pool.memory.policy();
    counters.set_phase(Phase::Init);
    counters.set(PolicyCounter::Incarnation, u64::from(incarnation));
    // After the learner and the actors.
    pin(pool, config.pool.actors + 1);
    give_way(config);

    let board = pool.memory.board().ok_or_else(|| internal("there is no request board"))?;
    let payload = pool.memory.payload_to_read().map_err(resources)?;
    let page = pool.memory.parameters.map(Access::ReadOnly, Inherit::No).map_err(resources)?;
    let ring = pool.memory.ring().map_err(internal)?;
    let (len, fingerprint) = (pool.parameters.len(), pool.parameters.fingerprint());
    let looks = || {
        // It waits, and is judged while it does.
        counters.set_phase(Phase::Wait);
        counters.add(PolicyCounter::Progress, 1);
    };
    let first = first_weights(page.all_read_words(), (len, fingerprint), ring, looks);
    let Some(reader) = first.map_err(internal)? else {
        return Ok(ExitKind::Finished);
    };
    let rows = config.pool.actors * config.pool.envs_per_actor;
    let policy = build::policy(config.pool.engine, &pool.network, &pool.parameters, rows)
        .map_err(internal)?;
    let mut answering = PolicyLoop::new(PolicyParts {
        board,
        payload: payload.all_read_words(),
        layout: &config.pool.layout,
        observation: &config.env.spec.observation,
        reader,
        counters,
        policy,
        ring,
        batch,
        wait: Duration::from_micros(wait_us),
        parameter_count: len,
    });
    control.ready();
    match answering.run() {
        Ok(()) => Ok(ExitKind::Finished),
        Err(error) => {
            let exit = match error {
                PolicyError::Place(_) => ExitKind::Corrupt,
                _ => ExitKind::Internal,
            };
            Err((exit, error.to_string()))
        }
    }
}
