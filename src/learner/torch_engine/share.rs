//! The work of one thread in an update with libtorch: takes strips of columns through the network, the loss, and the
//! backward pass.

use std::ops::Range;

use tch::{Device, Kind, TchError, Tensor};

use super::{Work, failed};
use crate::env::Dtype;
use crate::learner::engine::{EngineError, Evaluator, Observations, StageTimes, Stopwatch};
use crate::learner::strip_inputs::{StripInputs, state};
use crate::policy::torch::{
    Blob, NetworkInputs, NetworkOutputs, TorchNetwork, dimensions, valid_mask,
};

/// What one thread works with.
#[derive(Debug)]
pub(super) struct StripWorker {
    pub(super) network: TorchNetwork,
    input_shape: Vec<i64>,
    seen: StripInputs,
    logits: Vec<f32>,
    values: Vec<f32>,
    /// Sum over the strips, one tensor for each leaf; empty before the first.
    gradients: Vec<Tensor>,
    pub(super) times: StageTimes,
    outcome: Result<bool, EngineError>,
}

impl StripWorker {
    pub(super) fn new(network: TorchNetwork) -> Self {
        Self {
            input_shape: network.input_shape(),
            seen: StripInputs::default(),
            network,
            logits: Vec::new(),
            values: Vec::new(),
            gradients: Vec::new(),
            times: StageTimes::default(),
            outcome: Ok(true),
        }
    }

    /// Takes strips until there are none, or one fails, or the loss of one is not finite.
    pub(super) fn run(&mut self, work: &Work<'_>) {
        self.times = StageTimes::default();
        self.gradients.clear();
        self.outcome = Ok(true);
        let mut evaluator = work.objective.evaluator();
        while let Some(strip) = work.strips.next() {
            self.outcome = self.strip(work, strip, evaluator.as_mut());
            if !matches!(self.outcome, Ok(true)) {
                break;
            }
        }
    }

    /// Whether all strips of the last run were of use.
    pub(super) fn take_outcome(&mut self) -> Result<bool, EngineError> {
        std::mem::replace(&mut self.outcome, Ok(false))
    }

    /// Adds the gradient of the last run to `flat`.
    pub(super) fn add_gradient(&mut self, flat: &mut [f32]) -> Result<(), TchError> {
        let mut rest = flat;
        for tensor in self.gradients.drain(..) {
            let (target, tail) = rest.split_at_mut(tensor.numel());
            let numbers = Vec::<f32>::try_from(
                tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_reshape([-1])?,
            )?;
            target.iter_mut().zip(numbers).for_each(|(sum, part)| *sum += part);
            rest = tail;
        }
        Ok(())
    }

    fn strip(
        &mut self,
        work: &Work<'_>,
        strip: Range<usize>,
        evaluator: &mut dyn Evaluator,
    ) -> Result<bool, EngineError> {
        let mut watch = Stopwatch::start();
        let input = self.input(work, &strip).map_err(|e| failed("batching", &e))?;
        self.times.batching += watch.restart();
        let outputs = self
            .forward(work.observations, &strip, input.tensor())
            .and_then(|outputs| {
                copy_out(&outputs.logits, &mut self.logits)?;
                copy_out(&outputs.values, &mut self.values)?;
                Ok(outputs)
            })
            .map_err(|e| failed("forward", &e))?;
        self.times.forward += watch.restart();
        if !work.learn {
            evaluator.look(strip, &self.logits, &self.values);
            self.times.loss += watch.restart();
            return Ok(true);
        }
        let gradients = evaluator.gradients(strip, &self.logits, &self.values);
        self.times.loss += watch.restart();
        let Some((d_logits, d_values)) = gradients else {
            return Ok(false);
        };
        let outputs = [&outputs.logits, &outputs.values];
        let parts = backward(&self.network, outputs, [d_logits, d_values])
            .map_err(|e| failed("backward", &e))?;
        if self.gradients.is_empty() {
            self.gradients = parts;
        } else {
            for (sum, part) in self.gradients.iter_mut().zip(&parts) {
                // Not in place: autograd gives parameters that are only ever added, as the biases of a
                // core are, one tensor between them.
                *sum = sum.f_add(part).map_err(|e| failed("backward", &e))?;
            }
        }
        self.times.backward += watch.restart();
        Ok(true)
    }

