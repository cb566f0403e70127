//! What computes gradients, for the learner or for an actor.

use super::{RunContext, internal, native};
#[cfg(feature = "torch")]
use crate::hint::with_hint;
use crate::learner::engine::Engine;
use crate::learner::native_engine::{NativeEngine, Order};
use crate::supervisor::ExitKind;

/// The learner's engine.
pub(super) fn of_learner(pool: &RunContext) -> Result<Box<dyn Engine>, (ExitKind, String)> {
    let learner = &pool.config.learner;
    let order =
        if pool.config.pool.schedule.is_lockstep() { Order::Fixed } else { Order::AsTheyCome };
    #[cfg(feature = "torch")]
    {
        use crate::config::Device;
        use crate::learner::torch_engine::Place;
        let place = match learner.device {
            Device::Cpu => Place::Cpu { threads: learner.threads },
            Device::Cuda(index) => Place::Cuda { index },
        };
        engine(pool, (learner.threads, order), place)
    }
    #[cfg(not(feature = "torch"))]
    engine(pool, (learner.threads, order))
}

/// That of an actor that computes gradients itself: one thread, whose order of sums is always the same.
pub(super) fn of_actor(pool: &RunContext) -> Result<Box<dyn Engine>, (ExitKind, String)> {
    #[cfg(feature = "torch")]
    return engine(
        pool,
        (1, Order::AsTheyCome),
        crate::learner::torch_engine::Place::Cpu { threads: 1 },
    );
    #[cfg(not(feature = "torch"))]
    engine(pool, (1, Order::AsTheyCome))
}

fn engine(
    pool: &RunContext,
    (threads, order): (usize, Order),
    #[cfg(feature = "torch")] place: crate::learner::torch_engine::Place,
) -> Result<Box<dyn Engine>, (ExitKind, String)> {
    if native(pool.config.pool.engine) {
        let engine = NativeEngine::new(&pool.network, threads).map_err(internal)?;
        return Ok(Box::new(engine.in_order(order)));
    }
    #[cfg(feature = "torch")]
    {
        use crate::learner::engine::EngineError;
        use crate::learner::torch_engine::TorchEngine;
        let engine = TorchEngine::new(&pool.network, &pool.parameters, place);
        Ok(Box::new(engine.map_err(|error| {
            let exit = match error {
                EngineError::NoDevice { .. } => ExitKind::Usage,
                EngineError::Libtorch { .. } => ExitKind::Resources,
            };
            (exit, with_hint(&error))
        })?))
    }
    #[cfg(not(feature = "torch"))]
    Err(internal("this build has no libtorch"))
}
