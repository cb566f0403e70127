//! `Synthetic-v0`, an environment for measurements: frames of any size, and steps of any cost in CPU time.

use std::hint::black_box;
use std::time::Instant;

use super::{
    ActionSpec, Actions, Dtype, EnvError, EnvOptions, EnvSpec, ObservationSpec, OptionReader,
    ResetOut, StepOut, VectorEnv, flag,
};
use crate::rng::Rng;

/// The name it is registered under.
pub const ID: &str = "Synthetic-v0";

pub(super) const DESCRIPTION: &str = "load for measurements; options shape=84x84, dtype=u8|f32, \
     stack=4, step-cost-us=0, reset-cost-us=0, uneven=0, actions=6, episode-length=1000";

/// Largest frame, in elements.
const MAX_FRAME_LEN: usize = 1 << 28;

/// E environments that mean nothing. Every step writes every byte of every frame once, in a pattern
/// that follows from seed, environment and step, and computes for `step-cost-us` microseconds of CPU
/// time for each environment, and for `reset-cost-us` in a reset. With `uneven` above 0 that part of each cost is drawn anew
/// each time, from an exponential distribution of the same mean. Reward is 1 if the action is the number of the step within the episode,
/// modulo the number of actions, else 0. An episode terminates after `episode-length` steps.
#[derive(Debug)]
pub struct Synthetic {
    spec: EnvSpec,
    episode_steps: u32,
    step_rounds: u64,
    reset_rounds: u64,
    /// Part of the costs that is drawn.
    uneven: f64,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    /// First word of the next frame's pattern.
    pattern: u64,
    /// Draws costs.
    rng: Rng,
    /// Steps of this episode; `None` when it is over, or none has begun.
    steps: Option<u32>,
}

impl Synthetic {
    /// `envs` environments, set by `options`: `shape` (`84x84`), `dtype` (`u8` or `f32`), `stack`,
    /// `step-cost-us`, `reset-cost-us`, `uneven` (0 to 1), `actions`, `episode-length`. A cost above 0 is calibrated here, for about 1 ms.
    ///
    /// # Errors
    /// [`EnvError::BadOption`].
    pub fn new(options: &EnvOptions, envs: usize, seed: u64) -> Result<Self, EnvError> {
        let mut read = options.read(ID);
        let shape = shape(&mut read)?;
        let dtypes = [("u8", Dtype::U8), ("f32", Dtype::F32)];
        let mut observation =
            ObservationSpec::new(read.choice("dtype", Dtype::U8, &dtypes)?, &shape);
        observation.frame_stack = read.number("stack", 4, 1..=16)?;
        let step_cost_us: f64 = read.number("step-cost-us", 0.0, 0.0..=1e6)?;
        let reset_cost_us: f64 = read.number("reset-cost-us", 0.0, 0.0..=1e8)?;
        let uneven = read.number("uneven", 0.0, 0.0..=1.0)?;
        let n = read.number("actions", 6, 1..=65_536)?;
        let episode_steps = read.number("episode-length", 1_000, 1..=u32::MAX)?;
        read.finish()?;
        let members = (0_u64..).take(envs).map(|stream| {
            let mut rng = Rng::new(seed, stream);
            Member { pattern: rng.next_u64(), rng, steps: None }
        });
        let costs_us = [step_cost_us, reset_cost_us];
        let costly = costs_us.iter().any(|&cost_us| cost_us > 0.0);
        let ns_per_round = if costly { calibrate_ns_per_round() } else { 1.0 };
        let [step_rounds, reset_rounds] = costs_us.map(|cost_us| rounds(cost_us, ns_per_round));
        Ok(Self {
            spec: EnvSpec::new(ID, observation, ActionSpec::Discrete { n }),
            episode_steps,
            step_rounds,
            reset_rounds,
            uneven,
            members: members.collect(),
        })
    }
}

/// What the registry calls.
pub(super) fn make(
    options: &EnvOptions,
    envs: usize,
    seed: u64,
) -> Result<Box<dyn VectorEnv>, EnvError> {
    Ok(Box::new(Synthetic::new(options, envs, seed)?))
}

fn shape(read: &mut OptionReader<'_>) -> Result<Vec<usize>, EnvError> {
    let text = read.text("shape").unwrap_or("84x84");
    let sizes: Option<Vec<usize>> =
        text.split('x').map(|size| size.parse().ok().filter(|&size| size > 0)).collect();
    let fits = |sizes: &Vec<usize>| {
        let len = sizes.iter().try_fold(1_usize, |len, &size| len.checked_mul(size));
        len.is_some_and(|len| len <= MAX_FRAME_LEN)
    };
    sizes.filter(fits).ok_or_else(|| {
        let problem = format!("write it as 84x84 or 3x64x64, at most {MAX_FRAME_LEN} elements");
        read.bad("shape", problem)
    })
}

