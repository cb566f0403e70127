//! Tests of the checker: it finds every error that an actor makes in its unrolls, and none in those of the product's
//! actor.

use std::time::Duration;

use super::*;
use crate::soak::env::{PatternEnv, PatternPolicy};
use crate::soak::record::Record;
use impala_rl::actor::{ActorLoop, ActorParts, EnvGroup, EnvRemedy, Split};
use impala_rl::metrics::ActorCounters;
use impala_rl::params::{ParamPublisher, ParamReader, page_words};
use impala_rl::ring::{Owner, RingShape};
use impala_rl::sync::{AtomicU64, ReadWord};
use impala_rl::unroll::{GroupMut, HeapRing, Producer, UnrollSpec};

const SEED: u64 = 5;
const ENVS: usize = 3;
const UNROLL: usize = 4;
const SHAPE: RingShape = RingShape { blocks: 2, groups: 1 };
const PARAMETERS: usize = 10;

fn layout() -> BlockLayout {
    let spec = UnrollSpec {
        unroll: UNROLL,
        batch: ENVS,
        envs: ENVS,
        frame_bytes: 100,
        frame_stack: 2,
        ..UnrollSpec::PLAIN
    };
    BlockLayout::new(spec).expect("valid")
}

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// Lets `produce` fill blocks, and gives the findings of each.
fn findings_of(produce: impl FnOnce(Producer<'_>)) -> Vec<Findings> {
    let mut memory = HeapRing::new(SHAPE.blocks, layout()).expect("small");
    // Nothing that was there before may pass for right.
    memory.scribble(u8::MAX);
    let mut seats = memory.seats().expect("possible");
    produce(seats.producer(Owner::new(1, 7).expect("small")).expect("the first"));
    seats.ring().close();
    let (mut consumer, mut checker) = (seats.consumer(), Checker::new(SEED));
    let mut all = Vec::new();
    while let Ok(Some(block)) = consumer.try_take() {
        all.push(checker.check(&BlockRef::new(block.block()), 0, 1));
        block.release().expect("held");
    }
    all
}

#[test]
fn the_products_actor_writes_the_pattern() {
    let found = findings_of(|producer| {
        let page = words(page_words(PARAMETERS));
        let mut publisher = ParamPublisher::new(&page, PARAMETERS, 0).expect("fits");
        let mut weights = vec![0.0; PARAMETERS];
        crate::soak::pattern::weights(1, &mut weights);
        publisher.publish(1, &weights).expect("finite");
        let counted = words(ActorCounters::WORDS);
        let (owner, ring) = (producer.owner(), producer.ring());
        let writer = Incarnation::from(owner);
        let record = Record::create(2, 2).expect("memory");
        let parts = ActorParts {
            recorder: None,
            reader: Some(ParamReader::new(ReadWord::of(&page), PARAMETERS, 0).expect("fits")),
            counters: ActorCounters::new(&counted),
            splits: vec![Split {
                producer,
                own_groups: None,
                groups: vec![EnvGroup {
                    env: Box::new(PatternEnv::new(writer, ENVS)),
                    remedy: EnvRemedy::Fail,
                    policy: Box::new(PatternPolicy { writer, record: record.clone(), step: 0 }),
                    sampler: action_sampler(SEED, writer),
                    stream: u32::from(owner.actor()),
                    task: 0,
                }],
            }],
            on_failure: Box::new(|_| {}),
            owner,
            unroll: UNROLL,
            parameter_count: PARAMETERS,
        };
        let mut acting = ActorLoop::new(parts).expect("starts");
        std::thread::scope(|scope| {
            // A full ring is closed: the actor then leaves.
            scope.spawn(|| {
                while ring.occupancy().expect("whole").ready < SHAPE.slots() {
                    std::thread::yield_now();
                }
                ring.close();
            });
            acting.run().expect("until it is closed");
        });
    });
    assert_eq!(found.len(), SHAPE.slots());
    for findings in found {
        assert_eq!((findings.wrong, findings.first), (0, None));
        assert!(findings.bytes > 1_000, "{}", findings.bytes);
    }
}

/// Writes unroll 3 of the writer by the rules, all but what `sabotage` does to it.
fn forged(sabotage: impl FnOnce(&mut GroupMut<'_>)) -> Findings {
    const SEQUENCE: u64 = 3;
    let mut found = findings_of(|mut producer| {
        let writer = Incarnation::from(producer.owner());
        let mut checker = Checker::new(SEED);
        let first_actions = checker.actions_before(writer, SEQUENCE, UNROLL, ENVS);
        let (actions, log_probs) = checker.acts(writer, SEQUENCE, UNROLL, ENVS);
        let mut grant = producer.claim(Duration::ZERO).expect("free");
        let mut group = GroupMut::new(grant.slot_mut());
        *group.header_mut() = GroupHeader {
            actor: writer.actor.into(),
            stream: writer.actor.into(),
            task: 0,
            incarnation: writer.incarnation.into(),
            sequence: SEQUENCE,
            policy_version: 1,
            ..GroupHeader::default()
        };
        let layout = layout();
        for field in Field::ALL.into_iter().filter(|&field| field != Field::Header) {
            for row in 0..layout.rows(field) {
                let mut bytes = Vec::new();
                match field {
                    Field::FirstAction => {
                        bytes.extend_from_slice(bytemuck::cast_slice(&first_actions));
                    }
                    Field::Action => {
                        bytes.extend_from_slice(bytemuck::cast_slice(
                            &actions[row * ENVS..][..ENVS],
                        ));
                    }
                    Field::LogProb => bytes
                        .extend_from_slice(bytemuck::cast_slice(&log_probs[row * ENVS..][..ENVS])),
                    _ => expect(&layout, field, row, writer, SEQUENCE, &mut bytes),
                }
                group.row_mut::<u8>(field, row).copy_from_slice(&bytes);
            }
        }
        sabotage(&mut group);
        grant.commit().expect("still ours");
    });
    found.pop().expect("one block")
}

#[test]
fn every_changed_byte_is_found() {
    let honest = forged(|_| {});
    assert_eq!(honest.wrong, 0, "{honest:?}");
    let layout = layout();
    let mut changed = 0;
    for field in Field::ALL.into_iter().filter(|&field| field != Field::Header) {
        for row in first_row(field)..layout.rows(field) {
            let bytes = layout.group_range(field, row, 0).len();
            // Fields of other pools have no bytes here.
            for at in [0, bytes / 2, bytes.saturating_sub(1)].into_iter().filter(|&at| at < bytes) {
                let found = forged(|group| group.row_mut::<u8>(field, row)[at] ^= 0x40);
                assert_eq!(found.wrong, 1, "{field:?} row {row} byte {at}: {found:?}");
                let named = found.first.expect("named");
                assert!(named.starts_with(&format!("{field:?} row {row} ")), "{named}");
                changed += 1;
            }
        }
    }
    assert!(changed > 90, "{changed}");
}

#[test]
fn an_unroll_under_another_name_is_all_wrong() {
    for rename in [
        (|header: &mut GroupHeader| header.sequence += 1) as fn(&mut GroupHeader),
        |header| header.incarnation += 1,
        |header| header.actor += 1,
    ] {
        let found = forged(|group| rename(group.header_mut()));
        // Flags, a few actions and the high bytes of small numbers are the same by chance.
        assert!(found.wrong * 2 > found.bytes, "{found:?}");
    }
    let newer = forged(|group| group.header_mut().policy_version = 2);
    assert_eq!(newer.wrong, 1, "weights that were not published yet");
    let padding = forged(|group| group.header_mut().reserved[3] = 1);
    assert_eq!(padding.wrong, 1);
}

#[test]
fn draws_are_the_same_in_any_order() {
    let writer = Incarnation { actor: 2, incarnation: 3 };
    let mut in_order = Checker::new(SEED);
    let expected: Vec<_> = (0..600).map(|q| in_order.acts(writer, q, UNROLL, ENVS)).collect();
    let mut other = Checker::new(SEED);
    for sequence in [599_usize, 0, 256, 255, 598, 7, 512, 511] {
        let found = other.acts(writer, sequence as u64, UNROLL, ENVS);
        assert_eq!(found, expected[sequence], "{sequence}");
    }
}
