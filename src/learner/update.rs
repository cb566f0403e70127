//! One update: a block in, new parameters out.

use super::engine::{Engine, EngineError, Lap, Objective, Observations, StageTimes};
use super::loss::{Batch, Loss, LossConfig, LossStats};
use super::optimiser::{Optimiser, clip_factor, global_norm};
use crate::env::EnvSpec;
use crate::ring::BlockRef;
use crate::unroll::Field;
use std::time::Duration;

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
    /// Clip and optimiser.
    pub optimiser: Duration,
}

/// The network, its optimiser, and all buffers of an update.
pub struct Updater {
    engine: Box<dyn Engine>,
    loss: Loss,
    config: LossConfig,
    max_gradient_norm: f32,
    optimiser: Optimiser,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
}

impl std::fmt::Debug for Updater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Updater")
            .field("engine", &self.engine.name())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The loss of one block, in the form that an engine calls.
struct BlockObjective<'a> {
    loss: &'a mut Loss,
    batch: Batch<'a>,
    config: &'a LossConfig,
    stats: LossStats,
}

impl Objective for BlockObjective<'_> {
    fn gradients(&mut self, logits: &[f32], values: &[f32]) -> Option<(&[f32], &[f32])> {
        self.stats = self.loss.compute(&self.batch, logits, values, self.config);
        let finite =
            (self.stats.policy_loss + self.stats.baseline_loss + self.stats.entropy).is_finite();
        finite.then(|| (self.loss.d_logits(), self.loss.d_values()))
    }
}

impl Updater {
    /// Starts from `parameters` and an optimiser that fits them.
    #[must_use]
    pub fn new(
        engine: Box<dyn Engine>,
        config: LossConfig,
        max_gradient_norm: f32,
        optimiser: Optimiser,
        parameters: Vec<f32>,
    ) -> Self {
        let gradient = vec![0.0; parameters.len()];
        Self {
            engine,
            loss: Loss::default(),
            config,
            max_gradient_norm,
            optimiser,
            parameters,
            gradient,
        }
    }

    /// The parameters after the last applied update.
    #[must_use]
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The optimiser, for a checkpoint.
    #[must_use]
    pub const fn optimiser(&self) -> &Optimiser {
        &self.optimiser
    }

    /// The loss that is minimised, per transition: the three terms with their costs.
    #[must_use]
    pub fn total_loss(&self, stats: &LossStats) -> f32 {
        stats.policy_loss + self.config.baseline_cost * stats.baseline_loss
            - self.config.entropy_cost * stats.entropy
    }

    /// The engine's name.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// Computes loss and gradient of `block`. Nothing of the block is used after this returns: release
    /// it, then call [`Updater::apply`].
    ///
    /// # Errors
    /// If the engine fails.
    pub fn gradient(
        &mut self,
        block: &BlockRef<'_>,
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
        };
        let mut objective = BlockObjective {
            loss: &mut self.loss,
            batch: Batch {
                columns: spec.batch,
                actions: block.field(Field::Action),
                rewards: block.field(Field::Reward),
                behaviour_log_probs: block.field(Field::LogProb),
                flags: block.field(Field::Flags),
            },
            config: &self.config,
            stats: LossStats::default(),
        };
        let usable = self.engine.gradient(
            &self.parameters,
            &observations,
            &mut objective,
            &mut self.gradient,
            &mut times.stages,
        )?;
        let loss = objective.stats;
        if !usable {
            return Ok(Outcome::NotFinite);
        }
        let lap = &mut Lap::start();
        let gradient_norm = global_norm(&self.gradient);
        times.optimiser += lap.lap();
        if !gradient_norm.is_finite() {
            return Ok(Outcome::NotFinite);
        }
        Ok(Outcome::Applied(UpdateStats { loss, gradient_norm }))
    }

    /// Clips the gradient that [`Updater::gradient`] found and moves the parameters along it.
    pub fn apply(&mut self, stats: &UpdateStats, learning_rate: f32, times: &mut UpdateTimes) {
        let lap = &mut Lap::start();
        let scale = clip_factor(stats.gradient_norm, self.max_gradient_norm);
        self.optimiser.step(&mut self.parameters, &self.gradient, scale, learning_rate);
        times.optimiser += lap.lap();
    }
}
