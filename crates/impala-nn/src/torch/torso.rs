//! The torsos in libtorch: from observations to features.

use tch::{TchError, Tensor};

use super::{Layers, dimensions};
use crate::spec::{Activation, Torso};

/// Features `[N][F]` of `input`: `[N][k * frame]` for an MLP, else `[N][channels][H][W]`.
pub(super) fn features(
    torso: &Torso,
    layers: &mut Layers<'_>,
    input: &Tensor,
) -> Result<Tensor, TchError> {
    match torso {
        Torso::Mlp { hidden, activation } => {
            let mut x = input.shallow_clone();
            for _ in hidden {
                let [weight, bias] = layers.next();
                x = x.f_linear(weight, Some(bias))?;
                x = match activation {
                    Activation::Tanh => x.f_tanh()?,
                    Activation::Relu => x.f_relu()?,
                };
            }
            Ok(x)
        }
        Torso::Cnn { convs, hidden } => {
            let mut x = channels_last(input)?;
            for conv in convs {
                let [weight, bias] = layers.next();
                let stride = dimensions(&[conv.stride, conv.stride]);
                x = x.f_conv2d(weight, Some(bias), stride, [0, 0], [1, 1], 1)?.f_relu()?;
            }
            dense(&x, layers, hidden.len())
        }
        Torso::ImpalaDeep { channels, hidden } => {
            let mut x = channels_last(input)?;
            for _ in channels {
                x = convolve(&x, layers)?.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
                for _ in 0..2 {
                    let y = convolve(&x.f_relu()?, layers)?.f_relu()?;
                    x = convolve(&y, layers)?.f_add(&x)?;
                }
            }
            dense(&x.f_relu()?, layers, hidden.len())
        }
    }
}

/// The same images with their channels next to each other in memory, which all that follows keeps:
/// oneDNN then needs no copies into formats of its own, and gradients take two thirds of the time.
fn channels_last(images: &Tensor) -> Result<Tensor, TchError> {
    images.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// 3x3, with one pixel of padding.
fn convolve(x: &Tensor, layers: &mut Layers<'_>) -> Result<Tensor, TchError> {
    let [weight, bias] = layers.next();
    x.f_conv2d(weight, Some(bias), [1, 1], [1, 1], [1, 1], 1)
}

fn dense(x: &Tensor, layers: &mut Layers<'_>, count: usize) -> Result<Tensor, TchError> {
    let mut x = x.f_flatten(1, -1)?;
    for _ in 0..count {
        let [weight, bias] = layers.next();
        x = x.f_linear(weight, Some(bias))?.f_relu()?;
    }
    Ok(x)
}
