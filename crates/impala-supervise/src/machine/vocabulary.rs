//! The types of the state machine: restart policy, events and actions.

use std::time::Duration;

use crate::contract::{Outcome, Role};
use crate::exit::ExitKind;

/// The rules. All durations are on the supervisor's monotonic clock.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    /// The second of a row of restarts waits this long, the next twice as long, and so on.
    pub backoff_first: Duration,
    /// No restart waits longer, up to jitter (20 % either way).
    pub backoff_most: Duration,
    /// A child that made progress is restarted at once, unless it lived shorter than this.
    pub short_life: Duration,
    /// An actor is given up after this many deaths in a row without a commit; the run, after this many of the policy process without
    /// an answer.
    pub actor_deaths: u32,
    /// The run is given up after this many deaths of the learner in a row without an update.
    pub learner_deaths: u32,
    /// A child that was killed from outside, by a SIGKILL that is not the supervisor's, is given up after
    /// this many times as many: the next incarnation need not end the same way. No pause between two of them
    /// is longer than `backoff_outside`.
    pub outside_factor: u32,
    /// The longest pause after a death from outside.
    pub backoff_outside: Duration,
    /// The run is given up when fewer actors than this are left.
    pub min_actors: usize,
    /// At a stop: actors that have not left by then are killed.
    pub actors_leave: Duration,
    /// At a stop: a learner that has not saved by then is killed.
    pub learner_saves: Duration,
    /// A killed process that is not gone by then is left to the kernel: it is waited for no longer.
    pub unkillable: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(100),
            backoff_most: Duration::from_secs(10),
            short_life: Duration::from_millis(200),
            actor_deaths: 5,
            learner_deaths: 5,
            outside_factor: 4,
            backoff_outside: Duration::from_secs(1),
            min_actors: 1,
            actors_leave: Duration::from_secs(2),
            learner_saves: Duration::from_secs(30),
            unkillable: Duration::from_secs(10),
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It returned this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

impl Cause {
    /// The kind of exit that it named, if it did.
    #[must_use]
    pub fn kind(self) -> Option<ExitKind> {
        match self {
            Self::Exited(code) => ExitKind::from_code(code),
            Self::Signaled(_) => None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The supervisor is ready.
    Start,
    /// Time has passed.
    Tick,
    /// The supervisor itself did not run for this long.
    Gap(Duration),
    /// A child could not be started.
    SpawnFailed {
        /// Which child.
        role: Role,
        /// What the system said.
        why: String,
    },
    /// A child is set up.
    Ready(Role),
    /// A child says that it will leave, and whether another try could help.
    ChildFailed {
        /// Which child.
        role: Role,
        /// No other try could help.
        permanent: bool,
    },
    /// A child died and was reaped.
    Reaped {
        /// Which child.
        role: Role,
        /// How it ended.
        cause: Cause,
        /// Whether it did useful work in this incarnation.
        progressed: bool,
    },
    /// A child hangs.
    Hung(Role),
    /// A signal that asks for an end.
    StopSignal(&'static str),
    /// The run is complete, or cannot go on, for a reason that is no child's death.
    Stop {
        /// The exit code of the run.
        exit: ExitKind,
        /// Shown to the user.
        reason: String,
    },
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fork this child.
    Spawn(Role),
    /// Give back what this child, now reaped, held.
    Reclaim(Role),
    /// Raise the stop flag, and tell every child.
    RequestStop,
    /// SIGKILL to this child and its process group.
    Kill(Role),
    /// Tell the user: this child is started again after the delay.
    TellRestart(Role, Duration),
    /// Tell the user: this child is given up after so many deaths in a row.
    TellFailed(Role, u32),
    /// Tell the user.
    Tell(String),
    /// The run is over. The last action of all.
    Finish(Outcome),
}
