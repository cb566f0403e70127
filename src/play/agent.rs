//! A trained policy and its environment, stepped one vector step at a time.

use std::path::{Path, PathBuf};

use super::error::PlayError;
use super::source::{Found, Source};
use crate::build;
use crate::config::Config;
use crate::env::{Registry, ResetOut, StepOut, VectorEnv, flag};
use crate::learner::checkpoint::Checkpoint;
use crate::policy::act::{ActInputs, Policy};
use crate::policy::frames::{FrameHistory, StackedFrames};
use crate::policy::sampler::ActionSampler;
use crate::policy::spec::{NetworkSpec, ParamSpec};
use crate::rng::Rng;

/// Streams of the seed; others than those of training, so that no episode is one that was learnt from.
const ENV_STREAM: u64 = 5 << 32;
const ACTION_STREAM: u64 = 6 << 32;

/// How actions are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Drawn from the policy, as in training.
    Sampled,
    /// The most likely one.
    Greedy,
}

/// What one vector step gave.
#[derive(Debug)]
pub(super) struct Stepped<'a> {
    /// E rewards.
    pub(super) rewards: &'a [f32],
    /// E flags of the new observations.
    pub(super) flags: &'a [u8],
}

/// A policy at work in E environments.
pub(crate) struct Agent {
    env: Box<dyn VectorEnv>,
    policy: Box<dyn Policy>,
    sampler: ActionSampler,
    choice: Choice,
    frames: FrameHistory,
    logits: Vec<f32>,
    actions: Vec<i32>,
    log_probs: Vec<f32>,
    rewards: Vec<f32>,
    flags: Vec<u8>,
    masks: Vec<u8>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("choice", &self.choice).finish_non_exhaustive()
    }
}

/// What a run has learnt: its configuration and the weights of a checkpoint.
#[derive(Debug)]
pub(crate) struct Trained {
    config: Config,
    network: NetworkSpec,
    parameters: ParamSpec,
    checkpoint: Checkpoint,
    place: PathBuf,
}

impl Trained {
    /// A run folder's newest whole checkpoint, or the checkpoint that `path` is. Gives what was passed over as well.
    ///
    /// # Errors
    /// [`PlayError`]
    pub(crate) fn load(path: &Path, registry: &Registry) -> Result<(Self, Vec<String>), PlayError> {
        let source = Source::of(path)?;
        let config = Config::resolve(&source.settings()?, registry)?;
        let (network, parameters) = build::network(&config)?;
        let Found { checkpoint, place, problems } = source.checkpoint(&parameters)?;
        Ok((Self { config, network, parameters, checkpoint, place }, problems))
    }

    /// The names of its tasks.
    pub(crate) fn tasks(&self) -> impl ExactSizeIterator<Item = &str> {
        self.config.env.tasks.iter().map(|task| task.id.as_str())
    }

    /// Where the weights are from.
    #[must_use]
    pub(crate) fn checkpoint(&self) -> &Path {
        &self.place
    }

    /// Frames that they were trained on, in all tasks together.
    #[must_use]
    pub(crate) const fn frames(&self) -> u64 {
        self.checkpoint.state.frames
    }

    /// The policy in `envs` fresh environments of a task.
    ///
    /// # Errors
    /// [`PlayError`]
    ///
    /// # Panics
    /// If there is no such task.
    pub(crate) fn agent(
        &self,
        task: usize,
        registry: &Registry,
        envs: usize,
        seed: u64,
        choice: Choice,
    ) -> Result<Agent, PlayError> {
        let Self { config, network, parameters, checkpoint, .. } = self;
        let mut policy = build::policy(config.pool.engine, network, parameters, envs)?;
        policy.load(&checkpoint.parameters);
        let env_seed = Rng::new(seed, ENV_STREAM).next_u64();
        let env = build::environments(&config.env, task, registry, (envs, env_seed), (0, None))?;
        let spec = env.spec().clone();
        let mut agent = Agent {
            policy,
            sampler: build::sampler(config, Rng::new(seed, ACTION_STREAM)),
            choice,
            frames: FrameHistory::new(&spec.observation, envs),
            logits: vec![0.0; envs * spec.action.outputs()],
            actions: vec![0; envs * spec.action.words()],
            log_probs: vec![0.0; envs],
            rewards: vec![0.0; envs],
            flags: vec![flag::FIRST; envs],
            masks: vec![1; envs * spec.mask_bytes()],
            env,
        };
        let first = ResetOut { frames: agent.frames.newest_mut(), masks: &mut agent.masks };
        agent.env.reset(first)?;
        Ok(agent)
    }
}

impl Agent {
    /// The environment's name.
    #[must_use]
    pub(crate) fn env_id(&self) -> &str {
        &self.env.spec().id
    }

    /// E.
    #[must_use]
    pub(crate) fn envs(&self) -> usize {
        self.env.envs()
    }

    /// What the environments look like.
    #[must_use]
    pub(crate) fn spec(&self) -> &crate::env::EnvSpec {
        self.env.spec()
    }

    /// The newest frame of the first environment.
    #[must_use]
    pub(crate) fn frame(&self) -> &[u8] {
        let bytes = self.env.spec().observation.frame_bytes();
        &self.frames.newest()[..bytes]
    }

    /// Computes the logits for the newest observations, `[E][A]`, and moves the recurrent state: once a step.
    fn infer(&mut self) -> Result<(), PlayError> {
        let rows: Vec<&[u8]> = self.frames.rows().collect();
        let spec = &self.env.spec().observation;
        let inputs = ActInputs {
            observations: StackedFrames::of_step(spec, &rows, self.frames.valid()),
            flags: &self.flags,
            last_actions: &self.actions,
            last_rewards: &self.rewards,
        };
        self.policy.logits(&inputs, &mut self.logits)?;
        Ok(())
    }

    /// Acts once in all environments.
    pub(super) fn step(&mut self) -> Result<Stepped<'_>, PlayError> {
        self.infer()?;
        let usable = match self.choice {
            Choice::Sampled => self.sampler.sample(
                &self.logits,
                &self.masks,
                &mut self.actions,
                &mut self.log_probs,
            ),
            Choice::Greedy => self.sampler.greedy(&self.logits, &self.masks, &mut self.actions),
        };
        if !usable {
            return Err(PlayError::NotFinite);
        }
        self.frames.rotate();
        let out = StepOut {
            frames: self.frames.newest_mut(),
            rewards: &mut self.rewards,
            flags: &mut self.flags,
            masks: &mut self.masks,
        };
        self.env.step(self.sampler.applied(&self.actions), out)?;
        self.frames.advance(&self.flags);
        Ok(Stepped { rewards: &self.rewards, flags: &self.flags })
    }
}
