//! Builds the engine that computes gradients, for the learner or for an actor.

use super::{RunContext, internal, native};
use crate::learner::engine::Engine;
use crate::learner::native_engine::{NativeEngine, Order};
use crate::supervisor::ExitKind;

/// The learner's engine.
pub(super) fn of_learner(pool: &RunContext) -> Result<Box<dyn Engine>, (ExitKind, String)> {
    let learner = &pool.config.learner;
    let order =
        if pool.config.pool.schedule.is_lockstep() { Order::Fixed } else { Order::AsTheyCome };
    let local_rank = pool.rank.map_or(0, |rank| rank.local_rank);
    engine(pool, (learner.threads, order), learner.device.cuda_index(local_rank))
}

/// That of an actor that computes gradients itself: one thread, whose order of sums is always the same.
pub(super) fn of_actor(pool: &RunContext) -> Result<Box<dyn Engine>, (ExitKind, String)> {
    engine(pool, (1, Order::AsTheyCome), None)
}

/// `order` is for the native engine, the number of a CUDA device for libtorch.
fn engine(
    pool: &RunContext,
    (threads, order): (usize, Order),
    cuda: Option<usize>,
) -> Result<Box<dyn Engine>, (ExitKind, String)> {
    let micro_batch = pool.config.learner.micro_batch;
    if native(pool.config.pool.engine) {
        let engine = NativeEngine::new(&pool.network, threads).map_err(internal)?;
        return Ok(Box::new(engine.in_order(order).at_most(micro_batch)));
    }
    #[cfg(feature = "torch")]
    {
        use crate::hint::with_hint;
        use crate::learner::engine::EngineError;
        use crate::learner::torch_engine::{Place, TorchEngine};
        let engine = TorchEngine::new(&pool.network, &pool.parameters, Place::new(cuda, threads))
            .map(|engine| engine.at_most(micro_batch));
        Ok(Box::new(engine.map_err(|error| {
            let exit = match error {
                EngineError::NoDevice { .. } => ExitKind::Usage,
                EngineError::Libtorch { .. } => ExitKind::Resources,
            };
            (exit, with_hint(&error))
        })?))
    }
    #[cfg(not(feature = "torch"))]
    {
        let _only_libtorch_has_devices = cuda;
        Err(internal("this build has no libtorch"))
    }
}
