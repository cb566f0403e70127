//! Optimizers (Adam, RMSProp) over the flat parameter vector, in one pass.

use crate::policy::simd::{Kernel, Level, Simd, launch};

/// Which rule turns a gradient into a step, with its constants.
///
/// The two RMSProps differ in more than a default: TensorFlow's (the paper's) adds epsilon inside the
/// root and starts its mean square at 1, PyTorch's adds it outside and starts at 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptimizerKind {
    /// Adam (Kingma & Ba 2015) with bias correction.
    Adam {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
    },
    /// RMSProp as in TensorFlow 1 and the IMPALA paper: `g / sqrt(ms + epsilon)`, `ms` starts at 1.
    RmspropTf {
        /// Decay of the mean square.
        decay: f32,
        /// Momentum, applied to the step with its learning rate.
        momentum: f32,
        /// Added under the root.
        epsilon: f32,
    },
    /// RMSProp as in PyTorch: `g / (sqrt(ms) + epsilon)`, `ms` starts at 0.
    RmspropTorch {
        /// Decay of the mean square (PyTorch's alpha).
        decay: f32,
        /// Momentum, applied to the scaled gradient before the learning rate.
        momentum: f32,
        /// Added to the root.
        epsilon: f32,
    },
}

/// State of an optimizer: two vectors as long as the parameters, and the count of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimizer {
    kind: OptimizerKind,
    /// Adam's first moment; RMSProp's momentum buffer.
    first: Vec<f32>,
    /// Adam's second moment; RMSProp's mean square.
    second: Vec<f32>,
    steps: u64,
}

impl Optimizer {
    /// A fresh optimizer for `len` parameters.
    #[must_use]
    pub fn new(kind: OptimizerKind, len: usize) -> Self {
        let start = if matches!(kind, OptimizerKind::RmspropTf { .. }) { 1.0 } else { 0.0 };
        Self { kind, first: vec![0.0; len], second: vec![start; len], steps: 0 }
    }

    /// Takes up a state saved before; `None` if the lengths do not fit.
    #[must_use]
    pub(crate) fn restore(
        kind: OptimizerKind,
        first: Vec<f32>,
        second: Vec<f32>,
        steps: u64,
    ) -> Option<Self> {
        (first.len() == second.len()).then_some(Self { kind, first, second, steps })
    }

    /// The two state vectors, for a checkpoint.
    #[must_use]
    pub(crate) fn state(&self) -> (&[f32], &[f32]) {
        (&self.first, &self.second)
    }

    /// The same, to be written to.
    pub(crate) fn state_mut(&mut self) -> (&mut [f32], &mut [f32]) {
        (&mut self.first, &mut self.second)
    }

    /// Takes this for the count of steps that led to the state.
    pub(crate) const fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// Transitions taken so far.
    #[must_use]
    pub(crate) const fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves `parameters` by one step along `gradient` times `scale` (the clip factor).
    ///
    /// # Panics
    /// If a length differs from the one given at the start.
    pub(crate) fn step(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        scale: f32,
        learning_rate: f32,
    ) {
        assert_eq!(parameters.len(), self.first.len(), "parameters");
        assert_eq!(gradient.len(), self.first.len(), "gradient");
        self.steps += 1;
        let step = Step { optimizer: self, parameters, gradient, scale, learning_rate };
        launch(Level::active(), step);
    }
}

/// One step of all parameters. A kernel so that the compiler's vectors are as wide as the CPU's.
struct Step<'a> {
    optimizer: &'a mut Optimizer,
    parameters: &'a mut [f32],
    gradient: &'a [f32],
    scale: f32,
    learning_rate: f32,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { optimizer, parameters, gradient, scale, learning_rate } = self;
        let moments = optimizer.first.iter_mut().zip(&mut optimizer.second);
        let each = parameters.iter_mut().zip(gradient).zip(moments);
        match optimizer.kind {
            OptimizerKind::Adam { beta1, beta2, epsilon } => {
                let correction = |beta: f32| 1.0 - f64::from(beta).powf(optimizer.steps as f64);
                let step = (f64::from(learning_rate) / correction(beta1)) as f32;
                let root_correction = correction(beta2).sqrt() as f32;
                for ((p, g), (m, v)) in each {
                    let g = g * scale;
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    *p -= step * *m / (v.sqrt() / root_correction + epsilon);
                }
            }
            OptimizerKind::RmspropTf { decay, momentum, epsilon } => {
                for ((p, g), (buffer, ms)) in each {
                    let g = g * scale;
                    *ms = decay * *ms + (1.0 - decay) * g * g;
                    *buffer = momentum * *buffer + learning_rate * g / (*ms + epsilon).sqrt();
                    *p -= *buffer;
                }
            }
            OptimizerKind::RmspropTorch { decay, momentum, epsilon } => {
                for ((p, g), (buffer, ms)) in each {
                    let g = g * scale;
                    *ms = decay * *ms + (1.0 - decay) * g * g;
                    *buffer = momentum * *buffer + g / (ms.sqrt() + epsilon);
                    *p -= learning_rate * *buffer;
                }
            }
        }
    }
}

