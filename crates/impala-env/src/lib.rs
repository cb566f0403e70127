//! Reinforcement-learning environments: the traits that an actor steps, the built-in environments, and a registry of
//! names.
//!
//! Knows nothing of processes, tensors or shared memory. An environment writes its observations into
//! memory that it is handed, which in a run is the ring itself.
//!
//! Two ways in: [`Environment`] is one environment, 30 lines for a user; [`Lockstep`] turns E of them
//! into a [`VectorEnv`]. Something that steps many at once (SIMD, a foreign process) implements
//! [`VectorEnv`] directly.

mod error;
mod external;
mod lockstep;
mod options;
mod registry;
mod spec;
mod time_limit;

#[cfg(test)]
mod conformance;

pub mod acrobot;
pub mod cartpole;
pub mod catch;
pub mod mountain_car;
pub mod mountain_car_continuous;
pub mod pendulum;
pub mod recall;
pub mod reference;
pub mod rng;
pub mod synthetic;
pub mod tasks;

pub use error::{BoxError, EnvError, EnvSetting, RemedyPart};
pub use external::{ExternalEnv, SharedMemory, next_step_autoreset};
pub use lockstep::Lockstep;
pub use options::{EnvOptions, OptionReader};
pub use registry::Registry;
pub use spec::{Action, ActionSpec, Actions, Dtype, Element, EnvSpec, ObservationSpec};
pub use time_limit::TimeLimit;

use crate::rng::Rng;

/// How a step left the episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// It goes on.
    #[default]
    Running,
    /// The task ended: nothing of value follows, the learner bootstraps with 0.
    Terminated,
    /// It was cut off (time limit): the learner bootstraps from the final observation.
    Truncated,
}

impl End {
    /// The bit of [`flag`] that says so; 0 while the episode goes on.
    #[must_use]
    pub const fn flag(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::Terminated => flag::TERMINATED,
            Self::Truncated => flag::TRUNCATED,
        }
    }
}

/// What one step of one environment gave, beside the observation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Transition {
    /// The reward, as the environment defines it; clipping is the learner's business.
    pub reward: f32,
    /// Whether the episode ended with this step.
    pub end: End,
}

/// One environment: what a user writes.
///
/// ```
/// use impala_env::{ActionSpec, BoxError, Element as _, End, EnvSpec, Environment, ObservationSpec, Transition};
/// use impala_env::rng::Rng;
///
/// /// Say which of two lamps is lit.
/// #[derive(Debug, Default)]
/// struct Lamp { lit: usize }
///
/// impl Environment for Lamp {
///     type Element = f32;
///     type Action = usize;
///     fn spec(&self) -> EnvSpec {
///         let observation = ObservationSpec::new(f32::DTYPE, &[2]);
///         EnvSpec::new("Lamp-v0", observation, ActionSpec::Discrete { n: 2 })
///     }
///     fn reset(&mut self, rng: &mut Rng, observation: &mut [f32]) -> Result<(), BoxError> {
///         self.lit = rng.below(2);
///         observation.fill(0.0);
///         observation[self.lit] = 1.0;
///         Ok(())
///     }
///     fn step(&mut self, action: usize, rng: &mut Rng, observation: &mut [f32]) -> Result<Transition, BoxError> {
///         let reward = if action == self.lit { 1.0 } else { 0.0 };
///         self.reset(rng, observation)?;
///         Ok(Transition { reward, end: End::Terminated })
///     }
/// }
/// ```
pub trait Environment {
    /// Element type of the observation.
    type Element: Element;

    /// `usize` for one discrete action, `[usize; N]` for several, `[f32; N]` for continuous ones.
    type Action: Action;

    /// Shapes and counts; must not change over the time of the environment.
    fn spec(&self) -> EnvSpec;

    /// Starts an episode and writes its first frame (`frame_len` elements).
    ///
    /// # Errors
    /// If it cannot: what was learnt stays, the unroll is dropped, and `--on-bad-env` says what follows.
    fn reset(&mut self, rng: &mut Rng, observation: &mut [Self::Element]) -> Result<(), BoxError>;

    /// Applies `action` (within the ranges of the spec) and writes the frame that follows. At the end of
    /// an episode this is the *final* frame: the caller resets in the step after it.
    ///
    /// # Errors
    /// As [`Environment::reset`].
    fn step(
        &mut self,
        action: Self::Action,
        rng: &mut Rng,
        observation: &mut [Self::Element],
    ) -> Result<Transition, BoxError>;

    /// Says which choices are allowed at the observation written last: 1 for yes, 0 for no, in the order
    /// of the policy's outputs. Asked only of environments whose spec has masks. Something must be allowed,
    /// except at the final observation of an episode.
    fn allowed(&self, mask: &mut [u8]) {
        mask.fill(1);
    }
}

