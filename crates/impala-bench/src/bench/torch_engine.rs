//! Builds the learner's libtorch engine for a configuration.

use super::error::BenchError;
use super::setup::Setup;
use impala_rl::learner::engine::Engine;
use impala_rl::learner::torch_engine::{Place, TorchEngine};

pub(super) fn engine(setup: &Setup) -> Result<Box<dyn Engine>, BenchError> {
    let learner = &setup.config.learner;
    let place = Place::new(learner.device.cuda_index(0), learner.threads);
    let (network, parameters) = (&setup.network, &setup.parameters);
    Ok(Box::new(TorchEngine::new(network, parameters, place)?))
}
