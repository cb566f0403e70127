//! Tests of the acting loop that no whole run can provoke, such as a refresh of weights that the learner overtakes.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::actor::{EnvGroup, EnvRemedy, GradientSource, Recorder};
use crate::env::cartpole::CartPole;
use crate::env::{Actions, EnvError, EnvSpec, ResetOut, StepOut, VectorEnv};
use crate::metrics::ActorCounters;
use crate::params::{ParamPublisher, ParamReader, page_words};
use crate::policy::act::UniformPolicy;
use crate::policy::bounds::ActionBounds;
use crate::policy::sampler::ActionSampler;
use crate::ring::Owner;
use crate::rng::Rng;
use crate::sync::{AtomicU64, Ordering, ReadWord};
use crate::unroll::{BlockLayout, BlockRef, Field, HeapRing, HeapSeats, LOSS_WORDS, UnrollSpec};

const PARAMETERS: usize = 6;
const ENVS: usize = 2;
const UNROLL: usize = 4;
const BLOCKS: usize = 3;

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// Unrolls of `unroll` steps of `env`, in one group.
fn unrolls_of(env: &CartPole, unroll: usize) -> UnrollSpec {
    let observation = &env.spec().observation;
    UnrollSpec {
        unroll,
        batch: ENVS,
        envs: ENVS,
        frame_bytes: observation.frame_bytes(),
        frame_stack: observation.frame_stack,
        ..UnrollSpec::PLAIN
    }
}

fn ring_of(blocks: usize, spec: UnrollSpec) -> HeapRing {
    HeapRing::new(blocks, BlockLayout::new(spec).expect("valid")).expect("small")
}

