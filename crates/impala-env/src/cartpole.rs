//! `CartPole-v1`, as in Gymnasium 1.x: balance a pole on a cart that is pushed left or right.
//!
//! A [`VectorEnv`] of its own: the state lies in groups of 8, each variable an array, so that the
//! compiler steps several carts with one instruction. There is one code for the dynamics, whatever the
//! number of environments; the last group is filled up with carts that nobody sees.

use std::f64::consts::PI;

use super::{
    ActionSpec, Actions, Element as _, EnvError, EnvSpec, ObservationSpec, ResetOut, StepOut,
    VectorEnv, flag,
};
use crate::rng::Rng;

/// The name it is registered under.
pub const ID: &str = "CartPole-v1";

/// Steps after which an episode is cut off.
pub const LIMIT_STEPS: u32 = 500;

const GRAVITY: f64 = 9.8;
const MASS_POLE: f64 = 0.1;
const MASS_TOTAL: f64 = 0.1 + 1.0;
const HALF_POLE_LENGTH: f64 = 0.5;
const POLE_MASS_LENGTH: f64 = MASS_POLE * HALF_POLE_LENGTH;
const FORCE: f64 = 10.0;
/// Seconds between two states, one step of Euler's method.
const TAU_S: f64 = 0.02;
const MAX_X: f64 = 2.4;
const MAX_THETA: f64 = 12.0 * 2.0 * PI / 360.0;
/// Each variable begins within plus and minus this.
const START: f64 = 0.05;

/// Carts of a group.
const LANES: usize = 8;

/// One variable of all carts of a group.
type Lanes = [f64; LANES];

/// E carts. Action 0 pushes to the left, 1 to the right; every step gives reward 1, also the one in
/// which the pole falls or the cart leaves.
///
/// The observation is position, velocity, angle (radians) and angular velocity, `[4]` f32; the state is
/// kept in f64.
#[derive(Debug)]
pub struct CartPole {
    spec: EnvSpec,
    envs: usize,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    motion: Motion,
    steps: [u32; LANES],
    /// The episode has ended, or none has begun: the next step resets.
    over: [bool; LANES],
    rngs: [Rng; LANES],
}

#[derive(Debug, Clone, Default)]
struct Motion {
    x: Lanes,
    x_dot: Lanes,
    theta: Lanes,
    theta_dot: Lanes,
}

impl CartPole {
    /// `envs` carts; cart `i` draws from stream `i` of `seed`, whatever the number of the others.
    ///
    /// # Panics
    /// If `envs` is 0.
    #[must_use]
    pub fn new(envs: usize, seed: u64) -> Self {
        assert!(envs > 0, "at least one environment");
        let mut streams = (0_u64..).map(|stream| Rng::new(seed, stream));
        let groups = (0..envs.div_ceil(LANES)).map(|_| Group {
            motion: Motion::default(),
            steps: [0; LANES],
            over: [true; LANES],
            rngs: std::array::from_fn(|_| streams.next().expect("endless")),
        });
        Self {
            groups: groups.collect(),
            spec: EnvSpec::new(
                ID,
                ObservationSpec::new(f32::DTYPE, &[4]),
                ActionSpec::Discrete { n: 2 },
            ),
            envs,
        }
    }

    /// Carts at the start of an episode, each with `[x, x', theta, theta']`.
    ///
    /// # Panics
    /// If there is no state.
    #[must_use]
    pub fn from_states(states: &[[f64; 4]], seed: u64) -> Self {
        let mut carts = Self::new(states.len(), seed);
        for (env, &state) in states.iter().enumerate() {
            carts.groups[env / LANES].begin(env % LANES, state);
        }
        carts
    }

    /// `[x, x', theta, theta']` of cart `env`.
    ///
    /// # Panics
    /// If there is no such cart.
    #[must_use]
    pub fn state(&self, env: usize) -> [f64; 4] {
        assert!(env < self.envs, "cart {env} of {}", self.envs);
        self.groups[env / LANES].motion.state(env % LANES)
    }
}

