//! The networks in libtorch: the same parameters, in the same order, as the flat vector says.

mod act;
mod blob;

pub use act::TorchActor;
pub(crate) use act::valid_mask;
pub use blob::{Blob, TensorElement};

use tch::{Device, Kind, TchError, Tensor};

use super::spec::{Activation, NetworkSpec, ParamSpec, Torso};

/// Leaf tensors for the parameters of a [`NetworkSpec`], and the network over them.
#[derive(Debug)]
pub struct TorchNetwork {
    spec: NetworkSpec,
    parameters: ParamSpec,
    leaves: Vec<Tensor>,
    device: Device,
}

impl TorchNetwork {
    /// A network with all parameters zero, on `device`; `requires_grad` for learning.
    ///
    /// # Errors
    /// If libtorch cannot allocate there.
    pub fn new(
        spec: &NetworkSpec,
        parameters: &ParamSpec,
        device: Device,
        requires_grad: bool,
    ) -> Result<Self, TchError> {
        let leaves = parameters
            .entries()
            .iter()
            .map(|entry| {
                Tensor::f_zeros(dimensions(&entry.shape), (Kind::Float, device))?
                    .f_set_requires_grad(requires_grad)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { spec: spec.clone(), parameters: parameters.clone(), leaves, device })
    }

    /// Where the parameters are.
    #[must_use]
    pub const fn device(&self) -> Device {
        self.device
    }

    /// The parameters, as leaves of the graph, in the order of the flat vector.
    pub fn leaves(&self) -> &[Tensor] {
        &self.leaves
    }

    /// Copies the flat vector into the parameters.
    ///
    /// # Errors
    /// If the copy fails.
    ///
    /// # Panics
    /// If `flat` is shorter than the parameters.
    pub fn load(&mut self, flat: &[f32]) -> Result<(), TchError> {
        let _guard = tch::no_grad_guard();
        for (leaf, entry) in self.leaves.iter_mut().zip(self.parameters.entries()) {
            let values = Blob::new(&flat[entry.range()], &dimensions(&entry.shape))?;
            leaf.f_copy_(values.tensor())?;
        }
        Ok(())
    }

    /// Logits `[N][A]` and values `[N]` of `input`: `[N][k * frame]` for an MLP, `[N][channels][H][W]`
    /// for a CNN, f32.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, input: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let mut pairs = self.leaves.chunks_exact(2);
        let mut next = || {
            pairs
                .next()
                .map(|pair| (&pair[0], &pair[1]))
                .expect("the parameter spec follows the torso")
        };
        let mut x = input.shallow_clone();
        match &self.spec.torso {
            Torso::Mlp { hidden, activation } => {
                for _ in hidden {
                    let (weight, bias) = next();
                    x = x.f_linear(weight, Some(bias))?;
                    x = match activation {
                        Activation::Tanh => x.f_tanh()?,
                        Activation::Relu => x.f_relu()?,
                    };
                }
            }
            Torso::Cnn { convs, hidden } => {
                for conv in convs {
                    let (weight, bias) = next();
                    let stride = dimensions(&[conv.stride, conv.stride]);
                    x = x.f_conv2d(weight, Some(bias), stride, [0, 0], [1, 1], 1)?.f_relu()?;
                }
                x = x.f_flatten(1, -1)?;
                for _ in hidden {
                    let (weight, bias) = next();
                    x = x.f_linear(weight, Some(bias))?.f_relu()?;
                }
            }
        }
        let (policy_weight, policy_bias) = next();
        let (value_weight, value_bias) = next();
        let logits = x.f_linear(policy_weight, Some(policy_bias))?;
        let values = x.f_linear(value_weight, Some(value_bias))?.f_squeeze_dim(-1)?;
        Ok((logits, values))
    }

    /// The shape of one input, without the batch axis.
    #[must_use]
    pub fn input_shape(&self) -> Vec<i64> {
        let observation = &self.spec.observation;
        match &self.spec.torso {
            Torso::Mlp { .. } => dimensions(&[observation.stacked_len()]),
            Torso::Cnn { .. } => {
                let (height, width) = observation
                    .shape
                    .split_last()
                    .map_or((1, 1), |(w, rest)| (rest.last().copied().unwrap_or(1), *w));
                dimensions(&[observation.stacked_len() / (height * width), height, width])
            }
        }
    }
}

/// Sizes as libtorch wants them.
pub(crate) fn dimensions(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&n| i64::try_from(n).expect("sizes fit i64")).collect()
}
