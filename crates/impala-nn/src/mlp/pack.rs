//! The sizes of an MLP, and its weights packed in the order that the kernels read.
//!
//! PyTorch's `[out][in]` is the order of the flat vector. The kernels read *panels* of 16 columns:
//!
//! - *forward* order, `[outputs / 16][inputs][16]`: what a product with the layer's input needs;
//! - *backward* order, `[inputs / 16][outputs][16]`: what a product with the gradient of its output
//!   needs; also what dot products need, for a head with few outputs.
//!
//! Columns beyond the real ones are zero and stay so: packing writes only real ones. Activations are
//! padded alike, and the padding of an activation is zero, because tanh 0 = relu 0 = 0.

use std::ops::Range;

use crate::normalize::Normalizer;
use crate::simd::aligned::{padded, stride};
use crate::simd::kernels::PANEL;
use crate::spec::{Activation, Core, NetworkSpec, ParamSpec, SpecError, Torso};

/// One dense layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    /// Its weight in the flat vector, `[outputs][inputs]`.
    pub weight: Range<usize>,
    /// Its bias in the flat vector, `[outputs]`.
    pub bias: Range<usize>,
}

impl Layer {
    /// Length of the weight in forward order.
    pub(super) fn forward_len(&self) -> usize {
        self.inputs * padded(self.outputs)
    }

    /// Length of the weight in backward order.
    pub(super) fn backward_len(&self) -> usize {
        padded(self.inputs) * self.outputs
    }
}

/// Hidden layers, then heads over the last of them: the policy's, the value's, both, or none if something else follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub activation: Activation,
    /// At least one.
    pub hidden: Vec<Layer>,
    /// If this part of the network has it.
    pub policy: Option<Layer>,
    /// If this part of the network has it.
    pub value: Option<Layer>,
}

/// An MLP: one part with both heads, or one for the policy and one for the value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    /// That with the policy first.
    pub parts: Vec<Shape>,
    /// Length of the flat vector.
    pub parameters: usize,
    /// What observations go through first; with statistics still to be loaded.
    pub normalizer: Option<Normalizer>,
}

impl Network {
    /// The sizes of `spec`.
    ///
    /// # Errors
    /// [`SpecError`] if this is not a valid network, or not an MLP with a hidden layer.
    pub(super) fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        let parameters = ParamSpec::new(spec)?;
        let plain = spec.core == Core::None && !spec.action_reward_inputs;
        if !plain {
            return Err(SpecError::NotNative);
        }
        let part = |torso: &str, heads| Shape::new(spec, &parameters, torso, heads);
        let parts = if spec.separate_value {
            let value = part("value_torso", [None, Some("value")])?;
            vec![part("torso", [Some("policy"), None])?, value]
        } else {
            vec![part("torso", [Some("policy"), Some("value")])?]
        };
        let normalizer = Normalizer::of(spec, &parameters);
        Ok(Self { parts, parameters: parameters.len(), normalizer })
    }

    /// Numbers in one observation.
    pub(super) fn inputs(&self) -> usize {
        self.parts[0].inputs()
    }

    /// A.
    pub(super) fn actions(&self) -> usize {
        self.parts[0].actions()
    }
}

impl Shape {
    /// The hidden layers called `torso`, and heads by their names.
    ///
    /// # Errors
    /// [`SpecError::NotNative`] if there is no hidden layer.
    pub(super) fn new(
        spec: &NetworkSpec,
        parameters: &ParamSpec,
        torso: &str,
        heads: [Option<&str>; 2],
    ) -> Result<Self, SpecError> {
        let Torso::Mlp { activation, hidden } = &spec.torso else {
            return Err(SpecError::NotNative);
        };
        if hidden.is_empty() {
            return Err(SpecError::NotNative);
        }
        let find = |name: &str| {
            let of = |what| parameters.get(&format!("{name}.{what}"));
            of("weight").zip(of("bias")).map(|(weight, bias)| layer(weight, bias))
        };
        let layers = (0..hidden.len()).filter_map(|index| find(&format!("{torso}.{index}")));
        let [policy, value] = heads.map(|head| head.and_then(find));
        Ok(Self { activation: *activation, hidden: layers.collect(), policy, value })
    }

    /// Numbers in one observation.
    pub(super) fn inputs(&self) -> usize {
        self.hidden[0].inputs
    }

    /// A; 0 without the policy's head.
    pub(super) fn actions(&self) -> usize {
        self.policy.as_ref().map_or(0, |policy| policy.outputs)
    }

    /// Outputs of the heads together: A, then the value.
    pub(super) fn outputs(&self) -> usize {
        self.actions() + usize::from(self.value.is_some())
    }

    /// Width of what the heads are over.
    pub(super) fn features(&self) -> usize {
        self.hidden.last().map_or(0, |layer| layer.outputs)
    }