    /// The network's view of the columns `strip`, `[N] + input_shape` f32 on the device. For f32 frames
    /// without a stack on the CPU it is the block's memory itself if the strip is all of it.
    fn input<'a>(&self, work: &Work<'a>, strip: &Range<usize>) -> Result<Blob<'a>, TchError> {
        let Observations { spec, unroll, columns, frames, .. } = *work.observations;
        let (k, frame, steps) = (spec.frame_stack, spec.frame_len(), unroll + 1);
        // Observation t is frames t .. t + k: overlapping strides stack them without a copy.
        let shape = dimensions(&[steps, strip.len(), k, frame]);
        let row = columns * frame;
        let strides = dimensions(&[row, frame, row, 1]);
        let start = strip.start * frame;
        let stacked = match spec.dtype {
            Dtype::F32 => {
                let numbers = bytemuck::cast_slice::<u8, f32>(frames);
                Blob::strided(&numbers[start..], &shape, &strides)?
            }
            Dtype::U8 => Blob::strided(&frames[start..], &shape, &strides)?,
        };
        let device = self.network.device();
        stacked.map(|frames| {
            let mut input = frames.f_to_device(device)?;
            if spec.dtype == Dtype::U8 {
                input = input.f_to_kind(Kind::Float)?.f_mul_scalar_(1.0 / 255.0)?;
            }
            let rows = work.valid.chunks_exact(columns);
            let valid: Vec<u8> = rows.flat_map(|row| &row[strip.clone()]).copied().collect();
            if valid.iter().any(|&n| usize::from(n) < k) {
                let mask = valid_mask(&valid, k);
                let mask = Blob::new(&mask, &dimensions(&[steps, strip.len(), k, 1]))?;
                input = input.f_mul(&mask.tensor().f_to_device(device)?)?;
            }
            let mut shape = dimensions(&[steps * strip.len()]);
            shape.extend(&self.input_shape);
            input.f_reshape(&shape)
        })
    }

    fn forward(
        &mut self,
        observations: &Observations<'_>,
        strip: &Range<usize>,
        input: &Tensor,
    ) -> Result<NetworkOutputs, TchError> {
        let spec = self.network.spec();
        let device = self.network.device();
        self.seen.gather(spec, observations, strip);
        let StripInputs { flags, extra } = &self.seen;
        let rows = (observations.unroll + 1) * strip.len();
        let extra = match spec.extra_inputs() {
            0 => None,
            width => {
                let shape = dimensions(&[rows, width]);
                Some(Tensor::f_from_slice(extra)?.f_reshape(&shape)?.f_to_device(device)?)
            }
        };
        let state = match spec.state_len() {
            0 => None,
            len => {
                let numbers = state(spec, observations, strip);
                let shape = dimensions(&[strip.len(), len]);
                Some(Tensor::f_from_slice(numbers)?.f_reshape(&shape)?.f_to_device(device)?)
            }
        };
        self.network.forward(&NetworkInputs {
            observations: input,
            extra: extra.as_ref(),
            state: state.as_ref(),
            flags,
        })
    }
}

/// The gradient of `sum(outputs * weights)` (over as many rows as there are weights, the rest has none),
/// which is the chain rule from the outputs down, one tensor for each leaf. The graph of that sum is
/// dropped here, before the weights' memory is lent to anyone else.
fn backward(
    network: &TorchNetwork,
    outputs: [&Tensor; 2],
    weights: [&[f32]; 2],
) -> Result<Vec<Tensor>, TchError> {
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
    Tensor::f_run_backward(&[total], network.learnt_leaves(), false, false)
}

fn copy_out(tensor: &Tensor, target: &mut Vec<f32>) -> Result<(), TchError> {
    target.resize(tensor.numel(), 0.0);
    let count = target.len();
    tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?.f_copy_data(target, count)
}
