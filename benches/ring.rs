//! Benchmark of one slot's cycle through the ring in one process: claim, commit, take, release.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use impala_rl::ring::Owner;
use impala_rl::unroll::{BlockLayout, BlockRef, Field, HeapRing, UnrollSpec};

fn once_around(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    for groups in [1, 4, 16] {
        let layout = BlockLayout::new(UnrollSpec {
            unroll: 20,
            batch: 8 * groups,
            envs: 8,
            frame_bytes: 16,
            frame_stack: 1,
            ..UnrollSpec::PLAIN
        })
        .expect("a layout");
        let mut memory = HeapRing::new(4, layout).expect("a ring");
        let mut seats = memory.seats().expect("a ring");
        let mut producer = seats.producer(Owner::new(0, 1).expect("an owner")).expect("the first");
        let mut consumer = seats.consumer();

        group.throughput(Throughput::Elements(groups as u64));
        let id = BenchmarkId::new("claim_commit_take_release", groups);
        group.bench_function(id, |b| {
            b.iter(|| {
                for _ in 0..groups {
                    let grant = producer.claim(Duration::ZERO).expect("a free slot");
                    grant.commit().expect("ours");
                }
                let block = consumer.try_take().expect("sound").expect("complete");
                std::hint::black_box(BlockRef::new(block.block()).field::<f32>(Field::Reward));
                block.release().expect("sound");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, once_around);
criterion_main!(benches);
