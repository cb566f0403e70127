//! The engine on libtorch: any network, any device. Autograd runs from the outputs backwards only;
//! loss, clipping and optimiser are shared with the other engine.

use tch::{Device, Kind, TchError, Tensor};

use super::engine::{Engine, EngineError, Lap, Objective, Observations, StageTimes};
use crate::env::Dtype;
use crate::policy::spec::{NetworkSpec, ParamSpec};
use crate::policy::torch::{Blob, TorchNetwork, dimensions, valid_mask};

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

/// A network in libtorch that learns.
#[derive(Debug)]
pub struct TorchEngine {
    network: TorchNetwork,
    input_shape: Vec<i64>,
    logits: Vec<f32>,
    values: Vec<f32>,
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
        let device = match place {
            Place::Cpu { threads } => {
                tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX).max(1));
                Device::Cpu
            }
            Place::Cuda { index } => {
                if !tch::Cuda::is_available() {
                    return Err(EngineError::NoDevice { index });
                }
                Device::Cuda(index)
            }
        };
        let network =
            TorchNetwork::new(spec, parameters, device, true).map_err(|e| failed("set-up", &e))?;
        Ok(Self {
            input_shape: network.input_shape(),
            network,
            logits: Vec::new(),
            values: Vec::new(),
        })
    }

    /// The network's input, `[N] + input_shape` f32 on the device. For f32 frames without a stack on the
    /// CPU it is the block's memory itself.
    fn input<'a>(&self, observations: &Observations<'a>) -> Result<Blob<'a>, TchError> {
        let (spec, k) = (observations.spec, observations.spec.frame_stack);
        let (steps, columns, frame) =
            (observations.unroll + 1, observations.columns, spec.frame_len());
        // Observation t is frames t .. t + k: overlapping strides stack them without a copy.
        let shape = dimensions(&[steps, columns, k, frame]);
        let row = columns * frame;
        let strides = dimensions(&[row, frame, row, 1]);
        let stacked = match spec.dtype {
            Dtype::F32 => Blob::strided(
                bytemuck::cast_slice::<u8, f32>(observations.frames),
                &shape,
                &strides,
            )?,
            Dtype::U8 => Blob::strided(observations.frames, &shape, &strides)?,
        };
        let device = self.network.device();
        stacked.map(|frames| {
            let mut input = frames.f_to_device(device)?;
            if spec.dtype == Dtype::U8 {
                input = input.f_to_kind(Kind::Float)?.f_mul_scalar_(1.0 / 255.0)?;
            }
            let valid = if k > 1 { observations.valid_frames() } else { Vec::new() };
            if valid.iter().any(|&n| usize::from(n) < k) {
                let mask = valid_mask(&valid, k);
                let mask = Blob::new(&mask, &dimensions(&[steps, columns, k, 1]))?;
                input = input.f_mul(&mask.tensor().f_to_device(device)?)?;
            }
            let mut shape = dimensions(&[steps * columns]);
            shape.extend(&self.input_shape);
            input.f_reshape(&shape)
        })
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
        let mut lap = Lap::start();
        self.network.load(parameters).map_err(|e| failed("loading weights", &e))?;
        let input = self.input(observations).map_err(|e| failed("batching", &e))?;
        times.batching += lap.lap();
        let (logits, values) =
            self.network.forward(input.tensor()).map_err(|e| failed("forward", &e))?;
        copy_out(&logits, &mut self.logits)
            .and_then(|()| copy_out(&values, &mut self.values))
            .map_err(|e| failed("forward", &e))?;
        times.forward += lap.lap();
        let mut evaluator = objective.evaluator();
        let columns = 0..observations.columns;
        let gradients = evaluator.gradients(columns, &self.logits, &self.values);
        times.loss += lap.lap();
        let Some((d_logits, d_values)) = gradients else {
            return Ok(false);
        };
        backward(&self.network, [&logits, &values], [d_logits, d_values], gradient)
            .map_err(|e| failed("backward", &e))?;
        times.backward += lap.lap();
        Ok(true)
    }

    fn name(&self) -> &'static str {
        "libtorch"
    }
}

/// Writes the gradient of `sum(outputs * weights)` (over as many rows as there are weights, the rest has
/// none), which is the chain rule from the outputs down. The
/// graph of that sum is dropped here, before the weights' memory is lent to anyone else.
fn backward(
    network: &TorchNetwork,
    outputs: [&Tensor; 2],
    weights: [&[f32]; 2],
    gradient: &mut [f32],
) -> Result<(), TchError> {
    let mut terms = Vec::with_capacity(2);
    for (output, weight) in outputs.into_iter().zip(weights) {
        let mut shape = output.size();
        shape[0] *= i64::try_from(weight.len()).unwrap_or(i64::MAX);
        shape[0] /= i64::try_from(output.numel()).unwrap_or(i64::MAX);
        let output = output.f_narrow(0, 0, shape[0])?;
        let weight = Blob::new(weight, &shape)?;
        terms.push(
            output.f_mul(&weight.tensor().f_to_device(network.device())?)?.f_sum(Kind::Float)?,
        );
    }
    let total = terms[0].f_add(&terms[1])?;
    let gradients = Tensor::f_run_backward(&[total], network.leaves(), false, false)?;
    let mut rest = gradient;
    for tensor in gradients {
        let (target, tail) = rest.split_at_mut(tensor.numel());
        let count = target.len();
        tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_copy_data(target, count)?;
        rest = tail;
    }
    Ok(())
}

fn copy_out(tensor: &Tensor, target: &mut Vec<f32>) -> Result<(), TchError> {
    target.resize(tensor.numel(), 0.0);
    let count = target.len();
    tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?.f_copy_data(target, count)
}

fn failed(stage: &'static str, error: &TchError) -> EngineError {
    EngineError::Libtorch {
        stage,
        message: error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
