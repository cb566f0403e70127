//! Detects children that hang: the heartbeat does not change for too long, in a phase that is not a wait. The policy
//! process is judged in its wait as well, because it counts its looks there, ten in a second, and all actors depend on
//! it; an actor that waits for it is not judged.
//!
//! Time is that of the supervisor. From one look to the next it counts at most [`LONGEST_STEP`], so
//! that a supervisor that was stopped, suspended, or without a core blames nobody for it; where it
//! notices such a gap, all start anew.

use std::time::Duration;

use crate::config::FaultConfig;
use crate::metrics::Phase;
use crate::supervisor::{ChildState, Role};

/// The most that two looks can be apart in the count.
const LONGEST_STEP: Duration = Duration::from_millis(300);

/// How long each kind of standing still may last; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// An actor between two steps.
    pub(super) actor: Option<Duration>,
    /// An actor that builds its environments.
    pub(super) actor_start: Option<Duration>,
    /// The learner between two updates.
    pub(super) learner: Option<Duration>,
}

impl Limits {
    pub(super) fn new(faults: &FaultConfig) -> Self {
        let limit = |seconds: Option<f64>| seconds.map(Duration::from_secs_f64);
        Self {
            actor: limit(faults.actor_hang_timeout_s),
            actor_start: limit(faults.actor_start_timeout_s),
            learner: limit(faults.learner_hang_timeout_s),
        }
    }

    fn of(&self, role: Role, phase: Option<Phase>) -> Option<Duration> {
        match (role, phase) {
            (Role::Learner, _) => self.learner,
            (Role::Actor(_) | Role::Policy, Some(Phase::Init)) => self.actor_start,
            (Role::Actor(_) | Role::Policy, _) => self.actor,
        }
    }
}

/// One child at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heartbeat {
    pub(super) role: Role,
    pub(super) state: ChildState,
    pub(super) incarnation: u16,
    /// `None`: the word holds no phase.
    pub(super) phase: Option<Phase>,
    pub(super) progress: u64,
}

/// A child that hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hang {
    pub(super) role: Role,
    pub(super) phase: Option<Phase>,
    pub(super) still: Duration,
}

impl Hang {
    /// For the log.
    pub(super) fn reason(&self) -> String {
        let phase = self.phase.map_or("unknown", Phase::name);
        format!("no progress for {:.1} s in phase {phase}", self.still.as_secs_f64())
    }
}

/// What is known of the children, in the order of the beats.
#[derive(Debug)]
pub(super) struct HangDetector {
    limits: Limits,
    last_look: Duration,
    seen: Vec<(Option<Heartbeat>, Duration)>,
}

