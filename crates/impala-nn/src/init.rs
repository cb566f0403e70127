//! Initial weights: orthogonal, as practised for PPO and IMPALA (Andrychowicz et al. 2021, "What
//! matters in on-policy reinforcement learning?").

use super::normalize;
use super::spec::{ParamEntry, ParamSpec};
use impala_env::rng::Rng;

/// Gain of the torso's layers. sqrt(2) keeps the variance of activations through relu (He et al. 2015),
/// and is what the common implementations use for tanh as well.
const TORSO_GAIN: f64 = std::f64::consts::SQRT_2;
/// Gain of the policy head: small, so that the first policy is close to uniform whatever it sees.
const POLICY_GAIN: f64 = 0.01;
/// Gain of the value head.
const VALUE_GAIN: f64 = 1.0;

/// Gain within the residual network. A block adds to its input what comes out of two convolutions behind
/// relus: with gain 1 that is a quarter of the variance, with sqrt(2) it would double it with each block.
const RESIDUAL_GAIN: f64 = 1.0;
/// Gain of the core: its gates saturate with larger ones.
const CORE_GAIN: f64 = 1.0;
/// Bias of the forget gate: the core remembers until it learns otherwise (Jozefowicz et al. 2015; it is the
/// default of TensorFlow's cell, which the paper used).
const FORGET_BIAS: f32 = 1.0;

/// Initial values of all parameters: weights orthogonal with gain sqrt(2) in the torso, 1 in a residual
/// torso's convolutions and in the core, 0.01 in the policy head and 1 in the value head; biases 0, but
/// 1 for the core's forget gate, and the deviations of numbers such that all are about 1 together. The same for the same `seed`.
#[must_use]
pub fn initial_parameters(parameters: &ParamSpec, seed: u64) -> Vec<f32> {
    let mut flat = vec![0.0; parameters.len()];
    for (stream, entry) in (0_u64..).zip(parameters.entries()) {
        if let [rows, _, ..] = entry.shape[..] {
            // A stream for each parameter: a change of one layer leaves the others as they were.
            let mut rng = Rng::new(seed, stream);
            let matrix = orthogonal(rows, entry.fan_in, &mut rng);
            let gain = gain(entry);
            for (weight, x) in flat[entry.range()].iter_mut().zip(matrix) {
                *weight = (gain * x) as f32;
            }
        } else if entry.name == "policy.bias" {
            let numbers = parameters.actions().numbers;
            let raw_log_std = entry.range().end - numbers..entry.range().end;
            flat[raw_log_std].fill(first_log_std(numbers));
        } else if entry.name == normalize::SCALE {
            flat[entry.range()].fill(1.0);
        } else if entry.name == "core.bias_ih" {
            // Gates in the order input, forget, cell, output.
            let hidden = entry.numel() / 4;
            flat[entry.range()][hidden..2 * hidden].fill(FORGET_BIAS);
        }
    }
    flat
}

/// Logarithm of the first deviation of each of `numbers` numbers: all of them together are drawn about 1 from the mean.
/// A body with many joints falls over if each of them is shaken as one alone may be (Andrychowicz et al. 2021, section
/// 3.2, found 0.5 best for bodies with 3 to 8).
fn first_log_std(numbers: usize) -> f32 {
    -0.5 * (numbers.max(1) as f32).ln()
}

fn gain(entry: &ParamEntry) -> f64 {
    match entry.name.as_str() {
        "policy.weight" => POLICY_GAIN,
        "value.weight" => VALUE_GAIN,
        name if name.starts_with("core.") => CORE_GAIN,
        name if name.starts_with("torso.section.") => RESIDUAL_GAIN,
        _ => TORSO_GAIN,
    }
}

/// A random matrix `[rows][columns]`, row-major, whose rows (or columns, if there are fewer of them) are
/// orthonormal.
fn orthogonal(rows: usize, columns: usize, rng: &mut Rng) -> Vec<f64> {
    let (vectors, dimensions) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<f64> = Vec::with_capacity(vectors * dimensions);
    while basis.len() < vectors * dimensions {
        let mut vector: Vec<f64> = (0..dimensions).map(|_| rng.normal_f64()).collect();
        // Gram-Schmidt, twice: once loses digits when a draw is nearly in the span of the others.
        for _ in 0..2 {
            for earlier in basis.chunks_exact(dimensions) {
                let overlap = dot(earlier, &vector);
                vector.iter_mut().zip(earlier).for_each(|(x, e)| *x -= overlap * e);
            }
        }
        let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        // Within the span of the others to rounding: draw again (of probability next to 0).
        if norm > 1e-9 {
            basis.extend(vector.iter().map(|x| x / norm));
        }
    }
    if rows <= columns {
        return basis;
    }
    let transposed = |index: usize| basis[(index % columns) * rows + index / columns];
    (0..rows * columns).map(transposed).collect()
}

