//! Shared memory and its mappings for a pool that lives in one process.

use crate::bench::error::BenchError;
use crate::bench::product::Product;
use crate::params::{ParamPublisher, ParamReader};
use crate::pool::{MemoryPlan, PoolMemory};
use crate::ring::{Consumer, Owner, Producer, Slab};
use crate::shm::{Access, Inherit, Region};
use crate::sync::AtomicU64;

/// The memory of a run, mapped once as an actor has it and once as the learner has it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) memory: PoolMemory,
    actors_payload: Region,
    learners_payload: Region,
    page: Region,
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
    pub(super) fn new(product: &Product) -> Result<Self, BenchError> {
        let plan = MemoryPlan::new(&product.config, product.parameters.len());
        let memory = PoolMemory::create(plan)?;
        Ok(Self {
            actors_payload: memory.payload.map(Access::ReadWrite, Inherit::No)?,
            learners_payload: memory.payload.map(Access::ReadOnly, Inherit::No)?,
            page: memory.parameters.map(Access::ReadWrite, Inherit::No)?,
            memory,
        })
    }

    pub(super) fn ends<'m>(&'m mut self, product: &'m Product) -> Result<Ends<'m>, BenchError> {
        let Self { memory, actors_payload, learners_payload, page } = self;
        let layout = &product.config.pool.layout;
        let (len, fingerprint) = (product.parameters.len(), product.parameters.fingerprint());
        let writing = Slab::new(memory.ring()?, actors_payload, layout)?;
        let reading = Slab::new(memory.ring()?, learners_payload, layout)?;
        let page = all_words(page);
        Ok(Ends {
            memory,
            producer: Producer::new(writing, owner()?)?,
            consumer: Consumer::new(reading),
            publisher: ParamPublisher::new(page, len, fingerprint)?,
            reader: ParamReader::new(page, len, fingerprint)?,
        })
    }
}

/// All words of a region.
pub(super) fn all_words(region: &Region) -> &[AtomicU64] {
    region.words(0, region.len_bytes() / size_of::<u64>())
}
