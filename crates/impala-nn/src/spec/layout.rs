//! Lays out the parameters of a network in the flat parameter vector.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use impala_env::{ActionSpec, Dtype};

use crate::normalize;

use super::{Conv, Core, NetworkSpec, SpecError, Torso};

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
    /// How often each of its numbers is used for one observation: the pixels of the output for a
    /// convolution, else 1.
    pub uses: usize,
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
/// and bias from the input on, then the core, the policy head, the value's own torso if it has one, and the value head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamSpec {
    entries: Vec<ParamEntry>,
    len: usize,
    activations: usize,
    actions: ActionLayout,
}

/// What the policy's outputs are for: logits of choices, then means and raw log-deviations of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionLayout {
    /// Number of actions of each choice.
    pub sizes: Vec<usize>,
    /// How many numbers there are.
    pub numbers: usize,
}

impl ActionLayout {
    /// That of `action`.
    #[must_use]
    pub fn of(action: &ActionSpec) -> Self {
        Self { sizes: action.sizes().to_vec(), numbers: action.numbers() }
    }

    /// Length of the vector that a policy gives for one observation; none if it is beyond all reason.
    #[must_use]
    pub fn outputs(&self) -> Option<usize> {
        let numbers = self.numbers.checked_mul(2)?;
        self.sizes.iter().try_fold(numbers, |sum, &size| sum.checked_add(size))
    }
}

impl fmt::Display for ActionLayout {
    /// `choices of 3, 2 and 2 numbers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sizes, numbers } = self;
        match &sizes[..] {
            [] => {}
            [size] => write!(f, "a choice of {size}")?,
            _ => {
                let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
                write!(f, "choices of {}", sizes.join(", "))?;
            }
        }
        let and = if sizes.is_empty() || *numbers == 0 { "" } else { " and " };
        match numbers {
            0 => Ok(()),
            1 => write!(f, "{and}a number"),
            _ => write!(f, "{and}{numbers} numbers"),
        }
    }
}

