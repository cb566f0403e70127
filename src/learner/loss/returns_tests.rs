//! Tests of Monte-Carlo returns, and of losses without a baseline.

use super::tests::{COLUMNS, CONFIG, STEPS, Sample, compute};
use super::*;

const MONTE_CARLO: LossConfig = LossConfig {
    returns: Returns::MonteCarlo,
    correction: Correction::None,
    // Has no say here.
    vtrace: VtraceConfig { lambda: 0.5, ..VtraceConfig::ONE },
    ..CONFIG
};

/// The discounted rewards from transition `at` to the end of its episode, or of the unroll.
fn rewards_to_go(sample: &Sample, mut at: usize) -> f64 {
    let (mut sum, mut weight) = (0.0, 1.0);
    while at < STEPS * COLUMNS {
        sum += weight * f64::from(sample.rewards[at]);
        weight *= f64::from(CONFIG.discount);
        at += COLUMNS;
        if sample.flags[at] & flag::DONE != 0 {
            break;
        }
    }
    sum
}

fn counts(sample: &Sample, at: usize) -> bool {
    sample.flags[at + COLUMNS] & flag::FIRST == 0
}

#[test]
fn monte_carlo_returns_are_rewards_and_nothing_else() {
    for seed in 0..10 {
        let sample = Sample::new(seed);
        let mut loss = Loss::default();
        compute(&mut loss, &sample, &MONTE_CARLO);
        for at in (0..STEPS * COLUMNS).filter(|&at| counts(&sample, at)) {
            let expected = rewards_to_go(&sample, at);
            let value = f64::from(sample.values[at]);
            assert!((f64::from(loss.steps.vs[at]) - expected).abs() < 1e-5, "{at}");
            assert!((f64::from(loss.steps.advantages[at]) - (expected - value)).abs() < 1e-5);
        }
    }
}

#[test]
fn without_a_baseline_values_do_not_matter() {
    let mut sample = Sample::new(3);
    for returns in [Returns::MonteCarlo, Returns::Bootstrapped] {
        let config = LossConfig { returns, baseline_cost: 0.0, ..MONTE_CARLO };
        let gradients = |sample: &Sample| {
            let mut loss = Loss::default();
            compute(&mut loss, sample, &config);
            (loss.d_logits().to_vec(), loss.d_values().to_vec(), loss.steps.advantages.clone())
        };
        let (d_logits, d_values, advantages) = gradients(&sample);
        sample.values.iter_mut().for_each(|value| *value = 1000.0 - 3.0 * *value);
        let other = gradients(&sample);
        assert_eq!(d_logits, other.0);
        assert!(d_values.iter().all(|&d| d == 0.0));
        if returns == Returns::MonteCarlo {
            for at in (0..STEPS * COLUMNS).filter(|&at| counts(&sample, at)) {
                let expected = rewards_to_go(&sample, at);
                assert!((f64::from(advantages[at]) - expected).abs() < 1e-5, "the return itself");
            }
        }
    }
}