/// Flags of one stored observation, as bits of a byte.
pub mod flag {
    /// The observation is the last of its episode, which terminated.
    pub const TERMINATED: u8 = 1;
    /// The observation is the last of its episode, which was cut off by a time limit.
    pub const TRUNCATED: u8 = 2;
    /// The observation is the first of its episode. The transition *into* it crosses a reset: its
    /// action was ignored, its reward is 0, and the learner masks it.
    pub const FIRST: u8 = 4;
    /// Either kind of end.
    pub const DONE: u8 = TERMINATED | TRUNCATED;
}

/// Where one vector step writes. All slices are in the order of the environments.
#[derive(Debug)]
pub struct StepOut<'a> {
    /// E frames, one after the other; 4-byte aligned if they are f32.
    pub frames: &'a mut [u8],
    /// E rewards.
    pub rewards: &'a mut [f32],
    /// E flags of the observations just written, see [`flag`].
    pub flags: &'a mut [u8],
    /// E masks of the observations just written: `[outputs]` each, 1 for an allowed choice and 0 for one
    /// that is not. Empty unless the spec has masks.
    pub masks: &'a mut [u8],
}

impl StepOut<'_> {
    /// Holds that there is room for `envs` environments like `spec`, no more and no less.
    ///
    /// # Panics
    /// If there is not.
    pub fn assert_fits(&self, spec: &EnvSpec, envs: usize) {
        assert_room(self.frames, self.masks, spec, envs);
        assert_eq!(self.rewards.len(), envs, "one reward for each environment");
        assert_eq!(self.flags.len(), envs, "one flag for each environment");
    }
}

/// Where a reset writes.
#[derive(Debug)]
pub struct ResetOut<'a> {
    /// E frames, one after the other, 4-byte aligned.
    pub frames: &'a mut [u8],
    /// E masks, as in [`StepOut`].
    pub masks: &'a mut [u8],
}

impl ResetOut<'_> {
    /// As [`StepOut::assert_fits`].
    ///
    /// # Panics
    /// If there is no such room.
    pub fn assert_fits(&self, spec: &EnvSpec, envs: usize) {
        assert_room(self.frames, self.masks, spec, envs);
    }
}

fn assert_room(frames: &[u8], masks: &[u8], spec: &EnvSpec, envs: usize) {
    let frame_bytes = spec.observation.frame_bytes();
    assert_eq!(frames.len(), envs * frame_bytes, "one frame for each environment");
    assert_eq!(masks.len(), envs * spec.mask_bytes(), "a mask for each environment");
}

/// E environments stepped together, with Gymnasium's *next-step* autoreset: the step after an end
/// ignores its action, writes the first frame of the next episode, and has reward 0.
pub trait VectorEnv {
    /// What each of the environments looks like.
    fn spec(&self) -> &EnvSpec;

    /// How many environments there are (E).
    fn envs(&self) -> usize;

    /// What is odd about the environments, and no fault: a line for the user each.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Tells where the slices of most steps will lie, so that environments in another process can write
    /// there themselves. To be called again when the environments are made anew; slices elsewhere work
    /// as well.
    ///
    /// # Errors
    /// If the other process is gone, or cannot map it.
    fn attach(&mut self, _memory: &SharedMemory<'_>) -> Result<(), EnvError> {
        Ok(())
    }

    /// Starts all episodes anew and writes E first frames and masks. Random numbers go on where
    /// they were: only making the environments anew repeats an episode.
    ///
    /// # Errors
    /// If the environment cannot start; the actor is then replaced.
    ///
    /// # Panics
    /// If `out` does not hold E frames or they are not aligned: the caller is wrong.
    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError>;

    /// Steps all environments; `actions` has E entries within the ranges of the spec (also those that
    /// are ignored). Without a [`VectorEnv::reset`] before it, the first step is one.
    ///
    /// # Errors
    /// If an environment fails, [`EnvError::BadAction`] or [`EnvError::ActionOutOfBounds`]; the unroll is dropped and the actor
    /// replaced.
    ///
    /// # Panics
    /// If a slice does not have E entries or the frames are not aligned: the caller is wrong.
    fn step(&mut self, actions: Actions<'_>, out: StepOut<'_>) -> Result<(), EnvError>;

    /// Starts a step that goes on while the caller does something else, if these environments can; whether they can.
    /// Only [`VectorEnv::finish_step`] or [`VectorEnv::reset`] may follow; if they cannot, nothing was done.
    ///
    /// # Errors
    /// As [`VectorEnv::step`].
    fn start_step(&mut self, _actions: Actions<'_>) -> Result<bool, EnvError> {
        Ok(false)
    }

    /// Waits for the end of the step that was started, and writes what came of it. A reset before that forgets the step.
    ///
    /// # Errors
    /// As [`VectorEnv::step`], or if none was started.
    ///
    /// # Panics
    /// As [`VectorEnv::step`].
    fn finish_step(&mut self, _out: StepOut<'_>) -> Result<(), EnvError> {
        Err(EnvError::failed(&self.spec().id, "no step was started".to_owned()))
    }
}

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
