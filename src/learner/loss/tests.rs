//! Tests of the loss: its gradients against finite differences, and ends of episodes against values worked out by hand.

use super::*;
use crate::learner::popart::ValueScale;
use crate::learner::vtrace::VtraceConfig;
use crate::rng::Rng;

pub(super) const CONFIG: LossConfig =
    LossConfig { discount: 0.9, entropy_cost: 0.02, ..LossConfig::PAPER };

pub(super) struct Sample {
    pub(super) actions: Vec<i32>,
    pub(super) rewards: Vec<f32>,
    pub(super) log_probs: Vec<f32>,
    pub(super) flags: Vec<u8>,
    pub(super) logits: Vec<f32>,
    pub(super) values: Vec<f32>,
}

pub(super) const STEPS: usize = 5;
pub(super) const COLUMNS: usize = 3;
pub(super) const ACTIONS: usize = 4;

impl Sample {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 0);
        let mut normal =
            |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal_f64() as f32).collect() };
        let (rewards, logits) = (normal(STEPS * COLUMNS), normal((STEPS + 1) * COLUMNS * ACTIONS));
        let values = normal((STEPS + 1) * COLUMNS);
        let log_probs = normal(STEPS * COLUMNS).iter().map(|x| -1.4 + 0.5 * x).collect();
        let mut flags = vec![0; (STEPS + 1) * COLUMNS];
        // Column 0 terminates at observation 2 and restarts; column 1 is cut off at 3.
        flags[2 * COLUMNS] = flag::TERMINATED;
        flags[3 * COLUMNS] = flag::FIRST;
        flags[3 * COLUMNS + 1] = flag::TRUNCATED;
        flags[4 * COLUMNS + 1] = flag::FIRST;
        let actions =
            (0..STEPS * COLUMNS).map(|i| i32::try_from(i % ACTIONS).expect("small")).collect();
        Self { actions, rewards, log_probs, flags, logits, values }
    }

    /// Logits and values of `rows`, as a network would give them.
    fn outputs(&self, rows: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let logits = |row: &usize| self.logits[row * ACTIONS..(row + 1) * ACTIONS].to_vec();
        (rows.iter().flat_map(logits).collect(), rows.iter().map(|&row| self.values[row]).collect())
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            columns: COLUMNS,
            action: &ActionSpec::Discrete { n: ACTIONS },
            actions: &self.actions,
            masks: &[],
            rewards: &self.rewards,
            behaviour_log_probs: &self.log_probs,
            flags: &self.flags,
            reward_factors: &[],
        }
    }
}

/// The rows of a strip, in order.
fn rows_of(strip: &Range<usize>) -> Vec<usize> {
    (0..=STEPS).flat_map(|t| strip.clone().map(move |b| t * COLUMNS + b)).collect()
}

/// All columns at once.
pub(super) fn compute(loss: &mut Loss, sample: &Sample, config: &LossConfig) -> LossStats {
    let batch = sample.batch();
    let weight = config.weight(batch.transitions(&(0..batch.columns)));
    loss.compute(&batch, 0..COLUMNS, (&sample.logits, &sample.values), config, (weight, None))
        .stats(config.vtrace.c_bar)
}

/// The loss as the module documentation writes it, in f64, with V-trace's outputs held constant.
fn total(sample: &Sample, loss: &Loss, logits: &[f64], values: &[f64], config: &LossConfig) -> f64 {
    let mut sum = 0.0;
    for t in 0..STEPS * COLUMNS {
        if sample.flags[COLUMNS + t] & flag::FIRST != 0 {
            continue;
        }
        let row = &logits[t * ACTIONS..(t + 1) * ACTIONS];
        let log_sum = row.iter().map(|z| z.exp()).sum::<f64>().ln();
        let action = usize::try_from(sample.actions[t]).expect("valid");
        let entropy: f64 = row.iter().map(|z| -(z - log_sum).exp() * (z - log_sum)).sum();
        sum -= f64::from(loss.steps.advantages[t]) * (row[action] - log_sum);
        sum += f64::from(config.baseline_cost)
            * 0.5
            * (f64::from(loss.steps.vs[t]) - values[t]).powi(2);
        sum -= f64::from(config.entropy_cost) * entropy;
    }
    sum
}

