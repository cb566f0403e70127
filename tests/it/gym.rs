//! Environments of Gymnasium: spaces, autoreset, and everything that can go wrong in another process.

mod broken;
mod failing;
mod learnt;
mod pooled;
mod spaces;

use std::path::{Path, PathBuf};
use std::process::Command;

use impala_rl::env::cartpole::CartPole;
use impala_rl::env::{Actions, EnvError, EnvOptions, ResetOut, StepOut, VectorEnv, flag};

use crate::program::supervisor;
use crate::python::python_with;

/// Where the environments of these tests are.
pub(crate) fn test_envs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// The Python with gymnasium, or nothing and a word.
pub(crate) fn gymnasium(test: &str) -> Option<PathBuf> {
    python_with(test, "gymnasium")
}

/// Options for environments of these tests.
pub(crate) fn options(python: &Path, pairs: &[&str]) -> EnvOptions {
    let mut options = EnvOptions::parse(pairs).expect("options");
    options.external.python = Some(python.to_owned());
    options.external.python_path = Some(test_envs());
    options
}

/// A supervisor with two actors for an environment of these tests, to be given its other flags.
pub(crate) fn supervised(python: &Path, run_dir: &Path, env: &str) -> Command {
    let mut command = supervisor();
    command.args(["--env", env, "--actors", "2", "--python"]).arg(python);
    command.arg("--python-path").arg(test_envs()).arg("--run-dir").arg(run_dir);
    command
}

pub(crate) fn make(
    id: &str,
    options: &EnvOptions,
    envs: usize,
) -> Result<Box<dyn VectorEnv>, EnvError> {
    impala_rl::gym::registry().make(id, options, envs, 7)
}

/// Arrays for one vector step.
pub(crate) struct Arrays {
    frames: Vec<u32>,
    frame_bytes: usize,
    pub(crate) rewards: Vec<f32>,
    pub(crate) flags: Vec<u8>,
    pub(crate) masks: Vec<u8>,
}

impl Arrays {
    pub(crate) fn of(env: &dyn VectorEnv) -> Self {
        let (spec, envs) = (env.spec(), env.envs());
        let frame_bytes = spec.observation.frame_bytes() * envs;
        Self {
            frames: vec![0; frame_bytes.div_ceil(4)],
            frame_bytes,
            rewards: vec![9.0; envs],
            flags: vec![99; envs],
            masks: vec![9; envs * spec.mask_bytes()],
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.frames)[..self.frame_bytes]
    }

    pub(crate) fn numbers(&self) -> &[f32] {
        bytemuck::cast_slice(self.bytes())
    }

    pub(crate) fn reset(&mut self, env: &mut dyn VectorEnv) -> Result<(), EnvError> {
        let frames = &mut bytemuck::cast_slice_mut(&mut self.frames)[..self.frame_bytes];
        env.reset(ResetOut { frames, masks: &mut self.masks })
    }

    pub(crate) fn step(
        &mut self,
        env: &mut dyn VectorEnv,
        actions: Actions<'_>,
    ) -> Result<(), EnvError> {
        let frames = &mut bytemuck::cast_slice_mut(&mut self.frames)[..self.frame_bytes];
        let (rewards, flags, masks) = (&mut self.rewards, &mut self.flags, &mut self.masks);
        env.step(actions, StepOut { frames, rewards, flags, masks })
    }

    pub(crate) fn finish(&mut self, env: &mut dyn VectorEnv) -> Result<(), EnvError> {
        let frames = &mut bytemuck::cast_slice_mut(&mut self.frames)[..self.frame_bytes];
        let (rewards, flags, masks) = (&mut self.rewards, &mut self.flags, &mut self.masks);
        env.finish_step(StepOut { frames, rewards, flags, masks })
    }
}

#[test]
fn cartpole_moves_as_the_built_in_one_does() {
    let Some(python) = gymnasium("gym cartpole") else {
        return;
    };
    for mode in ["vector_entry_point", "sync"] {
        let options = options(&python, &[&format!("vectorization_mode={mode}")]);
        let mut env = make("gym:CartPole-v1", &options, 3).expect("made");
        let mut seen = Arrays::of(env.as_ref());
        seen.reset(env.as_mut()).expect("reset");
        let mut ends = 0;
        let mut over = [false; 3];
        for step in 0..300_i32 {
            let states: Vec<[f64; 4]> = seen
                .numbers()
                .chunks_exact(4)
                .map(|row| [row[0], row[1], row[2], row[3]].map(f64::from))
                .collect();
            let actions = [step % 2, (step / 3) % 2, i32::from(states[2][2] > 0.0)];
            seen.step(env.as_mut(), Actions::Discrete(&actions)).expect("stepped");
            let mut carts = CartPole::from_states(&states, 1);
            let mut expected = Arrays::of(&carts);
            expected.step(&mut carts, Actions::Discrete(&actions)).expect("stepped");
            for (cart, over) in over.iter_mut().enumerate() {
                let row = &seen.numbers()[4 * cart..4 * cart + 4];
                if *over {
                    assert_eq!((seen.flags[cart], seen.rewards[cart]), (flag::FIRST, 0.0));
                    assert!(row.iter().all(|x| x.abs() <= 0.05), "{mode}: a start: {row:?}");
                } else {
                    let told = &expected.numbers()[4 * cart..4 * cart + 4];
                    let near = row.iter().zip(told).all(|(a, b)| (a - b).abs() < 1e-5);
                    assert!(near, "{mode}: {row:?} here, {told:?} built in");
                    assert_eq!(seen.flags[cart], expected.flags[cart], "{mode}: {row:?}");
                    assert_eq!(seen.rewards[cart], 1.0);
                }
                *over = seen.flags[cart] & flag::DONE != 0;
                ends += u32::from(*over);
            }
        }
        assert!(ends > 10, "{mode}: {ends} episodes");
    }
}

