//! A trained policy that acts without a pool and without its environment: on observations that the caller hands it.

use std::path::{Path, PathBuf};

use super::agent::Choice;
use super::error::PlayError;
use super::source::{Found, Source};
use super::stacks::Stacks;
use super::state::{Seen, State};
use crate::build;
use crate::config::environment::{self, ENVIRONMENT_FILE};
use crate::config::{Config, Device, EngineChoice};
use crate::env::{Actions, EnvSpec};
use crate::learner::popart::ValueScale;
use crate::policy::act::Policy as _;
use crate::policy::native::{NativeLearner, NativePolicy};
use crate::policy::sampler::ActionSampler;
use crate::policy::spec::{NetworkSpec, ParamSpec};
use crate::rng::Rng;

/// Stream of the seed; another than those of training and of evaluation.
const ACTION_STREAM: u64 = 7 << 32;

/// The policy of a run: weights, the network that acts in training, with what normalises its observations, and the
/// sampler of its actions.
///
/// Observations are rows of `[frame_stack][shape]` numbers, as [`Policy::spec`] has them: f32 as they are, bytes from 0 to
/// 255 as bytes. A stack holds the newest frame last; frames from before the episode are zero.
///
/// It keeps nothing from call to call: what a network remembers is handed in and given back as rows of state, which lie with the caller
/// ([`Seen::state`]). So one policy acts in any number of episodes.
///
/// ```no_run
/// use impala_rl::env::Actions;
/// use impala_rl::play::{Choice, Policy, Seen};
///
/// let mut policy = Policy::load("runs/CartPole-v1-001".as_ref(), 0)?;
/// let observation = [0.01_f32, 0.0, -0.02, 0.0];
/// let seen = Seen::from(bytemuck::cast_slice(&observation));
/// let (actions, state) = policy.act(&seen, Choice::Greedy)?;
/// if let Actions::Discrete(action) = actions {
///     println!("push {}", ["left", "right"][action[0] as usize]);
/// }
/// let state = state.to_vec(); // of `Seen` at the next step
/// # Ok::<(), impala_rl::play::PlayError>(())
/// ```
pub struct Policy {
    spec: EnvSpec,
    network: NetworkSpec,
    parameters: ParamSpec,
    weights: Vec<f32>,
    config: Config,
    actor: NativePolicy,
    /// The same network with the value's half; made when a value is asked for.
    critic: Option<Box<NativeLearner>>,
    sampler: ActionSampler,
    stacks: Stacks,
    state: State,
    logits: Vec<f32>,
    values: Vec<f32>,
    value_scale: Option<ValueScale>,
    words: Vec<i32>,
    log_probs: Vec<f32>,
    run_dir: PathBuf,
    checkpoint: PathBuf,
    trained_frames: u64,
    problems: Vec<String>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("checkpoint", &self.checkpoint).finish_non_exhaustive()
    }
}

impl Policy {
    /// Loads the newest whole checkpoint of the run folder `path`, or the checkpoint that `path` is. Actions that are
    /// drawn follow from `seed`. Reads files of the run alone: no environment is made.
    ///
    /// # Errors
    /// [`PlayError`]
    pub fn load(path: &Path, seed: u64) -> Result<Self, PlayError> {
        let source = Source::of(path)?;
        let mut settings = source.settings()?;
        let run = || source.run_dir().to_owned();
        // Where it was trained does not matter.
        settings.engine = Some(EngineChoice::Native);
        settings.device = Some(Device::Cpu);
        let spec = environment::read(&source.run_dir().join(ENVIRONMENT_FILE))?;
        // What all tasks look like together is one environment, filled up already.
        settings.env = Some(vec![spec.id.clone()]);
        settings.pad_observations = None;
        settings.stop_at_return = None;
        let config = Config::resolve(&settings, &environment::registry_of(&spec))?;
        let (network, parameters) = build::network(&config)?;
        let Found { checkpoint, place, problems } = source.checkpoint(&parameters)?;
        let mut actor = NativePolicy::new(&network, 1)?;
        actor.load(&checkpoint.parameters);
        let values = checkpoint.state.tasks.first().map(|task| task.values.scale());
        let value_scale = values.filter(|_| config.learner.popart);
        Ok(Self {
            sampler: build::sampler(&config, Rng::new(seed, ACTION_STREAM)),
            spec,
            state: State::of(&network),
            network,
            parameters,
            weights: checkpoint.parameters,
            config,
            actor,
            critic: None,
            stacks: Stacks::default(),
            logits: Vec::new(),
            values: Vec::new(),
            value_scale,
            words: Vec::new(),
            log_probs: Vec::new(),
            run_dir: run(),
            checkpoint: place,
            trained_frames: checkpoint.state.frames,
            problems,
        })
    }

    /// What the policy sees and what it decides.
    #[must_use]
    pub const fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    /// Its network.
    #[must_use]
    pub const fn network(&self) -> &NetworkSpec {
        &self.network
    }

    /// The configuration of its run.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Names and places of its parameters in [`Policy::weights`].
    #[must_use]
    pub const fn parameters(&self) -> &ParamSpec {
        &self.parameters
    }

