//! Tests of each off-policy correction against its definition (Espeholt et al. 2018, section 5.2.2), in f64 and without
//! recursion.

use super::tests::{ACTIONS, COLUMNS, CONFIG, STEPS, Sample, compute};
use super::*;

const ALL: [Correction; 4] =
    [Correction::Vtrace, Correction::OneStep, Correction::Epsilon, Correction::None];

/// log pi of each action at row `at`.
fn log_probs(logits: &[f64], at: usize) -> Vec<f64> {
    let row = &logits[at * ACTIONS..(at + 1) * ACTIONS];
    let log_sum = row.iter().map(|z| z.exp()).sum::<f64>().ln();
    row.iter().map(|z| z - log_sum).collect()
}

/// The n-step return from transition `at`: a walk to the end of the unroll or of the episode.
fn n_step_return(sample: &Sample, mut at: usize) -> f64 {
    let (mut sum, mut weight) = (0.0, 1.0);
    while at < STEPS * COLUMNS {
        sum += weight * f64::from(sample.rewards[at]);
        weight *= f64::from(CONFIG.discount);
        at += COLUMNS;
        if sample.flags[at] & flag::TERMINATED != 0 {
            return sum;
        }
        if sample.flags[at] & flag::TRUNCATED != 0 {
            break;
        }
    }
    sum + weight * f64::from(sample.values[at])
}

/// What the definition minimises, with targets and advantages as constants; and these.
fn reference(sample: &Sample, correction: Correction) -> (Vec<f64>, Vec<f64>) {
    let logits: Vec<f64> = sample.logits.iter().map(|&z| f64::from(z)).collect();
    let (mut d_logits, mut d_values) = (Vec::new(), Vec::new());
    for at in 0..STEPS * COLUMNS {
        if sample.flags[at + COLUMNS] & flag::FIRST != 0 {
            d_logits.extend([0.0; ACTIONS]);
            d_values.push(0.0);
            continue;
        }
        let action = usize::try_from(sample.actions[at]).expect("valid");
        let target = n_step_return(sample, at);
        let error = f64::from(sample.values[at]) - target;
        let ratio = (log_probs(&logits, at)[action] - f64::from(sample.log_probs[at])).exp();
        let objective = |log_pi: f64| match correction {
            Correction::OneStep => -ratio.min(1.0) * -error * log_pi,
            Correction::Epsilon => error * (log_pi.exp() + 1e-6).ln(),
            _ => error * log_pi,
        };
        for which in 0..ACTIONS {
            let shifted = |by: f64| {
                let mut logits = logits.clone();
                logits[at * ACTIONS + which] += by;
                objective(log_probs(&logits, at)[action])
            };
            d_logits.push((shifted(1e-6) - shifted(-1e-6)) / 2e-6);
        }
        d_values.push(f64::from(CONFIG.baseline_cost) * error);
    }
    (d_logits, d_values)
}

fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (at, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(found) - expected).abs();
        assert!(off < tolerance * expected.abs().max(1.0), "{what} {at}: {found} and {expected}");
    }
}

#[test]
fn each_is_what_its_definition_says() {
    for correction in [Correction::OneStep, Correction::Epsilon, Correction::None] {
        let config = LossConfig { correction, entropy_cost: 0.0, ..CONFIG };
        for seed in 0..20 {
            let mut sample = Sample::new(seed);
            // An action that the present policy would hardly choose: here epsilon counts.
            sample.logits[1] = -12.0 - seed as f32 / 10.0;
            sample.actions[0] = 1;
            let mut loss = Loss::default();
            let stats = compute(&mut loss, &sample, &config);
            let (d_logits, d_values) = reference(&sample, correction);
            close(loss.d_logits(), &d_logits, 2e-5, &format!("{correction:?} logit"));
            close(loss.d_values(), &d_values, 2e-5, &format!("{correction:?} value"));
            // What is measured does not depend on what is done about it.
            let plain = compute(&mut Loss::default(), &sample, &CONFIG);
            assert_eq!((stats.rho_mean, stats.kl_mean), (plain.rho_mean, plain.kl_mean));
        }
    }
}

#[test]
fn they_differ_only_where_policies_do() {
    let mut sample = Sample::new(9);
    let gradients = |sample: &Sample, correction, normalize_advantages| {
        let mut loss = Loss::default();
        let config = LossConfig { correction, normalize_advantages, ..CONFIG };
        compute(&mut loss, sample, &config);
        (loss.d_logits().to_vec(), loss.d_values().to_vec(), loss.steps.taken.clone())
    };
    for normalized in [false, true] {
        let apart = ALL.map(|correction| gradients(&sample, correction, normalized));
        for (at, one) in apart.iter().enumerate() {
            assert!(apart[..at].iter().all(|other| one.0 != other.0), "{:?}", ALL[at]);
        }
    }
    sample.log_probs = gradients(&sample, Correction::None, false).2;
    for normalized in [false, true] {
        let same = ALL.map(|correction| gradients(&sample, correction, normalized));
        let expected = [&same[0].0, &same[0].1].map(|d| d.iter().map(|&d| f64::from(d)).collect());
        let [d_logits, d_values]: [Vec<f64>; 2] = expected;
        for (gradients, correction) in same.iter().zip(ALL) {
            // Epsilon takes 1e-6 / pi away.
            close(&gradients.0, &d_logits, 1e-3, &format!("{correction:?} logit"));
            close(&gradients.1, &d_values, 2e-5, &format!("{correction:?} value"));
        }
    }
}
