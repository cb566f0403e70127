//! What a network is made of, and where each of its parameters lies in the flat vector.
//!
//! The flat vector is the only form in which weights travel: the learner updates it, the parameter page
//! publishes it, checkpoints store it. Names and shapes are PyTorch's, so that a checkpoint can be read
//! there: `torso.0.weight [out, in]`, `torso.0.bias [out]`, ..., `policy.*`, `value.*`.

use std::ops::Range;

use crate::env::{ActionSpec, ObservationSpec};

/// What follows each layer of an MLP torso.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
}

/// One convolution: square kernel, no padding, followed by relu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
}

impl NetworkSpec {
    /// A network that remembers nothing.
    #[must_use]
    pub const fn new(observation: ObservationSpec, action: ActionSpec, torso: Torso) -> Self {
        Self { observation, action, torso, core: Core::None, action_reward_inputs: false }
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
    /// More parameters than an address space holds.
    #[error("the network has more parameters than fit the address space; use smaller layers")]
    TooLarge,
    /// A network that the Rust engine does not compute.
    #[error(
        "the native engine computes mlp torsos with at least one hidden layer and cnn torsos with at least \
         one convolution, without a recurrent core; use `--engine libtorch` for others"
    )]
    NotNative,
}

/// Where one parameter lies in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamEntry {
    /// PyTorch-style name, `torso.0.weight`; stable between versions.
    pub name: String,
    /// `[out, in]` for a dense weight, `[out, in, k, k]` for a convolution, `[out]` for a bias.
    pub shape: Vec<usize>,
    /// Index of its first number in the flat vector.
    pub offset: usize,
    /// Inputs that feed one output of its layer.
    pub fan_in: usize,
}

impl ParamEntry {
    /// How many numbers it has.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its numbers in the flat vector.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.numel()
    }
}

/// All parameters of a network, in the order of the flat f32 vector, without gaps: each layer's weight
/// and bias from the input on, then the policy head, then the value head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamSpec {
    entries: Vec<ParamEntry>,
    len: usize,
}

impl ParamSpec {
    /// Lays out the parameters of `network`.
    ///
    /// # Errors
    /// [`SpecError`] if a size is 0, or convolutions do not fit the observation.
    pub fn new(network: &NetworkSpec) -> Result<Self, SpecError> {
        let mut spec = Self { entries: Vec::new(), len: 0 };
        let observation = &network.observation;
        nonzero("the frame stack", observation.frame_stack)?;
        nonzero("the observation", observation.frame_len())?;
        nonzero("the number of actions", network.logits())?;
        let features = match &network.torso {
            Torso::Mlp { hidden, .. } => {
                spec.dense_layers("torso", observation.stacked_len(), hidden)?
            }
            Torso::Cnn { convs, hidden } => {
                let flat = spec.conv_layers(observation, convs)?;
                spec.dense_layers("torso.fc", flat, hidden)?
            }
        };
        spec.layer("policy", &[network.logits(), features])?;
        spec.layer("value", &[1, features])?;
        Ok(spec)
    }

    /// The parameters, in order.
    #[must_use]
    pub fn entries(&self) -> &[ParamEntry] {
        &self.entries
    }

    /// The parameter called `name`, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ParamEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Length of the flat vector.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no parameters: never, for a spec from [`ParamSpec::new`].
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A number that differs between networks that differ in names, shapes or order: FNV-1a, the same in
    /// every build. Readers of parameters and checkpoints compare it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for entry in &self.entries {
            eat(entry.name.as_bytes());
            // Neither is part of a name or a length, so "ab" [1] and "a" [..] cannot run together.
            eat(&[0, entry.shape.len() as u8]);
            for &size in &entry.shape {
                eat(&(size as u64).to_le_bytes());
            }
        }
        hash
    }

    /// Adds the weight of shape `shape` (`[out, in, ..]`) and the bias of one layer.
    fn layer(&mut self, name: &str, shape: &[usize]) -> Result<(), SpecError> {
        let fan_in = shape[1..].iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        let fan_in = fan_in.ok_or(SpecError::TooLarge)?;
        for (suffix, shape) in [("weight", shape), ("bias", &shape[..1])] {
            let offset = self.len;
            let numel = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
            self.len = numel
                .and_then(|n| n.checked_add(offset))
                .filter(|&n| {
                    n.checked_mul(size_of::<f32>()).is_some_and(|n| isize::try_from(n).is_ok())
                })
                .ok_or(SpecError::TooLarge)?;
            let entry = ParamEntry {
                name: format!("{name}.{suffix}"),
                shape: shape.to_vec(),
                offset,
                fan_in,
            };
            self.entries.push(entry);
        }
        Ok(())
    }

    /// Adds dense layers; returns the number of features they end in.
    fn dense_layers(
        &mut self,
        name: &str,
        inputs: usize,
        hidden: &[usize],
    ) -> Result<usize, SpecError> {
        let mut width = inputs;
        for (index, &outputs) in hidden.iter().enumerate() {
            nonzero("the width of a hidden layer", outputs)?;
            self.layer(&format!("{name}.{index}"), &[outputs, width])?;
            width = outputs;
        }
        Ok(width)
    }

    /// Adds convolutions; returns the number of features they end in.
    fn conv_layers(
        &mut self,
        observation: &ObservationSpec,
        convs: &[Conv],
    ) -> Result<usize, SpecError> {
        let (leading, mut height, mut width) = match observation.shape[..] {
            [height, width] => (1, height, width),
            [channels, height, width] => (channels, height, width),
            _ => {
                return Err(SpecError::NotAnImage { shape: observation.shape.clone() });
            }
        };
        let mut channels = observation.frame_stack * leading;
        for (layer, &Conv { filters, kernel, stride }) in convs.iter().enumerate() {
            nonzero("the filters of a convolution", filters)?;
            nonzero("the kernel of a convolution", kernel)?;
            nonzero("the stride of a convolution", stride)?;
            if kernel > height || kernel > width {
                let image = observation.shape.clone();
                return Err(SpecError::KernelTooLarge { layer, kernel, height, width, image });
            }
            self.layer(&format!("torso.conv.{layer}"), &[filters, channels, kernel, kernel])?;
            height = (height - kernel) / stride + 1;
            width = (width - kernel) / stride + 1;
            channels = filters;
        }
        let features = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(channels));
        features.ok_or(SpecError::TooLarge)
    }
}