    /// The heads, each with the number of its first output.
    pub(super) fn heads(&self) -> impl Iterator<Item = (usize, &Layer)> {
        let policy = self.policy.iter().map(|policy| (0, policy));
        policy.chain(self.value.iter().map(|value| (self.actions(), value)))
    }

    /// Widest stride of an activation.
    pub(super) fn widest(&self) -> usize {
        self.hidden.iter().map(|layer| stride(layer.outputs)).max().unwrap_or(0)
    }

    /// The heads as one layer, in backward order: A rows of the policy, one of the value.
    pub(super) fn pack_heads(&self, flat: &[f32], weight: &mut [f32], bias: &mut [f32]) {
        for (first, head) in self.heads() {
            pack_backward(&flat[head.weight.clone()], head.inputs, self.outputs(), first, weight);
            bias[first..first + head.outputs].copy_from_slice(&flat[head.bias.clone()]);
        }
    }
}

fn layer(weight: &crate::spec::ParamEntry, bias: &crate::spec::ParamEntry) -> Layer {
    Layer {
        inputs: weight.fan_in,
        outputs: weight.shape[0],
        weight: weight.range(),
        bias: bias.range(),
    }
}

/// `weight` `[outputs][inputs]` in forward order.
pub(super) fn pack_forward(weight: &[f32], inputs: usize, target: &mut [f32]) {
    let panels = target.as_chunks_mut::<PANEL>().0.chunks_exact_mut(inputs);
    for (rows, panel) in weight.chunks(PANEL * inputs).zip(panels) {
        for (column, row) in rows.chunks_exact(inputs).enumerate() {
            for (target, &x) in panel.iter_mut().zip(row) {
                target[column] = x;
            }
        }
    }
}

/// The inverse of [`pack_forward`].
pub(super) fn unpack_forward(packed: &[f32], inputs: usize, weight: &mut [f32]) {
    let panels = packed.as_chunks::<PANEL>().0.chunks_exact(inputs);
    for (rows, panel) in weight.chunks_mut(PANEL * inputs).zip(panels) {
        for (column, row) in rows.chunks_exact_mut(inputs).enumerate() {
            for (source, x) in panel.iter().zip(row) {
                *x = source[column];
            }
        }
    }
}

/// `weight` `[..][inputs]` as the rows from `first` on of a layer with `outputs` outputs, in backward
/// order.
pub(super) fn pack_backward(
    weight: &[f32],
    inputs: usize,
    outputs: usize,
    first: usize,
    target: &mut [f32],
) {
    for (output, row) in weight.chunks_exact(inputs).enumerate() {
        let panels =
            target.as_chunks_mut::<PANEL>().0.iter_mut().skip(first + output).step_by(outputs);
        for (part, panel) in row.chunks(PANEL).zip(panels) {
            panel[..part.len()].copy_from_slice(part);
        }
    }
}

/// The inverse of [`pack_backward`].
pub(super) fn unpack_backward(
    packed: &[f32],
    inputs: usize,
    outputs: usize,
    first: usize,
    weight: &mut [f32],
) {
    for (output, row) in weight.chunks_exact_mut(inputs).enumerate() {
        let panels = packed.as_chunks::<PANEL>().0.iter().skip(first + output).step_by(outputs);
        for (part, panel) in row.chunks_mut(PANEL).zip(panels) {
            part.copy_from_slice(&panel[..part.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_each_weight_once_and_zero_elsewhere() {
        for (outputs, inputs) in [(1, 1), (16, 4), (7, 3), (33, 17), (19, 64)] {
            let weight: Vec<f32> = (1..=outputs * inputs).map(|x| x as f32).collect();
            let mut forward = vec![0.0; inputs * padded(outputs)];
            pack_forward(&weight, inputs, &mut forward);
            let mut backward = vec![0.0; padded(inputs) * outputs];
            pack_backward(&weight, inputs, outputs, 0, &mut backward);
            for (o, row) in weight.chunks_exact(inputs).enumerate() {
                for (i, &x) in row.iter().enumerate() {
                    assert_eq!(forward[(o / PANEL * inputs + i) * PANEL + o % PANEL], x);
                    assert_eq!(backward[(i / PANEL * outputs + o) * PANEL + i % PANEL], x);
                }
            }
            for packed in [&forward, &backward] {
                assert_eq!(packed.iter().filter(|&&x| x != 0.0).count(), weight.len());
            }
            let mut back = vec![0.0; weight.len()];
            unpack_forward(&forward, inputs, &mut back);
            assert_eq!(back, weight);
            back.fill(0.0);
            unpack_backward(&backward, inputs, outputs, 0, &mut back);
            assert_eq!(back, weight);
        }
    }
}
