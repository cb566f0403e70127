//! Tests of the order of trials, with a simulated machine.

use super::*;
use crate::tune::{Threads, Vary};

/// A machine of which the speed and lag of all sizes are known.
struct Machine<F> {
    of: F,
    trial: Duration,
    clock: Duration,
    order: Vec<Sizes>,
}

impl<F: FnMut(Sizes) -> Result<Figures, TrialFailure>> Bench for Machine<F> {
    fn trial(&mut self, sizes: Sizes, _: Option<Duration>) -> Result<Measured, TrialFailure> {
        self.clock += self.trial;
        self.order.push(sizes);
        let costs =
            Costs { acting_ns: 100.0, inference_ns: 200.0, waiting_ns: 0.0, learning_ns: 500.0 };
        let wall_s = self.trial.as_secs_f64();
        (self.of)(sizes).map(|figures| Measured {
            figures,
            costs,
            wall_s,
            measured_s: wall_s / 2.0,
        })
    }

    fn inference_ns(&mut self, envs: usize) -> Option<f64> {
        Some(100.0 + 400.0 / envs as f64)
    }

    fn elapsed(&self) -> Duration {
        self.clock
    }
}

fn space() -> Space {
    Space {
        default: Sizes { actors: 4, envs_per_actor: 4, learner_threads: 1 },
        vary: Vary { actors: true, envs_per_actor: true, learner_threads: true },
        batch: 8,
        splits: 1,
        tasks: 1,
        batches_in_flight: 3,
        threads: vec![Threads { given: 1, used: 1 }],
        cores: 2,
    }
}

fn found(
    space: &Space,
    trial: Duration,
    of: impl FnMut(Sizes) -> Result<Figures, TrialFailure>,
) -> (Tuning, Vec<Sizes>) {
    let mut machine = Machine { of, trial, clock: Duration::ZERO, order: Vec::new() };
    let effort = Effort::within(Duration::from_secs(10));
    let tuning = search(space, &effort, &mut machine).expect("not interrupted");
    assert!(machine.clock <= Duration::from_secs(10), "{:?}", machine.clock);
    assert_eq!(tuning.default().sizes, space.default);
    (tuning, machine.order)
}

const TRIAL: Duration = Duration::from_millis(700);

#[expect(clippy::unnecessary_wraps, reason = "what a trial gives")]
fn figures(frames_per_s: f64, policy_lag: f64) -> Result<Figures, TrialFailure> {
    Ok(Figures { frames_per_s, policy_lag })
}

#[test]
fn the_fastest_is_chosen_and_compared_in_turns() {
    let best = Sizes { actors: 2, envs_per_actor: 8, learner_threads: 1 };
    let speed = |sizes| figures(if sizes == best { 150.0 } else { 100.0 }, 2.0);
    let (tuning, order) = found(&space(), TRIAL, speed);
    assert_eq!(tuning.chosen, best);
    assert_eq!(tuning.reason, Reason::Faster { pairs: 3, gain: 1.5 });
    assert_eq!(tuning.expected, Some(Figures { frames_per_s: 150.0, policy_lag: 2.0 }));
    let default = space().default;
    assert_eq!(order[0], default);
    assert_eq!(order[order.len() - 6..], [default, best, best, default, default, best]);
}

#[test]
fn the_defaults_are_kept_unless_something_is_faster() {
    let default = space().default;
    let slower = |sizes| figures(if sizes == default { 100.0 } else { 90.0 }, 2.0);
    let (tuning, order) = found(&space(), TRIAL, slower);
    assert_eq!((tuning.chosen, tuning.reason), (default, Reason::NoneFaster));
    assert_eq!(order.len(), 6, "one trial each");
    assert_eq!(tuning.expected.map(|figures| figures.frames_per_s), Some(100.0));

    let (tuning, order) = found(&space(), TRIAL, |_| figures(100.0, 2.0));
    assert_eq!((tuning.chosen, tuning.reason), (default, Reason::Noise));
    assert!(order.len() > 6, "equals take a turn: {order:?}");

    let mut seen = std::collections::HashMap::new();
    let lucky_once = |sizes: Sizes| {
        let count = seen.entry(sizes).or_insert(0);
        *count += 1;
        let is_lucky = *count == 1 && sizes != space().default;
        figures(if is_lucky { 130.0 } else { 100.0 }, 2.0)
    };
    let (tuning, _) = found(&space(), TRIAL, lucky_once);
    assert_eq!((tuning.chosen, tuning.reason), (space().default, Reason::Noise));
}

#[test]
fn older_data_is_no_gain() {
    let default = space().default;
    let speed = |sizes| {
        if sizes == default { figures(100.0, 3.0) } else { figures(200.0, 3.5) }
    };
    let (tuning, _) = found(&space(), TRIAL, speed);
    assert_eq!((tuning.chosen, tuning.reason), (default, Reason::OlderData { limit: 3.0 }));
}

#[test]
fn slow_starts_leave_the_defaults() {
    let (tuning, order) = found(&space(), Duration::from_secs(3), |_| figures(100.0, 2.0));
    assert!(matches!(tuning.reason, Reason::TooSlow { .. }), "{:?}", tuning.reason);
    assert_eq!(order, [space().default]);
    assert!(tuning.reason.to_string().contains("a trial takes 3.0 s"), "{}", tuning.reason);
}

#[test]
fn failures_and_interruptions() {
    let default = space().default;
    let only_the_defaults = |sizes| {
        if sizes == default {
            figures(100.0, 2.0)
        } else {
            Err(TrialFailure::Failed("no memory".into()))
        }
    };
    let (tuning, _) = found(&space(), TRIAL, only_the_defaults);
    assert_eq!((tuning.chosen, tuning.reason), (default, Reason::NoneFaster));
    let (tuning, _) = found(&space(), TRIAL, |_| Err(TrialFailure::Failed("no env".into())));
    assert_eq!(tuning.reason, Reason::Failed("no env".into()));
    assert_eq!(tuning.expected, None);

    let of = |_| Err(TrialFailure::Interrupted);
    let mut machine = Machine { of, trial: TRIAL, clock: Duration::ZERO, order: Vec::new() };
    let effort = Effort::within(Duration::from_secs(10));
    assert_eq!(search(&space(), &effort, &mut machine), Err(Interrupted));
}

#[test]
fn where_everything_was_set_nothing_is_tried() {
    let vary = Vary { actors: false, envs_per_actor: false, learner_threads: false };
    let (tuning, order) = found(&Space { vary, ..space() }, TRIAL, |_| figures(1.0, 1.0));
    assert_eq!((tuning.reason, order.len()), (Reason::NothingOpen, 0));
}
