//! One update: a block in, new parameters out.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::engine::{
    Engine, EngineError, Evaluator, Objective, Observations, StageTimes, Stopwatch,
};
use super::loss::{AdvantageMoments, Batch, Loss, LossConfig, LossStats, LossSums};
use super::observation_stats::ObservationStats;
use super::optimizer::{Optimizer, clip_factor, global_norm};
use crate::env::EnvSpec;
use crate::unroll::{BlockRef, Field};

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// The parameters moved.
    Applied(UpdateStats),
    /// Loss or gradient was not finite: nothing moved.
    NotFinite,
}

/// What an applied update found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateStats {
    /// Of the loss.
    pub loss: LossStats,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f32,
}

/// How long the stages of an update took.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpdateTimes {
    /// In the engine.
    pub stages: StageTimes,
    /// Clip and optimizer.
    pub optimizer: Duration,
}

/// The network, its optimizer, and all buffers of an update.
pub struct Updater {
    engine: Box<dyn Engine>,
    losses: Mutex<Vec<Loss>>,
    config: LossConfig,
    /// That of the configuration.
    reward_scale: f32,
    max_gradient_norm: f32,
    optimizer: Optimizer,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    /// Of the block, as they were in the first update of the present pass.
    advantages: Option<AdvantageMoments>,
}

impl std::fmt::Debug for Updater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Updater")
            .field("engine", &self.engine.name())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The loss over one block, or a part of it.
struct BlockObjective<'a> {
    batch: Batch<'a>,
    /// The columns that it is about.
    part: Range<usize>,
    config: &'a LossConfig,
    weight: f32,
    /// Buffers that no thread uses at the moment.
    idle: &'a Mutex<Vec<Loss>>,
    sums: Parts<LossSums>,
    /// Of the strips that were looked at.
    looked: Parts<AdvantageMoments>,
    /// All of them, added up when all were looked at.
    advantages: OnceLock<Option<AdvantageMoments>>,
}

/// What evaluators found, each with the first column that it saw: added up in the order of these, not in that in which
/// threads come to an end.
#[derive(Debug)]
struct Parts<T>(Mutex<Vec<(usize, T)>>);

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Parts<T> {
    fn push(&self, first: usize, part: T) {
        lock(&self.0).push((first, part));
    }

    /// Adds up all parts; `None` if there are none.
    fn fold(&self, add: impl Fn(&mut T, &T)) -> Option<T>
    where
        T: Default,
    {
        let mut parts = lock(&self.0);
        parts.sort_unstable_by_key(|(first, _)| *first);
        (!parts.is_empty()).then(|| {
            parts.iter().fold(T::default(), |mut sum, (_, part)| {
                add(&mut sum, part);
                sum
            })
        })
    }
}

impl Objective for BlockObjective<'_> {
    fn evaluator(&self) -> Box<dyn Evaluator + '_> {
        let loss = lock(self.idle).pop().unwrap_or_default();
        Box::new(BlockEvaluator {
            objective: self,
            loss,
            first: None,
            sums: LossSums::default(),
            looked: None,
        })
    }

    fn looks_first(&self) -> bool {
        self.config.normalize_advantages && self.advantages.get().is_none()
    }

    fn part(&self) -> Option<Range<usize>> {
        Some(self.part.clone())
    }
}

/// One thread's share of it; adds to the sums when it is dropped.
struct BlockEvaluator<'a> {
    objective: &'a BlockObjective<'a>,
    loss: Loss,
    /// The first column that it saw.
    first: Option<usize>,
    sums: LossSums,
    looked: Option<AdvantageMoments>,
}

impl Evaluator for BlockEvaluator<'_> {
    fn look(&mut self, strip: Range<usize>, logits: &[f32], values: &[f32]) {
        let BlockObjective { batch, config, .. } = self.objective;
        self.first.get_or_insert(strip.start);
        let moments = self.loss.advantage_moments(batch, strip, (logits, values), config);
        self.looked.get_or_insert_default().add(&moments);
    }

    fn gradients(
        &mut self,
        strip: Range<usize>,
        logits: &[f32],
        values: &[f32],
    ) -> Option<(&[f32], &[f32])> {
        let BlockObjective { batch, config, weight, looked, advantages, .. } = self.objective;
        self.first.get_or_insert(strip.start);
        let advantages = advantages.get_or_init(|| looked.fold(AdvantageMoments::add));
        let of_block = (*weight, *advantages);
        let sums = self.loss.compute(batch, strip, (logits, values), config, of_block);
        self.sums.add(&sums);
        sums.is_finite().then(|| (self.loss.d_logits(), self.loss.d_values()))
    }
}

impl Drop for BlockEvaluator<'_> {
    fn drop(&mut self) {
        if let Some(first) = self.first {
            match self.looked {
                Some(looked) => self.objective.looked.push(first, looked),
                None => self.objective.sums.push(first, self.sums),
            }
        }
        lock(self.objective.idle).push(std::mem::take(&mut self.loss));
    }
}

