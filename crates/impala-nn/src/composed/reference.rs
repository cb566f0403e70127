//! Tests of the native composed networks against their reference implementation.

use super::definition::{Definition, Seen};
use super::{ComposedLearner, ComposedPolicy};
use crate::act::ActInputs;
use crate::comparison::{close, normals};
use crate::frames::{FrameRows, StackedFrames};
use crate::inputs::{LearnInputs, encode};
use crate::simd::Level;
use crate::spec::{Activation, Conv, Core, NetworkSpec, ParamSpec, SpecError, Torso};
use impala_env::rng::Rng;
use impala_env::{ActionSpec, Dtype, ObservationSpec, flag};
use proptest::prelude::*;

/// Parameters whose outputs are of size 1.
fn parameters(layout: &ParamSpec, rng: &mut Rng) -> Vec<f32> {
    let draw = |entry: &crate::spec::ParamEntry| {
        normals(rng, entry.numel(), 1.4 / (entry.fan_in as f64).sqrt())
    };
    layout.entries().iter().flat_map(draw).collect()
}

/// A strip of a block of f32 frames without a stack, and what came with it.
struct Block {
    unroll: usize,
    seen: Seen,
    /// `[N][W]` and `[N]`: what led to each observation.
    actions: Vec<i32>,
    rewards: Vec<f32>,
}

impl Block {
    fn new(network: &NetworkSpec, unroll: usize, columns: usize, rng: &mut Rng) -> Self {
        let rows = (unroll + 1) * columns;
        let flags: Vec<u8> =
            (0..rows).map(|_| if rng.below(4) == 0 { flag::FIRST } else { 0 }).collect();
        let action = &network.action;
        let (words, width) = (action.words(), network.extra_inputs());
        let actions: Vec<i32> = (0..rows * words).map(|_| i32::from(rng.below(2) == 1)).collect();
        let rewards = normals(rng, rows, 1.0);
        let mut extra = vec![0.0; rows * width];
        if width > 0 {
            for (row, out) in extra.chunks_exact_mut(width).enumerate() {
                let words = &actions[row * words..(row + 1) * words];
                encode(action, words, rewards[row], flags[row], out);
            }
        }
        let seen = Seen {
            columns,
            x: normals(rng, rows * network.observation.stacked_len(), 1.0),
            flags,
            extra,
            state: normals(rng, columns * network.state_len(), 0.5),
        };
        Self { unroll, seen, actions, rewards }
    }

    fn inputs<'a>(&'a self, spec: &'a ObservationSpec) -> LearnInputs<'a> {
        let Seen { columns, x, flags, extra, state } = &self.seen;
        LearnInputs {
            observations: StackedFrames {
                spec,
                columns: *columns,
                strip: 0..*columns,
                rows: FrameRows::Contiguous(bytemuck::cast_slice(x)),
                valid: &[],
            },
            flags,
            extra,
            state,
        }
    }
}

