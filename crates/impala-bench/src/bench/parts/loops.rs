//! Measures the product's acting loop as a whole, and runs the actor that fills blocks for the measurement of learning.

use std::time::Duration;

use super::stage::{Stage, owner};
use crate::bench::cpu::CpuClock;
use crate::bench::error::BenchError;
use crate::bench::setup::Setup;
use impala_rl::actor::{ActorLoop, ActorParts, EnvGroup, EnvRemedy, Split};
use impala_rl::learner::checkpoint::LearnerState;
use impala_rl::learner::episodes::Episode;
use impala_rl::learner::run::LearnerCallbacks;
use impala_rl::learner::update::Updater;
use impala_rl::metrics::ActorCounter;
use impala_rl::params::ParamReader;
use impala_rl::pool::PoolMemory;
use impala_rl::ring::TakeError;
use impala_rl::shm::{Access, Inherit};
use impala_rl::unroll::Producer;

/// How long the consumer sleeps before it looks at the clock.
const NAP: Duration = Duration::from_millis(20);

/// LearnerCallbacks that ask for nothing.
#[derive(Debug)]
pub(super) struct Quiet;

impl LearnerCallbacks for Quiet {
    fn stop_requested(&mut self) -> bool {
        false
    }
    fn checkpoint_requested(&mut self) -> bool {
        false
    }
    fn episode(&mut self, _frames: u64, _task: usize, _episode: Episode) {}
    fn updated(&mut self, _updater: &Updater) {}
    fn save(&mut self, _updater: &Updater, _state: &LearnerState) -> bool {
        true
    }
}

/// Acts in this thread until the ring is closed; CPU time that the loop took.
pub(super) fn act(setup: &Setup, memory: &PoolMemory) -> Result<Duration, BenchError> {
    let config = &setup.config;
    let mut seat = memory.seat(Access::ReadWrite)?;
    let page = memory.parameters.map(Access::ReadOnly, Inherit::No)?;
    let slab = seat.slab()?;
    let parameter_count = setup.parameters.len();
    let fingerprint = setup.parameters.fingerprint();
    let mut acting = ActorLoop::new(ActorParts {
        recorder: None,
        reader: Some(ParamReader::new(page.all_read_words(), parameter_count, fingerprint)?),
        counters: memory.actor(0),
        splits: vec![Split {
            producer: Producer::new(slab, owner()?)?,
            own_groups: None,
            groups: vec![EnvGroup {
                env: setup.env()?,
                remedy: EnvRemedy::Fail,
                policy: setup.policy()?,
                sampler: setup.sampler(),
                stream: 0,
                task: 0,
            }],
        }],
        on_failure: Box::new(|_| {}),
        owner: owner()?,
        unroll: config.pool.unroll,
        parameter_count,
    })?;
    let (spent, result) = CpuClock::with_workers().of(|| acting.run());
    Ok(result.map(|()| spent)?)
}

/// CPU time in ns per frame of the product's acting loop, whose blocks are released unread.
pub(super) fn acting(setup: &Setup, effort: Duration) -> Result<f64, BenchError> {
    let stage = Stage::new(setup)?;
    let mut seats = stage.seats()?;
    let ends = stage.ends(&mut seats, setup)?;
    let (memory, mut consumer, mut publisher) = (ends.memory, ends.consumer, ends.publisher);
    let weights = setup.weights();
    publisher.publish(1, &weights)?;
    let ring = memory.ring()?;
    let counters = memory.actor(0);
    let at_least = (3 * setup.config.pool.slots()) as u64;
    let spent = std::thread::scope(|scope| {
        let actor = scope.spawn(|| act(setup, memory));
        let mut result = Ok(());
        let started = std::time::Instant::now();
        while result.is_ok()
            && !actor.is_finished()
            && (started.elapsed() < 4 * effort
                || counters.get(ActorCounter::UnrollsCommitted) < at_least)
        {
            match consumer.take(NAP) {
                Ok(block) => {
                    drop(block);
                    let version = publisher.latest_version() + 1;
                    result = publisher.publish(version, &weights).map_err(BenchError::from);
                }
                Err(TakeError::TimedOut) => {}
                Err(error) => result = Err(error.into()),
            }
        }
        ring.close();
        let spent = actor.join().map_err(|_| BenchError::Thread)?;
        result.and(spent)
    })?;
    let frames = counters.get(ActorCounter::FramesActed).max(1) as f64;
    Ok(spent.as_nanos() as f64 / frames)
}
