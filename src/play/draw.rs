//! Draws pictures of environments from their observations, so that no environment needs drawing code.

use super::canvas::{BLUE, Canvas, GREEN, GREY, ORANGE, RED, WHITE, shade};
use crate::env::{
    Dtype, EnvSpec, acrobot, cartpole, mountain_car, mountain_car_continuous, pendulum,
};

/// Pictures of built-in environments are this large.
const WIDTH: usize = 160;
const HEIGHT: usize = 96;

/// The picture of one frame (`frame_bytes` bytes). Images are shown as they are, other observations of
/// environments that are not known as bars.
pub(super) fn draw(spec: &EnvSpec, frame: &[u8]) -> Canvas {
    let numbers = || -> Vec<f64> {
        match spec.observation.dtype {
            Dtype::F32 => frame
                .as_chunks::<4>()
                .0
                .iter()
                .map(|raw| f64::from(f32::from_ne_bytes(*raw)))
                .collect(),
            Dtype::U8 => frame.iter().map(|&byte| f64::from(byte) / 255.0).collect(),
        }
    };
    match (spec.id.as_str(), &numbers()[..]) {
        (cartpole::ID, &[x, _, angle, _, ..]) => cart_pole(x, angle),
        (acrobot::ID, &[cos1, sin1, cos2, sin2, ..]) => {
            two_links(sin1.atan2(cos1), sin2.atan2(cos2))
        }
        (mountain_car::ID, &[position, _, ..]) => valley(position, 0.5),
        (mountain_car_continuous::ID, &[position, _, ..]) => valley(position, 0.45),
        (pendulum::ID, &[cos, sin, _, ..]) => rod(cos, sin),
        (_, values) => match spec.observation.shape[..] {
            [.., height, width] if height > 1 && width > 1 => image(height, width, values),
            _ => bars(values),
        },
    }
}

/// A cart within 2.4 of the middle and a pole of angle 0 when upright, clockwise.
fn cart_pole(x: f64, angle: f64) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let (middle, ground) = (WIDTH as f64 / 2.0, HEIGHT as f64 - 16.0);
    let scale = middle / 2.4;
    canvas.rect(0.0, ground + 10.0, WIDTH as f64, 1.0, GREY);
    for edge in [-2.4, 2.4] {
        canvas.rect(middle + edge * scale - 1.0, ground + 6.0, 2.0, 9.0, RED);
    }
    let cart = middle + x * scale;
    canvas.rect(cart - 12.0, ground - 2.0, 24.0, 10.0, BLUE);
    let (pivot, length) = ((cart, ground - 2.0), 58.0);
    let tip = (pivot.0 + length * angle.sin(), pivot.1 - length * angle.cos());
    canvas.line(pivot, tip, 4.0, ORANGE);
    canvas.disc(pivot, 2.0, WHITE);
    canvas
}

/// Two links of length 1 that hang down at angle 0; the tip shall rise above the line.
fn two_links(first: f64, second: f64) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let (centre, scale) = ((WIDTH as f64 / 2.0, HEIGHT as f64 / 2.0), HEIGHT as f64 / 4.4);
    canvas.rect(0.0, centre.1 - scale, WIDTH as f64, 1.0, GREEN);
    let end =
        |from: (f64, f64), angle: f64| (from.0 + scale * angle.sin(), from.1 + scale * angle.cos());
    let elbow = end(centre, first);
    let tip = end(elbow, first + second);
    canvas.line(centre, elbow, 4.0, BLUE);
    canvas.line(elbow, tip, 4.0, ORANGE);
    canvas.disc(centre, 3.0, WHITE);
    canvas.disc(elbow, 2.0, WHITE);
    canvas
}

/// A rod of length 1 that stands upright at angle 0; angles grow to the left.
fn rod(cos: f64, sin: f64) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let (centre, scale) = ((WIDTH as f64 / 2.0, HEIGHT as f64 / 2.0), HEIGHT as f64 / 2.4);
    canvas.rect(centre.0 - 8.0, centre.1 - scale, 17.0, 1.0, GREEN);
    let tip = (centre.0 - scale * sin, centre.1 - scale * cos);
    canvas.line(centre, tip, 6.0, ORANGE);
    canvas.disc(centre, 3.0, WHITE);
    canvas
}

