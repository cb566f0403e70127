//! The supervisor's decisions as a pure state machine: events in, actions out.
//!
//! No system call and no clock: `now` is handed in, counted from the start of the run. A child goes
//! through these states; every arrow out of "dies" is taken only once the process was reaped:
//!
//! ```text
//!   Waiting --Spawn--> Alive --Kill--> Dying --in vain--> Unkillable
//!      ^                 |               |                    |
//!      |                 +---- dies -----+--------------------+--> Failed   died too often without
//!      |                         |                                          progress, or for a cause
//!      +---- running, retry -----+------------> Gone                        that stays
//!                                               the run is ending
//! ```

#[cfg(test)]
mod random_tests;
mod restart;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::time::Duration;

use super::contract::{ChildState, Outcome, Role};
use super::exit::ExitKind;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng as _;

pub use vocabulary::{Action, Cause, Event, RestartPolicy};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Waiting { at: Duration },
    Alive { since: Duration, ready: bool },
    Dying { since: Duration },
    Unkillable,
    Failed,
    Gone,
}

#[derive(Debug, Clone)]
struct Child {
    process: Process,
    /// Whether it was ever started.
    started: bool,
    restarts: u32,
    /// Deaths in a row without progress.
    deaths: u32,
    /// How often the delay was doubled.
    doublings: u32,
    /// It said that no other try could help.
    permanent: bool,
}

#[derive(Debug, Clone)]
enum Phase {
    Running,
    Stopping { exit: ExitKind, reason: String, since: Duration },
    Done,
}

/// The state of the pool.
#[derive(Debug, Clone)]
pub struct Machine {
    policy: RestartPolicy,
    rng: Xoshiro256PlusPlus,
    places: Places,
    /// The learner, then the actors, then the policy process if there is one.
    children: Vec<Child>,
    phase: Phase,
    stop_signals: u32,
}

/// The places of roles in lists that begin with the learner, go on with so many actors, and end with the policy process if there
/// is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    actors: u16,
    policy: bool,
}

impl Places {
    pub(super) const fn new(actors: u16, policy: bool) -> Self {
        Self { actors, policy }
    }

    /// How many there are.
    pub(super) fn count(self) -> usize {
        1 + usize::from(self.actors) + usize::from(self.policy)
    }

    pub(super) fn index_of(self, role: Role) -> usize {
        match role {
            Role::Learner => 0,
            Role::Actor(index) => 1 + usize::from(index),
            Role::Policy => 1 + usize::from(self.actors),
        }
    }

    pub(super) fn role_at(self, index: usize) -> Role {
        match index.checked_sub(1).map(u16::try_from) {
            None => Role::Learner,
            Some(Ok(actor)) if actor < self.actors => Role::Actor(actor),
            Some(_) => Role::Policy,
        }
    }
}

impl Machine {
    /// A pool of one learner and `actors` actors, nothing started yet. `seed` moves the jitter.
    #[must_use]
    pub fn new(actors: u16, policy: RestartPolicy, seed: u64) -> Self {
        Self::of(Places::new(actors, false), policy, seed)
    }

    /// The same with a policy process.
    #[must_use]
    pub fn with_policy(actors: u16, policy: RestartPolicy, seed: u64) -> Self {
        Self::of(Places::new(actors, true), policy, seed)
    }

