//! Benchmark of the loss and its gradient with respect to the network's outputs, for each kind of action.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use impala_rl::env::ActionSpec;
use impala_rl::learner::loss::{Batch, Loss, LossConfig};
use impala_rl::rng::Rng;

/// A strip of a small network.
const STEPS: usize = 20;
const COLUMNS: usize = 16;

fn gradients(c: &mut Criterion) {
    let continuous = |d: usize| (vec![-1.0; d], vec![1.0; d]);
    let (low, high) = continuous(6);
    let mut group = c.benchmark_group("loss");
    for (name, action) in [
        ("2", ActionSpec::Discrete { n: 2 }),
        ("6", ActionSpec::Discrete { n: 6 }),
        ("18", ActionSpec::Discrete { n: 18 }),
        ("3,3", ActionSpec::MultiDiscrete { sizes: vec![3, 3] }),
        ("2,5,7,3", ActionSpec::MultiDiscrete { sizes: vec![2, 5, 7, 3] }),
        ("continuous-6", ActionSpec::Continuous { low, high }),
    ] {
        let mut rng = Rng::new(1, 0);
        let rows = (STEPS + 1) * COLUMNS;
        let mut normal =
            |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal_f64() as f32).collect() };
        let (logits, values) = (normal(rows * action.outputs()), normal(rows));
        let (rewards, drawn) = (normal(STEPS * COLUMNS), normal(STEPS * COLUMNS * action.words()));
        let sizes = action.sizes();
        let word = |(at, x): (usize, &f32)| match sizes.get(at % action.words()) {
            Some(&n) => i32::try_from(at * 7 % n).expect("small"),
            None => x.to_bits().cast_signed(),
        };
        let actions: Vec<i32> = drawn.iter().enumerate().map(word).collect();
        let batch = Batch {
            columns: COLUMNS,
            action: &action,
            actions: &actions,
            masks: &[],
            rewards: &rewards,
            behaviour_log_probs: &vec![-1.0; STEPS * COLUMNS],
            flags: &vec![0; rows],
            reward_factors: &[],
        };
        let mut loss = Loss::default();
        group.throughput(Throughput::Elements((STEPS * COLUMNS) as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let outputs = (&logits[..], &values[..]);
                let sums =
                    loss.compute(&batch, 0..COLUMNS, outputs, &LossConfig::PAPER, (1.0, None));
                std::hint::black_box((sums, loss.d_logits()));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, gradients);
criterion_main!(benches);
