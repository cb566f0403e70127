//! Measures the parts of a learner update, and the whole learning loop, on blocks that a real actor filled.

use std::time::{Duration, Instant};

use super::loops::{self, Quiet};
use super::stage::Stage;
use crate::bench::cpu::{cpu_time, median_ns};
use crate::bench::error::BenchError;
use crate::bench::setup::Setup;
use crate::bench::stats::Spread;
use impala_rl::config::Decay;
use impala_rl::learner::admission::Admission;
use impala_rl::learner::checkpoint::LearnerState;
use impala_rl::learner::episodes::EpisodeWindow;
use impala_rl::learner::run::{LearnLoop, Learning, Pace, StopCriteria, UpdateSchedule};
use impala_rl::learner::tasks::Tasks;
use impala_rl::learner::update::{Outcome, UpdateTimes};
use impala_rl::params::ParamPublisher;
use impala_rl::unroll::{BlockRef, Consumer, Field, ReadBlock};

/// How long a block of an actor that works alone may take.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// ns per frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct LearningNs {
    pub(super) batching: f64,
    pub(super) forward: f64,
    pub(super) vtrace_loss: f64,
    pub(super) backward: f64,
    pub(super) optimizer: f64,
    pub(super) publish: f64,
}

/// The parts, and the whole loop, in ns per frame.
pub(super) fn measure(setup: &Setup, effort: Duration) -> Result<(LearningNs, f64), BenchError> {
    let stage = Stage::new(setup)?;
    let mut seats = stage.seats()?;
    let ends = stage.ends(&mut seats, setup)?;
    let (memory, mut consumer, mut publisher) = (ends.memory, ends.consumer, ends.publisher);
    publisher.publish(1, &setup.weights())?;
    let ring = memory.ring()?;
    std::thread::scope(|scope| {
        let actor = scope.spawn(|| loops::act(setup, memory).map(|_| ()));
        let measured = (|| {
            let parts = parts(setup, &mut consumer, &mut publisher, effort)?;
            Ok((parts, whole_loop(setup, memory, consumer, publisher, effort)?))
        })();
        ring.close();
        actor.join().map_err(|_| BenchError::Thread)??;
        measured
    })
}

fn parts(
    setup: &Setup,
    consumer: &mut Consumer<'_>,
    publisher: &mut ParamPublisher<'_>,
    effort: Duration,
) -> Result<LearningNs, BenchError> {
    // All blocks are held, so that the actor has nothing to do while this one works.
    let blocks = (0..setup.config.pool.blocks)
        .map(|_| consumer.take(MAX_WAIT))
        .collect::<Result<Vec<ReadBlock<'_>>, _>>()?;
    let mut updater = setup.updater()?;
    let env = &setup.config.env.spec;
    // Stages are timed by the wall's clock, whole updates by that of the CPU: the stages share the latter
    // as they share the former, which an interruption now and then does not change.
    let (mut updates, mut walls) = (Vec::new(), UpdateTimes::default());
    let started = Instant::now();
    let learner = &setup.config.learner;
    let parts = learner.minibatches;
    for (index, held) in blocks.iter().cycle().enumerate() {
        let part = (index as u64 % parts, parts);
        let mut times = UpdateTimes::default();
        let before = cpu_time();
        let outcome =
            updater.gradient(&BlockRef::new(held.block()), None, part, env, &mut times)?;
        if let Outcome::Applied(stats) = outcome {
            // A rate of zero costs the same and leaves policy and behaviour policy alike.
            updater.apply(&stats, 0.0, &mut times);
        }
        // The first updates allocate.
        if index >= 2 {
            updates.push((cpu_time() - before).as_nanos() as f64);
            add(&mut walls, &times);
        }
        if updates.len() > blocks.len() && started.elapsed() >= 4 * effort {
            break;
        }
    }
    let stages = &walls.stages;
    let all = [stages.batching, stages.forward, stages.loss, stages.backward, walls.optimizer];
    let all_s: f64 = all.iter().map(Duration::as_secs_f64).sum();
    let update_ns = learner.updates_per_batch() as f64 * Spread::of(&updates).median;
    let [input, forward, vtrace_loss, backward, optimizer] =
        all.map(|stage| update_ns * stage.as_secs_f64() / all_s);
    let mut version = publisher.latest_version();
    let mut published = Ok(());
    let publish = median_ns(effort, || {
        version += 1;
        if let Err(error) = publisher.publish(version, updater.parameters()) {
            published = Err(error);
        }
    });
    published?;
    let mut ns = LearningNs {
        batching: input,
        forward,
        vtrace_loss,
        backward,
        optimizer,
        publish: publish * learner.updates_per_batch() as f64 / learner.publish_every as f64,
    };
    drop(blocks);
    ns.batching += take_release(setup, consumer)?;
    let frames = setup.config.pool.frames_per_batch() as f64;
    for part in [
        &mut ns.batching,
        &mut ns.forward,
        &mut ns.vtrace_loss,
        &mut ns.backward,
        &mut ns.optimizer,
        &mut ns.publish,
    ] {
        *part /= frames;
    }
    Ok(ns)
}