    /// All its weights, statistics of observations included.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The run folder.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The checkpoint that the weights are from.
    #[must_use]
    pub fn checkpoint(&self) -> &Path {
        &self.checkpoint
    }

    /// Frames that they were trained on.
    #[must_use]
    pub const fn trained_frames(&self) -> u64 {
        self.trained_frames
    }

    /// Newer checkpoints that were passed over, and why: a line each.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// M: numbers that the policy carries from one observation of an episode to the next; 0 if it judges each alone. Those of the core, then
    /// `action.inputs()` of the action before, if the network sees that.
    #[must_use]
    pub const fn state_len(&self) -> usize {
        self.state.len()
    }

    /// Chooses an action for each of N observations, and gives the state `[N][M]` for the next ones. Actions are what an environment is
    /// given: choices counted from 0, numbers within their bounds.
    ///
    /// # Errors
    /// [`PlayError::Shape`] if the lengths in `seen` do not agree, [`PlayError::NotFinite`] if the network's outputs are not finite.
    ///
    /// # Panics
    /// If f32 observations are not aligned to 4 bytes.
    pub fn act(
        &mut self,
        seen: &Seen<'_>,
        choice: Choice,
    ) -> Result<(Actions<'_>, &[f32]), PlayError> {
        let rows = self.forward(seen)?;
        let (masks, logits) = (seen.masks, self.spec.action.logits());
        if !masks.is_empty() && masks.len() != rows * logits {
            let found = masks.len();
            return Err(self.wrong("a mask", found, rows, logits));
        }
        self.words.resize(rows * self.spec.action.words(), 0);
        self.log_probs.resize(rows, 0.0);
        let finite = match choice {
            Choice::Sampled => {
                self.sampler.sample(&self.logits, masks, &mut self.words, &mut self.log_probs)
            }
            Choice::Greedy => self.sampler.greedy(&self.logits, masks, &mut self.words),
        };
        if !finite {
            return Err(PlayError::NotFinite);
        }
        let state = self.state.after(&self.words);
        Ok((self.sampler.applied(&self.words), state))
    }

    /// What the policy's head gives for N observations, `[N][outputs]`: logits of all choices, then means and raw
    /// log-deviations of all numbers. Bit by bit what an actor of the native engine computes.
    ///
    /// # Errors
    /// As [`Policy::act`].
    ///
    /// # Panics
    /// As [`Policy::act`].
    pub fn logits(&mut self, seen: &Seen<'_>) -> Result<&[f32], PlayError> {
        self.forward(seen)?;
        Ok(&self.logits)
    }

    /// From the network's output for a value to that value; `None`: it is the value.
    #[must_use]
    pub const fn value_scale(&self) -> Option<ValueScale> {
        self.value_scale
    }

    /// The network's value of N observations, `[N]`: the discounted return that it expects, in the units that it
    /// learns in (rewards scaled and clipped).
    ///
    /// # Errors
    /// As [`Policy::act`].
    ///
    /// # Panics
    /// As [`Policy::act`].
    pub fn values(&mut self, seen: &Seen<'_>) -> Result<&[f32], PlayError> {
        self.take(seen)?;
        let critic = match self.critic.take() {
            Some(critic) => critic,
            None => {
                let mut critic = Box::new(NativeLearner::new(&self.network)?);
                critic.load(&self.weights);
                critic
            }
        };
        let critic = self.critic.insert(critic);
        let (values, state) = (&mut self.values, &mut self.state);
        self.stacks.with(&self.spec, seen.observations, |frames| {
            values.clear();
            values.extend_from_slice(critic.forward(&state.inputs(frames)).1);
            Ok(())
        })?;
        if let Some(scale) = self.value_scale {
            values.iter_mut().for_each(|value| *value = scale.value(*value));
        }
        Ok(values)
    }

    fn forward(&mut self, seen: &Seen<'_>) -> Result<usize, PlayError> {
        let rows = self.take(seen)?;
        self.logits.resize(rows * self.spec.action.outputs(), 0.0);
        let (actor, state, logits) = (&mut self.actor, &mut self.state, &mut self.logits);
        self.stacks
            .with(&self.spec, seen.observations, |frames| state.logits(actor, frames, logits))?;
        Ok(rows)
    }

    /// N, whose state was taken.
    fn take(&mut self, seen: &Seen<'_>) -> Result<usize, PlayError> {
        let rows = self.rows(seen.observations)?;
        let taken = self.state.take(seen, rows);
        taken.map_err(|wrong| self.wrong(wrong.what, wrong.found, rows, wrong.expected))?;
        Ok(rows)
    }

    /// N, at least 1.
    fn rows(&self, observations: &[u8]) -> Result<usize, PlayError> {
        let observation = &self.spec.observation;
        let bytes = observation.stacked_len() * observation.dtype.size_bytes();
        let rows = observations.len() / bytes;
        if rows == 0 || observations.len() != rows * bytes {
            let found = observations.len() / observation.dtype.size_bytes();
            return Err(self.wrong(
                "an observation",
                found,
                rows.max(1),
                observation.stacked_len(),
            ));
        }
        Ok(rows)
    }

    fn wrong(&self, what: &'static str, found: usize, rows: usize, expected: usize) -> PlayError {
        PlayError::Shape { what, found, rows, expected, env: self.spec.id.clone() }
    }
}
