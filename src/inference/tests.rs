//! Tests of central inference, with actors and policy process as threads: answers equal those of a network in the
//! actor.

use std::time::Duration;

use super::*;
use crate::env::{ActionSpec, Dtype, ObservationSpec, flag};
use crate::metrics::{ActorCounters, PolicyCounter, PolicyCounters};
use crate::params::{ParamPublisher, ParamReader, page_words};
use crate::policy::act::{ActError, ActInputs, Policy};
use crate::policy::frames::StackedFrames;
use crate::policy::init::initial_parameters;
use crate::policy::native::NativePolicy;
use crate::policy::spec::{Activation, Core, NetworkSpec, ParamSpec, Torso};
use crate::ring::{Ring, RingShape};
use crate::rng::Rng;
use crate::shm::Region;
use crate::sync::{AtomicU32, AtomicU64, Ordering, ReadWord};
use crate::unroll::{BlockLayout, Field, UnrollSpec};

const ENVS: usize = 3;
const UNROLL: usize = 4;
const ACTORS: usize = 2;

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// All that a pool of two actors and a policy process shares.
struct World {
    network: NetworkSpec,
    parameters: ParamSpec,
    layout: BlockLayout,
    plan: BoardPlan,
    board: Region,
    payload: Vec<AtomicU64>,
    page: Vec<AtomicU64>,
    slots: Vec<AtomicU64>,
    waits: Vec<AtomicU32>,
    actors: Vec<Vec<AtomicU64>>,
    policy: Vec<AtomicU64>,
}

const SHAPE: RingShape = RingShape { blocks: 2, groups: ACTORS };

