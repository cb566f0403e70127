//! What the engines cost, beside what the CPU could do: `cargo bench -p impala-nn`, of one level with `-- --vectors avx2`.

mod cnn;
mod lstm;
mod mlp;

use std::hint::black_box;

use impala_nn::simd::{Kernel, LANES, Level, Simd, Vectors, launch};
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

/// Vectors of sums: two pipes for the five cycles that a multiply-add takes at most.
const CHAINS: usize = 12;

/// Independent chains of fused multiply-adds in registers: the most this core does.
struct Peak<'a> {
    rounds: usize,
    factor: &'a [f32; LANES],
}

impl Kernel for Peak<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        if S::WIDE {
            chains::<S, CHAINS>(s, self.rounds, self.factor)
        } else {
            // Vectors of several registers: half as many fit.
            chains::<S, { CHAINS / 2 }>(s, 2 * self.rounds, self.factor)
        }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(s: S, rounds: usize, factor: &[f32; LANES]) -> f32 {
    let factor = s.load(factor);
    let mut sums = [s.splat(0.5); N];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = s.mul_add(*sum, factor, factor);
        }
    }
    let mut total = factor;
    for sum in sums {
        total = s.add(total, sum);
    }
    s.sums([total; 4])[0]
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
        black_box(launch(Level::active(), Peak { rounds, factor: black_box(&[0.5; LANES]) }));
    });
    (rounds * CHAINS * LANES) as f64 / ns
}