/// A car at a position from -1.2 to 0.6 on a hill of height sin(3x), and a flag.
fn valley(position: f64, flag: f64) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let column = |x: f64| (x + 1.2) / 1.8 * (WIDTH as f64 - 1.0);
    let row = |x: f64| HEIGHT as f64 - 14.0 - ((3.0 * x).sin() * 0.45 + 0.55) * 66.0;
    for pixel in 0..WIDTH {
        let x = pixel as f64 / (WIDTH as f64 - 1.0) * 1.8 - 1.2;
        canvas.rect(pixel as f64, row(x), 1.0, 2.0, GREY);
    }
    let flag = (column(flag), row(flag));
    canvas.rect(flag.0, flag.1 - 16.0, 1.0, 16.0, WHITE);
    canvas.rect(flag.0 + 1.0, flag.1 - 16.0, 8.0, 5.0, GREEN);
    canvas.disc((column(position), row(position) - 5.0), 5.0, ORANGE);
    canvas
}

#[expect(clippy::cast_sign_loss, reason = "within a byte")]
fn image(height: usize, width: usize, values: &[f64]) -> Canvas {
    let mut canvas = Canvas::new(width, height);
    // Of images with channels, the last one.
    let first = values.len().saturating_sub(height * width);
    for (pixel, value) in canvas.pixels.iter_mut().zip(&values[first..]) {
        *pixel = shade((value.clamp(0.0, 1.0) * 255.0) as u8);
    }
    let factor = (WIDTH / width.max(1)).min(HEIGHT / height.max(1)).max(1);
    canvas.enlarged(factor)
}

/// One bar for each number, up or down from the middle, squashed into the picture.
fn bars(values: &[f64]) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let (middle, room) = (HEIGHT as f64 / 2.0, HEIGHT as f64 / 2.0 - 4.0);
    let width = WIDTH as f64 / values.len().max(1) as f64;
    for (index, value) in values.iter().enumerate() {
        let height = room * value.tanh();
        let top = if height > 0.0 { middle - height } else { middle };
        let colour = if height > 0.0 { BLUE } else { ORANGE };
        canvas.rect(index as f64 * width, top, (width - 1.0).max(1.0), height.abs(), colour);
    }
    canvas.rect(0.0, middle, WIDTH as f64, 1.0, GREY);
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{EnvOptions, Registry};

    fn spec(id: &str) -> EnvSpec {
        Registry::builtin().spec(id, &EnvOptions::new()).expect("built in")
    }

    fn floats(id: &str, numbers: &[f32]) -> Canvas {
        draw(&spec(id), bytemuck::cast_slice(numbers))
    }

    /// Mean column of a colour.
    fn column(canvas: &Canvas, colour: u8) -> f64 {
        let at = canvas.pixels.iter().enumerate().filter(|(_, c)| **c == colour);
        let columns: Vec<f64> = at.map(|(i, _)| (i % canvas.width) as f64).collect();
        assert!(!columns.is_empty(), "colour {colour} is not in the picture");
        columns.iter().sum::<f64>() / columns.len() as f64
    }

    #[test]
    fn what_moves_in_the_environment_moves_in_the_picture() {
        let cart = |x, angle| floats("CartPole-v1", &[x, 0.0, angle, 0.0]);
        assert!(column(&cart(1.0, 0.0), BLUE) > column(&cart(-1.0, 0.0), BLUE) + 50.0);
        assert!(column(&cart(0.0, 0.2), ORANGE) > column(&cart(0.0, -0.2), ORANGE) + 5.0);
        let car = |x| floats("MountainCar-v0", &[x, 0.0]);
        assert!(column(&car(0.4), ORANGE) > column(&car(-1.0), ORANGE) + 80.0);
        let driven = |x| floats("MountainCarContinuous-v0", &[x, 0.0]);
        assert!(column(&driven(0.4), ORANGE) > column(&driven(-1.0), ORANGE) + 80.0);
        let rod = |angle: f32| floats("Pendulum-v1", &[angle.cos(), angle.sin(), 0.0]);
        assert!(column(&rod(-1.0), ORANGE) > column(&rod(1.0), ORANGE) + 20.0);
        let right =
            |angle: f32| floats("Acrobot-v1", &[angle.cos(), angle.sin(), 1.0, 0.0, 0.0, 0.0]);
        assert!(column(&right(1.0), ORANGE) > column(&right(-1.0), ORANGE) + 20.0);
    }

    #[test]
    fn images_are_shown_as_they_are() {
        let spec = spec("Catch-v0");
        let mut frame = vec![0; 50];
        frame[7] = 255;
        let canvas = draw(&spec, &frame);
        let factor = canvas.width / 5;
        assert_eq!(canvas.height, 10 * factor);
        assert_eq!(canvas.get(2 * factor, factor), shade(255));
        assert_eq!(canvas.get(0, 0), shade(0));
    }
}
