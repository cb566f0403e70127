//! Loss and gradient of one block: for each strip of columns the engine's outputs go through the loss and its gradient
//! back.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::engine::{Engine, EngineError, Evaluator, Objective, Observations, StageTimes};
use super::loss::{AdvantageMoments, Batch, Loss, LossConfig, LossSums, Reduction, TaskLoss};
use super::popart::ValueScale;
use crate::env::EnvSpec;
use crate::unroll::{BlockRef, Field};

/// What makes a gradient of a block: an engine, the loss, and their buffers.
pub(crate) struct LossGradient {
    engine: Box<dyn Engine>,
    losses: Mutex<Vec<Loss>>,
    config: LossConfig,
    /// Factors on the rewards of each task, beside the configured scale; those that are missing are 1.
    reward_factors: Vec<f32>,
    /// What was found of each task.
    task_losses: Vec<TaskLoss>,
    /// Whether gradients are sums that others add to, and divide if they are to be means.
    undivided: bool,
}

impl std::fmt::Debug for LossGradient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LossGradient")
            .field("engine", &self.engine.name())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl LossGradient {
    /// With the loss of `config`.
    #[must_use]
    pub(crate) fn new(engine: Box<dyn Engine>, config: LossConfig) -> Self {
        let losses = Mutex::new(Vec::new());
        let (reward_factors, task_losses) = Default::default();
        Self { engine, losses, config, reward_factors, task_losses, undivided: false }
    }

    /// Gives sums from now on, also where the loss is a mean.
    pub(super) const fn leave_undivided(&mut self) {
        self.undivided = true;
    }

    /// Whether a gradient is a mean over its transitions.
    #[must_use]
    pub(super) fn divides(&self) -> bool {
        self.config.reduction == Reduction::Mean && !self.undivided
    }

    /// The loss.
    #[must_use]
    pub(crate) const fn config(&self) -> &LossConfig {
        &self.config
    }

    /// The engine's name.
    #[must_use]
    pub(super) fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// Multiplies the rewards of `task` by `factor` from now on, beside the configured scale.
    pub(crate) fn scale_rewards(&mut self, task: usize, factor: f32) {
        if self.reward_factors.len() <= task {
            self.reward_factors.resize(task + 1, 1.0);
        }
        self.reward_factors[task] = factor;
    }

    /// What was found of each task since [`LossGradient::clear_task_losses`].
    #[must_use]
    pub(super) fn task_losses(&self) -> &[TaskLoss] {
        &self.task_losses
    }

    pub(super) fn clear_task_losses(&mut self) {
        self.task_losses.clear();
    }

    pub(super) fn add_task_loss(&mut self, task: usize, loss: TaskLoss) {
        if self.task_losses.len() <= task {
            self.task_losses.resize_with(task + 1, TaskLoss::default);
        }
        self.task_losses[task].add(loss);
    }

    /// Takes the network's outputs for values as `scale` has them from now on.
    pub(super) const fn scale_values(&mut self, scale: ValueScale) {
        self.config.value_scale = Some(scale);
    }

    /// Changes the weight of the divergence.
    pub(super) const fn set_kl_cost(&mut self, kl_cost: f32) {
        self.config.kl_cost = kl_cost;
    }

    /// Writes the gradient of the loss with respect to `parameters` over a share of a block, and gives the sums of the loss.
    /// `None`, with `gradient` undefined, if the loss is not finite. `advantages` are those of all of the block: the first
    /// part leaves them there for the others, of which the mean alone would be noise.
    ///
    /// # Errors
    /// If the engine fails.
    ///
    /// # Panics
    /// If the block has fewer steps.
    pub(crate) fn compute(
        &mut self,
        parameters: &[f32],
        share: BlockShare<'_>,
        env: &EnvSpec,
        advantages: &mut Option<AdvantageMoments>,
        gradient: &mut [f32],
        times: &mut StageTimes,
    ) -> Result<Option<LossSums>, EngineError> {
        let BlockShare { block, steps, part: (part, parts) } = share;
        let columns = block.layout().spec().batch;
        let transitions = steps * columns;
        let frames: &[u8] = block.field(Field::Frame);
        let frame_rows = (steps + env.observation.frame_stack) * columns;
        let frames = &frames[..frame_rows * env.observation.frame_bytes()];
        let flags = &block.field(Field::Flags)[..transitions + columns];
        let actions = &block.field(Field::Action)[..transitions * env.action.words()];
        let rewards = &block.field(Field::Reward)[..transitions];
        let observations = Observations {
            spec: &env.observation,
            unroll: steps,
            columns,
            frames,
            history: block.field(Field::History),
            flags,
            actions,
            rewards,
            first_actions: block.field(Field::FirstAction),
            first_rewards: block.field(Field::FirstReward),
            recurrent_state: block.field(Field::CoreState),
        };
        let masks: &[u8] = block.field(Field::Mask);
        let (envs, headers) = (block.layout().spec().envs, block.headers());
        let task_of = |column: usize| headers[column / envs].task as usize;
        let several = headers.iter().any(|header| header.task != headers[0].task);
        let factor = |task: usize| self.reward_factors.get(task).copied().unwrap_or(1.0);
        let factors: Vec<f32> = if several {
            (0..columns).map(|column| factor(task_of(column))).collect()
        } else {
            Vec::new()
        };
        let config = &LossConfig {
            reward_scale: if several { 1.0 } else { factor(task_of(0)) } * self.config.reward_scale,
            ..self.config
        };
        let batch = Batch {
            columns,
            action: &env.action,
            actions,
            masks: &masks[..(transitions + columns) * env.mask_bytes()],
            rewards,
            behaviour_log_probs: &block.field(Field::LogProb)[..transitions],
            flags,
            reward_factors: &factors,
        };
        let bound = |part| (part * columns as u64 / parts) as usize;
        let columns_of_part = bound(part)..bound(part + 1);
        let objective = BlockObjective {
            weight: if self.undivided {
                1.0
            } else {
                config.weight(batch.transitions(&columns_of_part))
            },
            batch,
            part: columns_of_part,
            config,
            task_of: several.then_some(&task_of),
            of_tasks: Parts::default(),
            idle: &self.losses,
            sums: Parts::default(),
            looked: Parts::default(),
            advantages: match advantages.take() {
                Some(moments) if part > 0 => OnceLock::from(Some(moments)),
                _ => OnceLock::new(),
            },
        };
        let usable =
            self.engine.gradient(parameters, &observations, &objective, gradient, times)?;
        *advantages = objective.advantages.get().copied().flatten();
        let sums = objective.sums.fold(LossSums::add).unwrap_or_default();
        if several {
            let of_tasks = objective.of_tasks.fold(add_each).unwrap_or_default();
            for (task, loss) in of_tasks.into_iter().enumerate() {
                self.add_task_loss(task, loss);
            }
        } else {
            self.add_task_loss(task_of(0), (&sums).into());
        }
        Ok(usable.then_some(sums))
    }
}