impl World {
    fn new(network: NetworkSpec) -> Self {
        let parameters = ParamSpec::new(&network).expect("a network");
        let layout = BlockLayout::new(UnrollSpec {
            unroll: UNROLL,
            batch: ENVS * ACTORS,
            envs: ENVS,
            frame_bytes: network.observation.frame_bytes(),
            frame_stack: network.observation.frame_stack,
            action_words: network.action.words(),
            state_len: network.state_len(),
            ..UnrollSpec::PLAIN
        })
        .expect("a layout");
        let plan = BoardPlan::new(ACTORS, ENVS, &network);
        Self {
            board: Region::heap(plan.bytes()),
            payload: words(SHAPE.blocks * layout.block_bytes() / 8),
            page: words(page_words(parameters.len())),
            slots: words(<Ring>::word_count(SHAPE)),
            waits: (0..<Ring>::wait_count()).map(|_| AtomicU32::new(0)).collect(),
            actors: (0..ACTORS).map(|_| words(ActorCounters::WORDS)).collect(),
            policy: words(PolicyCounters::WORDS),
            plan,
            network,
            parameters,
            layout,
        }
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.slots, &self.waits, SHAPE).expect("a ring")
    }

    fn board(&self) -> Board<'_> {
        Board::new(&self.board, self.plan)
    }

    fn publish(&self) -> Vec<f32> {
        let (len, fingerprint) = (self.parameters.len(), self.parameters.fingerprint());
        let mut weights = initial_parameters(&self.parameters, 3);
        // Logits that are not all alike.
        let head = self.parameters.get("policy.weight").expect("a head").range();
        weights[head].iter_mut().for_each(|w| *w *= 100.0);
        let mut page = ParamPublisher::new(&self.page, len, fingerprint).expect("zeroed");
        page.publish(7, &weights).expect("finite");
        weights
    }

    fn serve(&self, batch: usize) {
        let (len, fingerprint) = (self.parameters.len(), self.parameters.fingerprint());
        let reader = ParamReader::new(ReadWord::of(&self.page), len, fingerprint).expect("a page");
        let policy = NativePolicy::new(&self.network, ACTORS * ENVS).expect("native");
        let mut answering = PolicyLoop::new(PolicyParts {
            board: self.board(),
            payload: ReadWord::of(&self.payload),
            layout: &self.layout,
            observation: &self.network.observation,
            reader,
            counters: PolicyCounters::new(&self.policy),
            policy: Box::new(policy),
            ring: self.ring(),
            batch,
            wait: Duration::from_micros(200),
            parameter_count: len,
        });
        answering.run().expect("answers");
    }

    fn client(&self, actor: u16) -> CentralPolicy<'_> {
        let counters = ActorCounters::new(&self.actors[usize::from(actor)]);
        CentralPolicy::new(self.board(), (actor.into(), 1), self.ring(), counters)
    }

    /// Writes a frame of all environments of a slot.
    fn show(&self, slot: usize, row: usize, frame: &[u8]) {
        let range = self.layout.group_range(Field::Frame, row, slot % ACTORS);
        let start = slot / ACTORS * self.layout.block_bytes() + range.start;
        for (at, &byte) in (start..).zip(frame) {
            let word = &self.payload[at / 8];
            let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes[at % 8] = byte;
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// Two actors act in turn in slots of their own; each is compared with a network of its own.
    fn compare(&self, batch: usize) {
        let weights = self.publish();
        std::thread::scope(|scope| {
            scope.spawn(|| self.serve(batch));
            let acting: Vec<_> = (0..2)
                .map(|actor| {
                    let weights = &weights;
                    scope.spawn(move || self.act(actor, weights))
                })
                .collect();
            let compared: Vec<_> = acting.into_iter().map(|actor| actor.join()).collect();
            self.ring().close();
            self.board().wake_all();
            compared.into_iter().for_each(|ended| ended.expect("the logits are the same"));
        });
        let counted = PolicyCounters::new(&self.policy);
        let steps = 2 * 3 * UNROLL as u64;
        assert_eq!(counted.get(PolicyCounter::Requests), steps);
        assert_eq!(counted.get(PolicyCounter::Rows), steps * ENVS as u64);
        assert!(counted.get(PolicyCounter::Batches) <= steps);
    }

    fn act(&self, actor: u16, weights: &[f32]) {
        let NetworkSpec { observation, action, .. } = &self.network;
        let mut local = NativePolicy::new(&self.network, ENVS).expect("native");
        local.load(weights);
        let mut central = self.client(actor);
        let mut rng = Rng::new(11, u64::from(actor));
        let k = observation.frame_stack;
        let outputs = action.outputs();
        let mut valid = [1_u8; ENVS];
        for unroll in 0..3 {
            // Now in this block, now in that.
            let slot = unroll % 2 * ACTORS + usize::from(actor);
            let row_bytes = ENVS * observation.frame_bytes();
            let rows: Vec<Vec<u32>> = (0..UNROLL + k)
                .map(|_| match observation.dtype {
                    Dtype::F32 => (0..row_bytes / 4).map(|_| rng.unit_f32().to_bits()).collect(),
                    Dtype::U8 => {
                        (0..row_bytes.div_ceil(4)).map(|_| rng.next_u64() as u32).collect()
                    }
                })
                .collect();
            let rows: Vec<&[u8]> =
                rows.iter().map(|row| &bytemuck::cast_slice(row)[..row_bytes]).collect();
            rows.iter().enumerate().for_each(|(row, frame)| self.show(slot, row, frame));
            for step in 0..UNROLL {
                let flags: [u8; ENVS] = std::array::from_fn(|env| {
                    let first = (unroll == 0 && step == 0) || rng.below(4) == env;
                    if first { flag::FIRST } else { 0 }
                });
                crate::policy::frames::advance_valid(&mut valid, &flags, k);
                let actions: Vec<i32> =
                    (0..ENVS * action.words()).map(|_| i32::from(rng.below(2) == 1)).collect();
                let rewards: Vec<f32> = (0..ENVS).map(|_| rng.unit_f32()).collect();
                let inputs = ActInputs {
                    observations: StackedFrames::of_step(
                        observation,
                        &rows[step..step + k],
                        &valid,
                    ),
                    flags: &flags,
                    last_actions: &actions,
                    last_rewards: &rewards,
                };
                let (mut own, mut answered) =
                    (vec![0.0; ENVS * outputs], vec![0.0; ENVS * outputs]);
                assert_close(local.recurrent_state(), central.recurrent_state());
                local.logits(&inputs, &mut own).expect("acts");
                central.observe(slot, step);
                central.logits(&inputs, &mut answered).expect("answered");
                assert!(own.iter().any(|logit| *logit != own[0]), "{own:?}");
                assert_close(&own, &answered);
                assert_eq!(central.acted_with(), Some(7));
            }
        }
    }
}

/// Rows of a larger batch may be summed up in another order.
fn assert_close(own: &[f32], answered: &[f32]) {
    assert_eq!(own.len(), answered.len());
    for (a, b) in own.iter().zip(answered) {
        assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{own:?}\n{answered:?}");
    }
}

fn mlp() -> Torso {
    Torso::Mlp { hidden: vec![16, 16], activation: Activation::Tanh }
}

fn vector(frame_stack: usize) -> ObservationSpec {
    ObservationSpec { frame_stack, ..ObservationSpec::new(Dtype::F32, &[5]) }
}

#[test]
fn an_mlp_answers_as_one_of_the_actors_own() {
    let network = NetworkSpec::new(vector(1), ActionSpec::Discrete { n: 3 }, mlp());
    World::new(network.clone()).compare(ACTORS * ENVS);
    // One request at a time, and fewer rows than one has.
    World::new(network.clone()).compare(ENVS);
    World::new(network).compare(1);
}

#[test]
fn normalised_stacks_answer_too() {
    let network = NetworkSpec {
        observation_clip: Some(3.0),
        ..NetworkSpec::new(vector(3), ActionSpec::Discrete { n: 2 }, mlp())
    };
    World::new(network).compare(ACTORS * ENVS);
}

#[test]
fn a_core_goes_on_from_the_state_of_each_actor() {
    let network = NetworkSpec {
        core: Core::Lstm { hidden: 8 },
        action_reward_inputs: true,
        ..NetworkSpec::new(vector(1), ActionSpec::Discrete { n: 2 }, mlp())
    };
    assert!(network.state_len() > 0);
    World::new(network).compare(ACTORS * ENVS);
}

#[test]
fn images_of_odd_sizes_answer_too() {
    let observation =
        ObservationSpec { frame_stack: 2, ..ObservationSpec::new(Dtype::U8, &[1, 9, 7]) };
    let torso =
        Torso::Cnn { convs: vec!["4x3/1".parse().expect("a convolution")], hidden: vec![16] };
    let network = NetworkSpec::new(observation, ActionSpec::Discrete { n: 3 }, torso);
    World::new(network).compare(ACTORS * ENVS);
}

#[test]
fn the_end_of_a_run_ends_a_wait() {
    let world = World::new(NetworkSpec::new(vector(1), ActionSpec::Discrete { n: 2 }, mlp()));
    let mut central = world.client(0);
    let frame = [0_u32; 5 * ENVS];
    let rows: [&[u8]; 1] = [bytemuck::cast_slice(&frame)];
    let observations = StackedFrames::of_step(&world.network.observation, &rows, &[1; ENVS]);
    let inputs = ActInputs {
        observations,
        flags: &[flag::FIRST; ENVS],
        last_actions: &[0; ENVS],
        last_rewards: &[0.0; ENVS],
    };
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| central.logits(&inputs, &mut [0.0; 2 * ENVS]));
        while world.board().desk(0).answerer().take().is_none() {
            std::thread::yield_now();
        }
        assert!(!asking.is_finished(), "nobody answers");
        world.ring().close();
        world.board().wake_all();
        assert_eq!(asking.join().expect("no panic"), Err(ActError::Closed));
    });
}

