//! An environment of two choices at once, some of which are forbidden from step to step.
//!
//! ```text
//! cargo run --release --example masked_env -- --env Lock-v0 --actors 2 --discount 0 --stop-at-return 9
//! ```
//!
//! `--env-arg dead-end=1e-4` is the probability of an observation that forbids everything: a fault, which
//! costs one unroll.

use std::process::ExitCode;

use impala_rl::env::{
    ActionSpec, BoxError, Element as _, EnvSpec, Environment, Lockstep, ObservationSpec, Registry,
    TimeLimit, Transition,
};
use impala_rl::rng::Rng;

const ID: &str = "Lock-v0";
const KEYS: usize = 3;
const TURNS: usize = 4;
/// Of all choices, the keys first.
const OUTPUTS: usize = KEYS + TURNS;

/// A row of ten locks: a key and a number of turns opens each. It is shown which, and sometimes what is out
/// of order.
#[derive(Debug)]
struct Lock {
    key: usize,
    turns: usize,
    allowed: [u8; OUTPUTS],
    dead_end: f64,
    limit: TimeLimit,
}

impl Lock {
    fn new(dead_end: f64) -> Self {
        let limit = TimeLimit::new(10);
        Self { key: 0, turns: 0, allowed: [1; OUTPUTS], dead_end, limit }
    }

    fn next(&mut self, rng: &mut Rng, observation: &mut [f32]) {
        (self.key, self.turns) = (rng.below(KEYS), rng.below(TURNS));
        self.allowed = std::array::from_fn(|_| u8::from(rng.below(2) == 0));
        // What opens the lock is never out of order.
        self.allowed[self.key] = 1;
        self.allowed[KEYS + self.turns] = 1;
        if rng.unit_f64() < self.dead_end {
            self.allowed[KEYS..].fill(0);
        }
        observation.fill(0.0);
        observation[self.key] = 1.0;
        observation[KEYS + self.turns] = 1.0;
    }
}

impl Environment for Lock {
    type Element = f32;
    type Action = [usize; 2];

    fn spec(&self) -> EnvSpec {
        let observation = ObservationSpec::new(f32::DTYPE, &[OUTPUTS]);
        let action = ActionSpec::MultiDiscrete { sizes: vec![KEYS, TURNS] };
        EnvSpec { masks: true, ..EnvSpec::new(ID, observation, action) }
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
        self.limit.restart();
        self.next(rng, observation);
        Ok(())
    }

    fn step(
        &mut self,
        [key, turns]: [usize; 2],
        rng: &mut Rng,
        observation: &mut [f32],
    ) -> Result<Transition, BoxError> {
        if self.allowed[key] == 0 || self.allowed[KEYS + turns] == 0 {
            return Err(format!("key {key} with {turns} turns is out of order").into());
        }
        let open = key == self.key && turns == self.turns;
        self.next(rng, observation);
        Ok(Transition { reward: if open { 1.0 } else { 0.0 }, end: self.limit.after_step(false) })
    }

    fn allowed(&self, mask: &mut [u8]) {
        mask.copy_from_slice(&self.allowed);
    }
}

fn main() -> ExitCode {
    let mut registry = Registry::builtin();
    registry.add(ID, "open locks; 2 choices, of 3 and 4, with masks", |options, envs, seed| {
        let mut read = options.read(ID);
        let dead_end = read.number("dead-end", 0.0, 0.0..=1.0)?;
        read.finish()?;
        Ok(Box::new(Lockstep::new(envs, seed, move || Lock::new(dead_end))))
    });
    impala_rl::pool::main(registry)
}
