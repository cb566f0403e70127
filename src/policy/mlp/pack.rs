//! The sizes of an MLP, and the order in which the kernels want its weights.
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

use super::kernels::PANEL;
use crate::policy::spec::{Activation, Core, NetworkSpec, ParamSpec, SpecError, Torso};

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

/// An MLP: hidden layers, then two heads over the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub activation: Activation,
    /// At least one.
    pub hidden: Vec<Layer>,
    pub policy: Layer,
    pub value: Layer,
    /// Length of the flat vector.
    pub parameters: usize,
}

impl Shape {
    /// The sizes of `spec`.
    ///
    /// # Errors
    /// [`SpecError`] if this is no network, or no MLP with a hidden layer.
    pub(super) fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        let parameters = ParamSpec::new(spec)?;
        let plain = spec.core == Core::None && !spec.action_reward_inputs;
        let (true, &Torso::Mlp { activation, .. }) = (plain, &spec.torso) else {
            return Err(SpecError::NotNative);
        };
        let layer = |pair: &[_]| match pair {
            [weight, bias] => layer(weight, bias),
            _ => unreachable!("a weight and a bias for each layer"),
        };
        let mut layers: Vec<Layer> = parameters.entries().chunks(2).map(layer).collect();
        match (layers.pop(), layers.pop()) {
            (Some(value), Some(policy)) if !layers.is_empty() => {
                Ok(Self { activation, hidden: layers, policy, value, parameters: parameters.len() })
            }
            _ => Err(SpecError::NotNative),
        }
    }

    /// Numbers in one observation.
    pub(super) fn inputs(&self) -> usize {
        self.hidden[0].inputs
    }

    /// A.
    pub(super) const fn actions(&self) -> usize {
        self.policy.outputs
    }

    /// Outputs of both heads together: A + 1, the value last.
    pub(super) const fn outputs(&self) -> usize {
        self.policy.outputs + 1
    }

    /// Widest stride of an activation.
    pub(super) fn widest(&self) -> usize {
        self.hidden.iter().map(|layer| stride(layer.outputs)).max().unwrap_or(0)
    }

    /// Both heads as one layer, in backward order: A rows of the policy, one of the value.
    pub(super) fn pack_heads(&self, flat: &[f32], weight: &mut [f32], bias: &mut [f32]) {
        for (first, head) in [(0, &self.policy), (self.actions(), &self.value)] {
            pack_backward(&flat[head.weight.clone()], head.inputs, self.outputs(), first, weight);
            bias[first..first + head.outputs].copy_from_slice(&flat[head.bias.clone()]);
        }
    }
}

fn layer(
    weight: &crate::policy::spec::ParamEntry,
    bias: &crate::policy::spec::ParamEntry,
) -> Layer {
    Layer {
        inputs: weight.fan_in,
        outputs: weight.shape[0],
        weight: weight.range(),
        bias: bias.range(),
    }
}

/// `width` rounded up to whole panels.
pub(in crate::policy) const fn padded(width: usize) -> usize {
    width.next_multiple_of(PANEL)
}

/// Numbers from one row of an activation of `width` to the next. Wide rows get a spare panel if they
/// would be an even number of cache lines apart: at powers of two, the same columns of all rows of a
/// tile would compete for a few places of the first-level cache.
pub(in crate::policy) const fn stride(width: usize) -> usize {
    let panels = padded(width) / PANEL;
    if panels >= 8 && panels.is_multiple_of(2) { (panels + 1) * PANEL } else { panels * PANEL }
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

/// Numbers that start on a cache line: vectors that straddle two lines are read at half the speed.
#[derive(Debug)]
pub(in crate::policy) struct Aligned {
    storage: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub(in crate::policy) fn zeros(len: usize) -> Self {
        const LINE_BYTES: usize = 64;
        let spare = LINE_BYTES / size_of::<f32>();
        let storage = vec![0.0; len + spare];
        // Only speed depends on it: a wrong answer would still be in range.
        let start = storage.as_ptr().align_offset(LINE_BYTES).min(spare);
        Self { storage, start, len }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..self.start + self.len]
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

    #[test]
    fn buffers_start_on_cache_lines() {
        for len in [0, 1, 1000] {
            let buffer = Aligned::zeros(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().align_offset(64), 0);
        }
    }
}
