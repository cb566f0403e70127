//! Tests of the loss for each kind of action: its value against the definition in f64, its gradient against finite
//! differences.

use proptest::prelude::*;

use super::*;
use crate::learner::vtrace::VtraceConfig;
use crate::rng::Rng;

const STEPS: usize = 4;
const COLUMNS: usize = 3;
const CONFIG: LossConfig = LossConfig {
    discount: 0.9,
    entropy_cost: 0.03,
    vtrace: VtraceConfig { rho_bar: 1.0, c_bar: 1.0, pg_rho_bar: 1.0, lambda: 0.9 },
    ..LossConfig::PAPER
};

struct Sample {
    action: ActionSpec,
    words: Vec<i32>,
    masks: Vec<u8>,
    rewards: Vec<f32>,
    log_probs: Vec<f32>,
    flags: Vec<u8>,
    outputs: Vec<f32>,
    values: Vec<f32>,
}

impl Sample {
    fn new(action: ActionSpec, masked: bool, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 0);
        let mut normal =
            |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal_f64() as f32).collect() };
        let rows = (STEPS + 1) * COLUMNS;
        let (rewards, outputs, values) =
            (normal(STEPS * COLUMNS), normal(rows * action.outputs()), normal(rows));
        let log_probs = normal(STEPS * COLUMNS).iter().map(|x| -1.4 + 0.5 * x).collect();
        let mut flags = vec![0; rows];
        flags[COLUMNS] = flag::TERMINATED;
        flags[2 * COLUMNS] = flag::FIRST;
        let mut words = Vec::new();
        let mut masks = vec![1; if masked { rows * action.logits() } else { 0 }];
        for row in 0..STEPS * COLUMNS {
            let mut mask = masks.chunks_exact_mut(action.logits().max(1)).nth(row);
            for m in mask.iter_mut().flat_map(|mask| mask.iter_mut()) {
                *m = u8::from(rng.below(3) > 0);
            }
            let mut start = 0;
            for &size in action.sizes() {
                let choice = rng.below(size);
                if let Some(mask) = &mut mask {
                    mask[start + choice] = 1;
                }
                words.push(i32::try_from(choice).expect("small"));
                start += size;
            }
            if action.numbers() > 0 {
                let drawn = action.bounds().0.iter().map(|_| 1.5 * rng.normal_f64() as f32);
                words.extend(drawn.map(|u| u.to_bits().cast_signed()));
            }
        }
        Self { action, words, masks, rewards, log_probs, flags, outputs, values }
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            columns: COLUMNS,
            action: &self.action,
            actions: &self.words,
            masks: &self.masks,
            rewards: &self.rewards,
            behaviour_log_probs: &self.log_probs,
            flags: &self.flags,
            reward_factors: &[],
        }
    }

    fn compute(&self, loss: &mut Loss) -> LossSums {
        loss.compute(&self.batch(), 0..COLUMNS, (&self.outputs, &self.values), &CONFIG, (1.0, None))
    }

    fn is_allowed(&self, output: usize) -> bool {
        let (row, at) = (output / self.action.outputs(), output % self.action.outputs());
        let width = self.action.logits();
        at >= width || self.masks.get(row * width + at).is_none_or(|&mask| mask != 0)
    }

    /// log pi of the action of transition `row`, and the policy's entropy, from `outputs` of all rows.
    fn policy(&self, row: usize, outputs: &[f64]) -> (f64, f64) {
        let (count, w) = (self.action.outputs(), self.action.words());
        let words = &self.words[row * w..][..w];
        let row_of = &outputs[row * count..][..count];
        let (mut log_prob, mut entropy) = (0.0, 0.0);
        let (first, dims) = (self.action.logits(), self.action.numbers());
        for dim in 0..dims {
            let word = words[self.action.sizes().len() + dim];
            let u = f64::from(f32::from_bits(word.cast_unsigned()));
            let log_std = -1.5 + 3.5 * ((row_of[first + dims + dim] + 1.5) / 3.5).tanh();
            let variance = (2.0 * log_std).exp();
            let normaliser = (std::f64::consts::TAU * variance).ln();
            log_prob -= 0.5 * ((u - row_of[first + dim]).powi(2) / variance + normaliser);
            entropy += 0.5 * (1.0 + normaliser);
        }
        let mut start = 0;
        for (&size, &word) in self.action.sizes().iter().zip(words) {
            let allowed = |i: &usize| self.is_allowed(row * count + start + i);
            let total: f64 = (0..size).filter(allowed).map(|i| row_of[start + i].exp()).sum();
            let log_of = |i: usize| row_of[start + i] - total.ln();
            log_prob += log_of(usize::try_from(word).expect("a choice"));
            entropy -= (0..size).filter(allowed).map(|i| log_of(i).exp() * log_of(i)).sum::<f64>();
            start += size;
        }
        (log_prob, entropy)
    }

    fn counts(&self, row: usize) -> bool {
        self.flags[COLUMNS + row] & flag::FIRST == 0
    }

    /// The terms of the loss that depend on the outputs, with V-trace's advantages held constant.
    fn total(&self, loss: &Loss, outputs: &[f64]) -> f64 {
        (0..STEPS * COLUMNS)
            .filter(|&row| self.counts(row))
            .map(|row| {
                let (log_prob, entropy) = self.policy(row, outputs);
                let advantage = f64::from(loss.steps.advantages[row]);
                -advantage * log_prob - f64::from(CONFIG.entropy_cost) * entropy
            })
            .sum()
    }

    /// Holds values and gradients of `loss` against their definitions.
    fn check(&self, loss: &Loss, sums: &LossSums) -> Result<(), TestCaseError> {
        let outputs: Vec<f64> = self.outputs.iter().map(|&x| f64::from(x)).collect();
        let mut entropies = 0.0;
        for row in 0..STEPS * COLUMNS {
            let (log_prob, entropy) = self.policy(row, &outputs);
            let taken = f64::from(loss.steps.taken[row]);
            prop_assert!((taken - log_prob).abs() < 1e-4 * (1.0 + log_prob.abs()), "row {}", row);
            if self.counts(row) {
                entropies += entropy;
                // e^-87 is the least that a ratio becomes.
                let log_ratio = (log_prob - f64::from(self.log_probs[row])).max(-87.0);
                let off = f64::from(loss.steps.ratios[row]).ln() - log_ratio;
                prop_assert!(off.abs() < 1e-4 * (1.0 + log_prob.abs()), "{} in row {}", off, row);
            }
        }
        prop_assert!((sums.entropy - entropies).abs() < 1e-4 * (1.0 + entropies.abs()));
        for (at, &d) in loss.d_logits().iter().enumerate() {
            let shifted = |by: f64| {
                let mut outputs = outputs.clone();
                outputs[at] += by;
                self.total(loss, &outputs)
            };
            let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            let off = (slope - f64::from(d)).abs();
            prop_assert!(off < 2e-4 * (1.0 + slope.abs()), "output {}: {} is not {}", at, d, slope);
            prop_assert!(self.is_allowed(at) || d == 0.0, "forbidden output {} is moved", at);
        }
        Ok(())
    }
}

