//! Memory layout of images with a border of zeros, so that convolutions with one pixel of padding need no special case
//! at edges.

use crate::frames::StackedFrames;
use crate::simd::aligned::Aligned;
use impala_env::Dtype;

/// The sizes of an image that lies `[height + 2][width + 2][pixel]`: channels side by side, a border of one pixel around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub height: usize,
    pub width: usize,
    /// Numbers of a pixel: its channels, and those that fill its last panel.
    pub pixel: usize,
}

impl Grid {
    /// Numbers of a row of pixels.
    pub(super) const fn line(self) -> usize {
        (self.width + 2) * self.pixel
    }

    /// Numbers of an image.
    pub(super) const fn len(self) -> usize {
        (self.height + 2) * self.line()
    }

    /// Number of a pixel, with the border's: that at row `y` and column `x` of the image.
    #[inline(always)]
    pub(super) const fn place(self, y: usize, x: usize) -> usize {
        (y + 1) * (self.width + 2) + x + 1
    }

    /// The numbers of the rows of an image, without its border.
    pub(super) fn rows(self, image: &[f32]) -> impl Iterator<Item = &[f32]> {
        let lines = image[self.line()..].chunks_exact(self.line()).take(self.height);
        lines.map(move |line| &line[self.pixel..self.line() - self.pixel])
    }

    /// The same to write to.
    pub(super) fn rows_mut(self, image: &mut [f32]) -> impl Iterator<Item = &mut [f32]> {
        let (line, pixel) = (self.line(), self.pixel);
        let lines = image[line..].chunks_exact_mut(line).take(self.height);
        lines.map(move |row| &mut row[pixel..line - pixel])
    }

    /// An image of zeros.
    pub(super) fn zeros(self) -> Aligned {
        Aligned::zeros(self.len())
    }
}

/// Writes what observation `step` of `column` sees to `to`, an image of `grid`: the planes of its k frames, oldest first, as channels, in place
/// of frames of another episode zeros.
pub(super) fn place_frames(
    images: &StackedFrames<'_>,
    (step, column): (usize, usize),
    grid: Grid,
    to: &mut [f32],
) {
    let stack = images.spec.frame_stack;
    let valid = images.valid(step, column);
    let area = grid.height * grid.width;
    let planes = grid.pixel / stack;
    for slot in 0..stack {
        let seen = (stack - slot <= valid).then(|| images.frame(step + slot, column));
        for plane in 0..planes {
            let channel = slot * planes + plane;
            let pixels = plane * area..(plane + 1) * area;
            match (seen, images.spec.dtype) {
                (None, _) => set(grid, channel, to, std::iter::repeat_n(0.0, area)),
                (Some(frame), Dtype::U8) => {
                    let bytes = frame[pixels].iter();
                    set(grid, channel, to, bytes.map(|&byte| f32::from(byte) * (1.0 / 255.0)));
                }
                (Some(frame), Dtype::F32) => {
                    let numbers: &[f32] = bytemuck::cast_slice(frame);
                    set(grid, channel, to, numbers[pixels].iter().copied());
                }
            }
        }
    }
}

/// Writes one channel of an image, row by row.
fn set(grid: Grid, channel: usize, to: &mut [f32], mut pixels: impl Iterator<Item = f32>) {
    for row in grid.rows_mut(to) {
        let places = row[channel..].iter_mut().step_by(grid.pixel);
        places.zip(&mut pixels).for_each(|(to, pixel)| *to = pixel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::FrameRows;
    use impala_env::ObservationSpec;

    #[test]
    fn frames_are_channels_and_those_of_another_episode_are_blank() {
        let spec =
            ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::U8, &[2, 1, 3]) };
        // Two rows of one column: planes of three pixels each.
        let bytes = [0, 51, 102, 153, 204, 255, 255, 204, 153, 102, 51, 0];
        let grid = Grid { height: 1, width: 3, pixel: 4 };
        for valid in [2, 1] {
            let images = StackedFrames {
                spec: &spec,
                columns: 1,
                strip: 0..1,
                rows: FrameRows::Contiguous(&bytes),
                valid: &[valid],
            };
            let mut to = grid.zeros();
            place_frames(&images, (0, 0), grid, &mut to);
            let expected = |pixel: usize, channel: usize| {
                let byte = f32::from(bytes[channel * 3 + pixel]);
                if channel < 2 && valid == 1 { 0.0 } else { byte / 255.0 }
            };
            for pixel in 0..3 {
                for channel in 0..4 {
                    let x = to[grid.place(0, pixel) * 4 + channel];
                    assert!((x - expected(pixel, channel)).abs() < 1e-6, "{:?}", &to[..]);
                }
            }
            let inside: f32 = grid.rows(&to).flatten().sum();
            assert_eq!(inside, to.iter().sum::<f32>(), "nothing in the border");
        }
    }
}