/// Global norm of a gradient (L2), accumulated in f64 lanes.
#[must_use]
pub(crate) fn global_norm(gradient: &[f32]) -> f32 {
    // Eight lanes, so that the sum vectorises; f64 so that a million squares keep their digits.
    let mut lanes = [0.0_f64; 8];
    let mut chunks = gradient.chunks_exact(8);
    for chunk in &mut chunks {
        for (lane, &g) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(g) * f64::from(g);
        }
    }
    let rest: f64 = chunks.remainder().iter().map(|&g| f64::from(g) * f64::from(g)).sum();
    (lanes.iter().sum::<f64>() + rest).sqrt() as f32
}

/// Factor that brings a gradient of norm `norm` to at most `max_norm`; 1 if it is short enough.
#[must_use]
pub(crate) fn clip_factor(norm: f32, max_norm: f32) -> f32 {
    if norm > max_norm { max_norm / norm } else { 1.0 }
}

/// Learning rate after `frames` of `total_frames`.
#[must_use]
pub(crate) fn decayed(learning_rate: f32, frames: u64, total_frames: Option<u64>) -> f32 {
    total_frames.map_or(learning_rate, |total| {
        let left = 1.0 - frames as f64 / total.max(1) as f64;
        learning_rate * left.max(0.0) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One parameter, gradients 1 then -2, learning rate 0.1; expected values worked out by hand
    /// from the formulas of the two libraries.
    fn two_steps(kind: OptimizerKind) -> [f64; 2] {
        let mut optimizer = Optimizer::new(kind, 1);
        let mut p = [1.0_f32];
        optimizer.step(&mut p, &[1.0], 1.0, 0.1);
        let first = f64::from(p[0]);
        optimizer.step(&mut p, &[-4.0], 0.5, 0.1);
        [first, f64::from(p[0])]
    }

    fn close(actual: [f64; 2], expected: [f64; 2]) {
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < 1e-6, "{actual:?} != {expected:?}");
        }
    }

    #[test]
    fn adam_follows_the_paper() {
        let (b1, b2, eps) = (0.9_f64, 0.999_f64, 1e-8_f64);
        let first = 1.0 - 0.1 / (1.0 + eps);
        let m = b1 * (1.0 - b1) + (1.0 - b1) * -2.0;
        let v = b2 * (1.0 - b2) + (1.0 - b2) * 4.0;
        let second = first - 0.1 * (m / (1.0 - b1 * b1)) / ((v / (1.0 - b2 * b2)).sqrt() + eps);
        close(
            two_steps(OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }),
            [first, second],
        );
    }

    #[test]
    fn rmsprop_has_both_forms() {
        let (decay, eps, momentum) = (0.9_f64, 0.1_f64, 0.5_f64);
        let ms1 = decay + (1.0 - decay);
        let ms2 = decay * ms1 + (1.0 - decay) * 4.0;
        let step1 = 0.1 / (ms1 + eps).sqrt();
        let step2 = momentum * step1 + 0.1 * -2.0 / (ms2 + eps).sqrt();
        close(
            two_steps(OptimizerKind::RmspropTf { decay: 0.9, momentum: 0.5, epsilon: 0.1 }),
            [1.0 - step1, 1.0 - step1 - step2],
        );
        let ms1 = 1.0 - decay;
        let ms2 = decay * ms1 + (1.0 - decay) * 4.0;
        let buffer1 = 1.0 / (ms1.sqrt() + eps);
        let buffer2 = momentum * buffer1 - 2.0 / (ms2.sqrt() + eps);
        close(
            two_steps(OptimizerKind::RmspropTorch { decay: 0.9, momentum: 0.5, epsilon: 0.1 }),
            [1.0 - 0.1 * buffer1, 1.0 - 0.1 * (buffer1 + buffer2)],
        );
    }

    #[test]
    fn norm_and_clip() {
        let gradient = [3.0_f32, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 12.0];
        assert_eq!(global_norm(&gradient), 13.0);
        assert_eq!(clip_factor(13.0, 26.0), 1.0);
        assert_eq!(clip_factor(13.0, 6.5), 0.5);
        assert!(!global_norm(&[f32::NAN]).is_finite());
    }

    #[test]
    fn linear_decay_ends_at_zero() {
        assert_eq!(decayed(0.4, 0, Some(100)), 0.4);
        assert_eq!(decayed(0.4, 50, Some(100)), 0.2);
        assert_eq!(decayed(0.4, 200, Some(100)), 0.0);
        assert_eq!(decayed(0.4, 200, None), 0.4);
    }
}
