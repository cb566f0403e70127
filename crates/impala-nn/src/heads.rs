//! The policy head and the value head: dense layers with few outputs on top of the torso or the core.

use std::ops::Range;

use crate::simd::aligned::{Aligned, padded};
use crate::simd::kernels::{
    FinishDots, PANEL, Rows, Sums, dots, outer_product, panels_mut, product,
};
use crate::simd::weights::Placement;
use crate::simd::{Kernel, Level, Simd, launch};
use crate::spec::{ParamEntry, ParamSpec};

/// Stores logits and values.
pub(crate) struct Outputs<'a> {
    /// A: the outputs that are logits.
    pub actions: usize,
    /// `[outputs]`.
    pub bias: &'a [f32],
    /// `[rows][A]`.
    pub logits: &'a mut [f32],
    /// `[rows]`, or empty if nobody wants them.
    pub values: &'a mut [f32],
}

impl FinishDots for Outputs<'_> {
    #[inline(always)]
    fn finish(&mut self, row: usize, output: usize, sums: &[f32]) {
        let bias = self.bias[output];
        if output < self.actions {
            for (row, sum) in (row..).zip(sums) {
                self.logits[row * self.actions + output] = sum + bias;
            }
        } else if !self.values.is_empty() {
            for (value, sum) in self.values[row..].iter_mut().zip(sums) {
                *value = sum + bias;
            }
        }
    }
}

/// One or both heads over rows of K numbers, their outputs side by side: A of the policy, then the value.
#[derive(Debug)]
pub(crate) struct Heads {
    level: Level,
    /// A; 0 without the policy's.
    actions: usize,
    outputs: usize,
    /// Columns, weight and bias of each.
    parts: Vec<(Vec<usize>, Range<usize>, Range<usize>)>,
    /// Place in a row of each input of the flat weights.
    places: Vec<usize>,
    /// `[K / 16][outputs][16]`.
    weight: Aligned,
    bias: Vec<f32>,
    /// Sums over the rows so far, likewise.
    weight_sums: Aligned,
    bias_sums: Vec<f32>,
    /// Gradients with respect to the outputs, `[rows][outputs]`.
    d: Vec<f32>,
}

impl Heads {
    /// The heads called `names` (`policy`, `value` or both, in this order) over rows of `inputs` numbers, of which those at `places`
    /// are the inputs; with zero weights.
    pub(crate) fn new(
        parameters: &ParamSpec,
        names: &[&str],
        (inputs, places): (usize, Vec<usize>),
        level: Level,
    ) -> Self {
        let (mut actions, mut outputs, mut parts) = (0, 0, Vec::new());
        for name in names {
            let range = |what| parameters.get(&format!("{name}.{what}")).map(ParamEntry::range);
            let (weight, bias) = range("weight").zip(range("bias")).unwrap_or_default();
            let columns: Vec<usize> = (outputs..outputs + bias.len()).collect();
            outputs += bias.len();
            if *name == "policy" {
                actions = outputs;
            }
            parts.push((columns, weight, bias));
        }
        let weight = || Aligned::zeros(padded(inputs) * outputs);
        Self {
            level,
            actions,
            outputs,
            parts,
            places,
            weight: weight(),
            bias: vec![0.0; outputs],
            weight_sums: weight(),
            bias_sums: vec![0.0; outputs],
            d: Vec::new(),
        }
    }

    /// Takes the weights from the flat vector, and forgets the gradient.
    pub(crate) fn load(&mut self, flat: &[f32]) {
        for (columns, weight, bias) in &self.parts {
            let placement = Placement { columns, places: &self.places };
            placement.pack_backward(&flat[weight.clone()], self.outputs, &mut self.weight);
            self.bias[columns[0]..][..columns.len()].copy_from_slice(&flat[bias.clone()]);
        }
        self.weight_sums.fill(0.0);
        self.bias_sums.fill(0.0);
    }

    /// Writes the logits `[rows][A]` and the values `[rows]`, of which a network without that head writes none, of `x`, whose rows are zero
    /// where there is no input.
    pub(crate) fn forward(&self, x: Rows<'_>, logits: &mut [f32], values: &mut [f32]) {
        let Self { actions, ref bias, .. } = *self;
        let outputs = Outputs { actions, bias, logits, values };
        launch(self.level, ForwardHeads { x, weight: &self.weight, count: self.outputs, outputs });
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the outputs for the first rows of `x`, `[rows][A]` and
    /// `[rows]`; writes that with respect to those rows to `d_x`, whose rows are as far apart as those of `x`.
    pub(crate) fn backward(
        &mut self,
        x: Rows<'_>,
        d_logits: &[f32],
        d_values: &[f32],
        d_x: &mut [f32],
    ) {
        let (rows, actions) = (d_values.len(), self.actions);
        self.d.resize(rows * self.outputs, 0.0);
        for (row, d) in self.d.chunks_exact_mut(self.outputs).enumerate() {
            let (of_policy, of_value) = d.split_at_mut(actions);
            of_policy.copy_from_slice(&d_logits[row * actions..][..actions]);
            of_value.fill(d_values[row]);
            self.bias_sums.iter_mut().zip(&*d).for_each(|(sum, d)| *sum += d);
        }
        let back = BackwardHeads {
            d: Rows { data: &self.d, stride: self.outputs, width: self.outputs },
            x: Rows { data: &x.data[..rows * x.stride], ..x },
            weight: &self.weight,
            sums: &mut self.weight_sums,
            d_x,
        };
        launch(self.level, back);
    }

    /// Writes the gradient in the order of the flat vector.
    pub(crate) fn write_gradient(&self, flat: &mut [f32]) {
        for (columns, weight, bias) in &self.parts {
            let placement = Placement { columns, places: &self.places };
            let weight = &mut flat[weight.clone()];
            placement.unpack_backward(&self.weight_sums, self.outputs, weight);
            flat[bias.clone()].copy_from_slice(&self.bias_sums[columns[0]..][..columns.len()]);
        }
    }
}

struct ForwardHeads<'a> {
    x: Rows<'a>,
    weight: &'a [f32],
    count: usize,
    outputs: Outputs<'a>,
}

impl Kernel for ForwardHeads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        dots(s, self.x, self.weight, self.count, &mut self.outputs);
    }
}

struct BackwardHeads<'a> {
    /// `[rows][outputs]`.
    d: Rows<'a>,
    x: Rows<'a>,
    weight: &'a [f32],
    sums: &'a mut [f32],
    d_x: &'a mut [f32],
}

impl Kernel for BackwardHeads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        outer_product(s, self.d, self.x, self.sums);
        let stride = self.x.stride / PANEL;
        let mut sums = Sums { out: panels_mut(self.d_x), stride, adds: false };
        product(s, self.d, self.weight, None, &mut sums);
    }
}