fn nonzero(what: &'static str, size: usize) -> Result<(), SpecError> {
    if size == 0 { Err(SpecError::Zero(what)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Dtype;

    fn mlp(shape: &[usize], frame_stack: usize, hidden: &[usize], logits: usize) -> NetworkSpec {
        let observation =
            ObservationSpec { frame_stack, ..ObservationSpec::new(Dtype::F32, shape) };
        let torso = Torso::Mlp { hidden: hidden.to_vec(), activation: Activation::Tanh };
        NetworkSpec::new(observation, ActionSpec::Discrete { n: logits }, torso)
    }

    fn cnn(shape: &[usize], frame_stack: usize, convs: &[(usize, usize, usize)]) -> NetworkSpec {
        let convs = convs.iter().map(|&(filters, kernel, stride)| Conv { filters, kernel, stride });
        let torso = Torso::Cnn { convs: convs.collect(), hidden: vec![256] };
        NetworkSpec { torso, ..mlp(shape, frame_stack, &[], 6) }
    }

    fn listing(spec: &ParamSpec) -> Vec<(&str, &[usize], usize, usize)> {
        let entries = spec.entries().iter();
        entries.map(|e| (e.name.as_str(), &e.shape[..], e.offset, e.fan_in)).collect()
    }

    #[test]
    fn an_mlp_is_laid_out_from_the_input_to_the_heads() {
        let spec = ParamSpec::new(&mlp(&[2, 2], 3, &[8, 5], 2)).expect("valid");
        let expected: [(&str, &[usize], usize, usize); 8] = [
            ("torso.0.weight", &[8, 12], 0, 12),
            ("torso.0.bias", &[8], 96, 12),
            ("torso.1.weight", &[5, 8], 104, 8),
            ("torso.1.bias", &[5], 144, 8),
            ("policy.weight", &[2, 5], 149, 5),
            ("policy.bias", &[2], 159, 5),
            ("value.weight", &[1, 5], 161, 5),
            ("value.bias", &[1], 166, 5),
        ];
        assert_eq!(listing(&spec), expected);
        assert_eq!(spec.len(), 167);
        assert_eq!(spec.get("policy.bias").map(ParamEntry::range), Some(159..161));
        assert_eq!(spec.get("policy"), None);
        assert!(!spec.is_empty());
    }

    #[test]
    fn a_cnn_stacks_frames_as_channels() {
        // The network of Mnih et al. 2015: 84 -> 20 -> 9 -> 7 pixels.
        let spec = ParamSpec::new(&cnn(&[84, 84], 4, &[(32, 8, 4), (64, 4, 2), (64, 3, 1)]))
            .expect("valid");
        assert_eq!(spec.get("torso.conv.0.weight").expect("there").shape, [32, 4, 8, 8]);
        assert_eq!(spec.get("torso.conv.2.weight").expect("there").fan_in, 64 * 9);
        assert_eq!(spec.get("torso.fc.0.weight").expect("there").shape, [256, 64 * 7 * 7]);
        let coloured = ParamSpec::new(&cnn(&[3, 10, 12], 2, &[(5, 4, 3)])).expect("valid");
        assert_eq!(coloured.get("torso.conv.0.weight").expect("there").shape, [5, 6, 4, 4]);
        assert_eq!(coloured.get("torso.fc.0.weight").expect("there").shape, [256, 5 * 3 * 3]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let vector = ParamSpec::new(&cnn(&[7], 1, &[(1, 1, 1)])).expect_err("no image").to_string();
        assert!(vector.contains("[7]") && vector.contains("mlp"), "{vector}");
        let small =
            ParamSpec::new(&cnn(&[10, 10], 1, &[(4, 4, 2), (4, 5, 1)])).expect_err("4x4 is left");
        let expected = SpecError::KernelTooLarge {
            layer: 1,
            kernel: 5,
            height: 4,
            width: 4,
            image: vec![10, 10],
        };
        assert_eq!(small, expected);
        assert!(small.to_string().contains("5x5 kernel, but its input is only 4x4"), "{small}");
        for zero in [
            mlp(&[0], 1, &[4], 2),
            mlp(&[1], 0, &[4], 2),
            mlp(&[1], 1, &[0], 2),
            mlp(&[1], 1, &[4], 0),
        ] {
            assert!(matches!(ParamSpec::new(&zero), Err(SpecError::Zero(_))), "{zero:?}");
        }
        assert_eq!(ParamSpec::new(&mlp(&[usize::MAX / 8], 1, &[64], 2)), Err(SpecError::TooLarge));
    }

    #[test]
    fn fingerprints_tell_networks_apart() {
        let of = |spec: &NetworkSpec| ParamSpec::new(spec).expect("valid").fingerprint();
        let base = of(&mlp(&[4], 1, &[64, 64], 2));
        assert_eq!(base, of(&mlp(&[4], 1, &[64, 64], 2)));
        for other in
            [mlp(&[4], 1, &[64], 2), mlp(&[4], 1, &[64, 64], 3), mlp(&[5], 1, &[64, 64], 2)]
        {
            assert_ne!(base, of(&other), "{other:?}");
        }
    }
}