/// Runs actor and learner at every level and holds them against the definition: gradients along one direction of each parameter as
/// a whole, or number by number.
fn check(network: &NetworkSpec, unroll: usize, columns: usize, each: bool, rng: &mut Rng) {
    let layout = ParamSpec::new(network).expect("valid");
    let flat = parameters(&layout, rng);
    let block = Block::new(network, unroll, columns, rng);
    let mut definition = Definition::new(network, &layout, &flat);
    let (logits, values, state) = definition.outputs(&block.seen);
    let (learnt, actions) = (unroll * columns, network.logits());
    let (d_logits, d_values) = (normals(rng, learnt * actions, 1.0), normals(rng, learnt, 1.0));
    let directions: Vec<(usize, Vec<f64>)> = if each {
        (0..layout.len()).map(|at| (at, vec![1.0])).collect()
    } else {
        let drawn = |numel: usize, rng: &mut Rng| (0..numel).map(|_| rng.normal_f64()).collect();
        layout.entries().iter().map(|e| (e.offset, drawn(e.numel(), rng))).collect()
    };
    let slopes: Vec<f64> = directions
        .iter()
        .map(|(at, along)| definition.slope(&block.seen, (&d_logits, &d_values), (*at, along)))
        .collect();
    for level in Level::all() {
        let what = |part: &str| {
            format!("{} {part}, {unroll} steps of {columns}: {network:?}", level.name())
        };
        let inputs = block.inputs(&network.observation);
        let mut learner = ComposedLearner::with_level(network, level).expect("native");
        let mut gradient = vec![9.0; layout.len()];
        // Another batch before, and everything twice: nothing may be left from one call to the next.
        let other = Block::new(network, unroll + 2, columns + 3, &mut Rng::new(1, 1));
        learner.load(&flat);
        learner.forward(&other.inputs(&network.observation));
        let count = (unroll + 2) * (columns + 3);
        learner.backward(
            &other.inputs(&network.observation),
            &vec![1.0; count * actions],
            &vec![1.0; count],
        );
        for _ in 0..2 {
            learner.load(&flat);
            // Gradients add up.
            let halves = |d: &[f32]| -> Vec<f32> { d.iter().map(|d| d / 2.0).collect() };
            for _ in 0..2 {
                let outputs = learner.forward(&inputs);
                close(&what("logits"), outputs.0, &logits);
                close(&what("values"), outputs.1, &values);
                learner.backward(&inputs, &halves(&d_logits), &halves(&d_values));
            }
            learner.write_gradient(&mut gradient);
            let largest = gradient.iter().fold(1.0_f64, |a, &b| a.max(f64::from(b.abs())));
            for ((at, along), expected) in directions.iter().zip(&slopes) {
                let of_all = gradient[*at..].iter().zip(along);
                let slope: f64 = of_all.map(|(&g, d)| f64::from(g) * d).sum();
                let tolerance = 1e-5 * largest * (along.len() as f64).sqrt();
                let error = (slope - expected).abs();
                assert!(error <= tolerance, "{} {at}: {slope} or {expected}", what("slope"));
            }
        }
        act(network, &flat, &block, (&logits, &state), level);
    }
}

/// Acts step by step, as an actor does.
fn act(
    network: &NetworkSpec,
    flat: &[f32],
    block: &Block,
    (logits, state): (&[f64], &[f64]),
    level: Level,
) {
    let Seen { columns, ref x, ref flags, .. } = block.seen;
    let (actions, words) = (network.logits(), network.action.words());
    let mut actor = ComposedPolicy::with_level(network, columns, level).expect("native");
    actor.load(flat);
    actor.set_state(&block.seen.state);
    let row = columns * network.observation.stacked_len();
    for (step, x) in x.chunks_exact(row).enumerate() {
        let rows: [&[u8]; 1] = [bytemuck::cast_slice(x)];
        let valid = vec![1; columns];
        let of_step = step * columns..(step + 1) * columns;
        let inputs = ActInputs {
            observations: StackedFrames::of_step(&network.observation, &rows, &valid),
            flags: &flags[of_step.clone()],
            last_actions: &block.actions[of_step.start * words..of_step.end * words],
            last_rewards: &block.rewards[of_step.clone()],
        };
        let mut acted = vec![9.0; columns * actions];
        actor.forward(&inputs, &mut acted);
        let expected = &logits[of_step.start * actions..of_step.end * actions];
        close(&format!("{} acting at step {step}", level.name()), &acted, expected);
        assert!(step < block.unroll || actor.state().len() == state.len());
    }
    close("state", actor.state(), state);
}

fn vector(inputs: usize) -> ObservationSpec {
    ObservationSpec::new(Dtype::F32, &[inputs])
}

fn mlp(hidden: &[usize], activation: Activation) -> Torso {
    Torso::Mlp { hidden: hidden.to_vec(), activation }
}

fn cnn(convs: &[(usize, usize, usize)], hidden: &[usize]) -> Torso {
    let convs = convs.iter().map(|&(filters, kernel, stride)| Conv { filters, kernel, stride });
    Torso::Cnn { convs: convs.collect(), hidden: hidden.to_vec() }
}

fn deep(channels: &[usize], hidden: &[usize]) -> Torso {
    Torso::ImpalaDeep { channels: channels.to_vec(), hidden: hidden.to_vec() }
}

