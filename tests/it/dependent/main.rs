//! A program outside the repository that brings an environment of its own; `tests/it/dependent.rs` builds it.

use std::process::ExitCode;

use impala::env::{
    ActionSpec, Element as _, EnvSpec, Environment, ObservationSpec, Registry, TimeLimit, Transition,
};
use impala::rng::Rng;

const PLACES: usize = 20;

/// Go to a beacon on a line and stay there: one point for each step beside it.
#[derive(Debug)]
struct Beacon {
    here: usize,
    beacon: usize,
    limit: TimeLimit,
}

impl Default for Beacon {
    fn default() -> Self {
        Self { here: 0, beacon: 0, limit: TimeLimit::new(16) }
    }
}

impl Beacon {
    fn show(&self, observation: &mut [f32]) {
        let place = |at: usize| at as f32 / PLACES as f32;
        observation[0] = place(self.here);
        observation[1] = place(self.beacon);
        observation[2] = place(self.here) - place(self.beacon);
    }
}

impl Environment for Beacon {
    type Element = f32;
    type Action = usize;

    fn spec(&self) -> EnvSpec {
        let observation = ObservationSpec::new(f32::DTYPE, &[3]);
        EnvSpec::new("Beacon-v0", observation, ActionSpec::Discrete { n: 3 })
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) {
        self.here = rng.below(PLACES);
        self.beacon = rng.below(PLACES);
        self.limit.restart();
        self.show(observation);
    }

    fn step(&mut self, action: usize, _rng: &mut Rng, observation: &mut [f32]) -> Transition {
        self.here = (self.here + [0, 2, 4][action]).saturating_sub(2).min(PLACES - 1);
        self.show(observation);
        let reward = if self.here.abs_diff(self.beacon) <= 1 { 1.0 } else { 0.0 };
        Transition { reward, end: self.limit.after_step(false) }
    }
}

fn main() -> ExitCode {
    let mut registry = Registry::builtin();
    registry.add_environment("Beacon-v0", "go to the beacon and stay", Beacon::default);
    impala::pool::main(registry)
}
