//! An environment that fails in every way, to see what the pool does about it.
//!
//! ```text
//! cargo run --release --example faulty_env -- --env Faulty-v0 --env-arg error=1e-4 --env-arg panic=1e-5
//! ```
//!
//! CartPole underneath. Each option is the probability of one fault, in each step of an actor or in each reset.

use std::process::ExitCode;
use std::time::Duration;

use impala_rl::env::cartpole::CartPole;
use impala_rl::env::{
    Actions, EnvError, EnvOptions, EnvSpec, Registry, ResetOut, StepOut, VectorEnv,
};
use impala_rl::pool::Program;
use impala_rl::rng::Rng;
use impala_rl::unroll::{BlockRef, Field};

const ID: &str = "Faulty-v0";
/// A reward that kills whoever looks at it: see `look_at`.
const POISON: f32 = 66_600.0;
const SLOW_RESET: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy)]
enum Fault {
    Error,
    Panic,
    /// A reward that is not a number.
    NanReward,
    /// A reward that is a number, and whose square is none.
    HugeReward,
    /// An infinite number in an observation.
    InfObservation,
    /// An action that does not exist.
    BadAction,
    /// Dies without a word, as native code may.
    Abort,
    /// Never comes back.
    Spin,
    /// A batch that the learner dies of, each time.
    Poison,
    /// A reset that takes its time.
    SlowReset,
}

const FAULTS: [(&str, Fault); 10] = [
    ("error", Fault::Error),
    ("panic", Fault::Panic),
    ("nan-reward", Fault::NanReward),
    ("huge-reward", Fault::HugeReward),
    ("inf-observation", Fault::InfObservation),
    ("bad-action", Fault::BadAction),
    ("abort", Fault::Abort),
    ("spin", Fault::Spin),
    ("poison", Fault::Poison),
    ("slow-reset", Fault::SlowReset),
];

#[derive(Debug)]
struct Faulty {
    inner: CartPole,
    spec: EnvSpec,
    rng: Rng,
    faults: Vec<(Fault, f64)>,
}

impl Faulty {
    fn new(options: &EnvOptions, envs: usize, seed: u64) -> Result<Self, EnvError> {
        let mut read = options.read(ID);
        let mut faults = Vec::new();
        for (name, fault) in FAULTS {
            faults.push((fault, read.number(name, 0.0, 0.0..=1.0)?));
        }
        read.finish()?;
        let inner = CartPole::new(envs, seed);
        let spec = EnvSpec { id: ID.into(), ..inner.spec().clone() };
        Ok(Self { inner, spec, rng: Rng::new(seed, u64::MAX), faults })
    }
}

impl VectorEnv for Faulty {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.inner.envs()
    }

    #[allow(clippy::disallowed_methods, reason = "the delay is what is asked for")]
    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        let slow = |(fault, p): &(Fault, f64)| matches!(fault, Fault::SlowReset).then_some(*p);
        if self.faults.iter().find_map(slow).is_some_and(|p| self.rng.unit_f64() < p) {
            std::thread::sleep(SLOW_RESET);
        }
        self.inner.reset(out)
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        let rng = &mut self.rng;
        let of_steps = self.faults.iter().filter(|(fault, _)| !matches!(fault, Fault::SlowReset));
        let hit = of_steps.into_iter().find(|(_, p)| *p > 0.0 && rng.unit_f64() < *p);
        let StepOut { frames, rewards, flags, masks } = out;
        let Actions::Discrete(actions) = actions else { panic!("carts know choices only") };
        let fault = hit.map(|(fault, _)| *fault);
        let mut wrong = actions.to_vec();
        match fault {
            Some(Fault::Error) => {
                return Err(EnvError::failed(ID, "as asked for"));
            }
            Some(Fault::Panic) => panic!("as asked for"),
            Some(Fault::Abort) => std::process::abort(),
            Some(Fault::Spin) => loop {
                std::hint::spin_loop();
            },
            Some(Fault::BadAction) => wrong[0] = i32::MAX,
            _ => {}
        }
        let out = StepOut { frames: &mut *frames, rewards: &mut *rewards, flags, masks };
        self.inner.step(Actions::Discrete(&wrong), out)?;
        match fault {
            Some(Fault::NanReward) => rewards[0] = f32::NAN,
            Some(Fault::HugeReward) => rewards[0] = f32::MAX,
            Some(Fault::InfObservation) => {
                frames[..4].copy_from_slice(&f32::INFINITY.to_ne_bytes())
            }
            Some(Fault::Poison) => rewards[0] = POISON,
            _ => {}
        }
        Ok(())
    }
}

/// Called in the learner with each batch before it learns from it.
fn look_at(batch: &BlockRef<'_>) {
    let rewards: &[f32] = batch.field(Field::Reward);
    if rewards.contains(&POISON) {
        std::process::abort();
    }
}

fn main() -> ExitCode {
    let mut registry = Registry::builtin();
    registry.add(
        ID,
        "CartPole that fails, each option with a probability",
        |options, envs, seed| Ok(Box::new(Faulty::new(options, envs, seed)?)),
    );
    Program::new(registry).on_batch(look_at).run()
}
