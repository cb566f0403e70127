//! Reference implementation of the convolutional network for tests: plain loops in f64, straight from the definition.

use crate::spec::{Conv, NetworkSpec, ParamSpec, Torso};

/// An image `[channels][height][width]`.
#[derive(Clone)]
struct Image {
    sides: (usize, usize),
    x: Vec<f64>,
}

/// Outputs and gradient of one network, from the definition.
pub(super) struct Reference<'a> {
    spec: &'a ParamSpec,
    convs: Vec<Conv>,
    sides: (usize, usize),
    pub(super) parameters: Vec<f64>,
}

impl<'a> Reference<'a> {
    pub(super) fn new(network: &NetworkSpec, spec: &'a ParamSpec, parameters: &[f32]) -> Self {
        let Torso::Cnn { convs, .. } = &network.torso else { panic!("a CNN") };
        let [.., height, width] = network.observation.shape[..] else { panic!("an image") };
        let parameters = parameters.iter().map(|&x| f64::from(x)).collect();
        Self { spec, convs: convs.clone(), sides: (height, width), parameters }
    }

    /// Calls `f` with the indices of output, weight and input of each product of convolution `index`.
    fn products(
        &self,
        index: usize,
        (height, width): (usize, usize),
        mut f: impl FnMut(usize, usize, usize),
    ) {
        let Conv { filters, kernel, stride } = self.convs[index];
        let channels = self.spec.entries()[2 * index].shape[1];
        let (rows, columns) = ((height - kernel) / stride + 1, (width - kernel) / stride + 1);
        for filter in 0..filters {
            for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                for channel in 0..channels {
                    for (dy, dx) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                        f(
                            (filter * rows + y) * columns + x,
                            ((filter * channels + channel) * kernel + dy) * kernel + dx,
                            (channel * height + y * stride + dy) * width + x * stride + dx,
                        );
                    }
                }
            }
        }
    }

    /// Output of layer `index` before relu.
    fn layer(&self, index: usize, below: &Image) -> Image {
        let [weight, bias] =
            [0, 1].map(|part| &self.parameters[self.spec.entries()[2 * index + part].range()]);
        if let Some(conv) = self.convs.get(index) {
            let side = |side: usize| (side - conv.kernel) / conv.stride + 1;
            let sides = (side(below.sides.0), side(below.sides.1));
            let area = sides.0 * sides.1;
            let mut x: Vec<f64> = bias.iter().flat_map(|&b| vec![b; area]).collect();
            self.products(index, below.sides, |o, w, i| x[o] += weight[w] * below.x[i]);
            return Image { sides, x };
        }
        let rows = weight.chunks_exact(below.x.len()).zip(bias);
        let dot = |row: &[f64]| row.iter().zip(&below.x).map(|(w, x)| w * x).sum::<f64>();
        Image { sides: (1, 1), x: rows.map(|(row, b)| b + dot(row)).collect() }
    }

    fn hidden(&self) -> usize {
        self.spec.entries().len() / 2 - 2
    }

    /// Input and activations of all layers below the heads.
    fn images(&self, x: &[f32]) -> Vec<Image> {
        let input = Image { sides: self.sides, x: x.iter().map(|&x| f64::from(x)).collect() };
        let mut images = vec![input];
        for index in 0..self.hidden() {
            let mut image = self.layer(index, &images[index]);
            image.x.iter_mut().for_each(|x| *x = x.max(0.0));
            images.push(image);
        }
        images
    }

    /// A logits and the value, for one row.
    pub(super) fn outputs(&self, x: &[f32]) -> Vec<f64> {
        let top = &self.images(x)[self.hidden()];
        [self.layer(self.hidden(), top).x, self.layer(self.hidden() + 1, top).x].concat()
    }

    /// Adds the gradient of `sum(outputs * d)` for one row to `gradient`.
    pub(super) fn add_gradient(&self, x: &[f32], d: &[f64], gradient: &mut [f64]) {
        let images = self.images(x);
        let (d_logits, d_value) = d.split_at(d.len() - 1);
        let top = &images[self.hidden()];
        let mut below = self.add_layer(self.hidden(), top, d_logits, gradient);
        let value = self.add_layer(self.hidden() + 1, top, d_value, gradient);
        below.iter_mut().zip(value).for_each(|(a, b)| *a += b);
        for index in (0..self.hidden()).rev() {
            let kept = below.iter().zip(&images[index + 1].x);
            let d: Vec<f64> = kept.map(|(d, &a)| if a > 0.0 { *d } else { 0.0 }).collect();
            below = self.add_layer(index, &images[index], &d, gradient);
        }
    }

    /// Adds the share of one layer; returns the gradient with respect to its input.
    fn add_layer(&self, index: usize, x: &Image, d: &[f64], gradient: &mut [f64]) -> Vec<f64> {
        let [weight, bias] = [0, 1].map(|part| self.spec.entries()[2 * index + part].range());
        let mut below = vec![0.0; x.x.len()];
        let area = d.len() / bias.len();
        let mut product = |o: usize, w: usize, i: usize| {
            gradient[weight.start + w] += d[o] * x.x[i];
            below[i] += d[o] * self.parameters[weight.start + w];
        };
        if index < self.convs.len() {
            self.products(index, x.sides, product);
        } else {
            let inputs = x.x.len();
            (0..d.len()).for_each(|o| (0..inputs).for_each(|i| product(o, o * inputs + i, i)));
        }
        for (o, d) in d.iter().enumerate() {
            gradient[bias.start + o / area] += d;
        }
        below
    }
}