impl VectorEnv for CartPole {
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn envs(&self) -> usize {
        self.envs
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        let frames: &mut [[f32; 4]] = bytemuck::cast_slice_mut(out.frames);
        assert_eq!(frames.len(), self.envs, "one frame for each environment");
        for (group, frames) in self.groups.iter_mut().zip(frames.chunks_mut(LANES)) {
            for (lane, frame) in frames.iter_mut().enumerate() {
                group.reset(lane);
                *frame = group.motion.observation(lane);
            }
        }
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError> {
        let frames: &mut [[f32; 4]] = bytemuck::cast_slice_mut(out.frames);
        assert_eq!(frames.len(), self.envs, "one frame for each environment");
        assert_eq!(out.rewards.len(), self.envs, "one reward for each environment");
        assert_eq!(out.flags.len(), self.envs, "one flag for each environment");
        self.spec.check_actions(actions, self.envs)?;
        let Actions::Discrete(actions) = actions else { unreachable!("checked above") };
        let rows = actions
            .chunks(LANES)
            .zip(frames.chunks_mut(LANES))
            .zip(out.rewards.chunks_mut(LANES))
            .zip(out.flags.chunks_mut(LANES));
        for (group, (((actions, frames), rewards), flags)) in self.groups.iter_mut().zip(rows) {
            group.step(actions, frames, rewards, flags);
        }
        Ok(())
    }
}

impl Group {
    /// Steps as many carts as there are actions.
    fn step(
        &mut self,
        actions: &[i32],
        frames: &mut [[f32; 4]],
        rewards: &mut [f32],
        flags: &mut [u8],
    ) {
        let mut force = [0.0; LANES];
        for (force, &action) in force.iter_mut().zip(actions) {
            *force = f64::from(action) * (2.0 * FORCE) - FORCE;
        }
        // Carts whose episode is over move as well: cheaper than to leave them out, and `reset` puts
        // them elsewhere before anyone looks.
        self.motion.advance(&force, actions.len());
        let failed = self.motion.failed();
        let lanes = frames.iter_mut().zip(rewards).zip(flags).enumerate();
        for (lane, ((frame, reward), flags)) in lanes {
            if self.over[lane] {
                self.reset(lane);
                *reward = 0.0;
                *flags = flag::FIRST;
            } else {
                self.steps[lane] += 1;
                let cut = self.steps[lane] >= LIMIT_STEPS;
                self.over[lane] = failed[lane] | cut;
                *reward = 1.0;
                *flags = if failed[lane] {
                    flag::TERMINATED
                } else if cut {
                    flag::TRUNCATED
                } else {
                    0
                };
            }
            *frame = self.motion.observation(lane);
        }
    }

    #[cold]
    fn reset(&mut self, lane: usize) {
        let rng = &mut self.rngs[lane];
        let state = std::array::from_fn(|_| rng.uniform_f64(-START, START));
        self.begin(lane, state);
    }

    fn begin(&mut self, lane: usize, [x, x_dot, theta, theta_dot]: [f64; 4]) {
        self.motion.x[lane] = x;
        self.motion.x_dot[lane] = x_dot;
        self.motion.theta[lane] = theta;
        self.motion.theta_dot[lane] = theta_dot;
        self.steps[lane] = 0;
        self.over[lane] = false;
    }
}

impl Motion {
    fn state(&self, lane: usize) -> [f64; 4] {
        [self.x[lane], self.x_dot[lane], self.theta[lane], self.theta_dot[lane]]
    }

    fn observation(&self, lane: usize) -> [f32; 4] {
        self.state(lane).map(|value| value as f32)
    }

    /// Which carts have left, or let the pole fall.
    fn failed(&self) -> [bool; LANES] {
        std::array::from_fn(|i| (self.x[i].abs() > MAX_X) | (self.theta[i].abs() > MAX_THETA))
    }

