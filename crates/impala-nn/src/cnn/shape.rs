//! The sizes of a convolutional network, and where the numbers of its layers lie in memory.
//!
//! Every layer is a product: at each of its *positions* (pixels of a convolution's output; a dense layer has
//! one) a *patch* of its input, as one vector of K numbers, is multiplied by the weights. A patch is never
//! copied: it consists of *runs* of neighbouring numbers, at the same *offsets* from every position's
//! *origin*.
//!
//! | input of the layer | order in memory | a run |
//! |---|---|---|
//! | frames | `[plane][height][width]`, as they are stored | a row of the kernel in one plane |
//! | activation of a convolution | `[height][width][channels]`, channels in whole panels | a row of the kernel, all channels |
//! | activation of a dense layer | `[width]`, in whole panels | some of it |
//!
//! Weights are kept as `[panel of outputs][K][16]` with K in the order of the patch; padding is zero.

use std::ops::Range;

use super::products::{RUN, WIDE};
use super::residual::{CONVS, Sections};
use crate::simd::aligned::{padded, stride};
use crate::simd::kernels::PANEL;
use crate::spec::{Conv, Core, NetworkSpec, ParamEntry, ParamSpec, SpecError, Torso};

/// One layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Output channels, or outputs.
    pub outputs: usize,
    /// K: numbers in a patch, padding included.
    pub patch: usize,
    /// Longest run of a patch; only the last may be shorter.
    pub run: usize,
    /// Where each run starts, from the origin of its position. For frames, from the start of the plane
    /// of the leading dimension, without the frame in the stack.
    pub offsets: Vec<usize>,
    /// Where each position's patch starts in the input of one row.
    pub origins: Vec<usize>,
    /// Place in the patch of each input of the flat weight's rows.
    pub places: Vec<usize>,
    /// Weight and bias in the flat vector, of one layer or of heads side by side.
    pub parts: Vec<Part>,
    /// Whether relu follows.
    pub relu: bool,
}

/// A weight `[outputs][inputs]` and a bias `[outputs]` of the flat vector.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub weight: Range<usize>,
    pub bias: Range<usize>,
}

impl Layer {
    /// Numbers of a row's output, padding included: `[positions][padded outputs]`.
    pub(super) fn output_len(&self) -> usize {
        self.origins.len() * padded(self.outputs)
    }

    /// Numbers from one row's output to the next row's.
    pub(super) fn row_stride(&self) -> usize {
        stride(self.output_len())
    }

    /// Length of its packed weight.
    pub(super) fn weight_len(&self) -> usize {
        self.patch * padded(self.outputs)
    }

    /// Where its outputs are in a row, in the order of the flat vector: `[channel][position]`.
    pub(super) fn output_places(&self) -> Vec<usize> {
        let (area, pixel) = (self.origins.len(), padded(self.outputs));
        (0..area * self.outputs).map(|i| i % area * pixel + i / area).collect()
    }

    /// Writes the layer's weight and bias in the kernels' order.
    pub(super) fn pack(&self, flat: &[f32], weight: &mut [f32], bias: &mut [f32]) {
        let mut first = 0;
        for part in &self.parts {
            bias[first..first + part.bias.len()].copy_from_slice(&flat[part.bias.clone()]);
            first += part.bias.len();
        }
        let lines = weight.as_chunks_mut::<PANEL>().0.chunks_exact_mut(self.patch);
        let rows: Vec<&[f32]> = self.rows(flat);
        for (rows, panel) in rows.chunks(PANEL).zip(lines) {
            for (input, &place) in self.places.iter().enumerate() {
                for (to, row) in panel[place].iter_mut().zip(rows) {
                    *to = row[input];
                }
            }
        }
    }

    /// The inverse of [`Layer::pack`].
    pub(super) fn unpack(&self, weight: &[f32], bias: &[f32], flat: &mut [f32]) {
        let inputs = self.places.len();
        let mut first = 0;
        for part in &self.parts {
            let outputs = part.bias.len();
            flat[part.bias.clone()].copy_from_slice(&bias[first..first + outputs]);
            let lines = weight.as_chunks::<PANEL>().0;
            for (row, output) in flat[part.weight.clone()].chunks_exact_mut(inputs).zip(first..) {
                let panel = &lines[output / PANEL * self.patch..][..self.patch];
                for (x, &place) in row.iter_mut().zip(&self.places) {
                    *x = panel[place][output % PANEL];
                }
            }
            first += outputs;
        }
    }

