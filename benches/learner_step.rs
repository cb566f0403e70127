//! Benchmark of one learner update: from a block of the ring to new parameters.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use impala_bench::bench::Setup;
use impala_rl::learner::update::{Outcome, UpdateTimes};
use impala_rl::ring::Owner;
use impala_rl::rng::Rng;
use impala_rl::shm::Access;
use impala_rl::unroll::{BlockRef, Consumer, Field, GroupMut, Producer};

/// Fills a block with observations and actions such as a fresh policy would leave.
fn fill(producer: &mut Producer<'_>, setup: &Setup) {
    let mut rng = Rng::new(1, 0);
    for _ in 0..setup.config.pool.groups_per_block() {
        let mut grant = producer.claim(Duration::ZERO).expect("a free slot");
        let mut group = GroupMut::new(grant.slot_mut());
        let steps = setup.config.pool.unroll;
        for row in 0..steps + 1 {
            for number in group.row_mut::<f32>(Field::Frame, row) {
                *number = rng.unit_f32() - 0.5;
            }
        }
        for row in 0..steps {
            for action in group.row_mut::<i32>(Field::Action, row) {
                *action = i32::from(rng.unit_f32() < 0.5);
            }
            group.row_mut::<f32>(Field::Reward, row).fill(1.0);
            group.row_mut::<f32>(Field::LogProb, row).fill(0.5_f32.ln());
        }
        grant.commit().expect("ours");
    }
}

fn update(c: &mut Criterion) {
    let mut group = c.benchmark_group("learner_step");
    let engines: &[&str] =
        if cfg!(feature = "torch") { &["native", "libtorch"] } else { &["native"] };
    for engine in engines {
        for (unroll, batch) in [("16", "32"), ("20", "32"), ("32", "256")] {
            let flags = ["--env", "CartPole-v1", "--engine", engine, "--unroll", unroll];
            let more = ["--batch", batch, "--envs-per-actor", "16"];
            let flags: Vec<_> = flags.iter().chain(&more).map(|&flag| flag.into()).collect();
            let setup = Setup::from_flags(&flags).expect("valid");
            let plan = impala_rl::pool::MemoryPlan::new(&setup.config, setup.parameters.len());
            let memory = impala_rl::pool::PoolMemory::create(plan).expect("memory");
            let mut write = memory.seat(Access::ReadWrite).expect("mapped");
            let mut read = memory.seat(Access::ReadOnly).expect("mapped");
            let writing = write.slab().expect("fits");
            let owner = Owner::new(0, 1).expect("an owner");
            fill(&mut Producer::new(writing, owner).expect("writable"), &setup);
            let mut consumer = Consumer::new(read.slab().expect("fits"));
            let block = consumer.try_take().expect("sound").expect("complete");

            let mut updater = setup.updater().expect("an engine");
            let env = &setup.config.env.spec;
            group.throughput(Throughput::Elements(setup.config.pool.frames_per_batch() as u64));
            let id = BenchmarkId::new(*engine, format!("{unroll}x{batch}"));
            group.bench_function(id, |b| {
                b.iter(|| {
                    let mut times = UpdateTimes::default();
                    let outcome = updater.gradient(
                        &BlockRef::new(block.block()),
                        None,
                        (0, 1),
                        env,
                        &mut times,
                    );
                    if let Ok(Outcome::Applied(stats)) = outcome {
                        updater.apply(&stats, 0.0, &mut times);
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, update);
criterion_main!(benches);
