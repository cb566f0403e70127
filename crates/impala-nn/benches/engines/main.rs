//! What the engines cost, beside what the CPU could do: `cargo bench -p impala-nn`.

mod cnn;
mod lstm;
mod mlp;

use std::hint::black_box;

use impala_nn::simd::{Kernel, Level, Simd, launch};
use nix::time::ClockId;

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|arg| arg == "--bench") {
        mlp::measure();
        lstm::measure();
        cnn::measure();
    }
}

/// Independent chains of fused multiply-adds in registers: the most this core does.
struct Peak<'a> {
    rounds: usize,
    factor: &'a [f32; 8],
}

impl Kernel for Peak<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let factor = s.load(self.factor);
        let mut sums = [[s.splat(0.5); 4]; 3];
        for _ in 0..self.rounds {
            for sum in sums.as_flattened_mut() {
                *sum = s.mul_add(*sum, factor, factor);
            }
        }
        sums.map(|sums| s.sums(sums)).as_flattened().iter().sum()
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
        black_box(launch(Level::detect(), Peak { rounds, factor: black_box(&[0.5; 8]) }));
    });
    rounds as f64 * 96.0 / ns
}
