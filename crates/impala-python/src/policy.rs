//! A trained policy for Python: it reads and writes arrays through the buffer protocol.

use std::path::PathBuf;

use impala_rl::env::{ActionSpec, Actions, Dtype};
use impala_rl::play::{self, Choice, PlayError, Seen};
use impala_rl::policy::spec::{Activation, NetworkSpec, Torso};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::json;

use crate::NativeError;

/// A policy. Arrays are contiguous buffers: observations of f32 or u8, masks and starts of u8, states and rewards of f32, actions as i32
/// words, logits and values of f32; their lengths are checked, their shapes are the caller's. None for what is not given.
#[pyclass(module = "impala_rl._native")]
#[derive(Debug)]
pub(crate) struct Policy {
    policy: play::Policy,
    taken: Taken,
}

/// Arrays, copied to where Rust may read them.
#[derive(Debug, Default)]
struct Taken {
    numbers: Vec<f32>,
    bytes: Vec<u8>,
    masks: Vec<u8>,
    state: Vec<f32>,
    rewards: Vec<f32>,
    starts: Vec<u8>,
}

/// The arrays of one call: observations, masks, states, rewards, starts.
type Arrays<'a, 'py> = (
    &'a Bound<'py, PyAny>,
    Option<&'a Bound<'py, PyAny>>,
    Option<&'a Bound<'py, PyAny>>,
    Option<&'a Bound<'py, PyAny>>,
    Option<&'a Bound<'py, PyAny>>,
);

impl Taken {
    fn take(&mut self, py: Python<'_>, arrays: Arrays<'_, '_>, dtype: Dtype) -> PyResult<Seen<'_>> {
        let (observations, masks, state, rewards, starts) = arrays;
        match dtype {
            Dtype::F32 => copy_in(py, observations, &mut self.numbers)?,
            Dtype::U8 => copy_in(py, observations, &mut self.bytes)?,
        }
        copy_if_given(py, masks, &mut self.masks)?;
        copy_if_given(py, state, &mut self.state)?;
        copy_if_given(py, rewards, &mut self.rewards)?;
        copy_if_given(py, starts, &mut self.starts)?;
        Ok(Seen {
            observations: match dtype {
                Dtype::F32 => bytemuck::cast_slice(&self.numbers),
                Dtype::U8 => &self.bytes,
            },
            masks: &self.masks,
            state: &self.state,
            rewards: &self.rewards,
            starts: &self.starts,
        })
    }
}

fn raised(error: &PlayError) -> PyErr {
    NativeError::new_err((error.to_string(), error.exit().code()))
}

impl Policy {
    /// Writes what the policy finds in observations.
    fn write(
        &mut self,
        py: Python<'_>,
        arrays: Arrays<'_, '_>,
        out: &Bound<'_, PyAny>,
        of: for<'a> fn(&'a mut play::Policy, &Seen<'_>) -> Result<&'a [f32], PlayError>,
    ) -> PyResult<()> {
        let seen = self.taken.take(py, arrays, self.policy.spec().observation.dtype)?;
        copy_out(py, of(&mut self.policy, &seen).map_err(|error| raised(&error))?, out)
    }
}

fn copy_if_given<T: pyo3::buffer::Element + Default>(
    py: Python<'_>,
    array: Option<&Bound<'_, PyAny>>,
    memory: &mut Vec<T>,
) -> PyResult<()> {
    memory.clear();
    array.map_or(Ok(()), |array| copy_in(py, array, memory))
}

fn copy_in<T: pyo3::buffer::Element + Default>(
    py: Python<'_>,
    array: &Bound<'_, PyAny>,
    memory: &mut Vec<T>,
) -> PyResult<()> {
    let buffer = PyBuffer::<T>::get(array)?;
    memory.resize(buffer.item_count(), T::default());
    buffer.copy_to_slice(py, memory)
}

fn copy_out<T: pyo3::buffer::Element>(
    py: Python<'_>,
    numbers: &[T],
    array: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let buffer = PyBuffer::<T>::get(array)?;
    if buffer.item_count() != numbers.len() {
        let (room, need) = (buffer.item_count(), numbers.len());
        return Err(PyValueError::new_err(format!("room for {room} numbers, there are {need}")));
    }
    buffer.copy_from_slice(py, numbers)
}

#[pymethods]
impl Policy {
    #[new]
    fn new(path: PathBuf, seed: u64) -> PyResult<Self> {
        let policy = play::Policy::load(&path, seed).map_err(|error| raised(&error))?;
        Ok(Self { policy, taken: Taken::default() })
    }

