//! Times the native engine, beside the peak rate of the CPU: `cargo bench -p impala-nn`, with one instruction set by
//! `-- --vectors avx2`.

mod cnn;
mod lstm;
mod mlp;

use std::hint::black_box;

use impala_nn::simd::{LANES, Level, Vectors, peak_multiply_adds, run_peak};
use nix::time::ClockId;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let named = args.iter().position(|arg| arg == "--vectors").and_then(|at| args.get(at + 1));
    if let Some(name) = named {
        let all = [Vectors::Auto, Vectors::Baseline, Vectors::Avx2, Vectors::Avx512];
        let vectors = all.into_iter().find(|vectors| vectors.to_string() == *name);
        Level::choose(vectors.expect("--vectors auto, baseline, avx2 or avx512"))
            .expect("vectors that this CPU has");
    }
    // `cargo test --benches` only asks whether it starts.
    if args.iter().any(|arg| arg == "--bench") {
        mlp::measure();
        lstm::measure();
        cnn::measure();
    }
}

/// Shortest of many times, in ns of this thread: the machine is shared.
fn shortest_ns(repeats: usize, mut f: impl FnMut()) -> f64 {
    let now = || {
        let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("Linux has it");
        time.tv_sec() * 1_000_000_000 + time.tv_nsec()
    };
    // The first calls fill the caches.
    (0..3).for_each(|_| f());
    let start = now();
    f();
    // One reading of this clock is a system call: short things are done several times over.
    let inner = 50_000 / (now() - start).max(1) + 1;
    let mut best = i64::MAX;
    for _ in 0..repeats {
        let start = now();
        (0..inner).for_each(|_| f());
        best = best.min(now() - start);
    }
    best as f64 / inner as f64
}

/// What this core does at most.
fn multiply_adds_per_ns() -> f64 {
    let rounds = 100_000;
    let ns = shortest_ns(30, || {
        black_box(run_peak(Level::active(), rounds, black_box(&[0.5; LANES])));
    });
    peak_multiply_adds(rounds) as f64 / ns
}