    /// The rows of the weight in the flat vector, one for each output.
    fn rows<'a>(&self, flat: &'a [f32]) -> Vec<&'a [f32]> {
        let part = |part: &Part| flat[part.weight.clone()].chunks_exact(self.places.len());
        self.parts.iter().flat_map(part).collect()
    }

    /// The weight for the way back, `[K / 16][outputs][16]`, from the packed one. K is a whole number of
    /// panels, as it is for all layers but the one over frames.
    pub(super) fn turn(&self, weight: &[f32], turned: &mut [f32]) {
        let panels = weight.as_chunks::<PANEL>().0.chunks_exact(self.patch);
        for (panel, lines) in panels.enumerate() {
            let first = panel * PANEL;
            let count = PANEL.min(self.outputs - first);
            let blocks = turned.as_chunks_mut::<PANEL>().0.chunks_exact_mut(self.outputs);
            for (block, lines) in blocks.zip(lines.as_chunks::<PANEL>().0) {
                for (output, to) in block[first..first + count].iter_mut().enumerate() {
                    *to = std::array::from_fn(|k| lines[k][output]);
                }
            }
        }
    }
}

/// A network: convolutions, dense layers, then both heads as one dense layer, the value last; or without these, if something
/// else follows.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// All layers; the first is a convolution.
    pub layers: Vec<Layer>,
    /// How many of them are convolutions.
    pub convs: usize,
    /// What stands behind the first layer, if it is a residual torso's, in whose place it stands: it has no weights of its own.
    pub sections: Option<Sections>,
    /// k.
    pub frame_stack: usize,
    /// Numbers in one frame.
    pub frame_len: usize,
    /// Length of the flat vector.
    pub parameters: usize,
}

impl Shape {
    /// The sizes of `spec`.
    ///
    /// # Errors
    /// [`SpecError`] if this is not a valid network, or has no convolution.
    pub(super) fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        if spec.core != Core::None || spec.action_reward_inputs {
            return Err(SpecError::NotNative);
        }
        let parameters = ParamSpec::new(spec)?;
        let mut shape = Self::torso(spec, &parameters)?;
        let entries = parameters.entries();
        let heads: Vec<&[ParamEntry]> = entries[entries.len() - 4..].chunks_exact(2).collect();
        let mut heads = dense(&heads, &shape.layers[shape.layers.len() - 1]);
        heads.relu = false;
        shape.layers.push(heads);
        Ok(shape)
    }

    /// The sizes of what is below the heads.
    ///
    /// # Errors
    /// [`SpecError::NotNative`] if there is no convolution.
    pub(super) fn torso(spec: &NetworkSpec, parameters: &ParamSpec) -> Result<Self, SpecError> {
        let mut pairs = parameters.entries().chunks_exact(2);
        let image = spec.image().ok_or(SpecError::NotNative)?;
        let (mut layers, sections, hidden) = match &spec.torso {
            Torso::Mlp { .. } => return Err(SpecError::NotNative),
            Torso::Cnn { convs, hidden } => {
                (convolutions(convs, spec, image, &mut pairs), None, hidden)
            }
            Torso::ImpalaDeep { channels, hidden } => {
                let count = channels.len() * CONVS;
                let sections = Sections::new(image, &parameters.entries()[..2 * count]);
                let layers = pairs.by_ref().take(count).last().map(|_| over_sections(&sections));
                (layers.into_iter().collect(), Some(sections), hidden)
            }
        };
        if layers.is_empty() {
            return Err(SpecError::NotNative);
        }
        let convs = layers.len();
        for pair in pairs.take(hidden.len()) {
            let layer = dense(&[pair], &layers[layers.len() - 1]);
            layers.push(layer);
        }
        Ok(Self {
            layers,
            convs,
            sections,
            frame_stack: spec.observation.frame_stack,
            frame_len: spec.observation.frame_len(),
            parameters: parameters.len(),
        })
    }

    /// A.
    pub(super) fn actions(&self) -> usize {
        self.heads().outputs - 1
    }

    /// The last layer.
    pub(super) fn heads(&self) -> &Layer {
        &self.layers[self.layers.len() - 1]
    }
}

