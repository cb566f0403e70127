//! Step-by-step agreement with Gymnasium's classic control.
//!
//! `gym_traces.json` holds what Gymnasium did: internal state, observation, reward and end after each
//! step. Each port starts from the same state, takes the same actions, and must give every row again.
//! `GOLDEN_DIR` names another folder to read the file from.

use impala_rl::env::{
    Actions, Environment, StepOut, VectorEnv, acrobot::Acrobot, cartpole::CartPole, flag,
    mountain_car::MountainCar, mountain_car_continuous::MountainCarContinuous, pendulum::Pendulum,
};
use impala_rl::rng::Rng;
use serde::Deserialize;

const STATE_TOLERANCE: f64 = 1e-9;
const OBSERVATION_TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    traces: Vec<Trace>,
}

#[derive(Deserialize)]
struct Trace {
    env: String,
    initial_state: Vec<f64>,
    first_obs: Vec<f64>,
    steps: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    /// A number, or a list of numbers where actions are continuous.
    action: serde_json::Value,
    state: Vec<f64>,
    obs: Vec<f64>,
    reward: f64,
    terminated: bool,
    truncated: bool,
}

/// What a port shows after a step.
struct Shown {
    state: Vec<f64>,
    observation: Vec<f32>,
    reward: f32,
    flags: u8,
}

/// A port, ready to be started from a state.
trait Port {
    /// The first observation.
    fn first(&mut self) -> Vec<f32>;
    fn step(&mut self, action: &serde_json::Value) -> Shown;
}

/// An [`Environment`] with its accessors.
struct Single<T> {
    env: T,
    state: fn(&T) -> Vec<f64>,
    observe: fn(&T, &mut [f32]),
    width: usize,
}

/// What a trace holds of an action.
trait Recorded: Sized {
    fn read(action: &serde_json::Value) -> Option<Self>;
}

impl Recorded for usize {
    fn read(action: &serde_json::Value) -> Option<Self> {
        action.as_u64().and_then(|number| Self::try_from(number).ok())
    }
}

impl Recorded for [f32; 1] {
    fn read(action: &serde_json::Value) -> Option<Self> {
        let numbers = action.as_array().filter(|numbers| numbers.len() == 1)?;
        numbers[0].as_f64().map(|number| [number as f32])
    }
}

impl<T: Environment<Element = f32, Action: Recorded>> Port for Single<T> {
    fn first(&mut self) -> Vec<f32> {
        let mut observation = vec![f32::NAN; self.width];
        (self.observe)(&self.env, &mut observation);
        observation
    }

    fn step(&mut self, action: &serde_json::Value) -> Shown {
        let mut observation = vec![f32::NAN; self.width];
        let action = T::Action::read(action)
            .unwrap_or_else(|| panic!("{action} is of another kind of action"));
        let transition =
            self.env.step(action, &mut Rng::new(0, 0), &mut observation).expect("does not fail");
        Shown {
            state: (self.state)(&self.env),
            observation,
            reward: transition.reward,
            flags: transition.end.flag(),
        }
    }
}

/// Carts that all do the same: a full group, and one that is filled up.
struct Carts(CartPole);

const CARTS: usize = 11;

impl Carts {
    fn same(frames: &[f32]) -> Vec<f32> {
        assert!(frames.chunks_exact(4).all(|frame| frame == &frames[..4]), "{frames:?}");
        frames[..4].to_vec()
    }
}

impl Port for Carts {
    fn first(&mut self) -> Vec<f32> {
        self.0.state(CARTS - 1).map(|value| value as f32).to_vec()
    }

    fn step(&mut self, action: &serde_json::Value) -> Shown {
        let action = action.as_i64().and_then(|number| i32::try_from(number).ok());
        let action = action.expect("one choice");
        let mut frames = [f32::NAN; 4 * CARTS];
        let (mut rewards, mut flags) = ([f32::NAN; CARTS], [u8::MAX; CARTS]);
        let out = StepOut {
            frames: bytemuck::cast_slice_mut(&mut frames),
            rewards: &mut rewards,
            flags: &mut flags,
            masks: &mut [],
        };
        self.0.step(Actions::Discrete(&[action; CARTS]), out).expect("CartPole steps");
        assert_eq!((rewards, flags), ([rewards[0]; CARTS], [flags[0]; CARTS]));
        Shown {
            state: self.0.state(CARTS - 1).to_vec(),
            observation: Self::same(&frames),
            reward: rewards[0],
            flags: flags[0],
        }
    }
}

