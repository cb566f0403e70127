//! Chaos mode: faults that a pool injects into itself (SIGKILL, SIGSTOP), and counts of what followed.
//!
//! Everything happens in the supervisor, between two of its events: a child that is signalled here has
//! not been reaped, so its process id is still its own.
//!
//! A process is killed only after it has done useful work (committed an unroll, made an update). So every
//! fault costs something, and the limits on restarts, which count deaths without progress in between,
//! see what they are meant to see. Deaths during a start are for `kill_point`.

mod plan;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

pub(crate) use plan::{Fault, FaultKind, Plan};

use crate::config::ChaosSpec;
use crate::supervisor::{ChildState, ChildStatus, PoolStatus, Role};

/// How often a pool with chaos in it should tick: faults are late by no more.
pub const CHAOS_TICK: Duration = Duration::from_millis(5);

/// What was injected, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ChaosTally {
    /// Actors that were sent SIGKILL.
    pub actors_killed: u64,
    /// Learners that were sent SIGKILL.
    pub learners_killed: u64,
    /// Actors that were sent SIGSTOP, and SIGCONT a moment later.
    pub actors_stopped: u64,
    /// Policy processes that were sent SIGKILL.
    pub policies_killed: u64,
    /// Policy processes that were sent SIGSTOP, and SIGCONT a moment later.
    pub policies_stopped: u64,
    /// Killed roles whose successor did useful work, and stopped ones that went on doing so.
    pub recovered: u64,
    /// Stops of processes that died before they had gone on.
    pub overtaken: u64,
    /// Faults whose outcome was open when the run ended.
    pub open_at_end: u64,
    /// Faults that the plan had and nobody was there to suffer: the role was down, stopped already, or
    /// new and without any work to lose.
    pub passed_over: u64,
}

impl ChaosTally {
    /// Faults that were injected.
    #[must_use]
    pub(crate) const fn faults(&self) -> u64 {
        self.actors_killed
            + self.learners_killed
            + self.actors_stopped
            + self.policies_killed
            + self.policies_stopped
    }
}

/// A fault whose outcome is open.
#[derive(Debug, Clone, Copy)]
struct Open {
    role: Role,
    pid: Pid,
    incarnation: u16,
    injected: Instant,
    killed: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Killed, and not reaped yet.
    Dying,
    /// Stopped until then.
    Stopped { until: Duration },
    /// Well again once its progress is no longer this.
    Waiting { progress: u64 },
}

/// Carries out a plan.
#[derive(Debug)]
pub struct Chaos {
    plan: Plan,
    /// Time in which the supervisor did not run: the plan waits.
    paused: Duration,
    /// Progress of each role when its last process died.
    before: HashMap<Role, u64>,
    open: Vec<Open>,
    tally: ChaosTally,
}

impl Chaos {
    /// The faults of `spec` for a pool of `actors` actors, and a policy process if there is one.
    #[must_use]
    pub fn new(spec: ChaosSpec, actors: u16, policy: bool) -> Self {
        let plan = Plan::new(spec, actors, policy);
        let (before, open) = (HashMap::new(), Vec::new());
        Self { plan, paused: Duration::ZERO, before, open, tally: ChaosTally::default() }
    }

    /// To be called at each tick; `progress` is that of [`crate::supervisor::Pool::progress`].
    /// Returns which roles have recovered from a kill by this tick, and when each was hit.
    pub fn tick(
        &mut self,
        status: &PoolStatus,
        progress: impl Fn(Role) -> u64,
    ) -> Vec<(Role, Instant)> {
        self.paused += status.gap.unwrap_or_default();
        let now = status.uptime.saturating_sub(self.paused);
        let recovered = self.follow_up(status, now, &progress);
        while !status.stopping
            && let Some(fault) = self.plan.due(now)
        {
            let idle = progress(fault.role) == self.before.get(&fault.role).copied().unwrap_or(0);
            if fault.kind == FaultKind::Kill && idle {
                self.tally.passed_over += 1;
            } else {
                self.inject(fault, status, now);
            }
        }
        recovered
    }

