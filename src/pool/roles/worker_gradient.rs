//! Computes gradients of unrolls in an actor, for runs whose ring carries gradients.

use super::{RunContext, engine};
use crate::actor::{ActorError, GradientSource};
use crate::build;
use crate::env::EnvSpec;
use crate::learner::engine::StageTimes;
use crate::learner::gradient::{BlockShare, LossGradient};
use crate::learner::loss::LossSums;
use crate::learner::optimizer::{clip_factor, global_norm};
use crate::metrics::{TaskCounter, TaskCounters};
use crate::supervisor::ExitKind;
use crate::unroll::{BlockRef, LOSS_WORDS};

/// The gradient of an unroll with respect to the weights that acted.
pub(super) struct WorkerGradient<'p> {
    source: LossGradient,
    env: EnvSpec,
    max_norm: f32,
    /// Where the learner says what the rewards of each task are multiplied by. It does so before it opens a block, where blocks are filled in
    /// turn, so that all actors find the same there.
    tasks: Vec<TaskCounters<'p>>,
    normalize_rewards: bool,
}

impl<'p> WorkerGradient<'p> {
    pub(super) fn new(pool: &'p RunContext) -> Result<Self, (ExitKind, String)> {
        let config = &pool.config;
        Ok(Self {
            source: LossGradient::new(engine::of_actor(pool)?, build::loss(config)),
            env: config.env.spec.clone(),
            max_norm: config.learner.worker_max_grad_norm as f32,
            tasks: (0..config.pool.tasks).map(|task| pool.memory.task(task)).collect(),
            normalize_rewards: config.learner.normalize_rewards,
        })
    }
}

impl GradientSource for WorkerGradient<'_> {
    fn gradient(
        &mut self,
        parameters: &[f32],
        (block, steps): (&BlockRef<'_>, usize),
        gradient: &mut [f32],
    ) -> Result<[u64; LOSS_WORDS], ActorError> {
        if self.normalize_rewards {
            for (task, counters) in self.tasks.iter().enumerate() {
                let factor = counters.get_f64(TaskCounter::RewardFactor) as f32;
                // It is 0 until the learner has seen a return.
                self.source.scale_rewards(task, if factor > 0.0 { factor } else { 1.0 });
            }
        }
        let share = BlockShare { block, steps, part: (0, 1) };
        let mut times = StageTimes::default();
        let sums = self
            .source
            .compute(parameters, share, &self.env, &mut None, gradient, &mut times)
            .map_err(|error| ActorError::Gradient { message: error.to_string() })?;
        let Some(sums) = sums else {
            // The learner skips an update whose loss is not finite.
            gradient.fill(0.0);
            let nothing = LossSums { policy: f64::NAN, ..LossSums::default() };
            return Ok(bytemuck::cast(nothing));
        };
        let scale = clip_factor(global_norm(gradient), self.max_norm);
        if scale < 1.0 {
            gradient.iter_mut().for_each(|g| *g *= scale);
        }
        Ok(bytemuck::cast(sums))
    }
}
