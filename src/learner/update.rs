//! One update of the parameters from one block: gradient, clipping, optimizer step.

use std::time::Duration;

use super::collective::{Ranks, Together};
use super::engine::{Engine, EngineError, StageTimes, Stopwatch};
use super::gradient::{BlockShare, LossGradient};
use super::loss::{AdvantageMoments, LossConfig, LossStats, LossSums, Reduction, TaskLoss};
use super::observation_stats::ObservationStats;
use super::optimizer::{Optimizer, clip_factor, global_norm};
use super::popart::PopArt;
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

/// What one rank found of its block.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnPart {
    /// `None` if the loss is not finite.
    sums: Option<LossSums>,
    /// What a mean would be over.
    weight: f64,
}

/// Why the learners of several ranks make no update together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parted {
    /// One of them leaves.
    Leaving,
    /// The weights of a rank are not those of rank 0.
    Drifted {
        /// Which.
        rank: usize,
    },
}

/// What an applied update found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateStats {
    /// Of the loss.
    pub(crate) loss: LossStats,
    /// Global norm of the gradient before clipping.
    pub(crate) gradient_norm: f32,
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
    source: LossGradient,
    max_gradient_norm: f32,
    optimizer: Optimizer,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    /// Of what is replayed.
    other_gradient: Vec<f32>,
    /// Of the block and of what is replayed, as they were in the first update of the present pass.
    advantages: [Option<AdvantageMoments>; 2],
    /// If values are scaled.
    popart: Option<PopArt>,
}

