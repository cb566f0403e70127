//! Benchmark of V-trace over unrolls and batches of the usual sizes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use impala_rl::learner::vtrace::{Inputs, VtraceConfig, vtrace};
use impala_rl::rng::Rng;

fn targets(c: &mut Criterion) {
    let mut group = c.benchmark_group("vtrace");
    let clips = VtraceConfig { rho_bar: 1.0_f32, c_bar: 1.0, pg_rho_bar: 1.0, lambda: 1.0 };
    for (steps, columns) in [(20, 32), (20, 256), (40, 32), (80, 32), (80, 256)] {
        let mut rng = Rng::new(1, 0);
        let mut uniform =
            |rows: usize| -> Vec<f32> { (0..rows * columns).map(|_| rng.unit_f32()).collect() };
        let (ratios, rewards, values) = (uniform(steps), uniform(steps), uniform(steps + 1));
        let discounts = vec![0.99; steps * columns];
        let (mut vs, mut advantages) = (vec![0.0; steps * columns], vec![0.0; steps * columns]);
        group.throughput(Throughput::Elements((steps * columns) as u64));
        let id = BenchmarkId::from_parameter(format!("{steps}x{columns}"));
        group.bench_function(id, |b| {
            b.iter(|| {
                let inputs = Inputs {
                    columns,
                    ratios: &ratios,
                    discounts: &discounts,
                    rewards: &rewards,
                    values: &values,
                };
                vtrace(inputs, clips, &mut vs, &mut advantages);
                std::hint::black_box((&vs, &advantages));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, targets);
criterion_main!(benches);
