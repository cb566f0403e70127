//! A small cache of frames converted to floats: the last k of one column, so that each frame is converted once.

use super::products::Patches;
use super::shape::{Layer, Shape};
use crate::frames::StackedFrames;
use crate::simd::aligned::Aligned;
use crate::simd::{Kernel, Simd};
use crate::simd::{Level, launch};
use impala_env::Dtype;

/// The last k frames that were looked at, as floats, and one that is blank. Going through the time steps of
/// one column, each frame is converted once.
#[derive(Debug)]
pub(super) struct Planes {
    level: Level,
    frame_len: usize,
    /// k + 1 frames.
    data: Aligned,
    /// Which frame of which column each of the k is.
    held: Vec<Option<(usize, usize)>>,
    /// Where the runs of the present observation are.
    offsets: Vec<usize>,
}

impl Planes {
    pub(super) fn new(shape: &Shape, level: Level) -> Self {
        Self {
            level,
            frame_len: shape.frame_len,
            data: Aligned::zeros((shape.frame_stack + 1) * shape.frame_len),
            held: vec![None; shape.frame_stack],
            offsets: Vec::new(),
        }
    }

    /// Forgets what was there: other memory follows.
    pub(super) fn clear(&mut self) {
        self.held.fill(None);
    }

    /// The patches of one observation, for the layer over frames.
    pub(super) fn patches<'a>(
        &'a mut self,
        images: &StackedFrames<'_>,
        (step, column): (usize, usize),
        layer: &'a Layer,
    ) -> Patches<'a> {
        let stack = self.held.len();
        let valid = images.valid(step, column);
        self.offsets.clear();
        for slot in 0..stack {
            let place =
                if stack - slot <= valid { self.hold(images, step + slot, column) } else { stack };
            let start = place * self.frame_len;
            self.offsets.extend(layer.offsets.iter().map(|offset| start + offset));
        }
        Patches {
            data: &self.data,
            origins: &layer.origins,
            offsets: &self.offsets,
            run: layer.run,
        }
    }

    /// Converts a frame unless it is there; returns its place.
    fn hold(&mut self, images: &StackedFrames<'_>, frame: usize, column: usize) -> usize {
        let place = frame % self.held.len();
        if self.held[place] != Some((frame, column)) {
            let to = &mut self.data[place * self.frame_len..][..self.frame_len];
            let bytes = images.frame(frame, column);
            match images.spec.dtype {
                Dtype::U8 => launch(self.level, Convert { bytes, to }),
                Dtype::F32 => to.copy_from_slice(bytemuck::cast_slice(bytes)),
            }
            self.held[place] = Some((frame, column));
        }
        place
    }
}

/// Bytes over 255. A kernel so that the compiler's vectors are as wide as the CPU's.
struct Convert<'a> {
    bytes: &'a [u8],
    to: &'a mut [f32],
}

impl Kernel for Convert<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (x, &byte) in self.to.iter_mut().zip(self.bytes) {
            *x = f32::from(byte) * (1.0 / 255.0);
        }
    }
}