impl std::fmt::Debug for Updater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Updater").field("source", &self.source).finish_non_exhaustive()
    }
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
            source: LossGradient::new(engine, config),
            max_gradient_norm,
            optimizer,
            parameters,
            gradient,
            other_gradient: Vec::new(),
            advantages: [None; 2],
            popart: None,
        }
    }

    /// The parameters after the last applied update.
    #[must_use]
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The optimizer, for a checkpoint.
    #[must_use]
    pub(crate) const fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The loss that is minimised, per transition: the three terms with their costs.
    #[must_use]
    pub(crate) fn total_loss(&self, stats: &LossStats) -> f32 {
        let config = self.source.config();
        stats.policy_loss + config.baseline_cost * stats.baseline_loss
            - config.entropy_cost * stats.entropy
    }

    /// The engine's name.
    #[must_use]
    pub(crate) fn engine_name(&self) -> &'static str {
        self.source.engine_name()
    }

    /// Multiplies the rewards of a task by `factor` from now on, beside the configured scale.
    pub(crate) fn scale_rewards(&mut self, task: usize, factor: f32) {
        self.source.scale_rewards(task, factor);
    }

    /// What the latest gradient found of each task.
    #[must_use]
    pub(super) fn task_losses(&self) -> &[TaskLoss] {
        self.source.task_losses()
    }

    /// Lets the value head follow the targets of the latest update, if they are scaled.
    pub(super) fn follow_targets(&mut self, stats: &UpdateStats) {
        if let Some(popart) = &mut self.popart {
            let targets = (stats.loss.target, stats.loss.target_square);
            popart.follow(targets, &mut self.parameters);
            self.source.scale_values(popart.scale());
        }
    }

    /// What values are made of, and what that follows from, if they are scaled.
    #[must_use]
    pub(super) const fn popart(&self) -> Option<&PopArt> {
        self.popart.as_ref()
    }

    /// Gives gradients that are sums, which [`Updater::together`] divides.
    pub(super) const fn leave_undivided(&mut self) {
        self.source.leave_undivided();
    }

    /// Scales values from now on.
    #[must_use]
    pub(crate) fn with_popart(mut self, popart: Option<PopArt>) -> Self {
        if let Some(popart) = &popart {
            self.source.scale_values(popart.scale());
        }
        self.popart = popart;
        self
    }

    /// Weight of the divergence from the policy that acted.
    #[must_use]
    pub(crate) const fn kl_cost(&self) -> f32 {
        self.source.config().kl_cost
    }

    /// Changes that weight.
    pub(crate) const fn set_kl_cost(&mut self, kl_cost: f32) {
        self.source.set_kl_cost(kl_cost);
    }

    /// Normalises observations by `stats` from now on.
    pub(crate) fn normalize_observations(&mut self, stats: &ObservationStats) {
        stats.write(&mut self.parameters);
    }

    /// Computes loss and gradient of part `part` of `parts` of the columns of `block` (`(0, 1)`: of all), together with the same
    /// part of another block if one is replayed: they count as one batch. The first part of a pass comes first. Nothing
    /// of the blocks is used after this returns: release them, then call [`Updater::apply`].
    ///
    /// # Errors
    /// If the engine fails.
    pub fn gradient(
        &mut self,
        block: &BlockRef<'_>,
        replayed: Option<&BlockRef<'_>>,
        part: (u64, u64),
        env: &EnvSpec,
        times: &mut UpdateTimes,
    ) -> Result<Outcome, EngineError> {
        let sums = self.own_gradient(block, replayed, part, env, times)?;
        Ok(sums.map_or(Outcome::NotFinite, |sums| self.found(&sums, times)))
    }

    /// The gradient, and the sums of its loss; `None` if that is not finite.
    fn own_gradient(
        &mut self,
        block: &BlockRef<'_>,
        replayed: Option<&BlockRef<'_>>,
        part: (u64, u64),
        env: &EnvSpec,
        times: &mut UpdateTimes,
    ) -> Result<Option<LossSums>, EngineError> {
        let Self { source, parameters, gradient, other_gradient, advantages, .. } = self;
        let [advantages, other_advantages] = advantages;
        source.clear_task_losses();
        let times_of = &mut times.stages;
        let mut of = |block: &BlockRef<'_>, advantages: &mut Option<_>, gradient: &mut [f32]| {
            let share = BlockShare { block, steps: block.layout().spec().unroll, part };
            source.compute(parameters, share, env, advantages, gradient, times_of)
        };
        let Some(mut sums) = of(block, advantages, gradient)? else { return Ok(None) };
        if let Some(replayed) = replayed {
            other_gradient.resize(gradient.len(), 0.0);
            let Some(other) = of(replayed, other_advantages, other_gradient)? else {
                return Ok(None);
            };
            let mean = source.divides();
            // Each is a mean over its own transitions.
            let all = (sums.transitions + other.transitions).max(1) as f32;
            let [share, other_share] =
                [&sums, &other].map(|of| if mean { of.transitions as f32 / all } else { 1.0 });
            for (sum, part) in gradient.iter_mut().zip(&*other_gradient) {
                *sum = share * *sum + other_share * part;
            }
            sums.add(&other);
        }
        Ok(Some(sums))
    }

    /// Adds up the gradients that `block` holds in place of unrolls, or takes their mean if losses are means.
    pub fn add_up(&mut self, block: &BlockRef<'_>, times: &mut UpdateTimes) -> Outcome {
        let sums = self.own_sum(block, times);
        sums.map_or(Outcome::NotFinite, |sums| self.found(&sums, times))
    }

    /// The sum, and those of the losses; `None` if that is not finite.
    fn own_sum(&mut self, block: &BlockRef<'_>, times: &mut UpdateTimes) -> Option<LossSums> {
        let mut watch = Stopwatch::start();
        let gradients: &[f32] = block.field(Field::Gradient);
        let sums: &[LossSums] = block.field(Field::Loss);
        self.gradient.fill(0.0);
        for part in gradients.chunks_exact(self.gradient.len()) {
            self.gradient.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        if self.source.divides() {
            let scale = 1.0 / sums.len() as f32;
            self.gradient.iter_mut().for_each(|sum| *sum *= scale);
        }
        let mut whole = LossSums::default();
        self.source.clear_task_losses();
        for (part, header) in sums.iter().zip(block.headers()) {
            whole.add(part);
            self.source.add_task_loss(header.task as usize, part.into());
        }
        times.stages.batching += watch.restart();
        whole.is_finite().then_some(whole)
    }

    /// The part that this rank has in a gradient of the blocks of all ranks: [`Updater::gradient`], or [`Updater::add_up`], before it is
    /// divided. [`Updater::together`] makes the whole of it.
    ///
    /// # Errors
    /// If the engine fails.
    pub(super) fn own_part(
        &mut self,
        block: &BlockRef<'_>,
        replayed: Option<&BlockRef<'_>>,
        part: (u64, u64),
        env: &EnvSpec,
        times: &mut UpdateTimes,
    ) -> Result<OwnPart, EngineError> {
        if block.layout().spec().holds_gradients() {
            let sums = self.own_sum(block, times);
            // The mean of gradients that are means themselves.
            return Ok(OwnPart { sums, weight: block.headers().len() as f64 });
        }
        let sums = self.own_gradient(block, replayed, part, env, times)?;
        Ok(OwnPart { sums, weight: sums.map_or(0.0, |sums| sums.transitions as f64) })
    }

    /// Makes the parts of all ranks one gradient, as if their blocks were one; waits for the others.
    ///
    /// # Errors
    /// There is no update, and why. All ranks get the same.
    pub(super) fn together(
        &mut self,
        own: &OwnPart,
        ranks: &mut Ranks,
        times: &mut UpdateTimes,
    ) -> Result<Outcome, Parted> {
        let mean = self.source.config().reduction == Reduction::Mean;
        match ranks.sum(own.sums.as_ref(), own.weight, &mut self.gradient, mean) {
            Together::Found(sums) => Ok(self.found(&sums, times)),
            Together::NotFinite => Ok(Outcome::NotFinite),
            Together::Leaving => Err(Parted::Leaving),
            Together::Drifted { rank } => Err(Parted::Drifted { rank }),
        }
    }

    /// What came of the gradient that lies there now.
    fn found(&self, sums: &LossSums, times: &mut UpdateTimes) -> Outcome {
        let loss = sums.stats(self.source.config().vtrace.c_bar);
        let watch = &mut Stopwatch::start();
        let gradient_norm = global_norm(&self.gradient);
        times.optimizer += watch.restart();
        if !gradient_norm.is_finite() {
            return Outcome::NotFinite;
        }
        Outcome::Applied(UpdateStats { loss, gradient_norm })
    }

    /// Clips the gradient that [`Updater::gradient`] found and moves the parameters along it.
    pub fn apply(&mut self, stats: &UpdateStats, learning_rate: f32, times: &mut UpdateTimes) {
        let watch = &mut Stopwatch::start();
        let scale = clip_factor(stats.gradient_norm, self.max_gradient_norm);
        self.optimizer.step(&mut self.parameters, &self.gradient, scale, learning_rate);
        times.optimizer += watch.restart();
    }
}