#[test]
fn episodes_end_with_their_last_observation_and_then_begin() {
    let Some(python) = gymnasium("gym autoreset") else {
        return;
    };
    for (cut, ending) in [("cut=False", flag::TERMINATED), ("cut=true", flag::TRUNCATED)] {
        let options = options(&python, &["length=3", cut]);
        let mut env = make("gym:impala_test_envs:Counting-v0", &options, 2).expect("made");
        let mut seen = Arrays::of(env.as_ref());
        seen.reset(env.as_mut()).expect("reset");
        let first = seen.numbers().to_vec();
        assert_eq!((first[0], first[1], first[4], first[5]), (0.0, 1.0, 0.0, 1.0));
        assert_ne!(first[2], first[6], "each environment has a seed of its own");
        let mut told = Vec::new();
        for _ in 0..8 {
            seen.step(env.as_mut(), Actions::Discrete(&[0, 1])).expect("stepped");
            let numbers = seen.numbers();
            told.push((numbers[0], numbers[1], seen.rewards[0], seen.flags[0]));
            assert_eq!(numbers[4..6], numbers[..2], "both alike");
        }
        let first = flag::FIRST;
        let expected = [
            (1.0, 1.0, 1.0, 0),
            (2.0, 1.0, 2.0, 0),
            (3.0, 1.0, 3.0, ending),
            (0.0, 2.0, 0.0, first),
            (1.0, 2.0, 1.0, 0),
            (2.0, 2.0, 2.0, 0),
            (3.0, 2.0, 3.0, ending),
            (0.0, 3.0, 0.0, first),
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn seeds_repeat_episodes_and_a_step_before_a_reset_is_one() {
    let Some(python) = gymnasium("gym seeds") else {
        return;
    };
    let options = options(&python, &[]);
    let id = "gym:impala_test_envs:Counting-v0";
    let firsts: Vec<Vec<f32>> = [false, true]
        .into_iter()
        .map(|by_step| {
            let mut env = make(id, &options, 2).expect("made");
            let mut seen = Arrays::of(env.as_ref());
            if by_step {
                seen.step(env.as_mut(), Actions::Discrete(&[1, 1])).expect("stepped");
                assert_eq!(
                    (&seen.flags[..], &seen.rewards[..]),
                    (&[flag::FIRST; 2][..], &[0.0; 2][..])
                );
            } else {
                seen.reset(env.as_mut()).expect("reset");
            }
            seen.numbers().to_vec()
        })
        .collect();
    assert_eq!(firsts[0], firsts[1]);
    let mut env = make(id, &options, 1).expect("made");
    let mut seen = Arrays::of(env.as_ref());
    let bad = seen.step(env.as_mut(), Actions::Discrete(&[2])).expect_err("there are two");
    assert!(matches!(bad, EnvError::BadAction { .. }), "{bad}");
}

/// The worker may still write then: nothing is told where to write until it has answered.
#[test]
fn a_step_that_goes_on_lets_nothing_but_its_end_or_a_reset_follow() {
    let Some(python) = gymnasium("gym steps that go on") else {
        return;
    };
    let id = "gym:impala_test_envs:Counting-v0";
    let mut env = make(id, &options(&python, &[]), 2).expect("made");
    let mut seen = Arrays::of(env.as_ref());
    seen.reset(env.as_mut()).expect("reset");
    let actions = Actions::Discrete(&[1, 1]);
    assert!(env.start_step(actions).expect("started"), "a worker can");
    let refused = seen.step(env.as_mut(), actions).expect_err("one goes on");
    assert!(refused.to_string().contains("a step goes on"), "{refused}");
    assert!(env.start_step(actions).is_err(), "one goes on");
    seen.finish(env.as_mut()).expect("finished");
    assert!(seen.finish(env.as_mut()).is_err(), "none goes on");
    seen.step(env.as_mut(), actions).expect("stepped");
    assert!(env.start_step(actions).expect("started"));
    seen.reset(env.as_mut()).expect("a reset forgets it");
    seen.step(env.as_mut(), actions).expect("stepped");
}
