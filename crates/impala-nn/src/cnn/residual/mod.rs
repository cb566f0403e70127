//! The residual torso of the IMPALA paper: sections of a convolution, max-pooling and two residual blocks.
//!
//! ```text
//! x = pool(conv(x))     twice: x = x + conv(relu(conv(relu(x))))     at the end: relu(x)
//! ```
//!
//! All convolutions are 3x3 with one pixel of padding. Images lie with a border of one pixel that is zero ([`grid`]), so that no patch needs to know where the
//! edges are; the frames of a stack are put side by side as channels first. One image after the other goes through all sections. On
//! the way back the gradient of a convolution's input is a convolution too, of the gradient of its output.

mod backward;
mod grid;
mod layer;
mod pool;
mod same;

pub(super) use backward::ResidualBackward;

use grid::{Grid, place_frames};
use layer::Layer;
use pool::{Pool, pooled};
use same::{AddRelu, Relu, Same};

use super::forward::Weights;
use crate::frames::StackedFrames;
use crate::simd::aligned::Aligned;
use crate::simd::kernels::{PANEL, Sums, panels_mut};
use crate::simd::{Level, launch};
use crate::spec::ParamEntry;

/// Convolutions of a section.
pub(super) const CONVS: usize = 5;

/// The sizes of the sections, and where their weights are.
#[derive(Debug, Clone)]
pub(super) struct Sections {
    /// Of what a network sees.
    grid: Grid,
    sections: Vec<SectionShape>,
}

#[derive(Debug, Clone)]
struct SectionShape {
    /// The convolution, then two of each block.
    layers: Vec<Layer>,
    /// Of what comes out.
    grid: Grid,
}

impl Sections {
    /// Those over images `[planes][height][width]`, each of which has the ten `entries` of its convolutions; at least one.
    pub(super) fn new([planes, height, width]: [usize; 3], entries: &[ParamEntry]) -> Self {
        let grid = Grid { height, width, pixel: planes };
        let mut below = grid;
        let mut sections = Vec::new();
        for entries in entries.chunks_exact(2 * CONVS) {
            let (first, blocks) = entries.split_at(2);
            let first = Layer::new(below, first);
            below = pooled(first.output());
            let blocks = blocks.chunks_exact(2).map(|pair| Layer::new(below, pair));
            let layers = std::iter::once(first).chain(blocks).collect();
            sections.push(SectionShape { layers, grid: below });
        }
        Self { grid, sections }
    }

    /// Channels, height and width of what comes out.
    pub(super) fn output(&self) -> [usize; 3] {
        let last = &self.sections[self.sections.len() - 1];
        [last.layers[0].outputs(), last.grid.height, last.grid.width]
    }
}

/// The sections with their weights, and what they computed of the last images.
#[derive(Debug)]
pub(super) struct Residual {
    level: Level,
    /// Of what a network sees.
    grid: Grid,
    seen: Aligned,
    sections: Vec<Section>,
    /// Whether what was computed is kept for all rows, or for the last one.
    keep: bool,
}

/// One section.
#[derive(Debug)]
struct Section {
    /// The convolution, then two of each block.
    layers: Vec<Layer>,
    weights: Vec<Weights>,
    /// Of what comes out.
    grid: Grid,
    /// What the convolution gives; its border is minus infinity.
    convolved: Aligned,
    /// Of each row: what comes out, the inputs of the blocks' convolutions, and which pixels were the largest.
    x: Aligned,
    inputs: [Aligned; 4],
    largest: Aligned,
}

impl Residual {
    /// Sections of zero weights, which keep what they compute of all rows or of the last one.
    pub(super) fn new(sections: &Sections, level: Level, keep: bool) -> Self {
        let section = |SectionShape { layers, grid }: &SectionShape| {
            let mut convolved = layers[0].output().zeros();
            convolved.fill(f32::NEG_INFINITY);
            let none = || Aligned::zeros(0);
            Section {
                layers: layers.clone(),
                weights: layers.iter().map(Layer::zeros).collect(),
                grid: *grid,
                convolved,
                x: none(),
                inputs: [none(), none(), none(), none()],
                largest: none(),
            }
        };
        Self {
            level,
            grid: sections.grid,
            seen: sections.grid.zeros(),
            sections: sections.sections.iter().map(section).collect(),
            keep,
        }
    }