/// Adds the losses of each task to those that were found before.
fn add_each(sums: &mut Vec<TaskLoss>, part: &Vec<TaskLoss>) {
    if sums.len() < part.len() {
        sums.resize_with(part.len(), TaskLoss::default);
    }
    sums.iter_mut().zip(part).for_each(|(sum, part)| sum.add(*part));
}

/// What a gradient is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockShare<'a> {
    /// The block.
    pub(crate) block: &'a BlockRef<'a>,
    /// The first transitions of each column, as many as these.
    pub(crate) steps: usize,
    /// Part `.0` of `.1` of the columns; `(0, 1)`: of all.
    pub(crate) part: (u64, u64),
}

/// The loss over one block, or a part of it.
struct BlockObjective<'a> {
    batch: Batch<'a>,
    /// The columns that it is about.
    part: Range<usize>,
    config: &'a LossConfig,
    weight: f32,
    /// The task of a column, where there are several.
    task_of: Option<&'a (dyn Fn(usize) -> usize + Sync)>,
    of_tasks: Parts<Vec<TaskLoss>>,
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
            of_tasks: Vec::new(),
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
    of_tasks: Vec<TaskLoss>,
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
        let BlockObjective { batch, config, weight, task_of, looked, advantages, .. } =
            self.objective;
        self.first.get_or_insert(strip.start);
        let advantages = advantages.get_or_init(|| looked.fold(AdvantageMoments::add));
        let of_block = (*weight, *advantages);
        let sums = self.loss.compute(batch, strip.clone(), (logits, values), config, of_block);
        self.sums.add(&sums);
        if let Some(task_of) = task_of {
            let last = strip.clone().map(task_of).max().unwrap_or(0);
            if self.of_tasks.len() <= last {
                self.of_tasks.resize_with(last + 1, TaskLoss::default);
            }
            self.loss.add_by_column(strip, values, task_of, &mut self.of_tasks);
        }
        sums.is_finite().then(|| (self.loss.d_logits(), self.loss.d_values()))
    }
}

impl Drop for BlockEvaluator<'_> {
    fn drop(&mut self) {
        if let Some(first) = self.first {
            match self.looked {
                Some(looked) => self.objective.looked.push(first, looked),
                None => {
                    self.objective.sums.push(first, self.sums);
                    self.objective.of_tasks.push(first, std::mem::take(&mut self.of_tasks));
                }
            }
        }
        lock(self.objective.idle).push(std::mem::take(&mut self.loss));
    }
}

/// A thread that panicked takes the process with it; what it left is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