/// In eight sums, so that it vectorises: layers of images have millions of weights.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (left, right) = (left.chunks(8), right.chunks(8));
    for (a, b) in left.zip(right) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Activation, Conv, Core, NetworkSpec, Torso};
    use impala_env::{ActionSpec, Dtype, ObservationSpec};

    fn spec(torso: Torso, shape: &[usize]) -> ParamSpec {
        let observation = ObservationSpec::new(Dtype::F32, shape);
        let action = ActionSpec::Discrete { n: 3 };
        ParamSpec::new(&NetworkSpec::new(observation, action, torso)).expect("valid")
    }

    fn mlp(hidden: &[usize]) -> ParamSpec {
        spec(Torso::Mlp { hidden: hidden.to_vec(), activation: Activation::Tanh }, &[6])
    }

    /// Largest deviation of the Gram matrix of the shorter side from `gain^2` times the identity.
    fn deviation(flat: &[f32], rows: usize, columns: usize, gain: f64) -> f64 {
        let at = |r: usize, c: usize| f64::from(flat[r * columns + c]);
        let (count, length) = (rows.min(columns), rows.max(columns));
        let along = |v: usize, i: usize| if rows <= columns { at(v, i) } else { at(i, v) };
        let mut worst = 0.0_f64;
        for a in 0..count {
            for b in 0..count {
                let dot: f64 = (0..length).map(|i| along(a, i) * along(b, i)).sum();
                let expected = if a == b { gain * gain } else { 0.0 };
                worst = worst.max((dot - expected).abs());
            }
        }
        worst
    }

    #[test]
    fn weights_are_orthogonal_and_biases_zero() {
        let convs = vec![Conv { filters: 4, kernel: 3, stride: 2 }];
        let cnn = spec(Torso::Cnn { convs, hidden: vec![10] }, &[2, 7, 7]);
        for spec in [mlp(&[16, 8, 20]), cnn] {
            let flat = initial_parameters(&spec, 3);
            for entry in spec.entries() {
                let values = &flat[entry.range()];
                if entry.name.ends_with("bias") {
                    assert!(values.iter().all(|&b| b == 0.0), "{}", entry.name);
                } else {
                    let off = deviation(values, entry.shape[0], entry.fan_in, gain(entry));
                    assert!(off < 1e-6, "{} is {off} off", entry.name);
                }
            }
        }
    }

    #[test]
    fn heads_have_their_gains() {
        let spec = mlp(&[32]);
        let flat = initial_parameters(&spec, 1);
        let norm = |name: &str, row: usize| {
            let entry = spec.get(name).expect("there");
            let row = &flat[entry.range()][row * entry.fan_in..][..entry.fan_in];
            row.iter().map(|w| w * w).sum::<f32>().sqrt()
        };
        assert!((norm("policy.weight", 2) - 0.01).abs() < 1e-6);
        assert!((norm("value.weight", 0) - 1.0).abs() < 1e-6);
        // Columns, not rows, are orthonormal where there are more rows: their mean square is as expected.
        let first = spec.get("torso.0.weight").expect("there");
        let squares: f32 = flat[first.range()].iter().map(|w| w * w).sum();
        assert!((squares - 2.0 * 6.0).abs() < 1e-4, "{squares}");
    }

    #[test]
    fn numbers_are_drawn_about_1_from_their_means_together() {
        let observation = ObservationSpec::new(Dtype::F32, &[3]);
        let torso = Torso::Mlp { hidden: vec![8], activation: Activation::Tanh };
        for numbers in [1_usize, 2, 6, 17] {
            let action =
                ActionSpec::Continuous { low: vec![-1.0; numbers], high: vec![1.0; numbers] };
            let network = NetworkSpec::new(observation.clone(), action, torso.clone());
            let spec = ParamSpec::new(&network).expect("valid");
            let flat = initial_parameters(&spec, 1);
            let bias = &flat[spec.get("policy.bias").expect("there").range()];
            let (means, raw) = bias.split_at(numbers);
            assert!(means.iter().all(|&b| b == 0.0));
            let mut deviations = crate::gaussian::Deviations::default();
            deviations.set(bias, numbers);
            let squares: f32 = deviations.log.iter().map(|log| (2.0 * log).exp()).sum();
            // The soft bounds of a deviation pull a little.
            assert!((squares.sqrt() - 1.0).abs() < 0.1, "{numbers}: {squares}, {raw:?}");
        }
    }

    #[test]
    fn the_core_remembers_at_first() {
        let observation = ObservationSpec::new(Dtype::F32, &[3, 8, 8]);
        let torso = Torso::ImpalaDeep { channels: vec![4], hidden: vec![6] };
        let base = NetworkSpec::new(observation, ActionSpec::Discrete { n: 3 }, torso);
        let spec = ParamSpec::new(&NetworkSpec { core: Core::Lstm { hidden: 5 }, ..base });
        let spec = spec.expect("valid");
        let flat = initial_parameters(&spec, 2);
        for entry in spec.entries() {
            let values = &flat[entry.range()];
            if let [rows, _, ..] = entry.shape[..] {
                let off = deviation(values, rows, entry.fan_in, gain(entry));
                assert!(off < 1e-6, "{} is {off} off", entry.name);
            } else if entry.name == "core.bias_ih" {
                assert_eq!(values[5..10], [1.0; 5]);
                assert_eq!(values.iter().sum::<f32>(), 5.0);
            } else {
                assert!(values.iter().all(|&b| b == 0.0), "{}", entry.name);
            }
        }
        let gain_of = |name: &str| gain(spec.get(name).expect("there"));
        assert_eq!(gain_of("torso.section.0.block.1.conv.0.weight"), 1.0);
        assert_eq!(gain_of("torso.fc.0.weight"), TORSO_GAIN);
        assert_eq!(gain_of("core.weight_hh"), 1.0);
    }

    #[test]
    fn seeds_decide() {
        let spec = mlp(&[16, 16]);
        let flat = initial_parameters(&spec, 5);
        assert_eq!(flat, initial_parameters(&spec, 5));
        assert_ne!(flat, initial_parameters(&spec, 6));
        let deeper = mlp(&[16, 12]);
        assert_eq!(flat[..96], initial_parameters(&deeper, 5)[..96], "other layers do not matter");
    }
}