    /// To be called when a child was reaped, with its role's progress at that time. When it was
    /// killed from here, gives the moment of that.
    pub fn reaped(&mut self, role: Role, incarnation: u16, progress: u64) -> Option<Instant> {
        self.before.insert(role, progress);
        let same = |open: &Open| open.role == role && open.incarnation == incarnation;
        let before = self.open.len();
        self.open.retain(|open| !same(open) || open.stage == Stage::Dying);
        self.tally.overtaken += (before - self.open.len()) as u64;
        let open = self.open.iter_mut().find(|open| same(open))?;
        open.stage = Stage::Waiting { progress };
        Some(open.injected)
    }

    /// The numbers so far.
    #[must_use]
    pub fn tally(&self) -> ChaosTally {
        ChaosTally { open_at_end: self.open.len() as u64, ..self.tally }
    }

    fn follow_up(
        &mut self,
        status: &PoolStatus,
        now: Duration,
        progress: &impl Fn(Role) -> u64,
    ) -> Vec<(Role, Instant)> {
        let (mut count, mut recovered) = (0, Vec::new());
        self.open.retain_mut(|open| match open.stage {
            Stage::Dying => true,
            Stage::Stopped { until } if until <= now || status.stopping => {
                if child(status, open.role).is_some_and(|child| open.is(child)) {
                    let _ = kill(open.pid, Signal::SIGCONT);
                }
                open.stage = Stage::Waiting { progress: progress(open.role) };
                true
            }
            Stage::Stopped { .. } => true,
            Stage::Waiting { progress: before } => {
                let well = progress(open.role) != before;
                count += u64::from(well);
                if well && open.killed {
                    recovered.push((open.role, open.injected));
                }
                !well
            }
        });
        self.tally.recovered += count;
        recovered
    }

    fn inject(&mut self, fault: Fault, status: &PoolStatus, now: Duration) {
        let hit = |child: &&ChildStatus| {
            let busy = |open: &Open| match open.stage {
                Stage::Dying => true,
                // A stopped process may be killed, which is what a hang ends in.
                Stage::Stopped { .. } => fault.kind != FaultKind::Kill,
                Stage::Waiting { .. } => false,
            };
            let taken = self.open.iter().any(|open| open.is(child) && busy(open));
            matches!(child.state, ChildState::Starting | ChildState::Running) && !taken
        };
        let Some((child, pid)) =
            child(status, fault.role).filter(hit).and_then(|child| Some((child, child.pid?)))
        else {
            self.tally.passed_over += 1;
            return;
        };
        let (pid, incarnation) = (Pid::from_raw(pid), child.incarnation);
        let (signal, stage) = match fault.kind {
            FaultKind::Kill => (Signal::SIGKILL, Stage::Dying),
            FaultKind::Stop(length) => (Signal::SIGSTOP, Stage::Stopped { until: now + length }),
        };
        let injected = Instant::now();
        if kill(pid, signal).is_err() {
            self.tally.passed_over += 1;
            return;
        }
        match (fault.kind, fault.role) {
            (FaultKind::Stop(_), Role::Policy) => self.tally.policies_stopped += 1,
            (FaultKind::Stop(_), _) => self.tally.actors_stopped += 1,
            (FaultKind::Kill, Role::Policy) => self.tally.policies_killed += 1,
            (FaultKind::Kill, Role::Learner) => self.tally.learners_killed += 1,
            (FaultKind::Kill, Role::Actor(_)) => self.tally.actors_killed += 1,
        }
        let killed = fault.kind == FaultKind::Kill;
        self.open.push(Open { role: fault.role, pid, incarnation, injected, killed, stage });
    }
}

impl Open {
    fn is(&self, child: &ChildStatus) -> bool {
        child.role == self.role
            && child.incarnation == self.incarnation
            && child.pid == Some(self.pid.as_raw())
    }
}

fn child(status: &PoolStatus, role: Role) -> Option<&ChildStatus> {
    status.children.iter().find(|child| child.role == role)
}