    /// One step of Euler's method, in the order of Gymnasium's operations. The first `used` carts are
    /// seen by someone; the others stand upright, and are pushed as well.
    fn advance(&mut self, force: &Lanes, used: usize) {
        // The C library's, as in Gymnasium: every trace is then the same to the last digit. Polynomials
        // would be vectorised and save 9 ns of 20, but are 1e-9 off at the end of some long episodes.
        let (mut sin, mut cos) = ([0.0; LANES], [1.0; LANES]);
        for (i, theta) in self.theta[..used].iter().enumerate() {
            (sin[i], cos[i]) = theta.sin_cos();
        }
        for i in 0..LANES {
            let (x_dot, theta_dot) = (self.x_dot[i], self.theta_dot[i]);
            let temp =
                (force[i] + POLE_MASS_LENGTH * (theta_dot * theta_dot) * sin[i]) / MASS_TOTAL;
            let theta_acc = (GRAVITY * sin[i] - cos[i] * temp)
                / (HALF_POLE_LENGTH * (4.0 / 3.0 - MASS_POLE * (cos[i] * cos[i]) / MASS_TOTAL));
            let x_acc = temp - POLE_MASS_LENGTH * theta_acc * cos[i] / MASS_TOTAL;
            self.x[i] += TAU_S * x_dot;
            self.x_dot[i] = x_dot + TAU_S * x_acc;
            self.theta[i] += TAU_S * theta_dot;
            self.theta_dot[i] = theta_dot + TAU_S * theta_acc;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps all carts with one action; gives rewards and flags.
    fn step(carts: &mut CartPole, action: i32) -> (Vec<f32>, Vec<u8>) {
        let envs = carts.envs();
        let (mut frames, mut rewards, mut flags) =
            (vec![0.0_f32; 4 * envs], vec![9.0; envs], vec![9; envs]);
        let out = StepOut {
            frames: bytemuck::cast_slice_mut(&mut frames),
            rewards: &mut rewards,
            flags: &mut flags,
            masks: &mut [],
        };
        carts.step(Actions::Discrete(&vec![action; envs]), out).expect("valid actions");
        for env in 0..envs {
            let seen = carts.state(env).map(|value| value as f32);
            assert_eq!(seen, frames[4 * env..][..4], "the frame shows the state");
        }
        (rewards, flags)
    }

    #[test]
    fn carts_do_the_same_whatever_their_number() {
        let start = [0.01, -0.02, 0.03, 0.04];
        let mut one = CartPole::from_states(&[start], 1);
        let mut many = CartPole::from_states(&[start; LANES + 3], 2);
        for action in [0, 1, 1, 0, 1, 0, 0, 0, 1] {
            step(&mut one, action);
            step(&mut many, action);
            for env in 0..many.envs() {
                assert_eq!(one.state(0), many.state(env));
            }
        }
    }

    #[test]
    fn episodes_begin_near_rest() {
        let mut carts = CartPole::new(LANES + 1, 3);
        let mut frames = vec![0.0_f32; 4 * carts.envs()];
        let (mut low, mut high) = ([f32::MAX; 4], [f32::MIN; 4]);
        for _ in 0..200 {
            let bytes = bytemuck::cast_slice_mut(&mut frames);
            carts.reset(ResetOut { frames: bytes, masks: &mut [] }).expect("resets");
            for (i, &x) in frames.iter().enumerate() {
                (low[i % 4], high[i % 4]) = (low[i % 4].min(x), high[i % 4].max(x));
            }
        }
        assert!(low.iter().all(|x| (-0.05..-0.049).contains(x)), "{low:?}");
        assert!(high.iter().all(|x| (0.049..=0.05).contains(x)), "{high:?}");
    }

    #[test]
    fn a_fall_or_a_way_out_terminates_and_the_next_step_resets() {
        let falling = [0.0, 0.0, 0.2, 1.0];
        let leaving = [-2.39, -1.0, 0.0, 0.0];
        let mut carts = CartPole::from_states(&[falling, [0.0; 4], leaving], 1);
        let (rewards, flags) = step(&mut carts, 1);
        assert_eq!(rewards, [1.0; 3]);
        assert_eq!(flags, [flag::TERMINATED, 0, flag::TERMINATED]);
        let (rewards, flags) = step(&mut carts, 1);
        assert_eq!(rewards, [0.0, 1.0, 0.0]);
        assert_eq!(flags, [flag::FIRST, 0, flag::FIRST]);
        for env in [0, 2] {
            assert!(carts.state(env).iter().all(|x| x.abs() <= START), "a new episode");
        }
        let (rewards, flags) = step(&mut carts, 1);
        assert_eq!((rewards, flags), (vec![1.0; 3], vec![0; 3]));
    }

    /// Steps one cart with the action that keeps the pole up, until the episode ends.
    fn balance(carts: &mut CartPole) -> (u32, u8) {
        for steps in 1.. {
            let [x, x_dot, theta, theta_dot] = carts.state(0);
            let push = 0.1 * x + 0.2 * x_dot + 5.0 * theta + theta_dot > 0.0;
            let (_, flags) = step(carts, i32::from(push));
            if flags[0] & flag::DONE != 0 {
                return (steps, flags[0]);
            }
        }
        unreachable!()
    }

    #[test]
    fn an_episode_is_cut_off_and_the_next_is_as_long() {
        let mut carts = CartPole::from_states(&[[0.0, 0.0, 0.01, 0.0]], 1);
        assert_eq!(balance(&mut carts), (LIMIT_STEPS, flag::TRUNCATED));
        step(&mut carts, 0);
        assert_eq!(balance(&mut carts), (LIMIT_STEPS, flag::TRUNCATED));
    }
}
