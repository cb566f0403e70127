//! The learner's engine on libtorch for a configuration.

use super::error::BenchError;
use super::setup::Setup;
use impala_rl::config::Device;
use impala_rl::learner::engine::Engine;
use impala_rl::learner::torch_engine::{Place, TorchEngine};

pub(super) fn engine(setup: &Setup) -> Result<Box<dyn Engine>, BenchError> {
    let learner = &setup.config.learner;
    let place = match learner.device {
        Device::Cpu => Place::Cpu { threads: learner.threads },
        Device::Cuda(index) => Place::Cuda { index },
    };
    let (network, parameters) = (&setup.network, &setup.parameters);
    Ok(Box::new(TorchEngine::new(network, parameters, place)?))
}
