//! The child processes of a pool under test: the product's actor, which acts the pattern, a policy process, and a
//! learner that checks.

use std::time::{Duration, Instant};

use super::check::{Checker, action_sampler};
use super::env::{AskingPolicy, PatternAnswers, PatternEnv, PatternGradient, PatternPolicy};
use super::error::ProofError;
use super::pattern::{self, Incarnation};
use super::pool::World;
use super::record::{Count, Record, Seen};
use impala_rl::actor::{ActorLoop, ActorParts, EnvGroup, EnvRemedy, Recorder, Split};
use impala_rl::inference::{CentralPolicy, PolicyLoop, PolicyParts};
use impala_rl::learner::checkpoint::{Checkpoint, LearnerState, list};
use impala_rl::metrics::{ActorCounter, LearnerCounter, Phase, PolicyCounter};
use impala_rl::params::{ParamPublisher, ParamReader};
use impala_rl::pool::give_way;
use impala_rl::ring::{Owner, TakeError};
use impala_rl::shm::{Access, Inherit, Region};
use impala_rl::supervisor::{ChildControl, Level, ToChild};
use impala_rl::unroll::{BlockRef, Consumer, HeapRing, Producer};

/// How long a take waits before the loop looks round.
const NAP: Duration = Duration::from_millis(100);
/// Time between checkpoints, so that deaths meet them.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(250);
/// Checkpoints to keep.
const KEEP: usize = 2;

/// Acts the pattern until the ring is closed.
pub(super) fn act(
    world: &World,
    index: u16,
    incarnation: u16,
    control: &ChildControl,
) -> Result<(), ProofError> {
    let counters = world.memory.actor(usize::from(index));
    counters.set_phase(Phase::Init);
    give_way(&world.config);
    counters.set(ActorCounter::Incarnation, u64::from(incarnation));
    let mut seat = world.memory.seat(Access::ReadWrite)?;
    let page = world.memory.parameters.map(Access::ReadOnly, Inherit::No)?;
    let slab = seat.slab()?;
    let owner = Owner::new(index, incarnation)?;
    let writer = Incarnation::from(owner);
    let parameter_count = world.parameters.len();
    let recorded = world.config.pool.record.as_ref();
    let mut ring = recorded.map(|layout| HeapRing::new(1, layout.clone())).transpose()?;
    let recorder = match &mut ring {
        Some(ring) => {
            let mut ends = ring.seats()?;
            let source = Box::new(PatternGradient { writer });
            let (producer, consumer) = (ends.producer(owner)?, ends.consumer());
            Some(Recorder { producer, consumer, source, whole_episodes: false })
        }
        None => None,
    };
    let pattern = PatternPolicy { writer, record: world.record.clone(), step: 0 };
    let parts = ActorParts {
        recorder,
        reader: if world.memory.board().is_some() { None } else { Some(reader(world, &page)?) },
        counters,
        splits: vec![Split {
            producer: Producer::new(slab, owner)?,
            own_groups: None,
            groups: vec![EnvGroup {
                env: Box::new(PatternEnv::new(writer, world.config.pool.envs_per_actor)),
                remedy: EnvRemedy::Fail,
                policy: match world.memory.board() {
                    None => Box::new(pattern),
                    Some(board) => {
                        let (who, ring) = ((index.into(), incarnation), world.memory.ring()?);
                        let counters = world.memory.actor(usize::from(index));
                        let central = CentralPolicy::new(board, who, ring, counters);
                        Box::new(AskingPolicy { central, pattern })
                    }
                },
                sampler: action_sampler(world.seed, writer),
                stream: u32::from(index),
                task: 0,
            }],
        }],
        on_failure: Box::new(|_| {}),
        owner,
        unroll: world.config.pool.unroll,
        parameter_count,
    };
    let mut acting = ActorLoop::new(parts)?;
    control.ready();
    Ok(acting.run()?)
}

/// The weights, for whoever runs a network.
fn reader<'m>(world: &World, page: &'m Region) -> Result<ParamReader<'m>, ProofError> {
    let (len, fingerprint) = (world.parameters.len(), world.parameters.fingerprint());
    Ok(ParamReader::new(page.all_read_words(), len, fingerprint)?)
}

/// Answers for all actors until the ring is closed.
pub(super) fn answer(
    world: &World,
    incarnation: u16,
    control: &ChildControl,
) -> Result<(), ProofError> {
    let counters = world.memory.policy();
    counters.set_phase(Phase::Init);
    counters.set(PolicyCounter::Incarnation, u64::from(incarnation));
    give_way(&world.config);
    let Some(board) = world.memory.board() else { return Ok(()) };
    let payload = world.memory.payload_to_read()?;
    let page = world.memory.parameters.map(Access::ReadOnly, Inherit::No)?;
    let pool = &world.config.pool;
    let mut answering = PolicyLoop::new(PolicyParts {
        board,
        payload: payload.all_read_words(),
        layout: &pool.layout,
        observation: &world.config.env.spec.observation,
        reader: reader(world, &page)?,
        counters,
        policy: Box::new(PatternAnswers { record: world.record.clone() }),
        ring: world.memory.ring()?,
        batch: pool.actors * pool.envs_per_actor,
        wait: Duration::ZERO,
        parameter_count: world.parameters.len(),
    });
    control.ready();
    Ok(answering.run()?)
}

