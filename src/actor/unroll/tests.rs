//! What the loop counts where no run can be made to.

use super::*;
use crate::env::cartpole::CartPole;
use crate::params::{ParamPublisher, page_words};
use crate::policy::act::UniformPolicy;
use crate::policy::bounds::ActionBounds;
use crate::rng::Rng;
use crate::sync::{AtomicU64, Ordering, ReadWord};
use crate::unroll::{BlockLayout, BlockRef, HeapRing, UnrollSpec};

const PARAMETERS: usize = 6;
const ENVS: usize = 2;
const UNROLL: usize = 4;
const BLOCKS: usize = 3;

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// Fills a ring with what is on the page; gives the versions in the headers.
fn act(page: &[AtomicU64], counters: ActorCounters<'_>) -> Vec<u64> {
    let env = CartPole::new(ENVS, 1);
    let spec = env.spec().clone();
    let layout = BlockLayout::new(UnrollSpec {
        unroll: UNROLL,
        batch: ENVS,
        envs: ENVS,
        frame_bytes: spec.observation.frame_bytes(),
        frame_stack: spec.observation.frame_stack,
        ..UnrollSpec::PLAIN
    });
    let mut memory = HeapRing::new(BLOCKS, layout.expect("valid")).expect("small");
    let mut seats = memory.seats().expect("possible");
    let owner = Owner::new(0, 1).expect("small");
    let ring = seats.ring();
    let parts = ActorParts {
        producer: seats.producer(owner).expect("the first"),
        reader: ParamReader::new(ReadWord::of(page), PARAMETERS, 0).expect("laid out"),
        counters,
        groups: vec![EnvGroup {
            env: Box::new(env),
            remedy: EnvRemedy::Fail,
            policy: Box::new(UniformPolicy),
            sampler: ActionSampler::new(&spec.action, ActionBounds::default(), Rng::new(1, 2)),
            stream: 0,
        }],
        own_groups: None,
        on_failure: Box::new(|_| {}),
        owner,
        unroll: UNROLL,
        parameter_count: PARAMETERS,
    };
    let mut acting = ActorLoop::new(parts).expect("starts");
    std::thread::scope(|scope| {
        // A full ring is closed: the actor then leaves.
        scope.spawn(|| {
            while ring.occupancy().expect("whole").ready < BLOCKS {
                std::thread::yield_now();
            }
            ring.close();
        });
        acting.run().expect("until it is closed");
    });
    drop(acting);
    let (mut consumer, mut versions) = (seats.consumer(), Vec::new());
    while let Ok(Some(block)) = consumer.try_take() {
        versions.extend(
            BlockRef::new(block.block()).headers().iter().map(|header| header.policy_version),
        );
        block.release().expect("held");
    }
    versions
}

#[test]
fn a_refresh_that_the_learner_overtakes_is_counted_and_keeps_the_old_weights() {
    let (page, block) = (words(page_words(PARAMETERS)), words(ActorCounters::WORDS));
    let counters = ActorCounters::new(&block);
    let mut publisher = ParamPublisher::new(&page, PARAMETERS, 0).expect("a zeroed page");
    publisher.publish(1, &[2.5; PARAMETERS]).expect("finite");
    // To a reader, a buffer that changes under it and one that was scribbled on are the same.
    let pair = u64::from(2.5_f32.to_bits()) * 0x1_0000_0001;
    let hit = page.iter().find(|word| word.load(Ordering::Relaxed) == pair);
    hit.expect("a pair of parameters").store(0, Ordering::Relaxed);
    assert_eq!(act(&page, ActorCounters::new(&block)), [0; BLOCKS]);
    let now = |words: [ActorCounter; 3]| words.map(|word| counters.get(word));
    let weights =
        [ActorCounter::ParamBusy, ActorCounter::ParamRefreshes, ActorCounter::ParamVersion];
    assert_eq!(now(weights), [BLOCKS as u64, 0, 0]);

    publisher.publish(2, &[3.5; PARAMETERS]).expect("finite");
    assert_eq!(act(&page, ActorCounters::new(&block)), [2; BLOCKS]);
    assert_eq!(now(weights), [BLOCKS as u64, 1, 2]);
    assert_eq!(counters.get(ActorCounter::UnrollsCommitted), 2 * BLOCKS as u64);
}
