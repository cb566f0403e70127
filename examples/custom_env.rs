//! An environment of your own, trained by the pool.
//!
//! ```text
//! cargo run --release --example custom_env -- --env Treasure-v0 --actors 2 --stop-at-return 0.9
//! ```
//!
//! The program takes every flag of `impala-supervisor`.

use std::process::ExitCode;

use impala_rl::env::{
    ActionSpec, BoxError, Element as _, EnvSpec, Environment, ObservationSpec, Registry, TimeLimit,
    Transition,
};
use impala_rl::rng::Rng;

const CELLS: usize = 8;

/// Walk left or right along a corridor to the treasure, whose place is shown.
#[derive(Debug)]
struct Treasure {
    here: usize,
    treasure: usize,
    limit: TimeLimit,
}

impl Default for Treasure {
    fn default() -> Self {
        Self { here: 0, treasure: 0, limit: TimeLimit::new(20) }
    }
}

impl Treasure {
    fn show(&self, observation: &mut [f32]) {
        observation.fill(0.0);
        observation[self.here] = 1.0;
        observation[CELLS + self.treasure] = 1.0;
    }
}

impl Environment for Treasure {
    type Element = f32;
    type Action = usize;

    fn spec(&self) -> EnvSpec {
        let observation = ObservationSpec::new(f32::DTYPE, &[2 * CELLS]);
        EnvSpec::new("Treasure-v0", observation, ActionSpec::Discrete { n: 2 })
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        self.here = CELLS / 2;
        self.treasure = rng.below(CELLS);
        self.limit.restart();
        self.show(observation);
        Ok(())
    }

    fn step(
        &mut self,
        action: usize,
        _rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        self.here =
            if action == 0 { self.here.saturating_sub(1) } else { (self.here + 1).min(CELLS - 1) };
        self.show(observation);
        let found = self.here == self.treasure;
        Ok(Transition { reward: if found { 1.0 } else { 0.0 }, end: self.limit.after_step(found) })
    }
}

fn main() -> ExitCode {
    let mut registry = Registry::builtin();
    registry.add_environment("Treasure-v0", "walk to the treasure", Treasure::default);
    impala_rl::pool::main(registry)
}
