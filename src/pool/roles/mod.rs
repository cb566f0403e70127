//! The child processes of the supervisor (learner, actors, policy process), from the fork to the exit code.

mod actor;
mod engine;
mod learner;
mod policy;
mod ranks;
mod worker_gradient;

pub(super) use actor::run_actor;
pub(super) use learner::{EPISODES_FILE, run_learner};
pub(super) use policy::run_policy;

use std::time::Instant;

use crate::config::{Config, Engine};
use crate::env::Registry;
use crate::learner::checkpoint::Checkpoint;
use crate::policy::spec::{NetworkSpec, ParamSpec};
use crate::ring::Owner;
use crate::supervisor::{ChildControl, ExitKind, Level};
use crate::unroll::{BlockLayout, BlockRef, Consumer, HeapRing, Producer};

use super::launcher::Rank;
use super::memory::PoolMemory;
use super::run_dir::RunDir;

/// Sees a batch before it is learnt from.
pub(super) struct OnBatch(Box<dyn Fn(&BlockRef<'_>)>);

impl OnBatch {
    pub(super) fn new(look: impl Fn(&BlockRef<'_>) + 'static) -> Self {
        Self(Box::new(look))
    }
}

impl std::fmt::Debug for OnBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnBatch")
    }
}

/// What every child inherits.
#[derive(Debug)]
pub(super) struct RunContext {
    pub(super) config: Config,
    /// Which of several ranks this is, if there are several.
    pub(super) rank: Option<Rank>,
    pub(super) registry: Registry,
    pub(super) on_batch: Option<OnBatch>,
    pub(super) memory: PoolMemory,
    pub(super) network: NetworkSpec,
    pub(super) parameters: ParamSpec,
    pub(super) run_dir: RunDir,
    /// The cores that processes are bound to, if they are.
    pub(super) cores: Vec<usize>,
    /// What the run continues from.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Start of the run, less the time of the runs that it continues.
    pub(super) started: Instant,
    /// When the program was started, or the call that runs it.
    pub(super) launched: Instant,
}

impl RunContext {
    /// How often the run was resumed.
    pub(super) fn resumes(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.resumes + 1)
    }

    /// Whether checkpoints and the like are another rank's to write.
    pub(super) fn is_other_rank(&self) -> bool {
        self.rank.is_some_and(|rank| rank.rank > 0)
    }

    /// The seed of environments and actions. A resumed run goes on with others: it would see the episodes of
    /// its beginning again. So does each rank: all would see the same.
    fn stream_seed(&self) -> u64 {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        const ODD_TOO: u64 = 0xD1B5_4A32_D192_ED03;
        let rank = self.rank.map_or(0, |rank| rank.rank as u64);
        let seed = self.config.run.seed.wrapping_add(self.resumes().wrapping_mul(ODD));
        seed.wrapping_add(rank.wrapping_mul(ODD_TOO))
    }
}

/// How a role ended: with the code to leave with, and what to tell the user if it was not in order.
type Ending = Result<ExitKind, (ExitKind, String)>;

/// Reports a failure and gives the exit code.
fn conclude(ending: Ending, control: &ChildControl) -> ExitKind {
    match ending {
        Ok(exit) => exit,
        Err((exit, reason)) => {
            control.log(Level::Error, &reason);
            control.failed(&reason, false);
            exit
        }
    }
}

/// A failure of this program's own making: shapes that do not fit each other.
fn internal(error: impl std::fmt::Display) -> (ExitKind, String) {
    (ExitKind::Internal, error.to_string())
}

/// A ring of one block that nobody else sees, if there is a `layout` for it.
fn own_ring(layout: Option<&BlockLayout>) -> Result<Option<HeapRing>, (ExitKind, String)> {
    layout.map(|layout| HeapRing::new(1, layout.clone())).transpose().map_err(internal)
}

/// Both of its ends, for this process.
fn both_ends(
    ring: &mut HeapRing,
    owner: Owner,
) -> Result<(Producer<'_>, Consumer<'_>), (ExitKind, String)> {
    let mut seats = ring.seats().map_err(internal)?;
    Ok((seats.producer(owner).map_err(internal)?, seats.consumer()))
}

/// A failure to get memory or mappings.
fn resources(error: impl std::fmt::Display) -> (ExitKind, String) {
    (ExitKind::Resources, error.to_string())
}

/// Binds this process to one core, by its place in the pool; a machine that refuses is no failure.
fn pin(pool: &RunContext, place: usize) {
    if !pool.config.pool.pin {
        return;
    }
    let mut set = nix::sched::CpuSet::new();
    let cores = &pool.cores;
    if let Some(&core) = cores.get(place % cores.len().max(1))
        && set.set(core).is_ok()
    {
        let _unpinned_is_fine = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    }
}

/// Lets the learner go first where it shares a core with this actor: actors that wait for a block cost
/// nothing, a learner that waits for a core costs frames. A system that refuses is no failure.
pub fn give_way(config: &Config) {
    if let Ok(steps) = i32::try_from(config.pool.actor_nice) {
        let _equal_is_fine = rustix::process::nice(steps);
    }
}

/// Whether the network runs in Rust.
const fn native(engine: Engine) -> bool {
    matches!(engine, Engine::Native)
}