impl VectorEnv for Synthetic {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.members.len()
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        let frames = out.frames;
        let frame_bytes = self.spec.observation.frame_bytes();
        assert_eq!(frames.len(), self.members.len() * frame_bytes, "E frames");
        for (member, frame) in self.members.iter_mut().zip(frames.chunks_exact_mut(frame_bytes)) {
            work(member.cost(self.reset_rounds, self.uneven));
            member.steps = Some(0);
            member.write(self.spec.observation.dtype, frame);
        }
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        let envs = self.members.len();
        let frame_bytes = self.spec.observation.frame_bytes();
        assert_eq!(out.frames.len(), envs * frame_bytes, "E frames");
        assert_eq!(out.rewards.len(), envs, "one reward for each environment");
        assert_eq!(out.flags.len(), envs, "one flag for each environment");
        self.spec.check_actions(actions, envs)?;
        let Actions::Discrete(actions) = actions else { unreachable!("checked above") };
        let count = self.spec.action.outputs();
        for ((((member, frame), &action), reward), flags) in self
            .members
            .iter_mut()
            .zip(out.frames.chunks_exact_mut(frame_bytes))
            .zip(actions)
            .zip(out.rewards)
            .zip(out.flags)
        {
            let is_reset = member.steps.is_none();
            let rounds = if is_reset { self.reset_rounds } else { self.step_rounds };
            work(member.cost(rounds, self.uneven));
            (member.steps, *reward, *flags) = match member.steps {
                None => (Some(0), 0.0, flag::FIRST),
                Some(steps) => {
                    let wanted = usize::try_from(steps).ok().map(|steps| steps % count);
                    let hit = wanted == usize::try_from(action).ok();
                    let over = steps + 1 >= self.episode_steps;
                    (
                        if over { None } else { Some(steps + 1) },
                        if hit { 1.0 } else { 0.0 },
                        if over { flag::TERMINATED } else { 0 },
                    )
                }
            };
            member.write(self.spec.observation.dtype, frame);
        }
        Ok(())
    }
}

impl Member {
    /// Rounds of work, of which the part `uneven` is drawn from an exponential distribution.
    #[expect(clippy::cast_sign_loss, reason = "all of it is positive")]
    fn cost(&mut self, rounds: u64, uneven: f64) -> u64 {
        if uneven == 0.0 || rounds == 0 {
            return rounds;
        }
        let drawn = -(1.0 - self.rng.unit_f64()).ln();
        (rounds as f64 * (1.0 - uneven + uneven * drawn)) as u64
    }

    /// Writes the next frame.
    fn write(&mut self, dtype: Dtype, frame: &mut [u8]) {
        // Weyl sequences: as cheap as a fill with one value, yet no two words or frames are alike.
        self.pattern = self.pattern.wrapping_add(0xD1B5_4A32_D192_ED03);
        match dtype {
            Dtype::U8 => fill_u8(self.pattern, frame),
            Dtype::F32 => fill_f32(self.pattern, bytemuck::cast_slice_mut(frame)),
        }
    }
}

fn fill_u8(pattern: u64, frame: &mut [u8]) {
    let mut word = pattern;
    let mut words = frame.chunks_exact_mut(8);
    for bytes in &mut words {
        bytes.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    }
    let rest = words.into_remainder();
    rest.copy_from_slice(&word.to_le_bytes()[..rest.len()]);
}

/// Values within 0 and 1, like bytes divided by 255.
fn fill_f32(pattern: u64, frame: &mut [f32]) {
    let mut word = (pattern >> 32) as u32;
    for value in frame {
        *value = (word >> 8) as f32 * (1.0 / 16_777_216.0);
        word = word.wrapping_add(0x9E37_79B9);
    }
}

/// Rounds of [`work`] that take `cost_us`.
#[expect(clippy::cast_sign_loss, reason = "both are positive")]
fn rounds(cost_us: f64, ns_per_round: f64) -> u64 {
    (cost_us * 1e3 / ns_per_round).round() as u64
}