#[test]
fn a_place_that_there_is_not_is_refused() {
    let world = World::new(NetworkSpec::new(vector(1), ActionSpec::Discrete { n: 2 }, mlp()));
    world.publish();
    for (slot, step) in [(4, 0), (0, UNROLL + 1), (u32::MAX as usize, 0)] {
        let mut central = world.client(0);
        central.observe(slot, step);
        let desk = world.board().desk(0);
        let question = super::board::Question {
            place: Place { slot: slot as u32, step: step as u32 },
            flags: &[0; ENVS],
            valid: &[1; ENVS],
            last_actions: &[0; ENVS],
            last_rewards: &[0.0; ENVS],
            state: &[],
        };
        desk.ask(1, &question);
        let (len, fingerprint) = (world.parameters.len(), world.parameters.fingerprint());
        let reader = ParamReader::new(ReadWord::of(&world.page), len, fingerprint).expect("a page");
        let mut answering = PolicyLoop::new(PolicyParts {
            board: world.board(),
            payload: ReadWord::of(&world.payload),
            layout: &world.layout,
            observation: &world.network.observation,
            reader,
            counters: PolicyCounters::new(&world.policy),
            policy: Box::new(NativePolicy::new(&world.network, ENVS).expect("native")),
            ring: world.ring(),
            batch: ENVS,
            wait: Duration::ZERO,
            parameter_count: len,
        });
        assert!(matches!(answering.run(), Err(PolicyError::Place(_))), "{slot} {step}");
    }
}
