//! Settings whose values are names: one enum each, with the same spelling on the command line and in TOML.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What was asked to compute the network; `auto` is settled by `Config::resolve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// Native on a CPU, libtorch on a GPU
    Auto,
    /// Hand-written Rust: fastest on a CPU
    Native,
    /// libtorch: any device
    Libtorch,
}

/// The name of an algorithm: a bundle of settings, each of which is one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Asynchronous actors, corrected by V-trace
    Impala,
    /// Actors and learner take turns: nothing to correct, n-step returns
    A2c,
    /// Actors compute gradients of their own unrolls, and the learner applies them as they come
    A3c,
    /// Actors compute gradients of whole episodes, the learner applies their mean, and all go on with the same weights
    Reinforce,
}

impl Algorithm {
    /// The name, as a flag takes it.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Impala => "impala",
            Self::A2c => "a2c",
            Self::A3c => "a3c",
            Self::Reinforce => "reinforce",
        }
    }
}

/// What travels from actors to the learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// What actors saw and did: the learner computes the gradient
    Trajectories,
    /// The gradient of it, which each actor computes with the weights that it acted with
    Gradients,
}

/// Whether ranks that a launcher of MPI has started learn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Distributed {
    /// If mpirun or srun has started several
    Auto,
    /// Each process is a run of its own
    Off,
}

/// Which weights fill which batch, as a flag takes it; the lag is a setting of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// The newest weights fill whatever is free: nobody waits for an update
    Async,
    /// Batches are filled one after the other, each with weights of a given age (`lag`)
    Lockstep,
}

/// Which weights fill which batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// The newest weights fill whatever is free.
    Async,
    /// Batch `n` is filled with what `n - lag` batches led to.
    Lockstep {
        /// L: batches learnt from between the weights that act and those that learn.
        lag: usize,
    },
}

impl Schedule {
    /// Whether batches are filled one after the other.
    #[must_use]
    pub(crate) const fn is_lockstep(self) -> bool {
        matches!(self, Self::Lockstep { .. })
    }
}

/// Who runs the network for the actors, as a flag takes it; sizes of batches are settings of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum InferenceName {
    /// Each actor, with weights of its own
    Local,
    /// One policy process for all actors, in batches of what they wait for
    Central,
}

/// Who runs the network for the actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inference {
    /// Each actor, with weights of its own.
    Local,
    /// One policy process for all actors, in batches of what they wait for.
    Central {
        /// N: observations of a batch, at most; those of one actor stay together.
        batch: usize,
        /// U: how long a batch that is not full waits for more.
        wait_us: u64,
    },
}

impl Inference {
    /// Whether there is a policy process.
    #[must_use]
    pub(crate) const fn is_central(self) -> bool {
        matches!(self, Self::Central { .. })
    }
}

/// What computes the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Hand-written Rust, on the CPU.
    Native,
    /// libtorch, through `tch`.
    Libtorch,
}

/// Where the learner computes. Actors always act on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The CPU.
    Cpu,
    /// A CUDA device, by number.
    Cuda(usize),
    /// Of several learners on one machine each another CUDA device: that of its number there, from 0.
    CudaOfRank,
}

impl Device {
    /// Whether it is a GPU.
    #[must_use]
    pub const fn is_gpu(self) -> bool {
        !matches!(self, Self::Cpu)
    }

    /// The number of the CUDA device, for the learner that has this number among those of its machine; none for the CPU.
    #[must_use]
    pub const fn cuda_index(self, local_rank: usize) -> Option<usize> {
        match self {
            Self::Cpu => None,
            Self::Cuda(index) => Some(index),
            Self::CudaOfRank => Some(local_rank),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::CudaOfRank => f.write_str("cuda:auto"),
        }
    }
}

/// No device has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device {0:?}, use cpu, cuda, cuda:0 or cuda:auto")]
pub struct UnknownDevice(pub String);

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text.split_once(':') {
            None if text == "cpu" => Some(Self::Cpu),
            None if text == "cuda" => Some(Self::Cuda(0)),
            Some(("cuda", "auto")) => Some(Self::CudaOfRank),
            Some(("cuda", index)) => index.parse().ok().map(Self::Cuda),
            _ => None,
        }
        .ok_or_else(|| UnknownDevice(text.to_owned()))
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, UnknownDevice> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

/// The part of the network between the observation and the two heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TorsoName {
    /// Fully connected layers: vectors, and small images flattened
    Mlp,
    /// Convolutions, then fully connected layers: images
    Cnn,
    /// The paper's shallow network: 16x8/4, 32x4/2, then 256 units
    AtariShallow,
    /// That of DQN and MonoBeast: 32x8/4, 64x4/2, 64x3/1, then 512 units
    Nature,
    /// The paper's deep residual network: 15 convolutions, then 256 units
    ImpalaDeep,
}

impl TorsoName {
    /// The name, as a flag takes it.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Cnn => "cnn",
            Self::AtariShallow => "atari-shallow",
            Self::Nature => "nature",
            Self::ImpalaDeep => "impala-deep",
        }
    }
}

/// What remembers, between the torso and the two heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CoreName {
    /// Nothing: each observation is judged alone
    None,
    /// One LSTM cell
    Lstm,
}

/// How the learning rate changes over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// It stays as it is
    None,
    /// Straight down to 0 at --total-frames
    Linear,
}

/// What follows when an environment fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadEnv {
    /// The unroll is dropped and the environments are built anew
    Restart,
    /// The unroll is dropped and the environments are reset
    Drop,
    /// The run ends
    Fail,
}

/// The name of an optimizer; its constants are settings of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Adam: the safe choice
    Adam,
    /// RMSProp as in TensorFlow 1 and the paper: epsilon inside the root, mean square from 1
    RmspropTf,
    /// RMSProp as in PyTorch and TorchBeast: epsilon outside the root, mean square from 0
    RmspropTorch,
}

impl OptimizerName {
    /// The name, as a flag takes it.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Adam => "adam",
            Self::RmspropTf => "rmsprop-tf",
            Self::RmspropTorch => "rmsprop-torch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["cpu", "cuda:0", "cuda:3", "cuda:auto"] {
            assert_eq!(text.parse::<Device>().expect("valid").to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>(), Ok(Device::Cuda(0)));
    }

    #[test]
    fn each_rank_of_a_machine_has_a_device_of_its_own() {
        let of_rank = |text: &str| text.parse::<Device>().expect("valid").cuda_index(2);
        assert_eq!(["cpu", "cuda:1", "cuda:auto"].map(of_rank), [None, Some(1), Some(2)]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cpu:0"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