#[test]
fn gradients_are_those_of_the_loss() {
    for (seed, reduction) in [(1, Reduction::Sum), (2, Reduction::Mean)] {
        let config = LossConfig { reduction, ..CONFIG };
        let sample = Sample::new(seed);
        let mut loss = Loss::default();
        let stats = compute(&mut loss, &sample, &config);
        assert_eq!(stats.transitions, STEPS * COLUMNS - 2);
        let scale = if reduction == Reduction::Mean { stats.transitions as f64 } else { 1.0 };
        let logits: Vec<f64> = sample.logits.iter().map(|&x| f64::from(x)).collect();
        let values: Vec<f64> = sample.values.iter().map(|&x| f64::from(x)).collect();
        let slope = |at: usize, of_logits: bool| {
            let shifted = |by: f64| {
                let (mut logits, mut values) = (logits.clone(), values.clone());
                if of_logits {
                    logits[at] += by
                } else {
                    values[at] += by
                }
                total(&sample, &loss, &logits, &values, &config)
            };
            (shifted(1e-5) - shifted(-1e-5)) / 2e-5 / scale
        };
        for (at, &d) in loss.d_logits().iter().enumerate() {
            assert!((slope(at, true) - f64::from(d)).abs() < 1e-4, "logit {at}");
        }
        for (at, &d) in loss.d_values().iter().enumerate() {
            assert!((slope(at, false) - f64::from(d)).abs() < 1e-4, "value {at}");
        }
    }
}

#[test]
fn ends_and_resets_are_treated_as_they_should() {
    let sample = Sample::new(3);
    let mut loss = Loss::default();
    compute(&mut loss, &sample, &CONFIG);
    let at = |t: usize, b: usize| t * COLUMNS + b;
    // Termination: nothing follows. Truncation: the value of the final observation follows.
    let rho = |i: usize| loss.steps.ratios[i].min(1.0);
    let terminated = sample.values[at(1, 0)]
        + rho(at(1, 0)) * (sample.rewards[at(1, 0)] - sample.values[at(1, 0)]);
    assert!((loss.steps.vs[at(1, 0)] - terminated).abs() < 1e-5);
    let target = sample.rewards[at(2, 1)] + 0.9 * sample.values[at(3, 1)];
    let truncated = sample.values[at(2, 1)] + rho(at(2, 1)) * (target - sample.values[at(2, 1)]);
    assert!((loss.steps.vs[at(2, 1)] - truncated).abs() < 1e-5);
    // The transitions that cross the resets teach nothing.
    for masked in [at(2, 0), at(3, 1)] {
        assert_eq!(loss.d_values()[masked], 0.0);
        assert_eq!(loss.d_logits()[masked * ACTIONS..(masked + 1) * ACTIONS], [0.0; ACTIONS]);
    }
}

#[test]
fn rewards_are_clipped_as_named() {
    assert_eq!(RewardClip::None.apply(-7.0), -7.0);
    assert_eq!(RewardClip::AbsOne.apply(-7.0), -1.0);
    assert!((RewardClip::SoftAsymmetric.apply(-7.0) + 0.3).abs() < 1e-4);
    assert!((RewardClip::SoftAsymmetric.apply(0.5) - 5.0 * 0.5_f32.tanh()).abs() < 1e-6);
}

#[test]
fn a_value_that_is_no_number_shows_in_the_stats() {
    let mut sample = Sample::new(4);
    sample.values[1] = f32::NAN;
    let stats = compute(&mut Loss::default(), &sample, &CONFIG);
    assert!(!stats.baseline_loss.is_finite());
}