fn numbers(dims: usize) -> ActionSpec {
    ActionSpec::Continuous { low: vec![-1.0; dims], high: vec![1.0; dims] }
}

fn both(sizes: Vec<usize>, dims: usize) -> ActionSpec {
    ActionSpec::Hybrid { sizes, low: vec![-1.0; dims], high: vec![1.0; dims] }
}

fn any_action() -> impl Strategy<Value = ActionSpec> {
    prop_oneof![
        (1_usize..9).prop_map(|n| ActionSpec::Discrete { n }),
        prop::collection::vec(1_usize..5, 1..4)
            .prop_map(|sizes| ActionSpec::MultiDiscrete { sizes }),
        (1_usize..5).prop_map(numbers),
        (prop::collection::vec(1_usize..5, 1..4), 1_usize..4)
            .prop_map(|(sizes, dims)| both(sizes, dims)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn gradients_are_those_of_the_loss(
        action in any_action(),
        masked in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let masked = masked && !matches!(action, ActionSpec::Continuous { .. });
        let sample = Sample::new(action, masked, seed);
        let mut loss = Loss::default();
        let sums = sample.compute(&mut loss);
        sample.check(&loss, &sums)?;
    }
}

#[test]
fn one_choice_is_the_same_as_one_of_several() {
    for masked in [false, true] {
        let one = Sample::new(ActionSpec::Discrete { n: 4 }, masked, 5);
        let several = Sample::new(ActionSpec::MultiDiscrete { sizes: vec![4] }, masked, 5);
        assert_eq!(one.words, several.words, "else this test says nothing");
        let (mut a, mut b) = (Loss::default(), Loss::default());
        let sums = (one.compute(&mut a), several.compute(&mut b));
        assert_eq!(sums.0, sums.1);
        assert_eq!((a.d_logits(), a.d_values()), (b.d_logits(), b.d_values()));
    }
}

#[test]
fn one_loss_serves_strip_after_strip_of_any_kind() {
    let mut loss = Loss::default();
    for (action, masked) in [
        (ActionSpec::MultiDiscrete { sizes: vec![3, 2] }, true),
        (numbers(2), false),
        (both(vec![3, 2], 2), true),
        (ActionSpec::Discrete { n: 3 }, true),
    ] {
        let sample = Sample::new(action, masked, 2);
        sample.compute(&mut loss);
        let whole = loss.d_logits().to_vec();
        let count = sample.action.outputs();
        for strip in [0..1, 1..3] {
            let rows = (0..=STEPS).flat_map(|t| strip.clone().map(move |b| t * COLUMNS + b));
            let rows: Vec<usize> = rows.collect();
            let values: Vec<f32> = rows.iter().map(|&row| sample.values[row]).collect();
            let outputs: Vec<f32> = rows
                .iter()
                .flat_map(|&row| sample.outputs[row * count..][..count].to_vec())
                .collect();
            let batch = sample.batch();
            loss.compute(&batch, strip.clone(), (&outputs, &values), &CONFIG, (1.0, None));
            for (part, &row) in loss.d_logits().chunks_exact(count).zip(&rows) {
                for (a, b) in part.iter().zip(&whole[row * count..]) {
                    assert!((a - b).abs() < 1e-5, "{a} in the strip, {b} in the whole");
                }
            }
        }
    }
}

#[test]
fn a_forbidden_action_that_was_taken_all_the_same_changes_nothing() {
    // It cannot happen, but memory is not to be trusted.
    let mut sample = Sample::new(ActionSpec::Discrete { n: 3 }, true, 7);
    sample.masks.fill(1);
    sample.masks[usize::try_from(sample.words[0]).expect("a choice")] = 0;
    let mut loss = Loss::default();
    let sums = sample.compute(&mut loss);
    assert!(sums.is_finite() && loss.d_logits().iter().all(|d| d.is_finite()));
}

#[test]
fn numbers_beyond_reason_are_not_learnt_from() {
    for huge in [f32::MAX, 1e25] {
        let mut sample = Sample::new(numbers(2), false, 1);
        sample.words[3] = huge.to_bits().cast_signed();
        let mut loss = Loss::default();
        let sums = sample.compute(&mut loss);
        let harmless = loss.d_logits().iter().all(|d| d.is_finite());
        assert!(!sums.is_finite() || harmless, "{huge}");
    }
}
