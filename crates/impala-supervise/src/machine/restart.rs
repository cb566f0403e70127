//! What the state machine decides after a death: a restart, giving the child up, or ending the run.

use rand_xoshiro::rand_core::Rng as _;
use std::time::Duration;

use super::{Action, Cause, Child, Machine, Process};
use crate::contract::Role;
use crate::exit::{ExitKind, Remedy};

/// The number of the signal, as [`Cause::Signaled`] has it.
const SIGKILL: i32 = 9;

impl Machine {
    pub(super) fn reaped(
        &mut self,
        role: Role,
        cause: Cause,
        progressed: bool,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let index = self.places.index_of(role);
        let process = self.children[index].process;
        if self.stopping() {
            self.children[index].process = Process::Gone;
            if role == Role::Learner {
                self.learner_left(cause);
            }
            return;
        }
        if let Some(kind) = cause.kind().filter(|kind| kind.remedy() == Remedy::StopRun) {
            self.children[index].process = Process::Gone;
            let reason = match kind {
                ExitKind::Corrupt => format!("{role} found shared memory corrupt"),
                _ => format!("{role}: {kind}"),
            };
            return self.stop(kind, reason, now, actions);
        }
        // The message that says so may have been lost with a full buffer; the code never is.
        if role == Role::Learner && cause == Cause::Exited(0) {
            self.children[index].process = Process::Gone;
            let reason = "the learner has finished".to_owned();
            return self.stop(ExitKind::Finished, reason, now, actions);
        }
        // It did not die of itself, nor of this supervisor: of a user, or for want of memory.
        let outside = matches!(process, Process::Alive { .. }) && cause == Cause::Signaled(SIGKILL);
        let own = match role {
            Role::Learner => self.policy.learner_deaths,
            Role::Actor(_) | Role::Policy => self.policy.actor_deaths,
        };
        let limit = if outside { own.saturating_mul(self.policy.outside_factor) } else { own };
        let child = &mut self.children[index];
        child.deaths = if progressed { 0 } else { child.deaths + 1 };
        let never = cause.kind().is_some_and(|kind| kind.remedy() == Remedy::Never);
        if child.permanent || never || child.deaths >= limit {
            return self.give_up(role, cause, now, actions);
        }
        if progressed {
            let lived = match process {
                Process::Alive { since, .. } | Process::Dying { since } => {
                    now.saturating_sub(since)
                }
                // Not known: counts as long.
                _ => Duration::MAX,
            };
            // Work done or not: no more than a few forks a second.
            child.doublings = u32::from(lived < self.policy.short_life);
        }
        let mut delay = self.backoff(index);
        if outside {
            delay = delay.min(self.policy.backoff_outside);
        }
        self.children[index].process = Process::Waiting { at: now + delay };
        actions.push(Action::TellRestart(role, delay));
    }

    /// The learner is gone while the run is ending.
    fn learner_left(&mut self, cause: Cause) {
        match cause {
            Cause::Exited(0) => {}
            Cause::Exited(code) => self.unsaved(&format!("the learner left with code {code}")),
            Cause::Signaled(_) => self.unsaved("the learner died before it had saved"),
        }
    }

    fn give_up(&mut self, role: Role, cause: Cause, now: Duration, actions: &mut Vec<Action>) {
        let child = &mut self.children[self.places.index_of(role)];
        child.process = Process::Failed;
        let deaths = child.deaths;
        actions.push(Action::TellFailed(role, deaths));
        let exit =
            cause.kind().filter(|kind| kind.tells_the_cause()).unwrap_or(ExitKind::CrashLoop);
        match role {
            Role::Learner => {
                let reason =
                    format!("the learner failed, {deaths} deaths in a row without an update");
                self.stop(exit, reason, now, actions);
            }
            Role::Actor(_) => self.stop_if_too_few(role, exit, now, actions),
            // Without it nobody acts.
            Role::Policy => {
                let reason = format!(
                    "the policy process failed, {deaths} deaths in a row without an answer"
                );
                self.stop(exit, reason, now, actions);
            }
        }
    }

    /// `role` was lost for good, or so it seems.
    pub(super) fn stop_if_too_few(
        &mut self,
        role: Role,
        exit: ExitKind,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let lost = |actor: &&Child| matches!(actor.process, Process::Failed | Process::Unkillable);
        let left = self.actors().iter().filter(|actor| !lost(actor)).count();
        let least = self.policy.min_actors;
        if left < least {
            let reason = format!("{left} actors are left of at least {least}; {role} failed last");
            self.stop(exit, reason, now, actions);
        }
    }

    pub(super) fn spawn_failed(
        &mut self,
        role: Role,
        why: &str,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let index = self.places.index_of(role);
        if self.stopping() {
            self.children[index].process = Process::Gone;
            return;
        }
        let first = self.children[index].restarts == 0;
        if first {
            // A run that does not fit the machine ends at once, instead of going on with fewer actors.
            self.children[index].process = Process::Gone;
            self.children[index].started = false;
            let reason = format!("cannot start {role}: {why}");
            return self.stop(ExitKind::Resources, reason, now, actions);
        }
        self.children[index].doublings = self.children[index].doublings.max(1);
        let delay = self.backoff(index);
        self.children[index].process = Process::Waiting { at: now + delay };
        actions.push(Action::Tell(format!("cannot start {role}: {why}")));
        actions.push(Action::TellRestart(role, delay));
    }

    /// 0, 0.1 s, 0.2 s, 0.4 s ... 10 s, 20 % more or less; the next one is longer.
    fn backoff(&mut self, index: usize) -> Duration {
        let child = &mut self.children[index];
        let doublings = child.doublings;
        child.doublings = doublings.saturating_add(1);
        let Some(power) = doublings.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.saturating_pow(power);
        let delay = self.policy.backoff_first.saturating_mul(factor).min(self.policy.backoff_most);
        // A factor from 0.8 to 1.2, in steps of a thousandth.
        delay * (800 + (self.rng.next_u64() % 401) as u32) / 1000
    }
}
