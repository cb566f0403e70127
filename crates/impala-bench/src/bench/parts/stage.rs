//! The shared memory of a pool, mapped for an actor and a learner in one process.

use crate::bench::error::BenchError;
use crate::bench::setup::Setup;
use impala_rl::params::{ParamPublisher, ParamReader};
use impala_rl::pool::{MemoryPlan, PoolMemory, Seat};
use impala_rl::ring::Owner;
use impala_rl::shm::{Access, Inherit, Region};
use impala_rl::sync::ReadWord;
use impala_rl::unroll::{Consumer, Producer};

/// The memory of a run.
#[derive(Debug)]
pub(super) struct Stage {
    memory: PoolMemory,
    page: Region,
}

/// Its payload, mapped once as an actor has it and once as the learner has it.
#[derive(Debug)]
pub(super) struct Seats<'p> {
    actors: Seat<'p>,
    learners: Seat<'p>,
}

/// The ends of the ring and of the parameter page.
#[derive(Debug)]
pub(super) struct Ends<'m> {
    pub(super) memory: &'m PoolMemory,
    pub(super) producer: Producer<'m>,
    pub(super) consumer: Consumer<'m>,
    pub(super) publisher: ParamPublisher<'m>,
    pub(super) reader: ParamReader<'m>,
}

/// The only actor.
pub(super) fn owner() -> Result<Owner, BenchError> {
    Ok(Owner::new(0, 1)?)
}

impl Stage {
    pub(super) fn new(setup: &Setup) -> Result<Self, BenchError> {
        let plan = MemoryPlan::new(&setup.config, setup.parameters.len());
        let memory = PoolMemory::create(plan)?;
        Ok(Self { page: memory.parameters.map(Access::ReadWrite, Inherit::No)?, memory })
    }

    pub(super) fn seats(&self) -> Result<Seats<'_>, BenchError> {
        let Self { memory, .. } = self;
        let (actors, learners) = (memory.seat(Access::ReadWrite)?, memory.seat(Access::ReadOnly)?);
        Ok(Seats { actors, learners })
    }

    pub(super) fn ends<'m>(
        &'m self,
        seats: &'m mut Seats<'_>,
        setup: &Setup,
    ) -> Result<Ends<'m>, BenchError> {
        let Self { memory, page } = self;
        let (len, fingerprint) = (setup.parameters.len(), setup.parameters.fingerprint());
        let page = page.all_words();
        Ok(Ends {
            memory,
            producer: Producer::new(seats.actors.slab()?, owner()?)?,
            consumer: Consumer::new(seats.learners.slab()?),
            publisher: ParamPublisher::new(page, len, fingerprint)?,
            reader: ParamReader::new(ReadWord::of(page), len, fingerprint)?,
        })
    }
}
