//! A small image with a fixed palette, for terminals and GIFs.

/// Colours by number.
pub(super) const PALETTE: &[[u8; 3]] = &[
    [24, 28, 36],
    [236, 239, 244],
    [108, 117, 132],
    [94, 155, 255],
    [255, 150, 79],
    [96, 201, 142],
    [240, 98, 120],
];
pub(super) const GROUND: u8 = 0;
pub(super) const WHITE: u8 = 1;
pub(super) const GREY: u8 = 2;
pub(super) const BLUE: u8 = 3;
pub(super) const ORANGE: u8 = 4;
pub(super) const GREEN: u8 = 5;
pub(super) const RED: u8 = 6;
/// Greys from black to white follow the named colours.
const FIRST_SHADE: u8 = 7;
const SHADES: u8 = 64;

/// All colours, as they stand in a GIF.
pub(super) fn palette() -> Vec<u8> {
    let shades = (0..SHADES).map(|n| [u8::try_from(u16::from(n) * 255 / 63).unwrap_or(255); 3]);
    PALETTE.iter().copied().chain(shades).flatten().collect()
}

/// The number of a grey.
pub(super) fn shade(value: u8) -> u8 {
    FIRST_SHADE + value / 4
}

/// Pixels, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![GROUND; width * height] }
    }

    pub(super) fn get(&self, x: usize, y: usize) -> u8 {
        self.pixels.get(y * self.width + x).copied().unwrap_or(GROUND)
    }

    #[expect(clippy::cast_sign_loss, reason = "checked to be inside")]
    fn set(&mut self, x: f64, y: f64, colour: u8) {
        let inside =
            (0.0..self.width as f64).contains(&x) && (0.0..self.height as f64).contains(&y);
        if inside {
            let at = y as usize * self.width + x as usize;
            self.pixels[at] = colour;
        }
    }

    /// A filled rectangle; its corner is the upper left one.
    #[expect(clippy::cast_sign_loss, reason = "at least 1")]
    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, colour: u8) {
        let (columns, rows) = (width.round().max(1.0) as usize, height.round().max(1.0) as usize);
        for row in 0..rows {
            for column in 0..columns {
                self.set(x + column as f64, y + row as f64, colour);
            }
        }
    }

    /// A line with round ends.
    #[expect(clippy::cast_sign_loss, reason = "at least 1")]
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), thickness: f64, colour: u8) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let steps = (length * 2.0).ceil().max(1.0) as usize;
        for step in 0..=steps {
            let part = step as f64 / steps as f64;
            let (x, y) = (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
            self.disc((x, y), thickness / 2.0, colour);
        }
    }

    /// A filled circle.
    pub(super) fn disc(&mut self, centre: (f64, f64), radius: f64, colour: u8) {
        let reach = radius.ceil() as i32;
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                let (dx, dy) = (f64::from(dx), f64::from(dy));
                if dx.hypot(dy) <= radius.max(0.5) {
                    self.set(centre.0 + dx, centre.1 + dy, colour);
                }
            }
        }
    }

    /// Each pixel `factor` times as wide and high.
    pub(super) fn enlarged(&self, factor: usize) -> Self {
        let mut large = Self::new(self.width * factor, self.height * factor);
        for y in 0..large.height {
            for x in 0..large.width {
                large.pixels[y * large.width + x] = self.get(x / factor, y / factor);
            }
        }
        large
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_stay_inside() {
        let mut canvas = Canvas::new(10, 6);
        canvas.line((-5.0, -5.0), (20.0, 20.0), 3.0, BLUE);
        canvas.rect(8.0, 4.0, 50.0, 50.0, RED);
        canvas.disc((0.0, 5.0), 2.0, GREEN);
        assert_eq!((canvas.get(9, 5), canvas.get(0, 5), canvas.get(3, 3)), (RED, GREEN, BLUE));
        let large = canvas.enlarged(3);
        assert_eq!((large.width, large.height, large.get(29, 17)), (30, 18, RED));
    }

    #[test]
    fn every_colour_is_in_the_palette() {
        assert_eq!(palette().len(), 3 * usize::from(FIRST_SHADE + SHADES));
        assert_eq!(PALETTE.len(), usize::from(FIRST_SHADE));
        let at = usize::from(shade(255)) * 3;
        assert_eq!(palette()[at..at + 3], [255; 3]);
    }
}
