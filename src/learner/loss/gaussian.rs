//! Loss gradients for continuous actions: a diagonal Gaussian ([`crate::policy::gaussian`]) with means `m` and raw
//! log-deviations `s`.
//!
//! ```text
//! z = (u - m) / sigma,   k = d log sigma / ds
//! - d log pi(u) / dm = - z / sigma,      - d log pi(u) / ds = (1 - z^2) k,      - dH / ds = - k
//! ```
//!
//! `H` is the entropy of `u`, before its bounds.

use super::transitions::PolicyGradientWeights;
use crate::policy::gaussian::{Deviations, entropy, log_density};

/// The policy of a strip.
#[derive(Debug, Default)]
pub(super) struct Gaussian {
    deviations: Deviations,
    /// `[T][strip][D]`.
    z: Vec<f32>,
}

impl Gaussian {
    /// Computes the policy from `outputs`, `[T][strip][2 D]`, and writes log pi of the `drawn` numbers,
    /// bits of `[T][strip][D]`.
    pub(super) fn evaluate(
        &mut self,
        outputs: &[f32],
        dims: usize,
        drawn: impl Iterator<Item = i32>,
        taken: &mut Vec<f32>,
    ) {
        let Self { deviations, z } = self;
        deviations.set(outputs, dims);
        let means = outputs.chunks_exact(2 * dims).flat_map(|row| &row[..dims]);
        z.clear();
        z.extend(drawn.zip(means).zip(&deviations.inverse).map(|((word, mean), inverse)| {
            (f32::from_bits(word.cast_unsigned()) - mean) * inverse
        }));
        taken.clear();
        taken.extend(z.chunks_exact(dims).zip(deviations.log.chunks_exact(dims)).map(
            |(z, log_stds)| z.iter().zip(log_stds).map(|(&z, &l)| log_density(z, l)).sum::<f32>(),
        ));
    }

    /// Writes dL/doutputs and gives the sum of entropies.
    pub(super) fn gradients(
        &self,
        dims: usize,
        weights: PolicyGradientWeights<'_>,
        d_outputs: &mut [f32],
    ) -> f32 {
        let Deviations { log, inverse, slope } = &self.deviations;
        let rows = d_outputs.chunks_exact_mut(2 * dims).zip(self.z.chunks_exact(dims));
        let scales =
            (log.chunks_exact(dims).zip(inverse.chunks_exact(dims))).zip(slope.chunks_exact(dims));
        let mut entropies = 0.0;
        for (((d, z), ((log, inverse), slope)), weight) in rows.zip(scales).zip(weights.each()) {
            let (d_means, d_raw) = d.split_at_mut(dims);
            for dim in 0..dims {
                let z = z[dim];
                d_means[dim] = -weight.advantage * z * inverse[dim];
                let d_log = weight.advantage * (1.0 - z * z) - weight.entropy_cost;
                d_raw[dim] = d_log * slope[dim];
                entropies += weight.keep * entropy(log[dim]);
            }
        }
        entropies
    }
}
