//! The values that are chosen by name: one enum each, spelt the same on the command line and in TOML.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What was asked to compute the network; `auto` is settled by `Config::resolve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// Native wherever it can do the job, libtorch for other networks or a GPU
    Auto,
    /// Hand-written Rust for the mlp and cnn torsos: fastest on a CPU
    Native,
    /// libtorch: any torso, any device
    Libtorch,
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
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Some(Self::Cpu),
            None if text == "cuda" => Some(Self::Cuda(0)),
            Some(("cuda", index)) => index.parse().ok().map(Self::Cuda),
            _ => None,
        }
        .ok_or_else(|| format!("unknown device {text:?}, use cpu, cuda or cuda:0"))
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
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
pub enum Torso {
    /// Fully connected layers: vectors, and small images flattened
    Mlp,
    /// Convolutions, then fully connected layers: images
    Cnn,
    /// The paper's shallow network: 16x8/4, 32x4/2, then 256 units
    AtariShallow,
    /// That of DQN and MonoBeast: 32x8/4, 64x4/2, 64x3/1, then 512 units
    Nature,
    /// The paper's deep residual network: 15 convolutions, then 256 units (needs libtorch)
    ImpalaDeep,
}

impl Torso {
    /// The name, as it is typed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
pub enum Core {
    /// Nothing: each observation is judged alone
    None,
    /// One LSTM cell (needs libtorch)
    Lstm,
}

/// What follows each layer of the torso.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Smooth and bounded: vectors
    Tanh,
    /// Cheap and unbounded: images
    Relu,
}

/// How numbers that a policy draws come within their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ActionBounds {
    /// Cut off at the bounds
    Clip,
    /// By tanh, which never quite reaches them; for finite bounds
    Squash,
}

/// One convolution, written `filters x kernel / stride`: `16x8/4`. Square, without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Conv {
    /// Output channels.
    pub filters: usize,
    /// Side of the kernel, in pixels.
    pub kernel: usize,
    /// Step of the kernel, in pixels.
    pub stride: usize,
}

impl Conv {
    /// Side of the output for an input of side `pixels`; `None` if the kernel does not fit.
    #[must_use]
    pub fn output_side(&self, pixels: usize) -> Option<usize> {
        Some(pixels.checked_sub(self.kernel)? / self.stride + 1)
    }
}

impl fmt::Display for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}/{}", self.filters, self.kernel, self.stride)
    }
}

impl FromStr for Conv {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |part: &str| part.trim().parse::<usize>().ok().filter(|n| (1..=4096).contains(n));
        let parts = || {
            let (filters, rest) = text.split_once('x')?;
            let (kernel, stride) = rest.split_once('/').unwrap_or((rest, "1"));
            Some(Self {
                filters: number(filters)?,
                kernel: number(kernel)?,
                stride: number(stride)?,
            })
        };
        parts().ok_or_else(|| {
            format!("{text:?} is no convolution, write FILTERSxKERNEL/STRIDE such as 16x3/1 (each from 1 to 4096)")
        })
    }
}

impl TryFrom<String> for Conv {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Conv> for String {
    fn from(conv: Conv) -> Self {
        conv.to_string()
    }
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

/// How the loss of a batch is made of those of its transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Sum over time and batch, as in the paper
    Sum,
    /// Mean over the transitions: gradients of the same size whatever the batch
    Mean,
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

/// What happens to a reward before it is learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RewardClip {
    /// Nothing
    None,
    /// To [-1, 1], as for Atari
    AbsOne,
    /// 0.3 min(tanh r, 0) + 5 max(tanh r, 0), as for DMLab in the paper
    SoftAsymmetric,
}

/// The name of an optimiser; its constants are settings of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OptimiserName {
    /// Adam: the safe choice
    Adam,
    /// RMSProp as in TensorFlow 1 and the paper: epsilon inside the root, mean square from 1
    RmspropTf,
    /// RMSProp as in PyTorch and TorchBeast: epsilon outside the root, mean square from 0
    RmspropTorch,
}

impl OptimiserName {
    /// The name, as it is typed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
        for text in ["16x3/1", "32x4/2"] {
            assert_eq!(text.parse::<Conv>().expect("valid").to_string(), text);
        }
        assert_eq!("16x3".parse::<Conv>(), Ok(Conv { filters: 16, kernel: 3, stride: 1 }));
        for text in ["cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<Device>().expect("valid").to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>(), Ok(Device::Cuda(0)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "16", "x3", "0x3", "16x0", "16x3/0", "-1x3", "16x3/1/1", "9999x3"] {
            assert!(text.parse::<Conv>().is_err(), "{text}");
        }
        for text in ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cpu:0"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_convolution_shrinks_its_input() {
        let conv = Conv { filters: 16, kernel: 8, stride: 4 };
        assert_eq!(conv.output_side(84), Some(20));
        assert_eq!(conv.output_side(8), Some(1));
        assert_eq!(conv.output_side(7), None);
    }
}
