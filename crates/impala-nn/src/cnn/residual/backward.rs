//! Backward pass of the residual torso, image by image: from the gradient with respect to the features to that with
//! respect to the parameters.

use super::grid::{Grid, place_frames};
use super::layer::Layer;
use super::pool::Unpool;
use super::same::{Masked, Same};
use super::{CONVS, Residual, Section};
use crate::cnn::backward::BiasSums;
use crate::cnn::forward::Weights;
use crate::cnn::products::{Patches, WeightSums};
use crate::frames::StackedFrames;
use crate::simd::aligned::Aligned;
use crate::simd::kernels::{PANEL, Sums, panels, panels_mut};
use crate::simd::{Level, launch};

/// What the way back needs beside the sections: sums so far, turned weights, gradients of images.
#[derive(Debug)]
pub(in crate::cnn) struct ResidualBackward(Vec<SectionBackward>);

#[derive(Debug)]
struct SectionBackward {
    sums: Vec<Weights>,
    /// Of all convolutions but the very first.
    turned: Vec<Aligned>,
    /// Gradients of what comes out, and between the convolutions of a block.
    d: Aligned,
    d_inner: Aligned,
    /// Of what the first convolution gives.
    d_convolved: Aligned,
    /// Where the patches start that belong to the gradients of an image, from its first pixel to its last.
    origins: Vec<usize>,
    convolved_origins: Vec<usize>,
}

impl ResidualBackward {
    /// All zero.
    pub(in crate::cnn) fn zeros(residual: &Residual) -> Self {
        let section = |section: &Section| SectionBackward {
            sums: section.layers.iter().map(Layer::zeros).collect(),
            turned: section.layers.iter().map(Layer::turned_zeros).collect(),
            d: section.grid.zeros(),
            d_inner: section.grid.zeros(),
            d_convolved: section.layers[0].output().zeros(),
            origins: origins(section.layers[1].grid),
            convolved_origins: origins(section.layers[0].grid),
        };
        Self(residual.sections.iter().map(section).collect())
    }

    /// Takes the weights of `residual`, and forgets the sums.
    pub(in crate::cnn) fn load(&mut self, residual: &Residual) {
        for (section, of) in self.0.iter_mut().zip(&residual.sections) {
            let layers = of.layers.iter().zip(&of.weights);
            for ((layer, weights), turned) in layers.zip(&mut section.turned) {
                layer.turn(&weights.weight, turned);
            }
            for sums in &mut section.sums {
                sums.weight.fill(0.0);
                sums.bias.fill(0.0);
            }
        }
    }

    /// Writes the sums in the order of the flat vector.
    pub(in crate::cnn) fn write(&self, residual: &Residual, flat: &mut [f32]) {
        for (section, of) in self.0.iter().zip(&residual.sections) {
            let layers = of.layers.iter().zip(&section.sums);
            layers.for_each(|(layer, sums)| layer.unpack(sums, flat));
        }
    }

    /// Adds the share of observation `at`, which was `row` of the last forward pass, from the gradient `d` with respect to what comes out before the
    /// last relu, `[height][width][channels]`.
    pub(in crate::cnn) fn add(
        &mut self,
        residual: &mut Residual,
        images: &StackedFrames<'_>,
        at: (usize, usize),
        row: usize,
        d: &[f32],
    ) {
        let Residual { level, grid, ref mut seen, ref sections, .. } = *residual;
        place_frames(images, at, grid, seen);
        let last = sections.len() - 1;
        let out = sections[last].grid;
        let rows = d.chunks_exact(out.width * out.pixel);
        out.rows_mut(&mut self.0[last].d).zip(rows).for_each(|(to, d)| to.copy_from_slice(d));
        for index in (0..=last).rev() {
            let (below, above) = self.0.split_at_mut(index);
            let section = &mut above[0];
            section.blocks(&sections[index], level, row);
            let x = match index.checked_sub(1) {
                None => &seen[..],
                Some(below) => sections[below].output(row),
            };
            section.convolution(&sections[index], level, x, row);
            if let Some(below) = below.last_mut() {
                let layer = &sections[index].layers[0];
                let stride = layer.grid.pixel / PANEL;
                let sums = Sums { out: panels_mut(&mut below.d), stride, adds: false };
                let (d, turned) = (&section.d_convolved, &section.turned[0]);
                launch(level, back(layer, d, turned, sums));
            }
        }
    }
}

impl SectionBackward {
    /// From what comes out to what was pooled, in `d`.
    fn blocks(&mut self, of: &Section, level: Level, row: usize) {
        let Self { sums, turned, d, d_inner, origins, .. } = self;
        let every = of.grid.pixel / PANEL;
        for block in [1, 0] {
            let [first, second] = [2 * block, 2 * block + 1];
            let inner = of.input(second, row);
            let layer = &of.layers[second + 1];
            add_weights(level, layer, (inner, origins), d, &mut sums[second + 1]);
            let (a, out) = (panels(inner), panels_mut(d_inner));
            let masked = Masked { a, out, panels: every, adds: false };
            launch(level, back(layer, d, &turned[second + 1], masked));
            let outer = of.input(first, row);
            let layer = &of.layers[first + 1];
            add_weights(level, layer, (outer, origins), d_inner, &mut sums[first + 1]);
            let (a, out) = (panels(outer), panels_mut(d));
            let masked = Masked { a, out, panels: every, adds: true };
            launch(level, back(layer, d_inner, &turned[first + 1], masked));
        }
    }

    /// From what was pooled to what the first convolution gave for `x`, in `d_convolved`.
    fn convolution(&mut self, of: &Section, level: Level, x: &[f32], row: usize) {
        let Self { sums, d, d_convolved, convolved_origins, .. } = self;
        let layer = &of.layers[0];
        d_convolved.fill(0.0);
        let largest = &of.largest[row * of.grid.len()..][..of.grid.len()];
        launch(level, Unpool { d, largest, grid: layer.output(), out: d_convolved });
        add_weights(level, layer, (x, convolved_origins), d_convolved, &mut sums[0]);
    }
}

/// Of all pixels from the first of an image to its last. Those of the border between them have no gradient.
fn origins(grid: Grid) -> Vec<usize> {
    let pixels = grid.height * (grid.width + 2) - 2;
    (0..pixels).map(|pixel| pixel * grid.pixel).collect()
}

/// Adds the share of one image to the sums of a convolution.
fn add_weights(
    level: Level,
    layer: &Layer,
    (x, origins): (&[f32], &[usize]),
    d: &[f32],
    sums: &mut Weights,
) {
    let output = layer.output();
    let d = &d[output.place(0, 0) * output.pixel..][..origins.len() * output.pixel];
    let (stride, width) = (output.pixel, layer.outputs());
    launch(level, BiasSums { d, stride, width, sums: &mut sums.bias });
    let line = layer.grid.line();
    let patches =
        Patches { data: x, origins, offsets: &[0, line, 2 * line], run: 3 * layer.grid.pixel };
    let (patch, sums) = (layer.patch(), &mut sums.weight[..]);
    launch(level, WeightSums { x: patches, d, stride, sums, patch, first: 0, count: patch });
}

/// The gradient with respect to a convolution's input.
fn back<'a, F>(layer: &Layer, d: &'a [f32], turned: &'a [f32], finish: F) -> Same<'a, F> {
    Same { x: d, grid: layer.output(), weights: turned, bias: None, finish }
}

const _: () = assert!(CONVS == 5, "one convolution and two blocks of two");
