//! Benchmark of replay: keeping the unrolls of a batch, and laying out a batch that is drawn from those kept.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use impala_rl::learner::replay::Replay;
use impala_rl::ring::Owner;
use impala_rl::rng::Rng;
use impala_rl::unroll::{BlockLayout, BlockRef, HeapRing, UnrollSpec};

/// Groups of a batch, and of what is drawn.
const GROUPS: usize = 2;

fn keep_and_draw(c: &mut Criterion) {
    let mut bench = c.benchmark_group("replay");
    for (name, kept, frame_bytes, frame_stack) in
        [("cartpole", 2500, 16, 1), ("atari", 250, 84 * 84, 4)]
    {
        let spec = UnrollSpec {
            unroll: 32,
            batch: 4 * GROUPS,
            envs: 4,
            frame_bytes,
            frame_stack,
            ..UnrollSpec::PLAIN
        };
        let layout = BlockLayout::new(spec).expect("a layout");
        let mut memory = HeapRing::new(2, layout.clone()).expect("a ring");
        let mut own = HeapRing::new(1, layout.clone()).expect("a ring");
        let (mut seats, mut own) = (memory.seats().expect("a ring"), own.seats().expect("a ring"));
        let owner = Owner::new(0, 1).expect("an owner");
        let (mut producer, mut consumer) =
            (seats.producer(owner).expect("first"), seats.consumer());
        for _ in 0..GROUPS {
            producer.claim(Duration::ZERO).expect("free").commit().expect("ours");
        }
        let held = consumer.take(Duration::ZERO).expect("complete");
        let block = BlockRef::new(held.block());
        let places = (own.producer(owner).expect("first"), own.consumer());
        let mut replay = Replay::new(&layout, kept, places, Rng::new(1, 0));
        while replay.len() < kept {
            replay.push(&block);
        }
        bench.throughput(Throughput::Bytes(2 * layout.block_bytes() as u64));
        bench.bench_function(BenchmarkId::new("keep_and_draw", name), |b| {
            b.iter(|| {
                replay.push(&block);
                let drawn = replay.draw().expect("sound").expect("enough");
                drawn.release().expect("sound");
            });
        });
    }
    bench.finish();
}

criterion_group!(benches, keep_and_draw);
criterion_main!(benches);