#[test]
fn strips_add_up_to_the_whole() {
    let sample = Sample::new(5);
    let (mut loss, batch) = (Loss::default(), sample.batch());
    let config = LossConfig { reduction: Reduction::Mean, ..CONFIG };
    let whole = compute(&mut loss, &sample, &config);
    let (d_logits, d_values) = (loss.d_logits().to_vec(), loss.d_values().to_vec());
    let mut sums = LossSums::default();
    for strip in [0..1, 1..3] {
        let rows = rows_of(&strip);
        let (logits, values) = sample.outputs(&rows);
        let weight = config.weight(batch.transitions(&(0..batch.columns)));
        sums.add(&loss.compute(&batch, strip, (&logits, &values), &config, (weight, None)));
        for (at, &row) in rows.iter().take(loss.d_values().len()).enumerate() {
            assert_eq!(loss.d_values()[at], d_values[row]);
            for action in 0..ACTIONS {
                let (part, all) = (at * ACTIONS + action, row * ACTIONS + action);
                assert!((loss.d_logits()[part] - d_logits[all]).abs() < 1e-6);
            }
        }
    }
    let parts = sums.stats(config.vtrace.c_bar);
    assert_eq!(parts.transitions, whole.transitions);
    assert!((parts.policy_loss - whole.policy_loss).abs() < 1e-5);
    assert!((parts.rho_mean - whole.rho_mean).abs() < 1e-5);
    assert_eq!((parts.rho_min, parts.rho_max), (whole.rho_min, whole.rho_max));
}

/// The advantages that the policy gradient of the last `compute` used.
fn used(loss: &Loss) -> Vec<f32> {
    loss.steps.advantages.clone()
}

#[test]
fn normalised_advantages_have_mean_0_and_deviation_1_over_the_block() {
    // On policy, so that no ratio stands between the advantages and their mean.
    let mut sample = Sample::new(6);
    let mut loss = Loss::default();
    compute(&mut loss, &sample, &CONFIG);
    sample.log_probs = loss.steps.taken.clone();
    let config = LossConfig { normalize_advantages: true, ..CONFIG };
    compute(&mut loss, &sample, &config);
    let kept: Vec<f32> = used(&loss)
        .into_iter()
        .zip(&loss.steps.keep)
        .filter_map(|(advantage, &keep)| (keep > 0.0).then_some(advantage))
        .collect();
    let count = kept.len() as f32;
    let mean = kept.iter().sum::<f32>() / count;
    let deviation = (kept.iter().map(|a| (a - mean).powi(2)).sum::<f32>() / count).sqrt();
    assert!(mean.abs() < 1e-5 && (deviation - 1.0).abs() < 1e-4, "{mean} {deviation}");

    // Strips that know the moments of the block make the same gradient as the block.
    let (batch, whole) = (sample.batch(), loss.d_logits().to_vec());
    let mut moments = AdvantageMoments::default();
    for strip in [0..1, 1..3] {
        let (logits, values) = sample.outputs(&rows_of(&strip));
        moments.add(&loss.advantage_moments(&batch, strip, (&logits, &values), &config));
    }
    for strip in [0..1, 1..3] {
        let (logits, values) = sample.outputs(&rows_of(&strip));
        let share = (1.0, Some(moments));
        loss.compute(&batch, strip.clone(), (&logits, &values), &config, share);
        for (at, row) in loss.d_logits().chunks_exact(ACTIONS).enumerate() {
            let of_block = at / strip.len() * COLUMNS + strip.start + at % strip.len();
            for (d, expected) in row.iter().zip(&whole[of_block * ACTIONS..]) {
                assert!((d - expected).abs() < 1e-4, "{d} {expected}");
            }
        }
    }
}

