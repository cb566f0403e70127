//! The shared memory of a run: which regions there are, how they are laid out, and who may map them with which rights.

use crate::config::Config;
use crate::hint::with_hint;
use crate::inference::{Board, BoardPlan};
use crate::metrics::histogram::HISTOGRAM_WORDS;
use crate::metrics::{ActorCounters, Histogram, LearnerCounters, PolicyCounters, TaskCounters};
use crate::params::{PageMismatch, ParamPublisher, page_words};
use crate::policy::spec::ParamSpec;
use crate::ring::{DefaultOrders, Ring, RingError, RingShape};
use crate::shm::{Access, Inherit, Memory, Region, ShmError};
use crate::sync::{AtomicU32, AtomicU64};
use crate::unroll::BlockLayout;

mod seat;

pub use seat::Seat;

const WORD_BYTES: usize = size_of::<u64>();

/// All shared memory of a run.
///
/// The control words are mapped before the first fork and inherited. Payload and parameters are mapped by
/// each child with the rights of its role, and never by the supervisor.
#[derive(Debug)]
pub struct PoolMemory {
    control: Region,
    /// K blocks. Private, as the control words are: see `seat`.
    payload: Memory,
    /// The request board, where one process runs the network for all actors; mapped as the control words are.
    requests: Option<Region>,
    /// The parameter page.
    pub parameters: Memory,
    /// The optimizer's vectors as the learner last left them, for its successor.
    pub optimizer: Memory,
    plan: MemoryPlan,
}

/// Sizes of all shared memory, from the configuration alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    shape: RingShape,
    layout: BlockLayout,
    tasks: usize,
    actors: usize,
    parameter_count: usize,
    payload_bytes: usize,
    board: Option<BoardPlan>,
}

impl MemoryPlan {
    /// The sizes that `config` and a network of `parameter_count` parameters need.
    #[must_use]
    pub fn new(config: &Config, parameter_count: usize) -> Self {
        let (pool, network) = (&config.pool, &config.network);
        let desks = pool.actors * pool.splits;
        let board = || BoardPlan::new(desks, pool.envs_per_group(), &network.spec(&config.env));
        Self {
            shape: RingShape { blocks: config.pool.blocks, groups: config.pool.groups_per_block() },
            layout: config.pool.layout.clone(),
            tasks: config.pool.tasks,
            actors: config.pool.actors,
            parameter_count,
            payload_bytes: config.pool.ring_bytes(),
            board: config.pool.inference.is_central().then(board),
        }
    }

    /// Offsets in the control memory, in words: ring, learner, lags, tasks, actors, policy process, wait words, end.
    const fn control(&self) -> [usize; 8] {
        let learner = Ring::<'static, DefaultOrders>::word_count(self.shape);
        let lags = learner + LearnerCounters::WORDS;
        let tasks = lags + HISTOGRAM_WORDS;
        let actors = tasks + self.tasks * TaskCounters::WORDS;
        let policy = actors + self.actors * ActorCounters::WORDS;
        let waits = policy + PolicyCounters::WORDS;
        // Wait words are half as wide; rounding up keeps the end on a word.
        let end = waits + Ring::<'static, DefaultOrders>::wait_count().div_ceil(2);
        [0, learner, lags, tasks, actors, policy, waits, end]
    }
}

