//! The libtorch engine of the learner: any network, any device. Autograd only runs from the network's outputs
//! backwards; loss, clipping and optimizer are shared with the native engine.
//!
//! Convolutions on the CPU are worked through strip by strip, as in the other engine: some columns over
//! all time steps go through network, loss and back before the next do. Their activations then stay in
//! the caches and in memory that was used just before, and threads take strips from one queue.

mod share;

use tch::{Device, TchError};

use super::engine::{Engine, EngineError, Objective, Observations, StageTimes, Stopwatch};
use super::strips::{StripThreads, Strips};
use crate::policy::spec::{NetworkSpec, ParamSpec};
use crate::policy::torch::TorchNetwork;
use share::StripWorker;

/// Numbers that a strip computes on its way forwards, about: 24 MiB. Measured for the Nature network on
/// 84x84 pixels, where half as many or half as many again are as good, and a block of 1344 rows at once
/// takes half as long again.
const STRIP_ACTIVATIONS: usize = 6 << 20;
/// A thread is not worth waking for fewer.
const MIN_ACTIVATIONS: usize = 1 << 20;

/// Where a network learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the CPU.
    Cpu {
        /// Threads of libtorch in this process, at least 1.
        threads: usize,
    },
    /// On a GPU.
    Cuda {
        /// Which one.
        index: usize,
    },
}

impl Place {
    /// The GPU of this number, or so many threads of the CPU.
    #[must_use]
    pub fn new(cuda: Option<usize>, threads: usize) -> Self {
        cuda.map_or(Self::Cpu { threads }, |index| Self::Cuda { index })
    }
}

/// A network in libtorch that learns.
#[derive(Debug)]
pub struct TorchEngine {
    threads: StripThreads<StripWorker>,
    /// Numbers computed for one observation, if a block is worked through in strips.
    activations: Option<usize>,
    /// Most columns of a strip.
    most_columns: usize,
}

impl TorchEngine {
    /// Prepares the network at `place`.
    ///
    /// # Errors
    /// If libtorch cannot use the device.
    pub fn new(
        spec: &NetworkSpec,
        parameters: &ParamSpec,
        place: Place,
    ) -> Result<Self, EngineError> {
        let (device, threads) = match place {
            Place::Cpu { threads } => (Device::Cpu, threads.max(1)),
            Place::Cuda { index } => {
                if !tch::Cuda::is_available() {
                    return Err(EngineError::NoDevice { index });
                }
                (Device::Cuda(index), 1)
            }
        };
        let strips = device == Device::Cpu && spec.torso.is_convolutional();
        // Threads of our own instead of libtorch's: they wait for nothing but the end of the block.
        let (ours, of_libtorch) = if strips { (threads, 1) } else { (1, threads) };
        tch::set_num_threads(i32::try_from(of_libtorch).unwrap_or(i32::MAX));
        let network =
            TorchNetwork::new(spec, parameters, device, true).map_err(|e| failed("set-up", &e))?;
        let worker = || Ok(StripWorker::new(network.share()));
        let threads = StripThreads::new(ours, || tch::set_num_threads(1), worker)?;
        Ok(Self {
            threads,
            activations: strips.then_some(parameters.activations()),
            most_columns: usize::MAX,
        })
    }

    /// The same with strips of at most so many columns, if a number is given.
    #[must_use]
    pub(crate) fn at_most(self, columns: Option<usize>) -> Self {
        Self { most_columns: columns.unwrap_or(usize::MAX).max(1), ..self }
    }

    fn run(&mut self, work: &Work<'_>) {
        self.threads.run(self.threads.count(), |share| share.run(work));
    }
}

impl Engine for TorchEngine {
    fn gradient(
        &mut self,
        parameters: &[f32],
        observations: &Observations<'_>,
        objective: &dyn Objective,
        gradient: &mut [f32],
        times: &mut StageTimes,
    ) -> Result<bool, EngineError> {
        let mut watch = Stopwatch::start();
        self.threads.workers()[0]
            .network
            .load(parameters)
            .map_err(|e| failed("loading weights", &e))?;
        let k = observations.spec.frame_stack;
        let valid = if k > 1 { observations.valid_frames() } else { Vec::new() };
        let part = objective.part().unwrap_or(0..observations.columns);
        let columns = part.len();
        let steps = observations.unroll + 1;
        let width = self.activations.map_or(columns, |activations| {
            strip_width(columns, steps.saturating_mul(activations), self.threads.count())
        });
        let width = width.min(self.most_columns);
        let strips = Strips::new(&(0..observations.columns), width);
        let mut work = Work { learn: true, observations, valid, objective, strips };
        times.batching += watch.restart();
        if objective.looks_first() && work.strips.several() {
            work.learn = false;
            self.run(&work);
            for share in self.threads.workers() {
                share.take_outcome()?;
            }
            work.learn = true;
            times.forward += watch.restart();
        }
        work.strips = Strips::new(&part, width);
        self.run(&work);
        let mut usable = true;
        for share in self.threads.workers() {
            usable &= share.take_outcome()?;
        }
        // Its own waiting included, so that stages add up to the time of the update.
        let mut spent = self.threads.workers()[0].times;
        spent.backward += watch.restart().saturating_sub(spent.sum());
        times.add(&spent);
        if usable {
            gradient.fill(0.0);
            for share in self.threads.workers() {
                share.add_gradient(gradient).map_err(|e| failed("backward", &e))?;
            }
        }
        times.backward += watch.restart();
        Ok(usable)
    }

    fn name(&self) -> &'static str {
        "libtorch"
    }
}

/// One block, and what is left to do of it.
struct Work<'a> {
    /// Or only look at the outputs.
    learn: bool,
    observations: &'a Observations<'a>,
    /// `[T + 1][B]`, for stacks of frames: how many of them belong to the episode.
    valid: Vec<u8>,
    objective: &'a dyn Objective,
    strips: Strips,
}

/// Columns of a strip, out of `columns` of `activations` numbers each: as many as suit the caches, and
/// no more than leave a strip for each of `threads` that is worth it.
fn strip_width(columns: usize, activations: usize, threads: usize) -> usize {
    let wanted = (STRIP_ACTIVATIONS / activations.max(1)).clamp(1, columns);
    let worth = columns.saturating_mul(activations) / MIN_ACTIVATIONS;
    let strips = columns.div_ceil(wanted).next_multiple_of(worth.clamp(1, threads));
    columns.div_ceil(strips)
}

fn failed(stage: &'static str, error: &TchError) -> EngineError {
    EngineError::Libtorch {
        stage,
        message: error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::strip_width;

    #[test]
    fn strips_suit_the_caches_and_are_shared_evenly() {
        // 21 steps of the Nature network: 125 rows are 5 columns.
        let nature = 21 * 50_000;
        assert_eq!(strip_width(64, nature, 1), 5);
        assert_eq!(strip_width(64, nature, 2), 5);
        assert_eq!(strip_width(8, nature, 2), 4);
        assert_eq!(strip_width(8, nature, 16), 1);
        // A small network, whose block one thread takes at once.
        assert_eq!(strip_width(32, 10 * 1_000, 8), 32);
        assert_eq!(strip_width(320, 10 * 1_000, 2), 160);
        // A column that is too large by itself.
        assert_eq!(strip_width(3, 100 << 20, 2), 1);
        assert_eq!(strip_width(1, 1, 1), 1);
    }
}
