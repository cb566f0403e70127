//! The networks in libtorch, with the same parameters in the same order as in the flat parameter vector.

mod act;
mod blob;
mod lstm;
#[cfg(test)]
mod tests;
mod torso;

pub use act::TorchPolicy;
pub use act::valid_mask;
pub use blob::{Blob, TensorElement};

use tch::{Device, Kind, TchError, Tensor};

use super::normalize::is_statistic;
use super::spec::{Core, NetworkSpec, ParamSpec};
use lstm::Lstm;

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
                    .f_set_requires_grad(requires_grad && !is_statistic(&entry.name))
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

    /// Those that are learnt: all before the statistics of observations.
    pub fn learnt_leaves(&self) -> &[Tensor] {
        let learnt = self.parameters.entries().iter().take_while(|e| !is_statistic(&e.name));
        &self.leaves[..learnt.count()]
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

    /// The same network over the same leaves, for another thread; only one of them may load weights.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            spec: self.spec.clone(),
            parameters: self.parameters.clone(),
            leaves: self.leaves.iter().map(Tensor::shallow_clone).collect(),
            device: self.device,
        }
    }

    /// What the network is made of.
    #[must_use]
    pub const fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// Runs the network over all observations: the torso over all of them at once, then the core step
    /// by step, then the heads over all of them at once.
    ///
    /// # Errors
    /// If libtorch fails.
    ///
    /// # Panics
    /// If the inputs do not fit the network.
    pub fn forward(&self, inputs: &NetworkInputs<'_>) -> Result<NetworkOutputs, TchError> {
        let mut layers = Layers(&self.leaves);
        let normalised = self.normalised(inputs.observations)?;
        let observations = normalised.as_ref().unwrap_or(inputs.observations);
        let mut x = self.features(&mut layers, observations, inputs.extra)?;
        let mut state = None;
        if let Core::Lstm { .. } = self.spec.core {
            let [weight_ih, weight_hh] = layers.next();
            let [bias_ih, bias_hh] = layers.next();
            let before = inputs.state.expect("a network with a core gets a state");
            let core = Lstm { weight_ih, weight_hh, bias_ih, bias_hh };
            let (outputs, after) = core.run(&x, before, inputs.flags)?;
            (x, state) = (outputs, Some(after));
        }
        let [policy_weight, policy_bias] = layers.next();
        let logits = x.f_linear(policy_weight, Some(policy_bias))?;
        if self.spec.separate_value {
            x = self.features(&mut layers, observations, inputs.extra)?;
        }
        let [value_weight, value_bias] = layers.next();
        let values = x.f_linear(value_weight, Some(value_bias))?.f_squeeze_dim(-1)?;
        Ok(NetworkOutputs { logits, values, state })
    }

    /// What a torso makes of normalised observations, and what follows it.
    fn features(
        &self,
        layers: &mut Layers<'_>,
        observations: &Tensor,
        extra: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let x = torso::features(&self.spec.torso, layers, observations)?;
        if !self.spec.action_reward_inputs {
            return Ok(x);
        }
        let extra = extra.expect("a network with such inputs gets them");
        Tensor::f_cat(&[&x, extra], 1)
    }

    /// `[N][k * frame]` with each frame normalised, if the network asks for it.
    fn normalised(&self, observations: &Tensor) -> Result<Option<Tensor>, TchError> {
        let (Some(clip), [.., mean, scale]) = (self.spec.observation_clip, &self.leaves[..]) else {
            return Ok(None);
        };
        let k = dimensions(&[self.spec.observation.frame_stack]);
        let (mean, scale) = (mean.f_repeat(&k)?, scale.f_repeat(&k)?);
        let clip = f64::from(clip);
        let normalised = observations.f_sub(&mean)?.f_mul_(&scale)?.f_clamp_(-clip, clip)?;
        Ok(Some(normalised))
    }

    /// The shape of one input, without the batch axis.
    #[must_use]
    pub fn input_shape(&self) -> Vec<i64> {
        match (self.spec.torso.is_convolutional(), self.spec.image()) {
            (true, Some(image)) => dimensions(&image),
            _ => dimensions(&[self.spec.observation.stacked_len()]),
        }
    }
}

/// What a network sees of N = steps * columns observations, time-major.
#[derive(Debug, Clone, Copy)]
pub struct NetworkInputs<'a> {
    /// `[N]` and [`TorchNetwork::input_shape`], f32.
    pub observations: &'a Tensor,
    /// `[N][extra_inputs]`: actions and rewards before, if the network takes them.
    pub extra: Option<&'a Tensor>,
    /// `[columns][S]`: state of the core before the first step, if there is one.
    pub state: Option<&'a Tensor>,
    /// `[steps][columns]`, bits of [`impala_env::flag`]: where the state is zero.
    pub flags: &'a [u8],
}

/// What a network says of them.
#[derive(Debug)]
pub struct NetworkOutputs {
    /// `[N][A]`.
    pub logits: Tensor,
    /// `[N]`.
    pub values: Tensor,
    /// `[columns][S]`: state of the core after the last step.
    pub state: Option<Tensor>,
}

/// The parameters that are not used yet, in the order of the flat vector.
struct Layers<'a>(&'a [Tensor]);

impl<'a> Layers<'a> {
    /// The next two: weight and bias of a layer.
    fn next(&mut self) -> [&'a Tensor; 2] {
        let ([first, second], rest) =
            self.0.split_first_chunk().expect("the parameter spec follows the network");
        self.0 = rest;
        [first, second]
    }
}

/// Sizes as libtorch wants them.
#[must_use]
pub fn dimensions(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&n| i64::try_from(n).expect("sizes fit i64")).collect()
}