    /// Writes the words `[N][W]` of an action for each observation: choices, and the bits of numbers within their
    /// bounds. Writes the next state `[N][M]`, of a policy that has one.
    #[expect(clippy::too_many_arguments, reason = "the arrays of one call")]
    fn act(
        &mut self,
        py: Python<'_>,
        observations: &Bound<'_, PyAny>,
        masks: Option<&Bound<'_, PyAny>>,
        state: Option<&Bound<'_, PyAny>>,
        rewards: Option<&Bound<'_, PyAny>>,
        starts: Option<&Bound<'_, PyAny>>,
        greedy: bool,
        words: &Bound<'_, PyAny>,
        next: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let arrays = (observations, masks, state, rewards, starts);
        let seen = self.taken.take(py, arrays, self.policy.spec().observation.dtype)?;
        let choice = if greedy { Choice::Greedy } else { Choice::Sampled };
        let (actions, state) = self.policy.act(&seen, choice).map_err(|error| raised(&error))?;
        match actions {
            Actions::Discrete(found) | Actions::Hybrid(found) => copy_out(py, found, words)?,
            Actions::Continuous(found) => copy_out::<i32>(py, bytemuck::cast_slice(found), words)?,
        }
        next.map_or(Ok(()), |next| copy_out(py, state, next))
    }

    /// Writes the outputs `[N][outputs]` of the policy's head.
    fn logits(
        &mut self,
        py: Python<'_>,
        observations: &Bound<'_, PyAny>,
        state: Option<&Bound<'_, PyAny>>,
        rewards: Option<&Bound<'_, PyAny>>,
        starts: Option<&Bound<'_, PyAny>>,
        out: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.write(py, (observations, None, state, rewards, starts), out, play::Policy::logits)
    }

    /// Writes the values `[N]`.
    fn values(
        &mut self,
        py: Python<'_>,
        observations: &Bound<'_, PyAny>,
        state: Option<&Bound<'_, PyAny>>,
        rewards: Option<&Bound<'_, PyAny>>,
        starts: Option<&Bound<'_, PyAny>>,
        out: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.write(py, (observations, None, state, rewards, starts), out, play::Policy::values)
    }

    /// What it is, as JSON.
    fn describe(&self) -> String {
        let policy = &self.policy;
        let spec = policy.spec();
        let (low, high) = spec.action.bounds();
        let bound = |numbers: &[f32]| -> Vec<Option<f32>> {
            numbers.iter().map(|&x| Some(x).filter(|x| x.is_finite())).collect()
        };
        json!({
            "env": spec.id,
            "run_dir": policy.run_dir(),
            "checkpoint": policy.checkpoint(),
            "trained_frames": policy.trained_frames(),
            "problems": policy.problems(),
            "observation": {
                "dtype": match spec.observation.dtype { Dtype::F32 => "float32", Dtype::U8 => "uint8" },
                "shape": spec.observation.shape,
                "frame_stack": spec.observation.frame_stack,
            },
            "action": {
                "kind": match spec.action {
                    ActionSpec::Discrete { .. } => "discrete",
                    ActionSpec::MultiDiscrete { .. } => "multi-discrete",
                    ActionSpec::Continuous { .. } => "continuous",
                    ActionSpec::Hybrid { .. } => "hybrid",
                },
                "sizes": spec.action.sizes(),
                "low": bound(low),
                "high": bound(high),
            },
            "masks": spec.masks,
            "state_len": policy.state_len(),
            "core_len": policy.network().state_len(),
            "network": network(policy.network()),
            // From the network's output to a value: mean and deviation.
            "value_scale": policy.value_scale().map(|scale| [scale.mean, scale.deviation]),
        })
        .to_string()
    }

    /// Name, shape and little-endian f32 bytes of each parameter.
    fn weights<'py>(&self, py: Python<'py>) -> Vec<(String, Vec<usize>, Bound<'py, PyBytes>)> {
        let weights = self.policy.weights();
        let entries = self.policy.parameters().entries().iter();
        entries
            .map(|entry| {
                let bytes = bytemuck::cast_slice(&weights[entry.range()]);
                (entry.name.clone(), entry.shape.clone(), PyBytes::new(py, bytes))
            })
            .collect()
    }
}

/// What is needed to build the network elsewhere, beside its weights.
fn network(network: &NetworkSpec) -> serde_json::Value {
    let (kind, activation, strides) = match &network.torso {
        Torso::Mlp { activation, .. } => ("mlp", *activation, Vec::new()),
        Torso::Cnn { convs, .. } => {
            ("cnn", Activation::Relu, convs.iter().map(|conv| conv.stride).collect())
        }
        Torso::ImpalaDeep { .. } => ("impala-deep", Activation::Relu, Vec::new()),
    };
    json!({
        "torso": kind,
        "activation": match activation { Activation::Tanh => "tanh", Activation::Relu => "relu" },
        "strides": strides,
        "action_reward_inputs": network.action_reward_inputs,
        "image": network.image(),
        "separate_value": network.separate_value,
        "observation_clip": network.observation_clip,
    })
}
