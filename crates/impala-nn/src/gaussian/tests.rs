//! Tests of the Gaussian policy against its formulas in f64.

use super::*;

/// log sigma as the module documentation has it.
fn log_std(raw: f32) -> f64 {
    -1.5 + 3.5 * ((f64::from(raw) + 1.5) / 3.5).tanh()
}

fn drawn(outputs: &[f32], dims: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let rows = outputs.len() / (2 * dims);
    let (mut words, mut log_probs) = (vec![0; rows * dims], vec![f32::NAN; rows]);
    let mut sampler = GaussianSampler::new(dims, Rng::new(seed, 0));
    assert!(sampler.sample(outputs, &mut words, &mut log_probs));
    (words.iter().map(|word| f32::from_bits(word.cast_unsigned())).collect(), log_probs)
}

#[test]
fn deviations_are_clamped_smoothly() {
    let raws = [-1e30, -50.0, -5.0, -1.5, 0.0, 1.0, 2.0, 50.0, 1e30];
    let outputs: Vec<f32> = raws.iter().flat_map(|&raw| [7.0, raw]).collect();
    let mut deviations = Deviations::default();
    deviations.set(&outputs, 1);
    for (row, &raw) in raws.iter().enumerate() {
        let exact = log_std(raw);
        assert!((f64::from(deviations.log[row]) - exact).abs() < 5e-6, "{raw}");
        let inverse = f64::from(deviations.inverse[row]) * exact.exp();
        assert!((inverse - 1.0).abs() < 1e-5, "{raw}");
        let slope = 1.0 - ((f64::from(raw) + 1.5) / 3.5).tanh().powi(2);
        assert!((f64::from(deviations.slope[row]) - slope).abs() < 2e-6, "{raw}");
        assert!((LOG_STD_MIN..=LOG_STD_MAX).contains(&deviations.log[row]), "{raw}");
    }
    assert!(
        deviations.log[4].abs() < 0.1,
        "a network that says 0 explores with a deviation near 1"
    );
}

/// The distribution function of the standard normal, by Simpson's rule.
fn phi(x: f64) -> f64 {
    const PARTS: i32 = 2_000;
    let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
    let step = x / f64::from(PARTS);
    let inner: f64 =
        (1..PARTS).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(f64::from(i) * step)).sum();
    0.5 + step / 3.0 * (density(0.0) + inner + density(x))
}

#[test]
fn inversion_gives_the_quantile() {
    for i in 1..1_000 {
        let x = i as f32 / 1_000.0;
        let normal = x * std::f32::consts::SQRT_2 * erfinv_over_x(-((1.0 - x) * (1.0 + x)).ln());
        let back = 2.0 * phi(f64::from(normal)) - 1.0;
        assert!((back - f64::from(x)).abs() < 4e-7, "{x} by {normal} to {back}");
    }
    // The tail, where a step of the uniform number is a large part of what is left.
    for tail in [1e-4_f32, 1e-5, 1e-6] {
        let normal = std::f32::consts::SQRT_2 * erfinv_over_x(-(2.0 * tail).ln());
        let beyond = 2.0 * (1.0 - phi(f64::from(normal)));
        assert!((beyond / f64::from(tail) - 1.0).abs() < 1e-2, "{tail} by {normal}");
    }
}

#[test]
fn draws_have_the_moments_and_the_shape_of_a_normal() {
    const DRAWS: usize = 200_000;
    let (values, _) = drawn(&[0.0, -1.5].repeat(DRAWS), 1, 3);
    let sigma = (-1.5_f64).exp();
    let z: Vec<f64> = values.iter().map(|&u| f64::from(u) / sigma).collect();
    let moment = |n: i32| z.iter().map(|z| z.powi(n)).sum::<f64>() / DRAWS as f64;
    // Standard errors of the first moments are sqrt(1, 2, 15, 96) / sqrt(n): 5 of them.
    let error = |variance: f64| 5.0 * (variance / DRAWS as f64).sqrt();
    assert!(moment(1).abs() < error(1.0), "{}", moment(1));
    assert!((moment(2) - 1.0).abs() < error(2.0), "{}", moment(2));
    assert!(moment(3).abs() < error(15.0), "{}", moment(3));
    assert!((moment(4) - 3.0).abs() < error(96.0), "{}", moment(4));
    for bound in [-2.5, -1.0, -0.2, 0.7, 1.8, 3.0] {
        let below = z.iter().filter(|z| **z < bound).count() as f64 / DRAWS as f64;
        let p = phi(bound);
        assert!((below - p).abs() < error(p * (1.0 - p)), "{below} below {bound}, not {p}");
    }
}

#[test]
fn log_probabilities_are_those_of_the_formula() {
    let mut rng = Rng::new(8, 0);
    for dims in [1, 2, 3, 17] {
        let outputs: Vec<f32> =
            (0..29 * 2 * dims).map(|_| (2.0 * rng.normal_f64()) as f32).collect();
        let (values, log_probs) = drawn(&outputs, dims, 4);
        for (env, row) in outputs.chunks_exact(2 * dims).enumerate() {
            let mut exact = 0.0;
            for dim in 0..dims {
                let u = f64::from(values[env * dims + dim]);
                let log_std = log_std(row[dims + dim]);
                let z = (u - f64::from(row[dim])) / log_std.exp();
                exact -= log_std + 0.5 * z * z + 0.5 * std::f64::consts::TAU.ln();
            }
            let off = (f64::from(log_probs[env]) - exact).abs();
            assert!(off < 2e-4 * dims as f64, "{off} off in {dims} dimensions");
        }
    }
}

#[test]
fn the_mean_of_log_probabilities_is_less_the_entropy() {
    const DRAWS: usize = 100_000;
    let row = [0.3, -2.0, 1.0, -0.5, 0.8, -3.0];
    let (_, log_probs) = drawn(&row.repeat(DRAWS), 3, 6);
    let mean = log_probs.iter().map(|&p| f64::from(p)).sum::<f64>() / DRAWS as f64;
    let exact: f64 = row[3..].iter().map(|&raw| f64::from(entropy(log_std(raw) as f32))).sum();
    // The variance of z^2 / 2 is 1/2 in each of the three numbers.
    assert!((mean + exact).abs() < 5.0 * (1.5 / DRAWS as f64).sqrt(), "{mean} and {exact}");
}

#[test]
fn one_uniform_number_for_each_number() {
    let outputs = [0.5, -0.5, 0.0, 0.0].repeat(5);
    let (all, _) = drawn(&outputs, 2, 9);
    let (some, _) = drawn(&outputs[..12], 2, 9);
    assert_eq!(some, all[..6]);
}

#[test]
fn outputs_that_are_not_finite_are_reported() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in 0..8 {
            let mut outputs = [0.25; 8];
            outputs[at] = bad;
            let mut sampler = GaussianSampler::new(2, Rng::new(1, 0));
            let (mut words, mut log_probs) = ([0; 4], [0.0; 2]);
            assert!(!sampler.sample(&outputs, &mut words, &mut log_probs), "{bad} at {at}");
            assert!(!means(&outputs, 2, &mut words), "{bad} at {at}");
            assert!(sampler.sample(&[0.25; 8], &mut words, &mut log_probs), "nothing is left");
        }
    }
}

#[test]
fn the_greedy_action_is_the_mean() {
    let mut words = [0; 4];
    assert!(means(&[1.0, 2.0, 9.0, 9.0, 3.0, 4.0, 9.0, 9.0], 2, &mut words));
    assert_eq!(words.map(|word| f32::from_bits(word.cast_unsigned())), [1.0, 2.0, 3.0, 4.0]);
}
