//! Tests that every registered environment must pass.

use super::{
    ActionSpec, Actions, Dtype, EnvError, EnvOptions, Registry, ResetOut, StepOut, VectorEnv, flag,
};
use crate::rng::Rng;

/// Long enough that episodes of all built-in environments end.
const STEPS: usize = 1_100;

/// What the environments wrote in one step, or in a reset.
#[derive(Debug, PartialEq)]
struct Seen {
    frames: Vec<u8>,
    rewards: Vec<f32>,
    flags: Vec<u8>,
}

/// E environments, and memory for what they write.
struct Stage {
    env: Box<dyn VectorEnv>,
    /// Words, so that the frames are aligned as in a ring.
    frames: Vec<u32>,
    frame_bytes: usize,
}

impl Stage {
    fn new(id: &str, envs: usize, seed: u64) -> Self {
        let env = Registry::builtin().make(id, &EnvOptions::new(), envs, seed);
        let env = env.expect("built in");
        let frame_bytes = env.spec().observation.frame_bytes();
        Self { frames: vec![0; (envs * frame_bytes).div_ceil(4)], frame_bytes, env }
    }

    /// Memory for E frames, filled with `poison`.
    fn poisoned(&mut self, poison: u8) -> usize {
        self.frames.fill(u32::from_ne_bytes([poison; 4]));
        self.env.envs() * self.frame_bytes
    }

    fn reset(&mut self, poison: u8) -> Vec<u8> {
        let len = self.poisoned(poison);
        let frames = &mut bytemuck::cast_slice_mut(&mut self.frames)[..len];
        self.env.reset(ResetOut { frames: &mut *frames, masks: &mut [] }).expect("resets");
        frames.to_vec()
    }

    fn step(&mut self, actions: &Chosen, poison: u8) -> Result<Seen, EnvError> {
        let len = self.poisoned(poison);
        let envs = self.env.envs();
        let frames = &mut bytemuck::cast_slice_mut(&mut self.frames)[..len];
        let mut rewards = vec![f32::from(poison); envs];
        let mut flags = vec![poison; envs];
        let out = StepOut {
            frames: &mut *frames,
            rewards: &mut rewards,
            flags: &mut flags,
            masks: &mut [],
        };
        self.env.step(actions.first(envs * self.env.spec().action.words()), out)?;
        Ok(Seen { frames: frames.to_vec(), rewards, flags })
    }

    /// Something for each environment, within its ranges.
    fn actions(&self, rng: &mut Rng) -> Chosen {
        let rows = 0..self.env.envs();
        let choice = |rng: &mut Rng, n| i32::try_from(rng.below(n)).expect("few actions");
        match &self.env.spec().action {
            ActionSpec::Discrete { n } => Chosen::Choices(rows.map(|_| choice(rng, *n)).collect()),
            ActionSpec::MultiDiscrete { sizes } => {
                Chosen::Choices(rows.flat_map(|_| sizes).map(|&size| choice(rng, size)).collect())
            }
            ActionSpec::Continuous { low, high } => Chosen::Numbers(
                rows.flat_map(|_| low.iter().zip(high))
                    .map(|(low, high)| low + (high - low) * rng.unit_f32())
                    .collect(),
            ),
            ActionSpec::Hybrid { .. } => panic!("say here what is within the ranges of both"),
        }
    }
}

/// Actions of one vector step.
enum Chosen {
    Choices(Vec<i32>),
    Numbers(Vec<f32>),
}

impl Chosen {
    /// As many words.
    fn first(&self, words: usize) -> Actions<'_> {
        match self {
            Self::Choices(choices) => Actions::Discrete(&choices[..words]),
            Self::Numbers(numbers) => Actions::Continuous(&numbers[..words]),
        }
    }
}

fn ids() -> Vec<String> {
    let ids: Vec<_> = Registry::builtin().ids().map(|(id, _)| id.to_owned()).collect();
    assert!(ids.len() >= 5, "{ids:?}");
    ids
}

#[test]
fn specs_say_what_is_made() {
    for id in ids() {
        let spec = Registry::builtin().spec(&id, &EnvOptions::new());
        let spec = spec.expect("built in");
        assert_eq!(spec.id, id);
        assert_eq!(spec.problem(), None);
        for envs in [1, 3, 8, 17] {
            let stage = Stage::new(&id, envs, 1);
            assert_eq!((stage.env.envs(), stage.env.spec()), (envs, &spec));
        }
    }
}