fn state<const N: usize>(numbers: &[f64]) -> [f64; N] {
    numbers.try_into().expect("a state of the right length")
}

/// Replays all traces of `name` in ports that `start` makes of an initial state.
fn replay(name: &str, start: impl Fn(&[f64]) -> Box<dyn Port>) {
    let text = crate::golden::read("gym_traces.json");
    // Acrobot is chaotic: a last digit lost in reading grows to 1e-9 within 500 steps.
    let exact =
        serde_json::from_str::<f64>("-0.4720287437981364").ok() == Some(-0.4720287437981364);
    assert!(exact, "serde_json must be built with its feature float_roundtrip");
    let golden: Golden = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("gym_traces.json is not as it should be: {error}"));
    let (mut traces, mut rows) = (0, 0);
    for trace in golden.traces.iter().filter(|trace| trace.env == name) {
        let mut port = start(&trace.initial_state);
        let place = format!("{name}, trace {traces}");
        close(&place, "first observation", &port.first(), &trace.first_obs);
        for (number, row) in trace.steps.iter().enumerate() {
            let place = format!("{place}, step {number}");
            check(&place, &port.step(&row.action), row);
            rows += 1;
        }
        traces += 1;
    }
    assert!(traces > 0 && rows > 0, "{} has no trace of {name}", "gym_traces.json");
}

fn check(place: &str, shown: &Shown, row: &Row) {
    assert_eq!(shown.state.len(), row.state.len(), "{place}");
    for (i, (ours, theirs)) in shown.state.iter().zip(&row.state).enumerate() {
        let off = (ours - theirs).abs();
        assert!(off <= STATE_TOLERANCE, "{place}: state[{i}] is {ours}, not {theirs}: {off:e} off");
    }
    close(place, "observation", &shown.observation, &row.obs);
    // Where Gymnasium rewards in f64, the nearest f32 is right.
    assert_eq!(shown.reward, row.reward as f32, "{place}: reward");
    let terminated = shown.flags & flag::TERMINATED != 0;
    let truncated = shown.flags & flag::TRUNCATED != 0;
    assert_eq!(terminated, row.terminated, "{place}: terminated");
    // Gymnasium reports both when the task ends in the last step allowed; here the end wins.
    assert_eq!(truncated, row.truncated && !row.terminated, "{place}: truncated");
}

fn close(place: &str, what: &str, ours: &[f32], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len(), "{place}: {what}");
    for (i, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
        let off = (f64::from(ours) - theirs).abs();
        let near = off <= OBSERVATION_TOLERANCE;
        assert!(near, "{place}: {what}[{i}] is {ours}, not {theirs}: {off:e} off");
    }
}

#[test]
fn cartpole_does_as_gymnasium() {
    replay("CartPole-v1", |initial| {
        Box::new(Carts(CartPole::from_states(&[state(initial); CARTS], 0)))
    });
}

#[test]
fn acrobot_does_as_gymnasium() {
    replay("Acrobot-v1", |initial| {
        Box::new(Single {
            env: Acrobot::from_state(state(initial)),
            state: |env| env.state().to_vec(),
            observe: Acrobot::observe,
            width: 6,
        })
    });
}

#[test]
fn mountain_car_does_as_gymnasium() {
    replay("MountainCar-v0", |initial| {
        Box::new(Single {
            env: MountainCar::from_state(state(initial)),
            state: |env| env.state().to_vec(),
            observe: MountainCar::observe,
            width: 2,
        })
    });
}

#[test]
fn mountain_car_continuous_does_as_gymnasium() {
    replay("MountainCarContinuous-v0", |initial| {
        Box::new(Single {
            env: MountainCarContinuous::from_state(state(initial)),
            state: |env| env.state().to_vec(),
            observe: MountainCarContinuous::observe,
            width: 2,
        })
    });
}

#[test]
fn pendulum_does_as_gymnasium() {
    replay("Pendulum-v1", |initial| {
        Box::new(Single {
            env: Pendulum::from_state(state(initial)),
            state: |env| env.state().to_vec(),
            observe: Pendulum::observe,
            width: 3,
        })
    });
}