impl HangDetector {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, last_look: Duration::ZERO, seen: Vec::new() }
    }

    /// Looks at all children, in the same order each time; gives the first that hangs. `now` is the
    /// supervisor's clock, `gap` whether it did not run meanwhile.
    pub(super) fn look(
        &mut self,
        now: Duration,
        gap: bool,
        beats: impl Iterator<Item = Heartbeat>,
    ) -> Option<Hang> {
        let step = now.saturating_sub(self.last_look).min(LONGEST_STEP);
        self.last_look = now;
        let mut hang = None;
        for (place, beat) in beats.enumerate() {
            if self.seen.len() == place {
                self.seen.push((None, Duration::ZERO));
            }
            let (before, still) = &mut self.seen[place];
            let judged = matches!(beat.state, ChildState::Starting | ChildState::Running)
                && (beat.role == Role::Policy || !beat.phase.is_some_and(Phase::is_wait));
            // A change from starting to running is one of the supervisor's, not of the child's.
            let same =
                before.is_some_and(|before| before == Heartbeat { state: before.state, ..beat });
            *still = if judged && same && !gap { *still + step } else { Duration::ZERO };
            *before = Some(beat);
            let limit = self.limits.of(beat.role, beat.phase);
            if hang.is_none() && limit.is_some_and(|limit| *still >= limit) {
                hang = Some(Hang { role: beat.role, phase: beat.phase, still: *still });
                // The kill takes a moment, and is not asked for twice meanwhile.
                *still = Duration::ZERO;
            }
        }
        hang
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);
    const LIMITS: Limits = Limits {
        actor: Some(Duration::from_secs(2)),
        actor_start: Some(Duration::from_secs(5)),
        learner: Some(Duration::from_secs(4)),
    };

    fn beat(role: Role, phase: Phase, progress: u64) -> Heartbeat {
        Heartbeat { role, state: ChildState::Running, incarnation: 1, phase: Some(phase), progress }
    }

    /// Ticks with what `beat` says until a hang is found, at most 20 s.
    fn until_hang(mut beat: impl FnMut(Duration) -> Heartbeat) -> Option<(Duration, Hang)> {
        let mut hangs = HangDetector::new(LIMITS);
        (0..200).map(|tick| TICK * tick).find_map(|now| {
            let hang = hangs.look(now, false, std::iter::once(beat(now)))?;
            Some((now, hang))
        })
    }

    #[test]
    fn each_phase_has_its_limit_and_waiting_has_none() {
        let actor = Role::Actor(3);
        for (role, phase, seconds) in [
            (actor, Phase::Step, Some(2)),
            (actor, Phase::Infer, Some(2)),
            (actor, Phase::Reset, Some(2)),
            (actor, Phase::Init, Some(5)),
            (actor, Phase::Wait, None),
            (Role::Policy, Phase::Infer, Some(2)),
            (Role::Policy, Phase::Wait, Some(2)),
            (Role::Policy, Phase::Init, Some(5)),
            (Role::Learner, Phase::Learn, Some(4)),
            (Role::Learner, Phase::Init, Some(4)),
            (Role::Learner, Phase::Save, Some(4)),
            (Role::Learner, Phase::Wait, None),
        ] {
            let found = until_hang(|_| beat(role, phase, 7));
            let at = found.map(|(at, hang)| {
                assert_eq!((hang.role, hang.phase), (role, Some(phase)));
                at.as_secs()
            });
            assert_eq!(at, seconds, "{role} {phase:?}");
        }
        let (_, hang) = until_hang(|_| beat(actor, Phase::Step, 7)).expect("hangs");
        assert_eq!(hang.reason(), "no progress for 2.0 s in phase step");
        let scribbled = until_hang(|_| Heartbeat { phase: None, ..beat(actor, Phase::Step, 7) });
        assert!(scribbled.expect("hangs").1.reason().ends_with("unknown"));
    }

    #[test]
    fn any_move_starts_the_time_anew() {
        let slow = |now: Duration| now.as_millis() / 1_900;
        let number = |now| u64::try_from(slow(now)).expect("small");
        assert_eq!(until_hang(|now| beat(Role::Actor(0), Phase::Step, number(now))), None);
        let phases = [Phase::Step, Phase::Infer];
        let phase = |now| phases[usize::from(slow(now) % 2 == 0)];
        assert_eq!(until_hang(|now| beat(Role::Actor(0), phase(now), 1)), None);
        let incarnation = |now| u16::try_from(slow(now)).expect("small");
        let restarted = |now| Heartbeat {
            incarnation: incarnation(now),
            ..beat(Role::Actor(0), Phase::Step, 1)
        };
        assert_eq!(until_hang(restarted), None);
        for state in [ChildState::Waiting, ChildState::Dying, ChildState::Failed] {
            let gone = |_| Heartbeat { state, ..beat(Role::Actor(0), Phase::Step, 1) };
            assert_eq!(until_hang(gone), None, "{state:?}");
        }
        let ready = |now: Duration| {
            let state = if now < TICK { ChildState::Starting } else { ChildState::Running };
            Heartbeat { state, ..beat(Role::Actor(0), Phase::Step, 1) }
        };
        assert!(until_hang(ready).expect("hangs").0 < Duration::from_millis(2_200));
    }

    #[test]
    fn time_in_which_the_supervisor_stood_still_is_nobodys() {
        let mut hangs = HangDetector::new(LIMITS);
        let still = || std::iter::once(beat(Role::Actor(0), Phase::Step, 7));
        let mut now = Duration::ZERO;
        // Stopped again and again, too shortly to notice it as a gap.
        for _ in 0..6 {
            now += Duration::from_millis(1_900);
            assert_eq!(hangs.look(now, false, still()), None);
        }
        for _ in 0..100 {
            now += Duration::from_secs(3_600);
            assert_eq!(hangs.look(now, true, still()), None);
        }
        let hang = (0..30).find_map(|_| {
            now += TICK;
            hangs.look(now, false, still())
        });
        assert_eq!(hang.map(|hang| hang.still), Some(Duration::from_secs(2)));
    }

    #[test]
    fn of_many_that_hang_each_is_told_once() {
        let mut hangs = HangDetector::new(LIMITS);
        let all = || (0..5).map(|actor| beat(Role::Actor(actor), Phase::Reset, 0));
        let told: Vec<Role> = (0..30)
            .filter_map(|tick| hangs.look(TICK * tick, false, all()))
            .map(|hang| hang.role)
            .collect();
        assert_eq!(told, [0, 1, 2, 3, 4].map(Role::Actor));
    }

    #[test]
    fn without_a_limit_nothing_hangs() {
        let mut hangs = HangDetector::new(Limits { actor: None, actor_start: None, learner: None });
        for tick in 0..10_000 {
            let still = std::iter::once(beat(Role::Actor(0), Phase::Step, 7));
            assert_eq!(hangs.look(TICK * tick, false, still), None);
        }
    }
}
