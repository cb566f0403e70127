//! A slot's way: claim, commit, and the block's take and release, in one process.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use impala::ring::{Consumer, Owner, Producer, Ring, RingShape, Slab};
use impala::shm::{Access, Inherit, Memory};
use impala::sync::{AtomicU32, AtomicU64};
use impala::unroll::{BlockLayout, Field, UnrollSpec};

fn once_around(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    for groups in [1, 4, 16] {
        let shape = RingShape { blocks: 4, groups };
        let layout = BlockLayout::new(UnrollSpec {
            unroll: 20,
            batch: 8 * groups,
            envs: 8,
            frame_bytes: 16,
            frame_stack: 1,
            ..UnrollSpec::PLAIN
        })
        .expect("a layout");
        let words: Vec<AtomicU64> =
            (0..<Ring>::word_count(shape)).map(|_| AtomicU64::new(0)).collect();
        let waits: Vec<AtomicU32> = (0..<Ring>::wait_count()).map(|_| AtomicU32::new(0)).collect();
        let ring = Ring::new(&words, &waits, shape).expect("a ring");
        let payload_bytes = Slab::payload_bytes(shape.blocks, &layout).expect("small");
        let memory = Memory::create("bench-ring", payload_bytes).expect("memory");
        let mut write = memory.map(Access::ReadWrite, Inherit::No).expect("mapped");
        let mut read = memory.map(Access::ReadOnly, Inherit::No).expect("mapped");
        let slab = Slab::new(ring, &mut write, &layout).expect("fits");
        let owner = Owner::new(0, 1).expect("an owner");
        let mut producer = Producer::new(slab, owner).expect("writable");
        let mut consumer = Consumer::new(Slab::new(ring, &mut read, &layout).expect("fits"));

        group.throughput(Throughput::Elements(groups as u64));
        let id = BenchmarkId::new("claim_commit_take_release", groups);
        group.bench_function(id, |b| {
            b.iter(|| {
                for _ in 0..groups {
                    let grant = producer.claim(Duration::ZERO).expect("a free slot");
                    grant.commit().expect("ours");
                }
                let block = consumer.try_take().expect("sound").expect("complete");
                std::hint::black_box(block.view().field::<f32>(Field::Reward));
                block.release().expect("sound");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, once_around);
criterion_main!(benches);