fn add(sum: &mut UpdateTimes, one: &UpdateTimes) {
    sum.stages.batching += one.stages.batching;
    sum.stages.forward += one.stages.forward;
    sum.stages.loss += one.stages.loss;
    sum.stages.backward += one.stages.backward;
    sum.optimizer += one.optimizer;
}

/// ns from a complete block to all its fields, and back.
fn take_release(setup: &Setup, consumer: &mut Consumer<'_>) -> Result<f64, BenchError> {
    let mut samples = Vec::new();
    for _ in 0..4 {
        wait_until_full(consumer);
        let blocks = setup.config.pool.blocks;
        let before = cpu_time();
        for _ in 0..blocks {
            if let Some(block) = consumer.try_take()? {
                let view = BlockRef::new(block.block());
                std::hint::black_box(Field::ALL.map(|field| view.field::<u8>(field)));
                drop(block);
            }
        }
        samples.push((cpu_time() - before).as_nanos() as f64 / blocks as f64);
    }
    Ok(Spread::of(&samples).median)
}

/// Until the actor has nothing left to do.
fn wait_until_full(consumer: &Consumer<'_>) {
    let (ring, started) = (consumer.ring(), Instant::now());
    while started.elapsed() < MAX_WAIT
        && ring.occupancy().is_ok_and(|now| now.ready + now.held < ring.shape().slots())
    {
        std::thread::yield_now();
    }
}

/// ns per frame of the product's loop: one block at a time from a full ring.
fn whole_loop<'m>(
    setup: &Setup,
    memory: &'m impala_rl::pool::PoolMemory,
    consumer: Consumer<'m>,
    publisher: ParamPublisher<'m>,
    effort: Duration,
) -> Result<f64, BenchError> {
    let config = &setup.config;
    let learner = &config.learner;
    let learning = Learning {
        skipped_in_a_row: 0,
        state: LearnerState { version: publisher.latest_version(), ..LearnerState::default() },
        publisher,
        counters: memory.learner(),
        lags: memory.lags(),
        updater: setup.updater()?,
        env: config.env.spec.clone(),
        stop_criteria: StopCriteria { total_frames: None, stop_at_return: None },
        schedule: UpdateSchedule {
            learning_rate: 0.0,
            linear_decay: learner.learning_rate_decay == Decay::Linear,
            passes: learner.passes,
            minibatches: learner.minibatches,
            stop_passes_at_kl: f32::INFINITY,
            kl_cost: config.learner.kl_cost as f32,
            kl_target: f32::INFINITY,
            publish_every: Some(learner.publish_every),
            checkpoint_every: Duration::ZERO,
        },
        return_scale: None,
        observation_stats: None,
        episodes: EpisodeWindow::new(config.stop.stop_window),
        tasks: Tasks::new([memory.task(0)], config.stop.stop_window, &[]),
        ranks: None,
        started: Instant::now(),
    };
    let slots = consumer.ring().shape().slots();
    // Its ring is always full.
    let admission = Admission::new(usize::MAX, 1, slots);
    let mut looping = LearnLoop { consumer, pace: Pace::Free(admission), replay: None, learning };
    let (mut samples, started) = (Vec::new(), Instant::now());
    while samples.len() < 4 || started.elapsed() < 4 * effort {
        wait_until_full(&looping.consumer);
        // Any frame more is a goal that the next block reaches.
        let learning = &mut looping.learning;
        learning.stop_criteria.total_frames = Some(learning.state.frames + 1);
        let before = cpu_time();
        looping.run(&mut Quiet)?;
        samples.push((cpu_time() - before).as_nanos() as f64);
    }
    let frames = config.pool.frames_per_batch() as f64;
    Ok(Spread::of(&samples[1..]).median / frames)
}
