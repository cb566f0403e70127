//! An environment whose actions are a choice and a number at once.
//!
//! ```text
//! cargo run --release --example hybrid_env -- --env Putt-v0 --actors 2 --stop-at-return 8
//! ```

use std::process::ExitCode;

use impala_rl::env::{
    ActionSpec, BoxError, Element as _, EnvSpec, Environment, ObservationSpec, Registry, TimeLimit,
    Transition,
};
use impala_rl::rng::Rng;

/// Ten putts: the club must fit the ground, and the strength the distance.
#[derive(Debug)]
struct Putt {
    ground: usize,
    distance: f32,
    limit: TimeLimit,
}

impl Default for Putt {
    fn default() -> Self {
        Self { ground: 0, distance: 0.0, limit: TimeLimit::new(10) }
    }
}

impl Putt {
    fn tee(&mut self, rng: &mut Rng, observation: &mut [f32]) {
        self.ground = rng.below(3);
        self.distance = rng.unit_f32();
        observation.fill(0.0);
        observation[self.ground] = 1.0;
        observation[3] = 2.0 * self.distance - 1.0;
    }
}

impl Environment for Putt {
    type Element = f32;
    type Action = ([usize; 1], [f32; 1]);

    fn spec(&self) -> EnvSpec {
        let action = ActionSpec::Hybrid { sizes: vec![3], low: vec![0.0], high: vec![50.0] };
        EnvSpec::new("Putt-v0", ObservationSpec::new(f32::DTYPE, &[4]), action)
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        self.limit.restart();
        self.tee(rng, observation);
        Ok(())
    }

    fn step(
        &mut self,
        ([club], [strength]): Self::Action,
        rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        let off = (strength / 50.0 - self.distance).abs();
        let reward = if club == self.ground { 1.0 - off } else { 0.0 };
        self.tee(rng, observation);
        Ok(Transition { reward, end: self.limit.after_step(false) })
    }
}

fn main() -> ExitCode {
    let mut registry = Registry::builtin();
    registry.add_environment("Putt-v0", "choose a club, and how hard to strike", Putt::default);
    impala_rl::pool::main(registry)
}