/// Checks blocks until the ring is closed and drained; publishes and saves meanwhile.
pub(super) fn learn(world: &World, control: &mut ChildControl) -> Result<(), ProofError> {
    let mut seat = world.memory.seat(Access::ReadOnly)?;
    let page = world.memory.parameters.map(Access::ReadWrite, Inherit::No)?;
    let slab = seat.slab()?;
    let mut publisher = ParamPublisher::new(
        page.all_words(),
        world.parameters.len(),
        world.parameters.fingerprint(),
    )?;
    let counters = world.memory.learner();
    let mut consumer = Consumer::new(slab);
    let mut checker = Checker::new(world.seed);
    let mut weights = vec![0.0; world.parameters.len()];
    look_at_checkpoints(world, control);
    publish(&mut publisher, &mut weights)?;
    control.ready();
    let mut last_save = Instant::now();
    loop {
        let held = match consumer.take(NAP) {
            Ok(held) => held,
            Err(TakeError::TimedOut) => continue,
            Err(TakeError::Closed) => break,
            Err(error) => return Err(error.into()),
        };
        let block = BlockRef::new(held.block());
        for group in 0..block.headers().len() {
            let findings = checker.check(&block, group, publisher.latest_version());
            world.record.add(Count::BytesChecked, findings.bytes);
            if findings.wrong > 0 {
                world.record.add(Count::BytesWrong, findings.wrong);
                let what = findings.first.unwrap_or_default();
                control.log(Level::Error, &format!("{} wrong bytes: {what}", findings.wrong));
            }
            enter(&world.record, &block, group, control);
        }
        let slots = block.index() * block.headers().len()..;
        for (slot, _) in slots.zip(block.headers()) {
            world.record.leave(slot);
        }
        held.release()?;
        counters.add(LearnerCounter::Blocks, 1);
        publish(&mut publisher, &mut weights)?;
        counters.add(LearnerCounter::Updates, 1);
        // The ring's end is what ends this loop; the message only wants to be taken.
        let asked = matches!(control.poll(), Some(ToChild::Checkpoint));
        if asked || last_save.elapsed() >= CHECKPOINT_EVERY {
            save(world, &weights, publisher.latest_version())?;
            last_save = Instant::now();
        }
    }
    control.finished("the ring is drained");
    Ok(())
}

fn enter(record: &Record, block: &BlockRef<'_>, group: usize, control: &ChildControl) {
    let header = block.headers()[group];
    let slot = block.index() * block.headers().len() + group;
    let writer = u16::try_from(header.actor)
        .ok()
        .zip(u16::try_from(header.incarnation).ok())
        .map(|(actor, incarnation)| Incarnation { actor, incarnation });
    let seen =
        writer.map_or(Seen::Impossible, |writer| record.enter(slot, writer, header.sequence));
    record.add(Count::Unrolls, 1);
    match seen {
        Seen::First => {}
        Seen::Repeat => record.add(Count::Repeats, 1),
        Seen::Duplicate => {
            record.add(Count::Duplicates, 1);
            control.log(Level::Error, &format!("seen twice: {header:?} in slot {slot}"));
        }
        Seen::Impossible => {
            record.add(Count::Impossible, 1);
            control.log(Level::Error, &format!("cannot be: {header:?} in slot {slot}"));
        }
    }
}

fn publish(publisher: &mut ParamPublisher<'_>, weights: &mut [f32]) -> Result<(), ProofError> {
    let version = publisher.latest_version() + 1;
    pattern::weights(version, weights);
    Ok(publisher.publish(version, weights)?)
}

fn save(world: &World, weights: &[f32], version: u64) -> Result<(), ProofError> {
    let checkpoint = Checkpoint {
        parameters: weights.to_vec(),
        optimizer: [weights.to_vec(), weights.to_vec()],
        state: LearnerState { version, frames: version, ..LearnerState::default() },
    };
    checkpoint.save(&world.checkpoints, &world.parameters, KEEP)?;
    world.record.add(Count::CheckpointsSaved, 1);
    Ok(())
}

/// Every finished checkpoint is whole, however the learner that wrote it ended.
fn look_at_checkpoints(world: &World, control: &ChildControl) {
    for path in list(&world.checkpoints).unwrap_or_default() {
        let whole = match Checkpoint::load(&path, &world.parameters) {
            Ok(found) => {
                let mut expected = vec![0.0; found.parameters.len()];
                pattern::weights(found.state.version, &mut expected);
                found.parameters == expected && found.optimizer.iter().all(|v| *v == expected)
            }
            Err(error) => {
                control.log(Level::Error, &error.to_string());
                false
            }
        };
        world.record.add(Count::CheckpointsRead, 1);
        if !whole {
            world.record.add(Count::CheckpointsBad, 1);
        }
    }
}
