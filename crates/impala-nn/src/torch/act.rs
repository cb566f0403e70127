//! The libtorch policy: runs the network with libtorch on the CPU, for acting.

use tch::{Device, Kind, TchError, Tensor};

use super::{Blob, NetworkInputs, TorchNetwork, dimensions};
use crate::act::{ActError, ActInputs, Policy};
use crate::frames::StackedFrames;
use crate::inputs::encode;
use crate::spec::{NetworkSpec, ParamSpec};
use impala_env::Dtype;

/// A network on the CPU, one thread, no autograd.
#[derive(Debug)]
pub struct TorchPolicy {
    network: TorchNetwork,
    input_shape: Vec<i64>,
    /// `[E][S]`: state of the core before the next observations; empty without one.
    state: Vec<f32>,
    /// `[E][extra_inputs]`.
    extra: Vec<f32>,
}

impl TorchPolicy {
    /// A policy for `envs` environments, with zero weights and a zero state; sets libtorch to one thread
    /// in this process.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn new(spec: &NetworkSpec, parameters: &ParamSpec, envs: usize) -> Result<Self, ActError> {
        tch::set_num_threads(1);
        let network =
            TorchNetwork::new(spec, parameters, Device::Cpu, false).map_err(|e| failed(&e))?;
        Ok(Self {
            input_shape: network.input_shape(),
            state: vec![0.0; envs * spec.state_len()],
            extra: vec![0.0; envs * spec.extra_inputs()],
            network,
        })
    }

    fn forward(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), TchError> {
        let _guard = tch::no_grad_guard();
        let spec = self.network.spec();
        let envs = inputs.observations.envs();
        let observations = stack(&inputs.observations)?;
        let mut shape = dimensions(&[envs]);
        shape.extend(&self.input_shape);
        let (width, words) = (spec.extra_inputs(), spec.action.words());
        let extra = if width > 0 {
            self.extra.resize(envs * width, 0.0);
            for (env, out) in self.extra.chunks_exact_mut(width).enumerate() {
                let action = &inputs.last_actions[env * words..(env + 1) * words];
                encode(&spec.action, action, inputs.last_rewards[env], inputs.flags[env], out);
            }
            Some(Blob::new(&self.extra, &dimensions(&[envs, width]))?)
        } else {
            None
        };
        let state = if self.state.is_empty() {
            None
        } else {
            Some(Blob::new(&self.state, &dimensions(&[envs, spec.state_len()]))?)
        };
        let outputs = self.network.forward(&NetworkInputs {
            observations: &observations.f_reshape(&shape)?,
            extra: extra.as_ref().map(Blob::tensor),
            state: state.as_ref().map(Blob::tensor),
            flags: inputs.flags,
        })?;
        drop(state);
        if let Some(state) = outputs.state {
            let count = self.state.len();
            state.f_contiguous()?.f_copy_data(&mut self.state, count)?;
        }
        let count = logits.len();
        outputs.logits.f_contiguous()?.f_copy_data(logits, count)
    }
}

/// `[E][k][frame]` f32 from k rows in the ring: one pass, which also converts bytes.
fn stack(observations: &StackedFrames<'_>) -> Result<Tensor, TchError> {
    let spec = observations.spec;
    let shape = dimensions(&[observations.envs(), 1, spec.frame_len()]);
    let k = spec.frame_stack;
    let mut rows = Vec::with_capacity(k);
    for row in (0..k).map(|row| observations.row(row)) {
        rows.push(match spec.dtype {
            Dtype::F32 => Blob::new(bytemuck::cast_slice::<u8, f32>(row), &shape)?,
            Dtype::U8 => Blob::new::<u8>(row, &shape)?,
        });
    }
    let tensors: Vec<&Tensor> = rows.iter().map(Blob::tensor).collect();
    let mut input = Tensor::f_cat(&tensors, 1)?;
    if spec.dtype == Dtype::U8 {
        input = input.f_to_kind(Kind::Float)?.f_mul_scalar_(1.0 / 255.0)?;
    }
    if observations.valid.iter().any(|&valid| usize::from(valid) < k) {
        let mask: Vec<f32> = valid_mask(observations.valid, k);
        let mask = Blob::new(&mask, &dimensions(&[observations.envs(), k, 1]))?;
        input = input.f_mul_(mask.tensor())?;
    }
    Ok(input)
}

/// `[N][k]`, 1 where the frame belongs to the observation's episode, oldest first.
pub fn valid_mask(valid: &[u8], k: usize) -> Vec<f32> {
    valid
        .iter()
        .flat_map(|&valid| {
            (0..k).map(move |slot| if k - slot <= usize::from(valid) { 1.0 } else { 0.0 })
        })
        .collect()
}

impl Policy for TorchPolicy {
    fn load(&mut self, parameters: &[f32]) {
        self.network.load(parameters).expect("parameters have the length of the layout");
    }

    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        self.forward(inputs, logits).map_err(|e| failed(&e))
    }

    fn recurrent_state(&self) -> &[f32] {
        &self.state
    }

    fn set_state(&mut self, state: &[f32]) {
        let len = self.network.spec().state_len();
        let whole = state.len().checked_rem(len).unwrap_or(state.len()) == 0;
        assert!(whole, "{} numbers of state", state.len());
        self.state.clear();
        self.state.extend_from_slice(state);
    }
}

fn failed(error: &TchError) -> ActError {
    ActError::Library(error.to_string().lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_env::ObservationSpec;

    #[test]
    fn stacking_equals_the_plain_loop() {
        let spec = ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[2]) };
        let rows: [&[u8]; 3] = [&[255, 1, 51, 51], &[0, 255, 102, 2], &[51, 3, 255, 0]];
        let frames = StackedFrames::of_step(&spec, &rows, &[3, 1]);
        let mut expected = [0.0; 12];
        frames.write_f32(&mut expected);
        let stacked =
            Vec::<f32>::try_from(stack(&frames).expect("stacks").reshape([-1])).expect("f32");
        for (a, e) in stacked.iter().zip(expected) {
            assert!((a - e).abs() < 1e-6, "{stacked:?}");
        }
    }
}
