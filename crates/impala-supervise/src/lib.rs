//! The supervisor: a process with one thread that forks the learner and the actors, replaces those that die, takes back
//! the slots that they held, and ends the run in order.
//!
//! It never sees a tensor, the ring or the configuration: it gets the run through the trait
//! [`Pool`]. It may not start a thread, so that replacing a child is always a plain fork of a clean
//! process; this is checked before each fork.
//!
//! ```text
//!   events   signalfd, pidfds, timerfd, the children's wakeup: one epoll
//!      |
//!   watch    tells what happened to ...            deaths: last messages, killpg, reap, reclaim
//!      |
//!   machine  pure: (event, now) -> actions         restarts, giving up, the order of the end
//!      |
//!   spawn    fork, PR_SET_PDEATHSIG, own group     control: small messages   exit: the codes
//!
//!   janitor  another process, which cleans up after a supervisor that was killed
//! ```
//!
//! Four rules:
//!
//! - Nothing is taken back from a living process: kill, reap, then reclaim.
//! - Whoever's parent dies, dies: also when stopped, also when the parent was killed with SIGKILL.
//! - Signals: the first of SIGINT, SIGTERM, SIGHUP, SIGQUIT ends the run in order; the second ends
//!   the actors at once; the third ends everything. SIGUSR1 asks for a checkpoint. SIGTSTP stops the
//!   whole pool, SIGCONT continues it. What was ignored at the start (`nohup`) stays ignored.
//! - Time is this process's monotonic clock; when the process itself did not run, deadlines wait.
//!
//! What this does not promise: a process that sits in the kernel (state D) outlives SIGKILL; raw
//! bytes that a child's native code writes into the descriptor of its control channel may abort
//! the supervisor, which ends the run and cleans up.

mod contract;
mod control;
mod events;
mod exit;
mod fork;
mod janitor;
mod machine;
mod orphans;
mod spawn;
mod watch;

use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

pub use contract::{
    ChildState, ChildStatus, Dead, Level, Outcome, Pool, PoolCorrupt, PoolStatus, Reclaimed, Role,
    Verdict,
};
pub use control::{ChildControl, FromChild, TEXT_BYTES, ToChild};
pub use exit::{ExitKind, Remedy};
pub use fork::{ForkError, one_thread};
pub use janitor::CleanupTarget;
pub use machine::{Action, Cause, Event, Machine, RestartPolicy};
pub use orphans::children_of;

use janitor::Janitor;
use machine::Places;
use watch::{ChildSlot, Owned, Watch, WatchConfig};

/// Descriptors that the supervisor needs for itself, with room for the pool's files.
const OWN_DESCRIPTORS: u64 = 64;

/// Descriptors for each child: its pidfd and two ends; two more while it is forked.
const CHILD_DESCRIPTORS: u64 = 3;

/// How the supervisor is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Actors to run.
    pub actors: u16,
    /// Whether a policy process runs beside them.
    pub policy_process: bool,
    /// When to restart, when to give up, how long an ordered end may take.
    pub policy: RestartPolicy,
    /// Moves the jitter of the restarts.
    pub seed: u64,
    /// How often [`Pool::tick`] is called.
    pub tick: Duration,
    /// Whether to tell the kernel to kill actors first when memory runs out.
    pub adjust_oom: bool,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub fn new(actors: u16) -> Self {
        let tick = Duration::from_millis(100);
        let policy = RestartPolicy::default();
        Self { actors, policy_process: false, policy, seed: 0, tick, adjust_oom: true }
    }
}