#[test]
fn the_surrogate_is_that_of_ppo() {
    // With the whole ratio in the policy gradient: d/dpi min(ratio A, clip(ratio) A) = ratio A d log pi, or nothing.
    let vtrace = VtraceConfig { pg_rho_bar: f32::INFINITY, ..CONFIG.vtrace };
    let config = LossConfig { vtrace, clip_range: 0.2, ..CONFIG };
    let sample = Sample::new(7);
    let mut loss = Loss::default();
    let stats = compute(&mut loss, &sample, &config);
    let clipped = used(&loss);
    compute(&mut loss, &sample, &LossConfig { clip_range: f32::INFINITY, ..config });
    let mut taken_away = 0;
    for ((&advantage, &clipped), &ratio) in
        loss.steps.advantages.iter().zip(&clipped).zip(&loss.steps.ratios)
    {
        // Slope of min(r A, clip(r, 0.8, 1.2) A) by log r, at r.
        let plain = f64::from(advantage) / f64::from(ratio.max(f32::MIN_POSITIVE));
        let of = |log: f64| {
            let r = log.exp();
            (r * plain).min(r.clamp(0.8, 1.2) * plain)
        };
        if ratio == 0.0 {
            continue;
        }
        let log = f64::from(ratio).ln();
        let slope = (of(log + 1e-6) - of(log - 1e-6)) / 2e-6;
        assert!(
            (slope - f64::from(clipped)).abs() < 1e-3 * slope.abs().max(1.0),
            "{ratio} {advantage}"
        );
        taken_away += usize::from(clipped == 0.0);
    }
    assert!(
        taken_away > 1 && taken_away < STEPS * COLUMNS - 2,
        "{taken_away}: both kinds are tried"
    );
    let fraction = taken_away as f32 / stats.transitions as f32;
    assert!((stats.surrogate_clipped - fraction).abs() < 1e-6);
}

#[test]
fn the_divergence_pulls_back() {
    let sample = Sample::new(8);
    let mut loss = Loss::default();
    let stats = compute(&mut loss, &sample, &CONFIG);
    let counted = loss.steps.ratios.iter().zip(&loss.steps.keep).filter(|(_, k)| **k > 0.0);
    let divergence: f64 = counted.map(|(&r, _)| f64::from(r) - 1.0 - f64::from(r).ln()).sum();
    assert!((f64::from(stats.kl_mean) - divergence / stats.transitions as f64).abs() < 1e-4);
    assert!(stats.kl_mean > 0.0);
    // Its gradient by log pi, found by differences: (r - 1), as weight of - d log pi with the other sign.
    let plain = used(&loss);
    compute(&mut loss, &sample, &LossConfig { kl_cost: 0.7, ..CONFIG });
    for ((with, without), &ratio) in used(&loss).iter().zip(&plain).zip(&loss.steps.ratios) {
        if ratio > 0.0 && ratio < 10.0 {
            let of = |log: f64| 0.7 * (log.exp() - 1.0 - log);
            let log = f64::from(ratio).ln();
            let slope = (of(log + 1e-6) - of(log - 1e-6)) / 2e-6;
            assert!((f64::from(without - with) - slope).abs() < 1e-4, "{ratio}");
        }
    }
}

/// Scaled outputs are the same policy and the same values: the gradients differ by powers of the deviation.
#[test]
fn scaled_values_change_nothing_but_the_size_of_gradients() {
    let scale = ValueScale { mean: -7.0, deviation: 20.0 };
    for normalize_advantages in [false, true] {
        let config = LossConfig { entropy_cost: 0.0, normalize_advantages, ..CONFIG };
        let (mut plain, mut scaled) = (Loss::default(), Loss::default());
        let outputs = Sample::new(3);
        let values = outputs.values.iter().map(|&v| scale.value(v)).collect();
        let sample = Sample { values, ..Sample::new(3) };
        let (of_plain, of_scaled) = (
            compute(&mut plain, &sample, &config),
            compute(&mut scaled, &outputs, &LossConfig { value_scale: Some(scale), ..config }),
        );
        // What is normalised already has its size.
        let policy = if normalize_advantages { 1.0 } else { scale.deviation };
        for (a, b) in plain.d_logits().iter().zip(scaled.d_logits()) {
            assert!((a / policy - b).abs() < 1e-4, "{a} and {b}");
        }
        for (a, b) in plain.d_values().iter().zip(scaled.d_values()) {
            assert!((a / scale.deviation - b).abs() < 1e-4, "{a} and {b}");
        }
        assert!((of_plain.baseline_loss / 400.0 - of_scaled.baseline_loss).abs() < 1e-4);
        let targets = plain.steps.vs.iter().zip(&plain.steps.keep).filter(|(_, keep)| **keep > 0.0);
        let mean = targets.map(|(target, _)| f64::from(*target)).sum::<f64>()
            / of_plain.transitions as f64;
        assert!((of_scaled.target - mean).abs() < 1e-4, "{} and {mean}", of_scaled.target);
        assert_eq!(of_plain.target, 0.0, "nobody asks");
    }
}