/// Why the parameter page could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// It cannot be mapped.
    #[error("{}", with_hint(.0))]
    Memory(#[from] ShmError),
    /// It is of other sizes.
    #[error(transparent)]
    Page(#[from] PageMismatch),
}

impl PoolMemory {
    /// Allocates everything.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn create(plan: MemoryPlan) -> Result<Self, ShmError> {
        let [.., control_words] = plan.control();
        let control = Memory::create("impala-control", control_words * WORD_BYTES)?;
        let requests = |board: &BoardPlan| {
            Memory::create("impala-requests", board.bytes())?.map(Access::ReadWrite, Inherit::Yes)
        };
        Ok(Self {
            control: control.map(Access::ReadWrite, Inherit::Yes)?,
            payload: Memory::create("impala-payload", plan.payload_bytes)?,
            requests: plan.board.as_ref().map(requests).transpose()?,
            parameters: Memory::create(
                "impala-parameters",
                page_words(plan.parameter_count) * WORD_BYTES,
            )?,
            optimizer: Memory::create(
                "impala-optimizer",
                page_words(2 * plan.parameter_count) * WORD_BYTES,
            )?,
            plan,
        })
    }

    /// Lays out the parameter page, before the first fork: no actor may find it without a layout because
    /// its learner is late or has died. The mapping is gone when this returns.
    ///
    /// # Errors
    /// If the page cannot be mapped, or `parameters` are not those of the plan.
    pub fn lay_out_page(&self, parameters: &ParamSpec) -> Result<(), PageError> {
        let page = self.parameters.map(Access::ReadWrite, Inherit::No)?;
        ParamPublisher::new(page.all_words(), parameters.len(), parameters.fingerprint())?;
        Ok(())
    }

    fn words(&self, from: usize, to: usize) -> &[AtomicU64] {
        self.control.words(from * WORD_BYTES, to - from)
    }

    /// The ring.
    ///
    /// # Errors
    /// If its shape is impossible.
    pub fn ring(&self) -> Result<Ring<'_>, RingError> {
        let [ring, learner, .., waits, _] = self.plan.control();
        let waits: &[AtomicU32] =
            self.control.words32(waits * WORD_BYTES, Ring::<'static, DefaultOrders>::wait_count());
        Ring::new(self.words(ring, learner), waits, self.plan.shape)
    }

    /// The learner's counters.
    #[must_use]
    pub fn learner(&self) -> LearnerCounters<'_> {
        let [_, learner, lags, ..] = self.plan.control();
        LearnerCounters::new(self.words(learner, lags))
    }

    /// Policy lags of all unrolls; the learner records.
    #[must_use]
    pub fn lags(&self) -> Histogram<'_> {
        let [_, _, lags, tasks, ..] = self.plan.control();
        Histogram::new(self.words(lags, tasks))
    }

    /// Bytes of all shared memory.
    #[must_use]
    pub(crate) const fn shared_bytes(&self) -> usize {
        let [.., control_words] = self.plan.control();
        let pages =
            page_words(self.plan.parameter_count) + page_words(2 * self.plan.parameter_count);
        let board = match &self.plan.board {
            Some(board) => board.bytes(),
            None => 0,
        };
        self.plan.payload_bytes + board + (control_words + pages) * WORD_BYTES
    }

    /// The learner's counters of one task.
    ///
    /// # Panics
    /// If there is no such task.
    #[must_use]
    pub fn task(&self, index: usize) -> TaskCounters<'_> {
        assert!(index < self.plan.tasks, "no task {index}");
        let [_, _, _, tasks, ..] = self.plan.control();
        let start = tasks + index * TaskCounters::WORDS;
        TaskCounters::new(self.words(start, start + TaskCounters::WORDS))
    }

    /// The counters of the policy process.
    #[must_use]
    pub fn policy(&self) -> PolicyCounters<'_> {
        let [.., policy, waits, _] = self.plan.control();
        PolicyCounters::new(self.words(policy, waits))
    }

    /// The request board, if one process runs the network for all actors.
    #[must_use]
    pub fn board(&self) -> Option<Board<'_>> {
        Some(Board::new(self.requests.as_ref()?, self.plan.board?))
    }

    /// Ends the run for all who wait for something.
    ///
    /// # Errors
    /// If the ring's shape is impossible.
    pub fn close(&self) -> Result<(), RingError> {
        self.ring()?.close();
        if let Some(board) = self.board() {
            board.wake_all();
        }
        Ok(())
    }

    /// The counters of one actor.
    ///
    /// # Panics
    /// If there is no such actor.
    #[must_use]
    pub fn actor(&self, index: usize) -> ActorCounters<'_> {
        assert!(index < self.plan.actors, "no actor {index}");
        let [_, _, _, _, actors, ..] = self.plan.control();
        let start = actors + index * ActorCounters::WORDS;
        ActorCounters::new(self.words(start, start + ActorCounters::WORDS))
    }
}