impl Options {
    const fn places(&self) -> Places {
        Places::new(self.actors, self.policy_process)
    }
}

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The janitor could not be forked.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// The hard limit on open files is too low.
    #[error(
        "{actors} actors need {needed} open files, and {allowed} are allowed; use fewer actors or raise the hard limit (ulimit -Hn)"
    )]
    Descriptors {
        /// Actors asked for.
        actors: u16,
        /// Descriptors needed at once.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// The system refused something that Linux 5.4 and later grant.
    #[error("{what}: {source}; the supervisor needs Linux 5.4 or later and a mounted /proc")]
    System {
        /// What was refused.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The janitor could not be told.
    #[error("cannot protect {what:?}: {source}")]
    CleanupTarget {
        /// What was to be protected.
        what: CleanupTarget,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl SupervisorError {
    /// The exit code that goes with it.
    #[must_use]
    pub fn exit(&self) -> ExitKind {
        match self {
            Self::Fork(ForkError::Threads { .. }) => ExitKind::Internal,
            Self::CleanupTarget { .. } => ExitKind::RunFolder,
            Self::Fork(_) | Self::Descriptors { .. } | Self::System { .. } => ExitKind::Resources,
        }
    }
}

/// The supervisor of one run.
///
/// The order matters: make it first, [`Supervisor::guard`] whatever has a name before it is made,
/// then make the pool, [`Supervisor::run`], drop the pool, and drop this last.
///
/// From its making on, this process has all signals blocked, for good: what arrives outside
/// [`Supervisor::run`] waits, and what arrives after it has no effect.
#[derive(Debug)]
pub struct Supervisor {
    options: Options,
    config: WatchConfig,
    /// `None` in a child alone, which never uses it.
    owned: Option<Owned>,
}

impl Supervisor {
    /// Takes over this process: blocks its signals, adopts orphans, forks the janitor.
    ///
    /// # Errors
    /// [`SupervisorError`], which names the exit code of the process.
    pub fn new(options: Options) -> Result<Self, SupervisorError> {
        let system = |what| move |source| SupervisorError::System { what, source };
        let errno = |what| move |errno: nix::Error| system(what)(errno.into());
        let ignored = events::ignored_at_start().map_err(system("read /proc/self/status"))?;
        SigSet::all().thread_block().map_err(errno("block signals"))?;
        fork::pack_heap();
        fork::hear_of_children();
        fork::survive_broken_pipes();
        nix::sys::prctl::set_child_subreaper(true).map_err(errno("adopt orphans"))?;
        allow_descriptors(options.actors)?;
        let clock = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(errno("read the clock"))?;
        let run = format!("{}-{}.{:09}", Pid::this(), clock.tv_sec(), clock.tv_nsec());
        let janitor = Janitor::start(&run)?;
        let events = events::Events::new(options.tick).map_err(errno("wait for events"))?;
        events.watch_janitor(janitor.pidfd()).map_err(errno("watch the janitor"))?;
        let slots = (0..options.places().count()).map(|_| ChildSlot::default()).collect();
        let config =
            WatchConfig { run, ignored, adjust_oom: options.adjust_oom, tick: options.tick };
        Ok(Self { options, config, owned: Some(Owned { events, janitor, slots }) })
    }

    /// Promises that this will not outlive the supervisor, however that ends. Call it before the
    /// thing is made, and only for what is this run's own (after the run folder was locked). An
    /// orderly end removes nothing: that is left to whoever made it.
    ///
    /// # Errors
    /// [`SupervisorError::CleanupTarget`] if the janitor cannot be told.
    pub fn guard(&mut self, guard: CleanupTarget) -> Result<(), SupervisorError> {
        let Some(owned) = &mut self.owned else {
            return Ok(());
        };
        owned
            .janitor
            .guard(&guard)
            .map_err(|source| SupervisorError::CleanupTarget { what: guard, source })
    }

    /// Runs the pool until its end. When this returns, every child was reaped and no process that
    /// one of them had started is left. Call it once.
    ///
    /// # Panics
    /// If `epoll_wait` fails, which it has no reason for; the janitor then ends the pool.
    pub fn run(&mut self, pool: &mut dyn Pool) -> Outcome {
        let Options { policy, seed, .. } = self.options.clone();
        let machine = Machine::of(self.options.places(), policy, seed);
        Watch::new(&self.config, &mut self.owned, pool, machine).run()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(owned) = &mut self.owned {
            owned.janitor.dismiss();
        }
    }
}

/// Raises the soft limit on open files as far as needed and allowed.
fn allow_descriptors(actors: u16) -> Result<(), SupervisorError> {
    let needed = OWN_DESCRIPTORS + CHILD_DESCRIPTORS * (u64::from(actors) + 2);
    // Without an answer there is nothing to refuse: a lack shows when a child is started.
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Ok(());
    };
    if hard < needed {
        return Err(SupervisorError::Descriptors { actors, needed, allowed: hard });
    }
    if soft < needed {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, needed, hard);
        raised.map_err(|errno| SupervisorError::System {
            what: "raise the limit on open files",
            source: errno.into(),
        })?;
    }
    Ok(())
}

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
