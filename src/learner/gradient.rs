//! Loss and gradient of one block: the engine's outputs through the loss, strip by strip.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::engine::{Engine, EngineError, Evaluator, Objective, Observations, StageTimes};
use super::loss::{AdvantageMoments, Batch, Loss, LossConfig, LossSums};
use crate::env::EnvSpec;
use crate::unroll::{BlockRef, Field};

/// What makes a gradient of a block: an engine, the loss, and their buffers.
pub(crate) struct LossGradient {
    engine: Box<dyn Engine>,
    losses: Mutex<Vec<Loss>>,
    config: LossConfig,
    /// That of the configuration.
    reward_scale: f32,
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
        Self { engine, losses: Mutex::new(Vec::new()), reward_scale: config.reward_scale, config }
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

    /// Multiplies rewards by `factor` from now on, beside the configured scale.
    pub(crate) const fn scale_rewards(&mut self, factor: f32) {
        self.config.reward_scale = self.reward_scale * factor;
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
        let batch = Batch {
            columns,
            action: &env.action,
            actions,
            masks: &masks[..(transitions + columns) * env.mask_bytes()],
            rewards,
            behaviour_log_probs: &block.field(Field::LogProb)[..transitions],
            flags,
        };
        let bound = |part| (part * columns as u64 / parts) as usize;
        let columns_of_part = bound(part)..bound(part + 1);
        let objective = BlockObjective {
            weight: self.config.weight(batch.transitions(&columns_of_part)),
            batch,
            part: columns_of_part,
            config: &self.config,
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
        Ok(usable.then_some(sums))
    }
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