#[test]
fn every_byte_is_written_and_follows_from_the_seed() {
    for id in ids() {
        let (mut clean, mut dirty) = (Stage::new(&id, 3, 5), Stage::new(&id, 3, 5));
        let mut other = Stage::new(&id, 3, 6);
        assert_eq!(clean.reset(0x00), dirty.reset(0xA5), "{id}");
        other.reset(0);
        let (mut rng, mut differs) = (Rng::new(9, 0), false);
        for step in 0..STEPS {
            let actions = clean.actions(&mut rng);
            // Memory that was not written would show as a difference.
            let seen = clean.step(&actions, 0x00).expect("valid actions");
            assert!(seen == dirty.step(&actions, 0xA5).expect("valid"), "{id} step {step}");
            differs |= seen != other.step(&actions, 0x00).expect("valid");
        }
        assert!(differs, "{id} does not heed its seed");
    }
}

#[test]
fn rewards_flags_and_floats_are_valid() {
    for id in ids() {
        let mut stage = Stage::new(&id, 3, 5);
        let floats = stage.env.spec().observation.dtype == Dtype::F32;
        stage.reset(0);
        let (mut rng, mut ended) = (Rng::new(9, 0), [0, 0]);
        let mut before = vec![0; 3];
        for _ in 0..STEPS {
            let actions = stage.actions(&mut rng);
            let seen = stage.step(&actions, 0xFF).expect("valid actions");
            for (env, &flags) in seen.flags.iter().enumerate() {
                let valid = [0, flag::TERMINATED, flag::TRUNCATED, flag::FIRST];
                assert!(valid.contains(&flags), "{id}: flags {flags:#b}");
                let first = flags == flag::FIRST;
                assert_eq!(first, before[env] & flag::DONE != 0, "{id}: FIRST follows an end");
                let reward = seen.rewards[env];
                assert!(reward.is_finite() && !(first && reward != 0.0), "{id}: {reward}");
                ended[0] += usize::from(flags & flag::DONE != 0);
                ended[1] += usize::from(first);
            }
            before = seen.flags;
            if floats {
                let words = seen.frames.chunks_exact(4);
                let values: Vec<f32> = words.map(bytemuck::pod_read_unaligned).collect();
                assert!(values.iter().all(|x| x.is_finite()), "{id}: {values:?}");
            }
        }
        assert!(ended.iter().all(|&count| count >= 3), "{id}: {ended:?} ends and resets");
    }
}

#[test]
fn environments_do_not_disturb_each_other() {
    for id in ids() {
        let (mut one, mut many) = (Stage::new(&id, 1, 5), Stage::new(&id, 9, 5));
        let bytes = one.frame_bytes;
        let (first, all) = (one.reset(0), many.reset(0));
        assert_eq!(first, all[..bytes], "{id}");
        let (mut rng, mut differs) = (Rng::new(9, 0), false);
        for step in 0..STEPS {
            let actions = many.actions(&mut rng);
            let first = one.step(&actions, 0).expect("valid actions");
            let all = many.step(&actions, 0).expect("valid actions");
            assert!(first.frames == all.frames[..bytes], "{id} step {step}");
            assert_eq!(
                (first.rewards[0], first.flags[0]),
                (all.rewards[0], all.flags[0]),
                "{id} step {step}"
            );
            differs |= first.frames != all.frames[8 * bytes..];
        }
        assert!(differs, "{id}: environments play the same game");
    }
}

#[test]
fn actions_out_of_range_are_refused() {
    for id in ids() {
        let mut stage = Stage::new(&id, 2, 5);
        stage.reset(0);
        match stage.env.spec().action.clone() {
            ActionSpec::Discrete { n } => {
                let n = i32::try_from(n).expect("few actions");
                for action in 0..n {
                    let both = Chosen::Choices(vec![action, n - 1 - action]);
                    stage.step(&both, 0).expect("valid actions");
                }
                for wrong in [n, -1, i32::MIN] {
                    let error = stage.step(&Chosen::Choices(vec![0, wrong]), 0);
                    let error = error.expect_err("no such action");
                    let named = matches!(
                        error,
                        EnvError::BadAction { env: 1, action, .. } if action == wrong
                    );
                    assert!(named, "{id}: {error}");
                }
            }
            ActionSpec::Continuous { low, high } => {
                for bound in [&low, &high] {
                    stage.step(&Chosen::Numbers(bound.repeat(2)), 0).expect("bounds are allowed");
                }
                for wrong in [high[0] + 0.1, low[0] - 0.1, f32::NAN] {
                    let mut numbers = low.repeat(2);
                    numbers[low.len()] = wrong;
                    let error =
                        stage.step(&Chosen::Numbers(numbers), 0).expect_err("out of bounds");
                    let named =
                        matches!(error, EnvError::ActionOutOfBounds { env: 1, word: 0, .. });
                    assert!(named, "{id}: {error}");
                }
            }
            ActionSpec::MultiDiscrete { .. } | ActionSpec::Hybrid { .. } => {
                panic!("{id}: say here what is out of range")
            }
        }
    }
}
