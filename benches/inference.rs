//! Benchmark of inference: from observations to logits, with the native engine, and with libtorch where the build has
//! it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use impala_bench::bench::Setup;
use impala_rl::env::ResetOut;
use impala_rl::policy::frames::StackedFrames;

fn logits(c: &mut Criterion) {
    let mut group = c.benchmark_group("inference");
    let engines: &[&str] =
        if cfg!(feature = "torch") { &["native", "libtorch"] } else { &["native"] };
    for engine in engines {
        for envs in [1_usize, 8, 64, 256] {
            let envs_flag = envs.to_string();
            let flags =
                ["--env", "CartPole-v1", "--engine", engine, "--envs-per-actor", &envs_flag];
            let setup = Setup::from_flags(&flags.map(Into::into)).expect("valid");
            let mut policy = setup.policy().expect("a policy");
            let mut env = setup.env().expect("environments");
            let mut numbers = vec![0.0_f32; envs * setup.network.observation.frame_len()];
            let frames = bytemuck::cast_slice_mut(&mut numbers);
            env.reset(ResetOut { frames, masks: &mut [] }).expect("a start");
            let mut out = vec![0.0; envs * setup.network.logits()];
            let valid = vec![1; envs];
            group.throughput(Throughput::Elements(envs as u64));
            group.bench_function(BenchmarkId::new(*engine, envs), |b| {
                b.iter(|| {
                    let rows = [bytemuck::cast_slice(&numbers)];
                    let spec = &setup.network.observation;
                    let frames = StackedFrames::of_step(spec, &rows, &valid);
                    policy.logits(&frames.into(), &mut out).expect("works");
                    std::hint::black_box(&out);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, logits);
criterion_main!(benches);
