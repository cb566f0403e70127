//! The description of a network, and where each of its parameters lies in the flat parameter vector.
//!
//! The flat vector is the only form in which weights travel: the learner updates it, the parameter page
//! publishes it, checkpoints store it. Names and shapes are PyTorch's, so that a checkpoint can be read
//! there: `torso.0.weight [out, in]`, `torso.0.bias [out]`, ..., `core.weight_ih`, ..., `policy.*`,
//! `value.*`; with a torso of its own for the value, `value_torso.*` before that.

mod conv;
mod layout;
#[cfg(test)]
mod tests;

pub use layout::{ActionLayout, ParamEntry, ParamSpec};

use impala_env::{ActionSpec, ObservationSpec};
use serde::{Deserialize, Serialize};

/// What follows each layer of an MLP torso.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Smooth and bounded: vectors
    Tanh,
    /// Cheap and unbounded: images
    Relu,
}

/// One convolution: square kernel, no padding, followed by relu. Written `FILTERSxKERNEL/STRIDE`: `16x8/4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Conv {
    /// Output channels.
    pub filters: usize,
    /// Side of the kernel in pixels.
    pub kernel: usize,
    /// Step of the kernel in pixels.
    pub stride: usize,
}

/// The part of the network between the observation and the two heads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Torso {
    /// Dense layers over the flattened frame stack.
    Mlp {
        /// Outputs of each layer.
        hidden: Vec<usize>,
        /// What follows each layer.
        activation: Activation,
    },
    /// Convolutions over `[frame_stack * leading dimensions][height][width]`, then dense layers; relu
    /// after each.
    Cnn {
        /// The convolutions.
        convs: Vec<Conv>,
        /// Outputs of each dense layer.
        hidden: Vec<usize>,
    },
    /// The deep residual network (Espeholt et al. 2018, figure 3, right): for each section a 3x3
    /// convolution, 3x3 max-pooling with stride 2, and two blocks of (relu, convolution, relu,
    /// convolution) whose input is added to their output; all with one pixel of padding. Then relu and
    /// dense layers with relu after each.
    ImpalaDeep {
        /// Channels of each section; three sections make 15 convolutions.
        channels: Vec<usize>,
        /// Outputs of each dense layer.
        hidden: Vec<usize>,
    },
}

impl Torso {
    /// The shallow network of the paper (Espeholt et al. 2018, figure 3, left), which is that of Mnih et
    /// al. 2016: two convolutions and 256 units.
    #[must_use]
    pub fn atari_shallow() -> Self {
        Self::Cnn { convs: vec![conv(16, 8, 4), conv(32, 4, 2)], hidden: vec![256] }
    }

    /// The network of Mnih et al. 2015 (Nature), and of MonoBeast: three convolutions and 512 units.
    #[must_use]
    pub fn nature() -> Self {
        Self::Cnn { convs: vec![conv(32, 8, 4), conv(64, 4, 2), conv(64, 3, 1)], hidden: vec![512] }
    }

    /// The deep residual network of the paper: 15 convolutions and 256 units.
    #[must_use]
    pub fn impala_deep() -> Self {
        Self::ImpalaDeep { channels: vec![16, 32, 32], hidden: vec![256] }
    }

    /// Whether it works on images.
    #[must_use]
    pub const fn is_convolutional(&self) -> bool {
        !matches!(self, Self::Mlp { .. })
    }
}

const fn conv(filters: usize, kernel: usize, stride: usize) -> Conv {
    Conv { filters, kernel, stride }
}

/// What remembers, between the torso and the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Core {
    /// Nothing: each observation is judged alone.
    #[default]
    None,
    /// One LSTM cell.
    Lstm {
        /// Outputs.
        hidden: usize,
    },
}

/// A network: torso, core, a policy head, a value head.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    /// What it sees.
    pub observation: ObservationSpec,
    /// What it decides.
    pub action: ActionSpec,
    /// What lies between.
    pub torso: Torso,
    /// What remembers.
    pub core: Core,
    /// Whether the action before and its reward, clipped to `[-1, 1]`, follow the torso's features.
    pub action_reward_inputs: bool,
    /// Whether the value has a torso of its own, of the same layers: nothing that the one head learns then moves the other.
    pub separate_value: bool,
    /// Observations are normalised, element by element, to at most this ([`crate::normalize`]). None: they are seen as
    /// they are.
    pub observation_clip: Option<f32>,
}

impl NetworkSpec {
    /// A network that remembers nothing.
    #[must_use]
    pub const fn new(observation: ObservationSpec, action: ActionSpec, torso: Torso) -> Self {
        Self {
            observation,
            action,
            torso,
            core: Core::None,
            action_reward_inputs: false,
            separate_value: false,
            observation_clip: None,
        }
    }

    /// A: length of the vector of logits.
    #[must_use]
    pub fn logits(&self) -> usize {
        self.action.outputs()
    }

    /// S: numbers that the core carries from one observation to the next, of one environment.
    #[must_use]
    pub const fn state_len(&self) -> usize {
        match self.core {
            Core::None => 0,
            Core::Lstm { hidden } => 2 * hidden,
        }
    }

    /// Numbers that follow the torso's features: the encoding of the action before, then the reward.
    #[must_use]
    pub fn extra_inputs(&self) -> usize {
        if self.action_reward_inputs { self.action.inputs() + 1 } else { 0 }
    }

    /// Channels, height and width of what convolutions see: the last two axes of a frame are height and
    /// width; what is before them, and the frame stack, are channels. `None` if frames are no images.
    #[must_use]
    pub fn image(&self) -> Option<[usize; 3]> {
        let k = self.observation.frame_stack;
        match self.observation.shape[..] {
            [height, width] => Some([k, height, width]),
            [channels, height, width] => Some([k * channels, height, width]),
            _ => None,
        }
    }
}

/// A network that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A size is 0.
    #[error("{0} of the network must be at least 1")]
    Zero(&'static str),
    /// Convolutions need images.
    #[error(
        "a cnn torso needs images, [height, width] or [channels, height, width], but the observation \
         has shape {shape:?}; use an mlp torso"
    )]
    NotAnImage {
        /// Shape of one frame.
        shape: Vec<usize>,
    },
    /// A kernel is larger than what is left of the image.
    #[error(
        "convolution {layer} has a {kernel}x{kernel} kernel, but its input is only {height}x{width} \
         (of a {image:?} frame); use a smaller kernel, smaller strides or fewer convolutions"
    )]
    KernelTooLarge {
        /// Which convolution, from 0.
        layer: usize,
        /// Side of its kernel.
        kernel: usize,
        /// Height of its input.
        height: usize,
        /// Width of its input.
        width: usize,
        /// Shape of one frame.
        image: Vec<usize>,
    },
    /// One torso is learnt by both heads, or two plain ones.
    #[error("only an mlp torso without a recurrent core can be separate for the value")]
    NotSeparable,
    /// Bytes and images are not normalised.
    #[error("only vectors of f32 observations, seen by an mlp torso, can be normalised")]
    NotNormalizable,
    /// More parameters than an address space holds.
    #[error("the network has more parameters than fit the address space; use smaller layers")]
    TooLarge,
    /// A network that the Rust engine does not compute.
    #[error(
        "the native engine computes mlp torsos with at least one hidden layer, cnn torsos with at least one \
         convolution and residual torsos with at least one section"
    )]
    NotNative,
}