/// Computes. A fixed amount of it, and not until some time has passed: of two environments that share
/// a core, each must then wait for the other, as real ones do.
fn work(rounds: u64) {
    let mut x = black_box(1_u64);
    for _ in 0..rounds {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
}

/// Nanoseconds of one round of [`work`]: the best of some tries by `CLOCK_MONOTONIC`, since
/// interruptions only make a try longer.
fn calibrate_ns_per_round() -> f64 {
    const ROUNDS: u32 = 20_000;
    let best = (0..24)
        .map(|_| {
            let start = Instant::now();
            work(u64::from(ROUNDS));
            start.elapsed()
        })
        .min();
    let best_ns = best.map_or(0.0, |time| time.as_secs_f64() * 1e9);
    best_ns.max(1.0) / f64::from(ROUNDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synthetic(arguments: &[&str], envs: usize) -> Result<Synthetic, EnvError> {
        Synthetic::new(&EnvOptions::parse(arguments)?, envs, 7)
    }

    /// One step of all with `action`: frames, rewards, flags.
    fn step(env: &mut Synthetic, action: i32) -> (Vec<u8>, Vec<f32>, Vec<u8>) {
        let envs = env.envs();
        let words = envs * env.spec().observation.frame_bytes() / 4;
        let mut frames = vec![0_u32; words];
        let (mut rewards, mut flags) = (vec![9.0; envs], vec![9; envs]);
        let out = StepOut {
            frames: bytemuck::cast_slice_mut(&mut frames),
            rewards: &mut rewards,
            flags: &mut flags,
            masks: &mut [],
        };
        env.step(Actions::Discrete(&vec![action; envs]), out).expect("valid actions");
        (bytemuck::cast_slice(&frames).to_vec(), rewards, flags)
    }

    #[test]
    fn options_make_the_spec() {
        let default = synthetic(&[], 1).expect("defaults").spec;
        assert_eq!(default.observation.shape, [84, 84]);
        assert_eq!(default.observation.dtype, Dtype::U8);
        assert_eq!(default.observation.frame_stack, 4);
        assert_eq!(default.action.outputs(), 6);
        let options = ["shape=3x5x7", "dtype=f32", "stack=1", "actions=18"];
        let spec = synthetic(&options, 1).expect("valid").spec;
        assert_eq!(spec.observation.shape, [3, 5, 7]);
        assert_eq!(spec.observation.frame_bytes(), 420);
        assert_eq!(spec.observation.frame_stack, 1);
        assert_eq!(spec.action.outputs(), 18);
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for wrong in [
            "shape=84",
            "shape=0x84",
            "shape=84x",
            "shape=x",
            "shape=4294967296x4294967296x2",
            "dtype=f64",
            "stack=0",
            "step-cost-us=-1",
            "step-cost-us=NaN",
            "reset-cost-us=-1",
            "uneven=1.5",
            "actions=0",
            "episode-length=0",
            "lenght=5",
        ] {
            let result = synthetic(&[wrong], 1);
            match wrong {
                "shape=84" => assert_eq!(result.expect("flat").spec.observation.shape, [84]),
                _ => assert!(matches!(result, Err(EnvError::BadOption { .. })), "{wrong}"),
            }
        }
    }

    #[test]
    fn episodes_have_their_length_and_pay_for_the_number_of_the_step() {
        let options = ["shape=4", "actions=3", "episode-length=4"];
        let mut env = synthetic(&options, 2).expect("valid");
        env.reset(ResetOut { frames: &mut [0; 8], masks: &mut [] }).expect("resets");
        for _ in 0..2 {
            let steps: Vec<_> = (0..5).map(|_| step(&mut env, 0)).collect();
            let rewards: Vec<_> = steps.iter().map(|(_, rewards, _)| rewards[1]).collect();
            let flags: Vec<_> = steps.iter().map(|(_, _, flags)| flags[1]).collect();
            assert_eq!(rewards, [1.0, 0.0, 0.0, 1.0, 0.0]);
            assert_eq!(flags, [0, 0, 0, flag::TERMINATED, flag::FIRST]);
        }
    }

    #[test]
    fn no_two_frames_are_alike() {
        for dtype in ["dtype=u8", "dtype=f32"] {
            let mut env = synthetic(&["shape=12", dtype], 2).expect("valid");
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..100 {
                let (frames, ..) = step(&mut env, 0);
                for frame in frames.chunks_exact(env.spec.observation.frame_bytes()) {
                    assert!(seen.insert(frame.to_vec()), "twice: {frame:?}");
                }
                if dtype == "dtype=f32" {
                    let mut values =
                        frames.chunks_exact(4).map(bytemuck::pod_read_unaligned::<f32>);
                    assert!(values.all(|x| (0.0..1.0).contains(&x)));
                }
            }
        }
    }

    #[test]
    fn a_step_computes_as_long_as_it_should_cost() {
        assert_eq!(rounds(10.0, 2.0), 5_000);
        assert_eq!(rounds(0.5, 2.0), 250);
        let cheap = synthetic(&["shape=4"], 1).expect("valid");
        assert_eq!((cheap.step_rounds, cheap.reset_rounds), (0, 0));
        let costly = synthetic(&["shape=4", "step-cost-us=1000"], 1).expect("valid");
        assert!(costly.step_rounds > 0 && costly.reset_rounds == 0);
        let costly = synthetic(&["shape=4", "reset-cost-us=1000"], 1).expect("valid");
        assert!(costly.reset_rounds > 0 && costly.step_rounds == 0);
    }

    #[test]
    fn uneven_costs_have_the_same_mean() {
        let mut env = synthetic(&["shape=4", "uneven=0.5"], 1).expect("valid");
        let member = &mut env.members[0];
        assert_eq!(member.cost(1000, 0.0), 1000);
        let costs: Vec<u64> = (0..20_000).map(|_| member.cost(1000, 0.5)).collect();
        let mean = costs.iter().sum::<u64>() as f64 / costs.len() as f64;
        assert!((mean - 1000.0).abs() < 20.0, "{mean}");
        assert!(costs.iter().all(|&cost| cost >= 500), "half of it is even");
        assert!(costs.iter().any(|&cost| cost > 2500), "and half is not");
    }
}
