//! The trait [`Pool`], through which the supervisor knows a run, and the types that pass through it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::control::ChildControl;
use super::exit::ExitKind;

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The one process that trains.
    Learner,
    /// One of the processes that step environments, counted from 0.
    Actor(u16),
    /// The one process that runs the network for all actors, where they do not run it themselves.
    Policy,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Learner => f.write_str("learner"),
            Self::Actor(index) => write!(f, "actor-{index}"),
            Self::Policy => f.write_str("policy"),
        }
    }
}

/// A child that was reaped, and of whose process group nobody is left: nothing of it can write any more.
///
/// Only the supervisor makes one, when it has seen the death, and only once for each death:
/// ```compile_fail,E0451
/// use impala_supervise::{Dead, Role};
/// let invented = Dead { role: Role::Learner, incarnation: 1 };
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Dead {
    role: Role,
    incarnation: u16,
}

impl Dead {
    pub(super) const fn new(role: Role, incarnation: u16) -> Self {
        Self { role, incarnation }
    }

    /// What it was for.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Which process of this role it was.
    #[must_use]
    pub const fn incarnation(&self) -> u16 {
        self.incarnation
    }
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// For whoever looks for a bug in this program.
    Debug,
    /// The course of things.
    Info,
    /// Something was lost or repeated; the run goes on.
    Warn,
    /// A child or the run ends because of this.
    Error,
}

/// The run as the supervisor sees it: what each child runs, how its slots are taken back, what happens at each tick.
///
/// Every method but [`Pool::run_child`] is called in the supervisor, which has one thread: none may
/// start a thread, wait for a child, or call a library that starts threads.
pub trait Pool {
    /// Plays `role`; called in the child, right after the fork, with default signal dispositions.
    ///
    /// The process leaves with the returned code and without running any destructor: nothing here
    /// may rely on drop, and buffers that the supervisor had not flushed are not written twice. Call
    /// [`ChildControl::ready`] once set up. `incarnation` counts this role's processes from 1 and
    /// wraps from 65,535 to 1.
    fn run_child(&mut self, role: Role, incarnation: u16, control: ChildControl) -> ExitKind;

    /// Raises the stop flag in shared memory and wakes all who wait: actors leave at once, the
    /// learner finishes its batch, saves and leaves with code 0.
    fn request_stop(&mut self);

    /// Gives back what the child held.
    ///
    /// # Errors
    /// [`PoolCorrupt`] if shared memory holds what no correct process can have written; the run
    /// then ends with [`ExitKind::Corrupt`].
    fn reclaim(&mut self, dead: &Dead) -> Result<Reclaimed, PoolCorrupt>;

    /// Useful work of this role so far (commits, updates), over all its incarnations. Only
    /// differences count: a child whose number moved has made progress.
    fn progress(&self, role: Role) -> u64;

    /// Called about ten times a second: sample the counters, write the logs, draw, decide.
    fn tick(&mut self, status: &PoolStatus) -> Verdict;

    /// This child has panicked; its death follows.
    fn panicked(&mut self, _role: Role) {}

    /// One line for the user and the log. Must not fail and must not block for long.
    fn log(&mut self, level: Level, line: &str);
}

/// What a dead child held, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Slots that it was writing: free again, their unrolls are lost.
    pub freed: u32,
    /// Slots that it was reading: ready again, to be taken once more.
    pub requeued: u32,
    /// Slots that were given up, because they killed their reader more than once.
    pub dropped: u32,
    /// What it was doing, if it said so.
    pub phase: Option<&'static str>,
}

impl fmt::Display for Reclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { freed, requeued, dropped, phase } = self;
        if let Some(phase) = phase {
            write!(f, "in phase {phase}; ")?;
        }
        write!(f, "{freed} slots freed, {requeued} requeued, {dropped} dropped")
    }
}

/// Shared memory holds what no correct process can have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shared memory is corrupt: {what}; resume from the last checkpoint")]
pub struct PoolCorrupt {
    /// Which word, and what it said.
    pub what: String,
}

/// What [`Pool::tick`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Continue,
    /// End the run in order; the run leaves with `exit`.
    Stop {
        /// [`ExitKind::Finished`] for a target, a frame count or a time limit.
        exit: ExitKind,
        /// Shown to the user.
        reason: String,
    },
    /// This child hangs: kill it; it is reaped, reclaimed and restarted like any that died.
    Kill {
        /// Which child.
        role: Role,
        /// Shown to the user.
        reason: String,
    },
}

/// How a child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildState {
    /// Runs, and has not said that it is ready.
    Starting,
    /// Runs, and is ready.
    Running,
    /// Died, and is started again after a delay.
    Waiting,
    /// Was told to die, and has not been reaped yet.
    Dying,
    /// SIGKILL did not end it in time: it sits in the kernel. What it holds stays out of use, and nobody
    /// takes its place before it is dead.
    Unkillable,
    /// Given up: died too often without progress, or for a cause that will not go away.
    Failed,
    /// Left, and is not needed again.
    Gone,
}

/// One child, for the display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildStatus {
    /// Which child.
    pub role: Role,
    /// How it is doing.
    pub state: ChildState,
    /// Its process id while it lives.
    pub pid: Option<i32>,
    /// Its newest incarnation; 0 before the first.
    pub incarnation: u16,
    /// How often it was started again.
    pub restarts: u32,
}

/// The whole pool, for the display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStatus {
    /// Time since the supervisor began to run.
    pub uptime: Duration,
    /// The learner, then the actors in order, then the policy process if there is one.
    pub children: Vec<ChildStatus>,
    /// Whether the run is ending.
    pub stopping: bool,
    /// The supervisor itself was not running for this long (stopped, suspended, or a machine under
    /// heavy load): whoever times the children must start anew.
    pub gap: Option<Duration>,
}

/// How the run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code of the run.
    pub exit: ExitKind,
    /// Why it ended, for the user.
    pub reason: String,
    /// How often the learner was started again.
    pub learner_restarts: u32,
    /// How often each actor was started again.
    pub actor_restarts: Vec<u32>,
    /// How often the policy process was started again, if there is one.
    pub policy_restarts: u32,
    /// Children that were given up.
    pub failed: Vec<Role>,
    /// Children that SIGKILL did not end in time: they sit in the kernel and die when it lets go.
    pub unkillable: Vec<Role>,
}