/// Convolutions one after the other, from an image `[channels][height][width]` on.
fn convolutions<'a>(
    convs: &[Conv],
    spec: &NetworkSpec,
    [channels, mut height, mut width]: [usize; 3],
    pairs: &mut impl Iterator<Item = &'a [ParamEntry]>,
) -> Vec<Layer> {
    let planes = channels / spec.observation.frame_stack;
    let mut layers: Vec<Layer> = Vec::new();
    for (conv, pair) in convs.iter().zip(pairs) {
        let layer = match layers.last() {
            None => over_frames(conv, pair, (planes, height, width), spec),
            Some(below) => over_channels(conv, pair, below.outputs, (height, width)),
        };
        layers.push(layer);
        let side = |pixels| conv.output_side(pixels).expect("the parameter spec checked it");
        (height, width) = (side(height), side(width));
    }
    layers
}

/// What stands for the sections of a residual torso: their output, and nothing else.
fn over_sections(sections: &Sections) -> Layer {
    let [outputs, height, width] = sections.output();
    Layer {
        outputs,
        patch: 1,
        run: 1,
        offsets: Vec::new(),
        origins: vec![0; height * width],
        places: Vec::new(),
        parts: Vec::new(),
        relu: true,
    }
}

/// The positions of a convolution over an image of `height` rows of `row` numbers, `pixel` numbers each.
fn positions(conv: &Conv, (height, width): (usize, usize), pixel: usize) -> Vec<usize> {
    let steps = |side: usize| (0..=side - conv.kernel).step_by(conv.stride);
    let row = move |y: usize| steps(width).map(move |x| (y * width + x) * pixel);
    steps(height).flat_map(row).collect()
}

fn part([weight, bias]: [&ParamEntry; 2]) -> Part {
    Part { weight: weight.range(), bias: bias.range() }
}

fn over_frames(
    conv: &Conv,
    pair: &[ParamEntry],
    (planes, height, width): (usize, usize, usize),
    spec: &NetworkSpec,
) -> Layer {
    let patch = spec.observation.frame_stack * planes * conv.kernel * conv.kernel;
    let rows = (0..planes).flat_map(|plane| (0..conv.kernel).map(move |y| plane * height + y));
    Layer {
        outputs: conv.filters,
        patch,
        run: conv.kernel,
        offsets: rows.map(|row| row * width).collect(),
        origins: positions(conv, (height, width), 1),
        // Patch and flat weight agree: [frame][plane][y][x].
        places: (0..patch).collect(),
        parts: vec![part([&pair[0], &pair[1]])],
        relu: true,
    }
}

fn over_channels(
    conv: &Conv,
    pair: &[ParamEntry],
    channels: usize,
    (height, width): (usize, usize),
) -> Layer {
    let pixel = padded(channels);
    let area = conv.kernel * conv.kernel;
    Layer {
        outputs: conv.filters,
        patch: area * pixel,
        run: conv.kernel * pixel,
        offsets: (0..conv.kernel).map(|y| y * width * pixel).collect(),
        origins: positions(conv, (height, width), pixel),
        places: (0..channels * area).map(|i| i % area * pixel + i / area).collect(),
        parts: vec![part([&pair[0], &pair[1]])],
        relu: true,
    }
}

/// A dense layer, or several side by side, over the output of `below`.
fn dense(pairs: &[&[ParamEntry]], below: &Layer) -> Layer {
    let (area, pixel) = (below.origins.len(), padded(below.outputs));
    let patch = area * pixel;
    // Runs of equal length, as near to the best as may be.
    let run = patch.div_ceil(patch.div_ceil(RUN)).next_multiple_of(WIDE);
    Layer {
        outputs: pairs.iter().map(|pair| pair[0].shape[0]).sum(),
        patch,
        run,
        offsets: (0..patch).step_by(run).collect(),
        origins: vec![0],
        places: below.output_places(),
        parts: pairs.iter().map(|pair| part([&pair[0], &pair[1]])).collect(),
        relu: true,
    }
}