impl ParamSpec {
    /// Lays out the parameters of `network`.
    ///
    /// # Errors
    /// [`SpecError`] if a size is 0, or convolutions do not fit the observation.
    pub fn new(network: &NetworkSpec) -> Result<Self, SpecError> {
        let observation = &network.observation;
        nonzero("the frame stack", observation.frame_stack)?;
        nonzero("the observation", observation.frame_len())?;
        nonzero("the number of actions", network.logits())?;
        let inputs = observation.stacked_len();
        let mut spec = Self {
            entries: Vec::new(),
            len: 0,
            activations: inputs,
            actions: ActionLayout::of(&network.action),
        };
        let features = match &network.torso {
            Torso::Mlp { hidden, .. } => spec.dense_layers("torso", inputs, hidden)?,
            Torso::Cnn { convs, hidden } => {
                let flat = spec.conv_layers(network, convs)?;
                spec.dense_layers("torso.fc", flat, hidden)?
            }
            Torso::ImpalaDeep { channels, hidden } => {
                let flat = spec.sections(network, channels)?;
                spec.dense_layers("torso.fc", flat, hidden)?
            }
        };
        let features = features.checked_add(network.extra_inputs()).ok_or(SpecError::TooLarge)?;
        let features = spec.core(network.core, features)?;
        spec.layer("policy", &[network.logits(), features], 1)?;
        if network.separate_value {
            let (Torso::Mlp { hidden, .. }, Core::None) = (&network.torso, network.core) else {
                return Err(SpecError::NotSeparable);
            };
            // As wide as the policy's.
            spec.dense_layers("value_torso", inputs, hidden)?;
        }
        spec.layer("value", &[1, features], 1)?;
        if network.observation_clip.is_some() {
            if network.torso.is_convolutional() || observation.dtype != Dtype::F32 {
                return Err(SpecError::NotNormalizable);
            }
            let frame = [observation.frame_len()];
            spec.entry(normalize::MEAN.into(), &frame, 1, 1)?;
            spec.entry(normalize::SCALE.into(), &frame, 1, 1)?;
        }
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

    /// Numbers computed for one observation, its input included.
    #[must_use]
    pub const fn activations(&self) -> usize {
        self.activations
    }

    /// Multiply-adds of one observation, forwards.
    #[must_use]
    pub fn multiply_adds(&self) -> usize {
        let weights = self.entries.iter().filter(|entry| entry.shape.len() > 1);
        weights.map(|entry| entry.numel() * entry.uses).sum()
    }

    /// What the policy's outputs are for: shapes alone do not tell 2 choices of 2 from 2 numbers.
    #[must_use]
    pub const fn actions(&self) -> &ActionLayout {
        &self.actions
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

    /// Adds the weight of shape `shape` (`[out, in, ..]`) and the bias of one layer, which is applied at
    /// `uses` places of an observation.
    fn layer(&mut self, name: &str, shape: &[usize], uses: usize) -> Result<(), SpecError> {
        let fan_in = shape[1..].iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        let fan_in = fan_in.ok_or(SpecError::TooLarge)?;
        self.entry(format!("{name}.weight"), shape, fan_in, uses)?;
        self.entry(format!("{name}.bias"), &shape[..1], fan_in, uses)?;
        self.activate(shape[0], uses)
    }

    fn entry(
        &mut self,
        name: String,
        shape: &[usize],
        fan_in: usize,
        uses: usize,
    ) -> Result<(), SpecError> {
        let offset = self.len;
        let numel = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        self.len = numel
            .and_then(|n| n.checked_add(offset))
            .filter(|&n| {
                n.checked_mul(size_of::<f32>()).is_some_and(|n| isize::try_from(n).is_ok())
            })
            .ok_or(SpecError::TooLarge)?;
        self.entries.push(ParamEntry { name, shape: shape.to_vec(), offset, fan_in, uses });
        Ok(())
    }

    /// Counts `outputs` numbers at each of `places`.
    fn activate(&mut self, outputs: usize, places: usize) -> Result<(), SpecError> {
        let more = outputs.checked_mul(places).and_then(|n| n.checked_add(self.activations));
        self.activations = more.ok_or(SpecError::TooLarge)?;
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
            self.layer(&format!("{name}.{index}"), &[outputs, width], 1)?;
            width = outputs;
        }
        Ok(width)
    }

    /// Adds convolutions; returns the number of features they end in.
    fn conv_layers(&mut self, network: &NetworkSpec, convs: &[Conv]) -> Result<usize, SpecError> {
        let [mut channels, mut height, mut width] = image(network)?;
        for (layer, conv) in convs.iter().enumerate() {
            let &Conv { filters, kernel, stride } = conv;
            nonzero("the filters of a convolution", filters)?;
            nonzero("the kernel of a convolution", kernel)?;
            nonzero("the stride of a convolution", stride)?;
            let Some(sides) = conv.output_side(height).zip(conv.output_side(width)) else {
                let image = network.observation.shape.clone();
                return Err(SpecError::KernelTooLarge { layer, kernel, height, width, image });
            };
            (height, width) = sides;
            let shape = [filters, channels, kernel, kernel];
            self.layer(&format!("torso.conv.{layer}"), &shape, height * width)?;
            channels = filters;
        }
        product([channels, height, width])
    }

    /// Adds the sections of the residual network; returns the number of features they end in.
    fn sections(&mut self, network: &NetworkSpec, filters: &[usize]) -> Result<usize, SpecError> {
        let [mut channels, mut height, mut width] = image(network)?;
        for (section, &filters) in filters.iter().enumerate() {
            nonzero("the channels of a section", filters)?;
            let name = format!("torso.section.{section}");
            let shape = [filters, channels, 3, 3];
            self.layer(&format!("{name}.conv"), &shape, height * width)?;
            // Pooled by windows of 3 every 2 pixels, with a border of 1.
            (height, width) = (height.div_ceil(2), width.div_ceil(2));
            self.activate(filters, height * width)?;
            for (block, conv) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let name = format!("{name}.block.{block}.conv.{conv}");
                self.layer(&name, &[filters, filters, 3, 3], height * width)?;
            }
            channels = filters;
        }
        product([channels, height, width])
    }

    /// Adds the core, with the names and the shapes of PyTorch's `LSTMCell`: gates in the order input,
    /// forget, cell, output. Returns the number of its outputs.
    fn core(&mut self, core: Core, inputs: usize) -> Result<usize, SpecError> {
        let Core::Lstm { hidden } = core else {
            return Ok(inputs);
        };
        nonzero("the size of the core", hidden)?;
        let gates = hidden.checked_mul(4).ok_or(SpecError::TooLarge)?;
        self.entry("core.weight_ih".into(), &[gates, inputs], inputs, 1)?;
        self.entry("core.weight_hh".into(), &[gates, hidden], hidden, 1)?;
        self.entry("core.bias_ih".into(), &[gates], inputs, 1)?;
        self.entry("core.bias_hh".into(), &[gates], hidden, 1)?;
        // The gates, the new state, and the tanh of its cell.
        self.activate(hidden, 4 + 3)?;
        Ok(hidden)
    }
}

fn image(network: &NetworkSpec) -> Result<[usize; 3], SpecError> {
    let shape = &network.observation.shape;
    network.image().ok_or_else(|| SpecError::NotAnImage { shape: shape.clone() })
}

fn product(sizes: [usize; 3]) -> Result<usize, SpecError> {
    let product = sizes.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
    product.ok_or(SpecError::TooLarge)
}

fn nonzero(what: &'static str, size: usize) -> Result<(), SpecError> {
    if size == 0 { Err(SpecError::Zero(what)) } else { Ok(()) }
}
