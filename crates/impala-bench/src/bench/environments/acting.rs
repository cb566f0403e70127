//! Actors that draw actions at random, one thread each, and write into a ring whose blocks are released unread.

use std::time::{Duration, Instant};

use crate::bench::error::BenchError;
use crate::bench::setup::Setup;
use impala_rl::actor::{ActorLoop, ActorParts, EnvGroup, EnvRemedy, Split};
use impala_rl::build;
use impala_rl::env::SharedMemory;
use impala_rl::params::{ParamPublisher, ParamReader};
use impala_rl::policy::act::UniformPolicy;
use impala_rl::pool::{MemoryPlan, PoolMemory};
use impala_rl::ring::{Owner, TakeError};
use impala_rl::rng::Rng;
use impala_rl::shm::{Access, Inherit};
use impala_rl::unroll::{Consumer, Producer};

/// How long the consumer sleeps before it looks at the clock.
const NAP: Duration = Duration::from_millis(20);

/// Runs `measure` with a function that lets the actors act for some seconds and gives their steps per
/// second. Before and after it they stand still.
pub(super) fn with_actors<T>(
    setup: &Setup,
    measure: impl FnOnce(&mut dyn FnMut(f64) -> Result<f64, BenchError>) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let plan = MemoryPlan::new(&setup.config, setup.parameters.len());
    let memory = PoolMemory::create(plan)?;
    memory.lay_out_page(&setup.parameters)?;
    let page = memory.parameters.map(Access::ReadWrite, Inherit::No)?;
    let (len, fingerprint) = (setup.parameters.len(), setup.parameters.fingerprint());
    let mut publisher = ParamPublisher::new(page.all_words(), len, fingerprint)?;
    publisher.publish(1, &setup.weights())?;
    let mut seat = memory.seat(Access::ReadOnly)?;
    let config = &setup.config;
    let layout = &config.pool.layout;
    let mut consumer = Consumer::new(seat.slab()?);
    let actors = config.pool.actors;
    let block_frames = layout.groups() * config.pool.unroll * config.pool.envs_per_group();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..actors)
            .map(|index| {
                let memory = &memory;
                scope.spawn(move || act(setup, memory, index))
            })
            .collect();
        let failed = || threads.iter().any(std::thread::ScopedJoinHandle::is_finished);
        let mut act_for = |seconds: f64| -> Result<f64, BenchError> {
            let started = Instant::now();
            // What the ring was full of.
            while consumer.try_take()?.is_some() {}
            let (mut blocks, mut taken_s) = (0_u32, 0.0);
            // From the start of a block to the end of another: there is nothing half done to leave out.
            while !failed() && taken_s < seconds {
                match consumer.take(NAP) {
                    Ok(block) => drop(block),
                    Err(TakeError::TimedOut) => continue,
                    Err(error) => return Err(error.into()),
                }
                blocks += 1;
                taken_s = started.elapsed().as_secs_f64();
            }
            stand_still(&memory, &failed)?;
            Ok(f64::from(blocks) * block_frames as f64 / taken_s)
        };
        let measured = stand_still(&memory, &failed).and_then(|()| measure(&mut act_for));
        memory.ring()?.close();
        for thread in threads {
            thread.join().map_err(|_| BenchError::Thread)??;
        }
        measured
    })
}

/// Waits until no actor acts, or one has failed: who finds no free slot waits, and nobody takes what was
/// written.
#[expect(
    clippy::disallowed_methods,
    reason = "the ring has no event for this; nothing that is measured runs meanwhile"
)]
fn stand_still(memory: &PoolMemory, failed: &dyn Fn() -> bool) -> Result<(), BenchError> {
    loop {
        let slots = memory.ring()?.occupancy()?;
        if failed() || slots.free + slots.claimed == 0 {
            return Ok(());
        }
        std::thread::sleep(NAP);
    }
}

fn act(setup: &Setup, memory: &PoolMemory, index: usize) -> Result<(), BenchError> {
    let config = &setup.config;
    let actor = u16::try_from(index).unwrap_or(u16::MAX);
    let mut seat = memory.seat(Access::ReadWrite)?;
    let page = memory.parameters.map(Access::ReadOnly, Inherit::No)?;
    let seed = Rng::new(config.run.seed, index as u64).next_u64();
    let registry = build::registry();
    let sizes = (config.pool.envs_per_group(), seed);
    let mut env = build::environments(&config.env, 0, &registry, sizes, (index, None))?;
    let (address, len_bytes) = (seat.address(), seat.len_bytes());
    env.attach(&SharedMemory { file: memory.payload_file(), address, len_bytes })?;
    let slab = seat.slab()?;
    let (len, fingerprint) = (setup.parameters.len(), setup.parameters.fingerprint());
    let owner = Owner::new(actor, 1)?;
    let mut acting = ActorLoop::new(ActorParts {
        recorder: None,
        reader: Some(ParamReader::new(page.all_read_words(), len, fingerprint)?),
        counters: memory.actor(index),
        splits: vec![Split {
            producer: Producer::new(slab, owner)?,
            own_groups: None,
            groups: vec![EnvGroup {
                env,
                remedy: EnvRemedy::Fail,
                policy: Box::new(UniformPolicy),
                sampler: build::sampler(config, Rng::new(config.run.seed, index as u64)),
                stream: u32::from(actor),
                task: 0,
            }],
        }],
        on_failure: Box::new(|_| {}),
        owner,
        unroll: config.pool.unroll,
        parameter_count: len,
    })?;
    Ok(acting.run()?)
}