    pub(super) fn of(places: Places, policy: RestartPolicy, seed: u64) -> Self {
        let child = Child {
            process: Process::Waiting { at: Duration::ZERO },
            started: false,
            restarts: 0,
            deaths: 0,
            doublings: 0,
            permanent: false,
        };
        let children = vec![child; places.count()];
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ u64::from_le_bytes(*b"restarts"));
        Self { policy, rng, places, children, phase: Phase::Running, stop_signals: 0 }
    }

    /// Where each role has its place.
    pub(super) const fn places(&self) -> Places {
        self.places
    }

    fn actors(&self) -> &[Child] {
        &self.children[1..=usize::from(self.places.actors)]
    }

    /// How a child is doing, and how often it was started again.
    #[must_use]
    pub fn child(&self, role: Role) -> (ChildState, u32) {
        let child = &self.children[self.places.index_of(role)];
        let state = match child.process {
            Process::Waiting { .. } => ChildState::Waiting,
            Process::Alive { ready: false, .. } => ChildState::Starting,
            Process::Alive { ready: true, .. } => ChildState::Running,
            Process::Dying { .. } => ChildState::Dying,
            Process::Unkillable => ChildState::Unkillable,
            Process::Failed => ChildState::Failed,
            Process::Gone => ChildState::Gone,
        };
        (state, child.restarts)
    }

    /// Whether the run is ending or over.
    #[must_use]
    pub fn stopping(&self) -> bool {
        !matches!(self.phase, Phase::Running)
    }

    /// When the next [`Event::Tick`] has something to do.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.children.iter().zip(0..).filter_map(|(child, index)| self.due(index, child)).min()
    }

    fn due(&self, index: usize, child: &Child) -> Option<Duration> {
        match (&self.phase, child.process) {
            (Phase::Running, Process::Waiting { at }) => Some(at),
            (Phase::Stopping { since, .. }, Process::Alive { .. }) => {
                Some(*since + self.leave(index))
            }
            (Phase::Done, _) => None,
            (_, Process::Dying { since }) => Some(since + self.policy.unkillable),
            _ => None,
        }
    }

    /// How long a child has at a stop.
    fn leave(&self, index: usize) -> Duration {
        if index == 0 { self.policy.learner_saves } else { self.policy.actors_leave }
    }

    /// Takes one event; returns what to do about it. After [`Action::Finish`] it returns nothing.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if matches!(self.phase, Phase::Done) {
            return actions;
        }
        match event {
            Event::Start | Event::Tick => self.tick(now, &mut actions),
            Event::Gap(gap) => self.extend_deadlines(gap),
            Event::SpawnFailed { role, why } => self.spawn_failed(role, &why, now, &mut actions),
            Event::Ready(role) => {
                let index = self.places.index_of(role);
                if let Process::Alive { ready, .. } = &mut self.children[index].process {
                    *ready = true;
                }
            }
            Event::ChildFailed { role, permanent } => {
                self.children[self.places.index_of(role)].permanent |= permanent;
            }
            Event::Reaped { role, cause, progressed } => {
                actions.push(Action::Reclaim(role));
                self.reaped(role, cause, progressed, now, &mut actions);
            }
            Event::Hung(role) => self.kill(self.places.index_of(role), now, &mut actions),
            Event::StopSignal(name) => self.stop_signal(name, now, &mut actions),
            Event::Stop { exit, reason } => self.stop(exit, reason, now, &mut actions),
        }
        self.finish_if_over(&mut actions);
        actions
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for index in 0..self.children.len() {
            if self.due(index, &self.children[index]).is_none_or(|at| at > now) {
                continue;
            }
            match self.children[index].process {
                Process::Waiting { .. } => {
                    let child = &mut self.children[index];
                    child.restarts += u32::from(child.started);
                    child.started = true;
                    child.process = Process::Alive { since: now, ready: false };
                    actions.push(Action::Spawn(self.places.role_at(index)));
                }
                Process::Alive { .. } => {
                    actions.push(Action::Tell(format!(
                        "{} did not leave in time",
                        self.places.role_at(index)
                    )));
                    self.kill(index, now, actions);
                }
                Process::Dying { .. } => self.quarantine(index, now, actions),
                Process::Unkillable | Process::Failed | Process::Gone => {}
            }
        }
    }

    /// Deadlines stand still while the supervisor does.
    fn extend_deadlines(&mut self, gap: Duration) {
        if let Phase::Stopping { since, .. } = &mut self.phase {
            *since += gap;
        }
        for child in &mut self.children {
            if let Process::Dying { since } | Process::Alive { since, .. } = &mut child.process {
                *since += gap;
            }
        }
    }

    fn kill(&mut self, index: usize, now: Duration, actions: &mut Vec<Action>) {
        if matches!(self.children[index].process, Process::Alive { .. }) {
            self.children[index].process = Process::Dying { since: now };
            actions.push(Action::Kill(self.places.role_at(index)));
        }
    }

    /// SIGKILL was in vain. Whatever it holds stays its own, for it may still write; the run does
    /// without it, or ends.
    fn quarantine(&mut self, index: usize, now: Duration, actions: &mut Vec<Action>) {
        self.children[index].process = Process::Unkillable;
        let role = self.places.role_at(index);
        let line = format!("{role} does not die of SIGKILL; what it holds stays out of use");
        actions.push(Action::Tell(line));
        match role {
            Role::Learner | Role::Policy => {
                let who = match role {
                    Role::Learner => "learner",
                    _ => "policy process",
                };
                let reason = format!("the {who} cannot be killed, so there can be no other");
                self.stop(ExitKind::LeftBehind, reason, now, actions);
            }
            Role::Actor(_) => self.stop_if_too_few(role, ExitKind::LeftBehind, now, actions),
        }
    }

    fn stop_signal(&mut self, name: &'static str, now: Duration, actions: &mut Vec<Action>) {
        self.stop_signals += 1;
        if !self.stopping() {
            let more =
                "once more ends the actors at once, a third time ends everything without saving";
            actions.push(Action::Tell(format!("received {name}: stopping; {more}")));
            self.stop(ExitKind::Finished, format!("received {name}"), now, actions);
        }
        let first = match self.stop_signals {
            1 => return,
            2 => 1,
            _ => 0,
        };
        for index in first..self.children.len() {
            self.kill(index, now, actions);
        }
    }

    /// Begins the end, or adds a worse reason to it.
    fn stop(&mut self, exit: ExitKind, reason: String, now: Duration, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Running => {
                self.phase = Phase::Stopping { exit, reason, since: now };
                actions.push(Action::RequestStop);
                for child in &mut self.children {
                    if matches!(child.process, Process::Waiting { .. }) {
                        child.process = Process::Gone;
                    }
                }
                // Its last updates went with it, and nobody is left to save them.
                if matches!(self.children[0].process, Process::Gone) && self.children[0].started {
                    self.unsaved("the learner was down at the stop");
                }
            }
            Phase::Stopping { exit: old, reason: why, .. } if *old == ExitKind::Finished => {
                if exit != ExitKind::Finished {
                    (*old, *why) = (exit, reason);
                }
            }
            Phase::Stopping { .. } | Phase::Done => {}
        }
    }

    fn unsaved(&mut self, what: &str) {
        if let Phase::Stopping { exit: exit @ ExitKind::Finished, reason, .. } = &mut self.phase {
            *exit = ExitKind::CheckpointNotWritten;
            *reason = format!("{reason}; {what}");
        }
    }

    fn finish_if_over(&mut self, actions: &mut Vec<Action>) {
        let Phase::Stopping { exit, reason, .. } = &self.phase else {
            return;
        };
        let stuck = |child: &Child| child.process == Process::Unkillable;
        let over = |child: &Child| {
            matches!(child.process, Process::Failed | Process::Gone) || stuck(child)
        };
        if !self.children.iter().all(over) {
            return;
        }
        let roles = |wanted: &dyn Fn(&Child) -> bool| -> Vec<Role> {
            let numbered = self.children.iter().enumerate();
            numbered
                .filter(|(_, child)| wanted(child))
                .map(|(index, _)| self.places.role_at(index))
                .collect()
        };
        let unkillable = roles(&stuck);
        let left_behind = *exit == ExitKind::Finished && !unkillable.is_empty();
        let outcome = Outcome {
            exit: if left_behind { ExitKind::LeftBehind } else { *exit },
            reason: reason.clone(),
            learner_restarts: self.children[0].restarts,
            actor_restarts: self.actors().iter().map(|actor| actor.restarts).collect(),
            policy_restarts: self
                .children
                .get(self.places.index_of(Role::Policy))
                .map_or(0, |policy| policy.restarts),
            failed: roles(&|child| matches!(child.process, Process::Failed)),
            unkillable,
        };
        self.phase = Phase::Done;
        actions.push(Action::Finish(outcome));
    }
}