fn with(
    observation: ObservationSpec,
    torso: Torso,
    core: Core,
    action_reward_inputs: bool,
) -> NetworkSpec {
    let action = ActionSpec::MultiDiscrete { sizes: vec![2, 3] };
    NetworkSpec { core, action_reward_inputs, ..NetworkSpec::new(observation, action, torso) }
}

#[test]
fn every_number_of_the_gradient_is_that_of_the_definition() {
    let mut rng = Rng::new(1, 0);
    for (hidden, core, inputs) in [
        (&[5][..], Core::Lstm { hidden: 3 }, false),
        (&[4, 3], Core::Lstm { hidden: 5 }, true),
        (&[6], Core::None, true),
    ] {
        let network = with(vector(3), mlp(hidden, Activation::Tanh), core, inputs);
        check(&network, 5, 3, true, &mut rng);
    }
}

#[test]
fn cores_over_every_torso_agree_with_the_definition() {
    let mut rng = Rng::new(2, 0);
    let image = |shape: &[usize]| ObservationSpec::new(Dtype::F32, shape);
    let lstm = |hidden| Core::Lstm { hidden };
    for network in [
        with(vector(4), mlp(&[32], Activation::Tanh), lstm(32), false),
        with(vector(6), mlp(&[17, 40], Activation::Relu), lstm(33), true),
        with(image(&[2, 9, 8]), cnn(&[(5, 3, 2), (18, 2, 1)], &[20]), lstm(7), true),
        // No dense layer: the features have gaps.
        with(image(&[7, 6]), cnn(&[(3, 2, 1), (5, 3, 2)], &[]), lstm(16), true),
        with(image(&[7, 6]), cnn(&[(3, 2, 1), (5, 3, 2)], &[]), Core::None, true),
    ] {
        for (unroll, columns) in [(1, 1), (4, 5), (12, 8), (2, 67)] {
            check(&network, unroll, columns, false, &mut rng);
        }
    }
}

#[test]
fn residual_torsos_agree_with_the_definition() {
    let mut rng = Rng::new(8, 0);
    let image = |shape: &[usize]| ObservationSpec::new(Dtype::F32, shape);
    for network in [
        with(image(&[2, 7, 6]), deep(&[3, 2], &[5]), Core::None, false),
        with(image(&[13, 8]), deep(&[18], &[9, 7]), Core::Lstm { hidden: 5 }, true),
        with(image(&[3, 9, 20]), deep(&[16, 33, 4], &[]), Core::Lstm { hidden: 17 }, false),
        with(image(&[1, 4]), deep(&[5], &[6]), Core::None, true),
    ] {
        for (unroll, columns) in [(1, 1), (3, 4)] {
            check(&network, unroll, columns, false, &mut rng);
        }
    }
}

/// Without other parts a torso and its heads are one engine.
#[test]
fn residual_networks_are_the_same_in_one_piece() {
    use crate::cnn::{CnnLearner, CnnPolicy};
    let mut rng = Rng::new(9, 0);
    let observation = ObservationSpec::new(Dtype::F32, &[2, 10, 7]);
    let network = with(observation, deep(&[6, 17], &[12]), Core::None, false);
    let layout = ParamSpec::new(&network).expect("valid");
    let flat = parameters(&layout, &mut rng);
    let block = Block::new(&network, 2, 3, &mut rng);
    let inputs = block.inputs(&network.observation);
    let (d_logits, d_values) = (normals(&mut rng, 6 * 5, 1.0), normals(&mut rng, 6, 1.0));
    let (mut parts, mut whole) = (vec![9.0; layout.len()], vec![8.0; layout.len()]);
    let mut learner = ComposedLearner::new(&network).expect("native");
    learner.load(&flat);
    let outputs = learner.forward(&inputs);
    let outputs = [outputs.0, outputs.1].concat();
    learner.backward(&inputs, &d_logits, &d_values);
    learner.write_gradient(&mut parts);
    let mut learner = CnnLearner::new(&network).expect("native");
    learner.load(&flat);
    let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
    let (logits, values) = learner.forward(&inputs.observations);
    close("outputs", &[logits, values].concat(), &wide(&outputs));
    learner.backward(&inputs.observations, &d_logits, &d_values);
    learner.write_gradient(&mut whole);
    close("gradient", &whole, &wide(&parts));
    let mut actor = CnnPolicy::new(&network).expect("native");
    actor.load(&flat);
    let mut acted = vec![9.0; 9 * 5];
    actor.forward(&inputs.observations, &mut acted);
    close("acting", &acted, &wide(&outputs[..45]));
}