/// A thread that panicked takes the process with it; what it left is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Updater {
    /// Starts from `parameters` and an optimizer that fits them.
    #[must_use]
    pub fn new(
        engine: Box<dyn Engine>,
        config: LossConfig,
        max_gradient_norm: f32,
        optimizer: Optimizer,
        parameters: Vec<f32>,
    ) -> Self {
        let gradient = vec![0.0; parameters.len()];
        Self {
            engine,
            losses: Mutex::new(Vec::new()),
            config,
            reward_scale: config.reward_scale,
            max_gradient_norm,
            optimizer,
            parameters,
            gradient,
            advantages: None,
        }
    }

    /// The parameters after the last applied update.
    #[must_use]
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The optimizer, for a checkpoint.
    #[must_use]
    pub const fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The loss that is minimised, per transition: the three terms with their costs.
    #[must_use]
    pub fn total_loss(&self, stats: &LossStats) -> f32 {
        stats.policy_loss + self.config.baseline_cost * stats.baseline_loss
            - self.config.entropy_cost * stats.entropy
    }

    /// The engine's name.
    #[must_use]
    pub(crate) fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// Multiplies rewards by `factor` from now on, beside the configured scale.
    pub const fn scale_rewards(&mut self, factor: f32) {
        self.config.reward_scale = self.reward_scale * factor;
    }

    /// Weight of the divergence from the policy that acted.
    #[must_use]
    pub const fn kl_cost(&self) -> f32 {
        self.config.kl_cost
    }

    /// Changes that weight.
    pub const fn set_kl_cost(&mut self, kl_cost: f32) {
        self.config.kl_cost = kl_cost;
    }

    /// Normalises observations by `stats` from now on.
    pub fn normalize_observations(&mut self, stats: &ObservationStats) {
        stats.write(&mut self.parameters);
    }

    /// Computes loss and gradient of part `part` of `parts` of the columns of `block` (`(0, 1)`: of all); the first of a
    /// pass comes first. Nothing of the block is used after this returns: release it, then call [`Updater::apply`].
    ///
    /// # Errors
    /// If the engine fails.
    pub fn gradient(
        &mut self,
        block: &BlockRef<'_>,
        (part, parts): (u64, u64),
        env: &EnvSpec,
        times: &mut UpdateTimes,
    ) -> Result<Outcome, EngineError> {
        let spec = block.layout().spec();
        let observations = Observations {
            spec: &env.observation,
            unroll: spec.unroll,
            columns: spec.batch,
            frames: block.field(Field::Frame),
            history: block.field(Field::History),
            flags: block.field(Field::Flags),
            actions: block.field(Field::Action),
            rewards: block.field(Field::Reward),
            first_actions: block.field(Field::FirstAction),
            first_rewards: block.field(Field::FirstReward),
            recurrent_state: block.field(Field::CoreState),
        };
        let batch = Batch {
            columns: spec.batch,
            action: &env.action,
            actions: block.field(Field::Action),
            masks: block.field(Field::Mask),
            rewards: block.field(Field::Reward),
            behaviour_log_probs: block.field(Field::LogProb),
            flags: block.field(Field::Flags),
        };
        // By those of all of the block: of a part alone the mean would be noise.
        let advantages = match self.advantages {
            Some(moments) if part > 0 => OnceLock::from(Some(moments)),
            _ => OnceLock::new(),
        };
        let bound = |part| (part * spec.batch as u64 / parts) as usize;
        let part = bound(part)..bound(part + 1);
        let objective = BlockObjective {
            weight: self.config.weight(batch.transitions(&part)),
            batch,
            part,
            config: &self.config,
            idle: &self.losses,
            sums: Parts::default(),
            looked: Parts::default(),
            advantages,
        };
        let usable = self.engine.gradient(
            &self.parameters,
            &observations,
            &objective,
            &mut self.gradient,
            &mut times.stages,
        )?;
        self.advantages = objective.advantages.get().copied().flatten();
        let sums = objective.sums.fold(LossSums::add).unwrap_or_default();
        let loss = sums.stats(self.config.vtrace.c_bar);
        if !usable {
            return Ok(Outcome::NotFinite);
        }
        let watch = &mut Stopwatch::start();
        let gradient_norm = global_norm(&self.gradient);
        times.optimizer += watch.lap();
        if !gradient_norm.is_finite() {
            return Ok(Outcome::NotFinite);
        }
        Ok(Outcome::Applied(UpdateStats { loss, gradient_norm }))
    }

    /// Clips the gradient that [`Updater::gradient`] found and moves the parameters along it.
    pub fn apply(&mut self, stats: &UpdateStats, learning_rate: f32, times: &mut UpdateTimes) {
        let watch = &mut Stopwatch::start();
        let scale = clip_factor(stats.gradient_norm, self.max_gradient_norm);
        self.optimizer.step(&mut self.parameters, &self.gradient, scale, learning_rate);
        times.optimizer += watch.lap();
    }
}
