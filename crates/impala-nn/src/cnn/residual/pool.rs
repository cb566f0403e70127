//! Max-pooling over 3x3 pixels with a stride of 2; pixels of the border are never the largest.

use super::grid::Grid;
use crate::simd::kernels::{PANEL, Panel, panels, panels_mut};
use crate::simd::{Kernel, Simd};

/// Sides of the pooled image.
pub(super) const fn pooled(grid: Grid) -> Grid {
    Grid { height: grid.height.div_ceil(2), width: grid.width.div_ceil(2), pixel: grid.pixel }
}

/// From a convolution to the pooled image, and where the largest pixels were.
pub(super) struct Pool<'a> {
    /// Whose border is minus infinity.
    pub x: &'a [f32],
    /// That of `x`.
    pub grid: Grid,
    pub out: &'a mut [f32],
    /// `max(out, 0)`.
    pub relu: &'a mut [f32],
    /// Which of the 9 was the largest, the first of equals; an image as `out` is.
    pub largest: &'a mut [f32],
}

/// The numbers of the 9 pixels of the window that becomes pixel `(y, x)`, with the border's.
#[inline(always)]
fn window(grid: Grid, y: usize, x: usize) -> [usize; 9] {
    let line = grid.width + 2;
    // One up and one left of pixel (2 y, 2 x), which with the border is (2 y, 2 x) itself.
    let first = 2 * y * line + 2 * x;
    let mut places = [0; 9];
    for (at, place) in places.iter_mut().enumerate() {
        *place = first + at / 3 * line + at % 3;
    }
    places
}

impl Kernel for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let every = self.grid.pixel / PANEL;
        let x = panels(self.x);
        let (out, relu) = (panels_mut(self.out), panels_mut(self.relu));
        let largest = panels_mut(self.largest);
        let zero = s.splat(0.0);
        let small = pooled(self.grid);
        for place in 0..small.height * small.width {
            let (to_y, to_x) = (place / small.width, place % small.width);
            let places = window(self.grid, to_y, to_x);
            for panel in 0..every {
                let at = small.place(to_y, to_x) * every + panel;
                let mut best = s.load(&x[places[0] * every + panel]);
                let mut which = zero;
                for (index, place) in places.iter().enumerate().skip(1) {
                    let next = s.load(&x[place * every + panel]);
                    let more = s.mul_add(best, s.splat(-1.0), next);
                    best = s.where_positive(more, next, best);
                    which = s.where_positive(more, s.splat(index as f32), which);
                }
                s.store(best, &mut out[at]);
                s.store(s.max(zero, best), &mut relu[at]);
                s.store(which, &mut largest[at]);
            }
        }
    }
}

/// The way back: adds each number of `d` to where the largest pixel was.
pub(super) struct Unpool<'a> {
    /// An image as the pooled one.
    pub d: &'a [f32],
    pub largest: &'a [f32],
    /// That of `out`.
    pub grid: Grid,
    pub out: &'a mut [f32],
}

impl Kernel for Unpool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let every = self.grid.pixel / PANEL;
        let (d, largest, out) = (panels(self.d), panels(self.largest), panels_mut(self.out));
        let zero = s.splat(0.0);
        let small = pooled(self.grid);
        for place in 0..small.height * small.width {
            let (from_y, from_x) = (place / small.width, place % small.width);
            let places = window(self.grid, from_y, from_x);
            for panel in 0..every {
                let at = small.place(from_y, from_x) * every + panel;
                let (d, largest) = (s.load(&d[at]), s.load(&largest[at]));
                for (index, place) in places.iter().enumerate() {
                    let to: &mut Panel = &mut out[place * every + panel];
                    // Positive at 0 alone, of whole numbers.
                    let off = s.add(largest, s.splat(-(index as f32)));
                    let is = s.mul_add(s.mul(off, s.splat(-1.0)), off, s.splat(0.5));
                    s.store(s.add(s.load(to), s.where_positive(is, d, zero)), to);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, launch};

    #[test]
    fn the_first_of_equals_is_the_largest_and_gets_the_gradient() {
        let grid = Grid { height: 3, width: 4, pixel: 16 };
        let small = pooled(grid);
        assert_eq!((small.height, small.width), (2, 2));
        for level in Level::all() {
            let mut x = grid.zeros();
            x.fill(f32::NEG_INFINITY);
            // Channel 0 rises from pixel to pixel; channel 1 is the same everywhere.
            for pixel in 0..12 {
                let at = grid.place(pixel / 4, pixel % 4) * 16;
                x[at..at + 16].fill(-2.0);
                x[at] = pixel as f32 - 5.0;
            }
            let (mut out, mut relu, mut largest) = (small.zeros(), small.zeros(), small.zeros());
            let (to, of_relu) = (&mut out[..], &mut relu[..]);
            let pool = Pool { x: &x, grid, out: to, relu: of_relu, largest: &mut largest };
            launch(level, pool);
            let of = |image: &[f32], pixel: usize, channel: usize| {
                image[small.place(pixel / 2, pixel % 2) * 16 + channel]
            };
            let seen = [0, 1, 2, 3]
                .map(|pixel| [of(&out, pixel, 0), of(&relu, pixel, 0), of(&largest, pixel, 0)]);
            // Windows of rows -1..=1 and 1..=3, of columns -1..=1 and 1..=3.
            assert_eq!(seen, [[0.0, 0.0, 8.0], [2.0, 2.0, 8.0], [4.0, 4.0, 5.0], [6.0, 6.0, 5.0]]);
            let firsts = [0, 1, 2, 3].map(|pixel| of(&largest, pixel, 1));
            assert_eq!(firsts, [4.0, 3.0, 1.0, 0.0]);

            let mut d = small.zeros();
            for pixel in 0..4 {
                let at = small.place(pixel / 2, pixel % 2) * 16;
                d[at..at + 2].fill(1.0 + pixel as f32);
            }
            let mut back = grid.zeros();
            launch(level, Unpool { d: &d, largest: &largest, grid, out: &mut back });
            let of = |y, x, channel: usize| back[grid.place(y, x) * 16 + channel];
            let channel_0 = [of(1, 1, 0), of(1, 3, 0), of(2, 1, 0), of(2, 3, 0)];
            assert_eq!(channel_0, [1.0, 2.0, 3.0, 4.0]);
            let channel_1 = [of(0, 0, 1), of(0, 1, 1), of(1, 0, 1), of(1, 1, 1)];
            assert_eq!(channel_1, [1.0, 2.0, 3.0, 4.0]);
            assert_eq!(back.iter().sum::<f32>(), 20.0, "nothing anywhere else");
        }
    }
}