/// Acts in `env` with what is on the page until the ring in `memory` is full; gives what `look` sees in each block.
fn fill<T>(
    memory: &mut HeapRing,
    (page, counters): (&[AtomicU64], ActorCounters<'_>),
    (env, unroll): (CartPole, usize),
    recorder: Option<Recorder<'_>>,
    look: impl Fn(&BlockRef<'_>) -> T,
) -> Vec<T> {
    let action = env.spec().action.clone();
    let mut seats = memory.seats().expect("possible");
    let owner = Owner::new(0, 1).expect("small");
    let parts = ActorParts {
        recorder,
        reader: Some(ParamReader::new(ReadWord::of(page), PARAMETERS, 0).expect("laid out")),
        counters,
        splits: vec![Split {
            producer: seats.producer(owner).expect("the first"),
            own_groups: None,
            groups: vec![EnvGroup {
                env: Box::new(env),
                remedy: EnvRemedy::Fail,
                policy: Box::new(UniformPolicy),
                sampler: ActionSampler::new(&action, ActionBounds::default(), Rng::new(1, 2)),
                stream: 0,
                task: 0,
            }],
        }],
        on_failure: Box::new(|_| {}),
        owner,
        unroll,
        parameter_count: PARAMETERS,
    };
    until_full(&mut seats, parts, look)
}

/// Acts until the ring of `seats` is full; gives what `look` sees in each block.
fn until_full<T>(
    seats: &mut HeapSeats<'_>,
    parts: ActorParts<'_>,
    look: impl Fn(&BlockRef<'_>) -> T,
) -> Vec<T> {
    let ring = parts.splits[0].producer.ring();
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
    let (mut consumer, mut seen) = (seats.consumer(), Vec::new());
    while let Ok(Some(held)) = consumer.try_take() {
        seen.push(look(&BlockRef::new(held.block())));
        held.release().expect("held");
    }
    seen
}

/// Fills a ring with what is on the page; gives the versions in the headers.
fn act(page: &[AtomicU64], counters: ActorCounters<'_>) -> Vec<u64> {
    let env = CartPole::new(ENVS, 1);
    let mut memory = ring_of(BLOCKS, unrolls_of(&env, UNROLL));
    let version = |block: &BlockRef<'_>| block.headers()[0].policy_version;
    fill(&mut memory, (page, counters), (env, UNROLL), None, version)
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

/// Writes what it was given in place of a gradient.
struct Witness;

impl GradientSource for Witness {
    fn gradient(
        &mut self,
        parameters: &[f32],
        (unroll, steps): (&BlockRef<'_>, usize),
        gradient: &mut [f32],
    ) -> Result<[u64; LOSS_WORDS], ActorError> {
        assert_eq!(parameters, [2.5; PARAMETERS], "those that acted");
        gradient.fill(steps as f32);
        let rewards: &[f32] = unroll.field(Field::Reward);
        Ok([rewards[..steps * ENVS].len() as u64; LOSS_WORDS])
    }
}

/// Slots of gradients: the gradient, the sums of the loss, and flags and lengths of episodes, unroll by unroll.
type Slot = (Vec<f32>, Vec<u64>, Vec<u8>, Vec<u32>);

/// Fills a ring with gradients of unrolls of `longest` steps.
fn exchange(whole_episodes: bool, longest: usize) -> Vec<Slot> {
    let env = CartPole::new(ENVS, 1);
    let unrolls = unrolls_of(&env, longest);
    let gradients = UnrollSpec { gradient_len: PARAMETERS, frame_bytes: 0, ..unrolls };
    let (mut memory, mut record) = (ring_of(BLOCKS, gradients), ring_of(1, unrolls));
    // What was there before must not matter.
    memory.scribble(0xff);
    record.scribble(0xff);
    let (page, block) = (words(page_words(PARAMETERS)), words(ActorCounters::WORDS));
    let mut publisher = ParamPublisher::new(&page, PARAMETERS, 0).expect("a zeroed page");
    publisher.publish(1, &[2.5; PARAMETERS]).expect("finite");
    let mut own = record.seats().expect("possible");
    let recorder = Recorder {
        producer: own.producer(Owner::new(0, 1).expect("small")).expect("the first"),
        consumer: own.consumer(),
        source: Box::new(Witness),
        whole_episodes,
    };
    let look = |block: &BlockRef<'_>| {
        assert_eq!(block.headers()[0].policy_version, 1);
        (
            block.field(Field::Gradient).to_vec(),
            block.field(Field::Loss).to_vec(),
            block.field(Field::Flags).to_vec(),
            block.field(Field::EpisodeLength).to_vec(),
        )
    };
    let counted = ActorCounters::new(&block);
    fill(&mut memory, (&page, counted), (env, longest), Some(recorder), look)
}

#[test]
fn a_slot_gets_the_gradient_of_what_was_recorded() {
    let slots = exchange(false, UNROLL);
    assert_eq!(slots.len(), BLOCKS);
    for (gradient, loss, flags, _) in slots {
        assert_eq!(gradient, [UNROLL as f32; PARAMETERS]);
        assert_eq!(loss, [(UNROLL * ENVS) as u64; LOSS_WORDS]);
        assert_eq!(flags.len(), (UNROLL + 1) * ENVS);
    }
}

#[test]
fn whole_episodes_begin_with_a_reset_and_end_with_the_longest() {
    let longest = 200;
    for (gradient, loss, flags, lengths) in exchange(true, longest) {
        let steps = usize::try_from(loss[0]).expect("small") / ENVS;
        assert!(steps < longest, "a pole that is pushed at random falls");
        assert_eq!(gradient[0], steps as f32);
        assert_eq!(flags[..ENVS], [flag::FIRST; ENVS]);
        let mut last = 0;
        for env in 0..ENVS {
            let of_env: Vec<u8> = flags.iter().skip(env).step_by(ENVS).copied().collect();
            let end = of_env.iter().position(|f| f & flag::DONE != 0).expect("it falls");
            assert_eq!(lengths[end * ENVS + env] as usize, end, "one step an observation");
            assert!(of_env[1..end].iter().all(|&f| f == 0));
            assert!(of_env[end + 1..].iter().all(|&f| f == flag::FIRST), "counts for nothing");
            last = last.max(end);
        }
        assert_eq!(steps, last);
    }
}

#[test]
fn an_episode_that_is_too_long_is_cut_off() {
    for (gradient, _, flags, _) in exchange(true, 3) {
        assert_eq!(gradient[0], 3.0);
        assert!(flags[ENVS..].iter().all(|&flags| flags == 0), "still running");
    }
}

/// Environments that step elsewhere, as far as the loop can tell; writes down when steps start and end.
struct Elsewhere {
    inner: CartPole,
    name: char,
    actions: Option<Vec<i32>>,
    happened: Rc<RefCell<String>>,
}

impl VectorEnv for Elsewhere {
    fn spec(&self) -> &EnvSpec {
        self.inner.spec()
    }

    fn envs(&self) -> usize {
        self.inner.envs()
    }

    fn reset(&mut self, out: ResetOut<'_>) -> Result<(), EnvError> {
        self.inner.reset(out)
    }

    fn step(&mut self, _actions: Actions<'_>, _out: StepOut<'_>) -> Result<(), EnvError> {
        panic!("a step that can be started was not")
    }

    fn start_step(&mut self, actions: Actions<'_>) -> Result<bool, EnvError> {
        let Actions::Discrete(actions) = actions else { panic!("{actions:?}") };
        assert!(self.actions.replace(actions.to_vec()).is_none(), "one step at a time");
        self.happened.borrow_mut().push(self.name);
        Ok(true)
    }

    fn finish_step(&mut self, out: StepOut<'_>) -> Result<(), EnvError> {
        let actions = self.actions.take().expect("started");
        self.happened.borrow_mut().push(self.name.to_ascii_uppercase());
        self.inner.step(Actions::Discrete(&actions), out)
    }
}

/// Streams and actions of all unrolls of two splits of environments that step elsewhere or here, and the order of starts (small
/// letters) and ends.
fn of_two_splits(elsewhere: bool) -> (Vec<(u32, Vec<i32>)>, String) {
    let happened = Rc::new(RefCell::new(String::new()));
    let spec = CartPole::new(ENVS, 1).spec().clone();
    let mut memory = ring_of(BLOCKS, unrolls_of(&CartPole::new(ENVS, 1), UNROLL));
    let mut seats = memory.seats().expect("possible");
    let splits = [(0, 'a'), (1, 'b')].map(|(stream, name)| {
        let inner = CartPole::new(ENVS, u64::from(stream));
        let env: Box<dyn VectorEnv> = if elsewhere {
            Box::new(Elsewhere { inner, name, actions: None, happened: Rc::clone(&happened) })
        } else {
            Box::new(inner)
        };
        let rng = Rng::new(1, u64::from(stream));
        Split {
            // Of two owners, because these seats give one owner one producer.
            producer: seats.producer(Owner::new(stream, 1).expect("small")).expect("one each"),
            own_groups: None,
            groups: vec![EnvGroup {
                env,
                remedy: EnvRemedy::Fail,
                policy: Box::new(UniformPolicy),
                sampler: ActionSampler::new(&spec.action, ActionBounds::default(), rng),
                stream: u32::from(stream),
                task: 0,
            }],
        }
    });
    let block = words(ActorCounters::WORDS);
    let parts = ActorParts {
        splits: splits.into(),
        recorder: None,
        reader: None,
        counters: ActorCounters::new(&block),
        on_failure: Box::new(|_| {}),
        owner: Owner::new(0, 1).expect("small"),
        unroll: UNROLL,
        parameter_count: PARAMETERS,
    };
    let stream_and_actions =
        |block: &BlockRef<'_>| (block.headers()[0].stream, block.field(Field::Action).to_vec());
    let mut seen = until_full(&mut seats, parts, stream_and_actions);
    seen.sort();
    let happened = happened.borrow().clone();
    (seen, happened)
}

#[test]
fn one_split_steps_while_the_actor_works_on_another() {
    let (unrolls, happened) = of_two_splits(true);
    assert_eq!(unrolls.len(), BLOCKS);
    // Each starts before the other ends, from the first step of the first unrolls to their last.
    assert!(happened.starts_with("abAaBbAaBbAaBb"), "{happened}");
    assert_eq!(unrolls, of_two_splits(false).0, "and nothing else is different");
}