    /// Takes weights from the flat vector.
    pub(super) fn load(&mut self, flat: &[f32]) {
        for section in &mut self.sections {
            let layers = section.layers.iter().zip(&mut section.weights);
            layers.for_each(|(layer, weights)| layer.pack(flat, weights));
        }
    }

    /// Makes room for `rows` images.
    pub(super) fn reserve(&mut self, rows: usize) {
        let rows = if self.keep { rows } else { 1 };
        for Section { grid, x, inputs, largest, .. } in &mut self.sections {
            for buffer in inputs.iter_mut().chain([x, largest]) {
                if buffer.len() < rows * grid.len() {
                    *buffer = Aligned::zeros(rows * grid.len());
                }
            }
        }
    }

    /// Writes the features `[height][width][channels]` of observation `at` (step and column), and keeps what the way back needs as that of `row`.
    pub(super) fn forward(
        &mut self,
        images: &StackedFrames<'_>,
        at: (usize, usize),
        row: usize,
        out: &mut [f32],
    ) {
        let Self { level, grid, seen, sections, keep } = self;
        let row = if *keep { row } else { 0 };
        place_frames(images, at, *grid, seen);
        for index in 0..sections.len() {
            let (below, above) = sections.split_at_mut(index);
            let x = below.last().map_or(&seen[..], |below| below.output(row));
            above[0].forward(*level, x, row);
        }
        if let Some(last) = sections.last() {
            let width = last.grid.width * last.grid.pixel;
            let rows = out.chunks_exact_mut(width).zip(last.grid.rows(last.output(row)));
            rows.for_each(|(out, x)| out.iter_mut().zip(x).for_each(|(out, x)| *out = relu(*x)));
        }
    }
}

/// NaN comes through.
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

impl Section {
    /// What comes out for `row`.
    fn output(&self, row: usize) -> &[f32] {
        &self.x[row * self.grid.len()..][..self.grid.len()]
    }

    /// The input of convolution `index` of the blocks, for `row`.
    fn input(&self, index: usize, row: usize) -> &[f32] {
        &self.inputs[index][row * self.grid.len()..][..self.grid.len()]
    }

    fn forward(&mut self, level: Level, x: &[f32], row: usize) {
        let Self { layers, weights, grid, convolved, x: out, inputs, largest } = self;
        let conv = |index: usize| (&layers[index], &weights[index]);
        let panels = grid.pixel / PANEL;
        let of_row = row * grid.len()..(row + 1) * grid.len();
        let out = &mut out[of_row.clone()];
        let [a, b, c, d] = inputs.each_mut().map(|input| &mut input[of_row.clone()]);
        let sums = Sums { out: panels_mut(convolved), stride: panels, adds: false };
        launch(level, same(conv(0), x, sums));
        let pool = Pool {
            x: convolved,
            grid: layers[0].output(),
            out: &mut *out,
            relu: &mut *a,
            largest: &mut largest[of_row.clone()],
        };
        launch(level, pool);
        launch(level, same(conv(1), a, Relu { out: panels_mut(b), panels }));
        let add = AddRelu { x: panels_mut(out), relu: panels_mut(c), panels };
        launch(level, same(conv(2), b, add));
        launch(level, same(conv(3), c, Relu { out: panels_mut(d), panels }));
        let sums = Sums { out: panels_mut(out), stride: panels, adds: true };
        launch(level, same(conv(4), d, sums));
    }
}

fn same<'a, F>((layer, weights): (&Layer, &'a Weights), x: &'a [f32], finish: F) -> Same<'a, F> {
    let Weights { weight, bias } = weights;
    Same { x, grid: layer.grid, weights: weight, bias: Some(bias), finish }
}
