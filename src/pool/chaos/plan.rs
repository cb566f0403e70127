//! The schedule of injected faults, which follows from the specification and its seed alone.

use std::time::Duration;

use crate::config::ChaosSpec;
use crate::rng::Rng;
use crate::supervisor::Role;

/// Streams of the seed, one for each kind of fault.
const KILLS: u64 = 1;
const STOPS: u64 = 2;
/// A stopped process is continued after 50 to 500 ms.
const STOP_SHORTEST_S: f64 = 0.05;
const STOP_LONGEST_S: f64 = 0.5;

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT after this long.
    Stop(Duration),
}

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Since the start of the run.
    pub(crate) at: Duration,
    /// What is done.
    pub(crate) kind: FaultKind,
    /// Whom it hits.
    pub(crate) role: Role,
}

/// The schedule of a run: without end, and the same for the same specification and number of actors.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    spec: ChaosSpec,
    actors: usize,
    policy: bool,
    kills: Rng,
    stops: Rng,
    next_kill: Option<Fault>,
    next_stop: Option<Fault>,
}

impl Plan {
    /// The schedule for a pool of `actors` actors, with a policy process that is hit as often as one of them if there is one.
    #[must_use]
    pub(crate) fn new(spec: ChaosSpec, actors: u16, policy: bool) -> Self {
        let mut plan = Self {
            spec,
            actors: usize::from(actors),
            policy,
            kills: Rng::new(spec.seed, KILLS),
            stops: Rng::new(spec.seed, STOPS),
            next_kill: None,
            next_stop: None,
        };
        plan.next_kill = plan.kill_after(Duration::ZERO);
        plan.next_stop = plan.stop_after(Duration::ZERO);
        plan
    }

    /// The next fault, if it is due `now`.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Fault> {
        let earlier = |a: &Fault, b: &Fault| a.at <= b.at;
        let kill_first = match (&self.next_kill, &self.next_stop) {
            (Some(kill), Some(stop)) => earlier(kill, stop),
            (kill, _) => kill.is_some(),
        };
        let next = if kill_first { self.next_kill } else { self.next_stop };
        let fault = next.filter(|fault| fault.at <= now)?;
        if kill_first {
            self.next_kill = self.kill_after(fault.at);
        } else {
            self.next_stop = self.stop_after(fault.at);
        }
        Some(fault)
    }

    fn kill_after(&mut self, last: Duration) -> Option<Fault> {
        let at = last + gap(&mut self.kills, self.spec.kills_per_s)?;
        let learner = self.kills.unit_f64() < self.spec.learner_share;
        let actor = actor(&mut self.kills, self.actors, self.policy);
        Some(Fault { at, kind: FaultKind::Kill, role: if learner { Role::Learner } else { actor } })
    }

    fn stop_after(&mut self, last: Duration) -> Option<Fault> {
        let at = last + gap(&mut self.stops, self.spec.stops_per_s)?;
        let length = self.stops.uniform_f64(STOP_SHORTEST_S, STOP_LONGEST_S);
        let role = actor(&mut self.stops, self.actors, self.policy);
        Some(Fault { at, kind: FaultKind::Stop(Duration::from_secs_f64(length)), role })
    }
}

/// Time to the next of events that come at random, `per_s` of them in a second on average.
fn gap(rng: &mut Rng, per_s: f64) -> Option<Duration> {
    (per_s > 0.0).then(|| Duration::from_secs_f64(-(1.0 - rng.unit_f64()).ln() / per_s))
}

fn actor(rng: &mut Rng, actors: usize, policy: bool) -> Role {
    match rng.below(actors.max(1) + usize::from(policy)) {
        last if policy && last == actors => Role::Policy,
        actor => Role::Actor(u16::try_from(actor).expect("below a u16")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str, seconds: u64) -> Vec<Fault> {
        let mut plan = Plan::new(text.parse().expect("valid"), 3, false);
        std::iter::from_fn(|| plan.due(Duration::from_secs(seconds))).collect()
    }

    #[test]
    fn a_plan_follows_from_its_seed() {
        let (one, again) = (faults("kill=5/s,stop=2/s", 100), faults("kill=5/s,stop=2/s", 100));
        assert_eq!(one, again);
        assert_ne!(one, faults("kill=5/s,stop=2/s,seed=2", 100));
        assert!(one.is_sorted_by_key(|fault| fault.at));
    }

    #[test]
    fn rates_and_shares_are_those_that_were_asked_for() {
        let all = faults("kill=5/s,stop=2/s,learner=0.25", 1_000);
        let count = |test: &dyn Fn(&Fault) -> bool| all.iter().filter(|&f| test(f)).count();
        let kills = count(&|fault| fault.kind == FaultKind::Kill);
        assert!((4_700..5_300).contains(&kills), "{kills}");
        assert!((1_800..2_200).contains(&(all.len() - kills)), "{}", all.len() - kills);
        let learner = count(&|fault| fault.role == Role::Learner);
        assert!((1_100..1_400).contains(&learner), "{learner}");
        for actor in 0..3 {
            let hits = count(&|fault| fault.role == Role::Actor(actor));
            assert!((1_700..2_150).contains(&hits), "{hits} of actor {actor}");
        }
    }

    #[test]
    fn the_policy_process_is_hit_as_often_as_an_actor() {
        let spec = "kill=5/s,stop=5/s,learner=0".parse().expect("valid");
        let mut plan = Plan::new(spec, 3, true);
        let all: Vec<_> = std::iter::from_fn(|| plan.due(Duration::from_secs(1_000))).collect();
        for role in [Role::Policy, Role::Actor(0), Role::Actor(2)] {
            let hits = all.iter().filter(|fault| fault.role == role).count();
            assert!((2_300..2_700).contains(&hits), "{hits} of {role}");
        }
    }

    #[test]
    fn stops_never_hit_the_learner_and_end() {
        for fault in faults("stop=50/s,learner=1", 20) {
            let FaultKind::Stop(length) = fault.kind else { panic!("{fault:?}") };
            assert!(length <= Duration::from_millis(500), "{length:?}");
            assert_ne!(fault.role, Role::Learner);
        }
    }
}