#[test]
fn a_usual_core_agrees_with_the_definition() {
    let mut rng = Rng::new(3, 0);
    let network = with(vector(5), mlp(&[64], Activation::Tanh), Core::Lstm { hidden: 256 }, true);
    check(&network, 3, 9, false, &mut rng);
}

#[test]
fn a_value_of_its_own_and_normalised_observations_have_the_action_before_too() {
    let mut rng = Rng::new(4, 0);
    let network = with(vector(5), mlp(&[9, 7], Activation::Tanh), Core::None, true);
    check(&NetworkSpec { separate_value: true, ..network }, 4, 5, false, &mut rng);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_core_agrees_with_the_definition(
        unroll in 1_usize..12,
        columns in 1_usize..20,
        hidden in 1_usize..50,
        width in 1_usize..40,
        informed in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let torso = mlp(&[width], Activation::Tanh);
        let network = with(vector(3), torso, Core::Lstm { hidden }, informed);
        check(&network, unroll, columns, false, &mut Rng::new(seed, 0));
    }
}

#[test]
fn no_gradient_goes_back_through_the_beginning_of_an_episode() {
    let network = with(vector(3), mlp(&[5], Activation::Tanh), Core::Lstm { hidden: 4 }, false);
    let layout = ParamSpec::new(&network).expect("valid");
    let flat = parameters(&layout, &mut Rng::new(6, 0));
    let mut block = Block::new(&network, 3, 1, &mut Rng::new(7, 0));
    let gradient = |block: &Block| {
        let mut learner = ComposedLearner::new(&network).expect("native");
        learner.load(&flat);
        let inputs = block.inputs(&network.observation);
        learner.forward(&inputs);
        // Of the last step alone.
        learner.backward(&inputs, &[[0.0; 10].as_slice(), &[1.0; 5]].concat(), &[0.0, 0.0, 1.0]);
        let mut gradient = vec![0.0; layout.len()];
        learner.write_gradient(&mut gradient);
        gradient
    };
    block.seen.flags = vec![0, 0, flag::FIRST, 0];
    let (cut, mut before) = (gradient(&block), block);
    before.seen.x[..6].iter_mut().for_each(|x| *x += 1.0);
    before.seen.state.iter_mut().for_each(|x| *x += 1.0);
    assert_eq!(gradient(&before), cut, "what was before the episode does not matter");
    before.seen.flags[2] = 0;
    assert_ne!(gradient(&before), cut, "else this test says nothing");
}

#[test]
fn what_is_not_a_number_comes_out_as_such() {
    let network = with(vector(2), mlp(&[4], Activation::Tanh), Core::Lstm { hidden: 4 }, false);
    let layout = ParamSpec::new(&network).expect("valid");
    for level in Level::all() {
        let mut actor = ComposedPolicy::with_level(&network, 3, level).expect("native");
        actor.load(&parameters(&layout, &mut Rng::new(5, 0)));
        let mut logits = [0.0; 15];
        let x = [0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0];
        let rows: [&[u8]; 1] = [bytemuck::cast_slice(&x)];
        let observations = StackedFrames::of_step(&network.observation, &rows, &[1; 3]);
        let inputs = ActInputs {
            observations,
            flags: &[0; 3],
            last_actions: &[0; 6],
            last_rewards: &[0.0; 3],
        };
        actor.forward(&inputs, &mut logits);
        let finite = logits.map(f32::is_finite);
        assert!(finite[..5].iter().chain(&finite[10..]).all(|&finite| finite), "{logits:?}");
        assert!(finite[5..10].iter().all(|&finite| !finite), "{logits:?}");
    }
}

#[test]
fn other_networks_are_refused() {
    let network = with(vector(2), mlp(&[], Activation::Tanh), Core::Lstm { hidden: 4 }, false);
    assert_eq!(ComposedPolicy::new(&network, 1).err(), Some(SpecError::NotNative));
    assert_eq!(ComposedLearner::new(&network).err(), Some(SpecError::NotNative));
}
