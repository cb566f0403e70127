//! Networks that act and learn, of every engine: an actor that steps through an unroll, and the learner that
//! sees it at once, must compute the same; and the gradient must be that of finite differences.

use std::ops::Range;
use std::sync::Mutex;

use impala_rl::env::{ActionSpec, Dtype, ObservationSpec, flag};
use impala_rl::learner::engine::{Engine, Evaluator, Objective, Observations, StageTimes};
use impala_rl::learner::native_engine::NativeEngine;
use impala_rl::policy::act::{ActInputs, Policy};
use impala_rl::policy::frames::StackedFrames;
use impala_rl::policy::init::initial_parameters;
use impala_rl::policy::native::NativePolicy;
use impala_rl::policy::spec::{Activation, Conv, Core, NetworkSpec, ParamSpec, Torso};
use impala_rl::rng::Rng;

/// Who computes a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rust,
    #[cfg(feature = "torch")]
    Libtorch,
}

impl By {
    const ALL: &[Self] = &[
        Self::Rust,
        #[cfg(feature = "torch")]
        Self::Libtorch,
    ];

    fn policy(self, spec: &NetworkSpec, envs: usize) -> Box<dyn Policy> {
        match self {
            Self::Rust => Box::new(NativePolicy::new(spec, envs).expect("native")),
            #[cfg(feature = "torch")]
            Self::Libtorch => {
                let layout = ParamSpec::new(spec).expect("valid");
                let policy = impala_rl::policy::torch::TorchPolicy::new(spec, &layout, envs);
                Box::new(policy.expect("libtorch"))
            }
        }
    }

    fn engine(self, spec: &NetworkSpec, threads: usize) -> Box<dyn Engine> {
        match self {
            Self::Rust => Box::new(NativeEngine::new(spec, threads).expect("native")),
            #[cfg(feature = "torch")]
            Self::Libtorch => {
                use impala_rl::learner::torch_engine::{Place, TorchEngine};
                let layout = ParamSpec::new(spec).expect("valid");
                let engine = TorchEngine::new(spec, &layout, Place::Cpu { threads });
                Box::new(engine.expect("libtorch"))
            }
        }
    }
}

/// A block of one group, as an actor fills it.
struct Block {
    unroll: usize,
    columns: usize,
    /// Bytes or floats, by the spec; words, so that they are aligned.
    frames: Vec<u32>,
    history: Vec<u8>,
    flags: Vec<u8>,
    actions: Vec<i32>,
    rewards: Vec<f32>,
    first_actions: Vec<i32>,
    first_rewards: Vec<f32>,
    recurrent_state: Vec<f32>,
}

impl Block {
    fn random(spec: &NetworkSpec, unroll: usize, columns: usize, rng: &mut Rng) -> Self {
        let observation = &spec.observation;
        let k = observation.frame_stack;
        let bytes = (unroll + k) * columns * observation.frame_bytes();
        let frames = (0..bytes.div_ceil(4)).map(|_| match observation.dtype {
            Dtype::U8 => rng.next_u64() as u32,
            Dtype::F32 => (rng.normal_f64() as f32).to_bits(),
        });
        let frames = frames.collect();
        let word = |rng: &mut Rng| match &spec.action {
            ActionSpec::Continuous { .. } => (rng.normal_f64() as f32).to_bits().cast_signed(),
            _ => i32::from(rng.below(2) == 1),
        };
        let words = spec.action.words();
        let flag = |rng: &mut Rng| if rng.below(4) == 0 { flag::FIRST } else { 0 };
        Self {
            unroll,
            columns,
            frames,
            history: (0..columns).map(|_| rng.below(k) as u8).collect(),
            flags: (0..(unroll + 1) * columns).map(|_| flag(rng)).collect(),
            actions: (0..unroll * columns * words).map(|_| word(rng)).collect(),
            rewards: (0..unroll * columns).map(|_| 2.0 * rng.normal_f64() as f32).collect(),
            first_actions: (0..columns * words).map(|_| word(rng)).collect(),
            first_rewards: (0..columns).map(|_| rng.normal_f64() as f32).collect(),
            recurrent_state: (0..columns * spec.state_len())
                .map(|_| rng.normal_f64() as f32)
                .collect(),
        }
    }

    fn observations<'a>(&'a self, spec: &'a NetworkSpec) -> Observations<'a> {
        let Self { unroll, columns, .. } = *self;
        let observation = &spec.observation;
        let bytes = (unroll + observation.frame_stack) * columns * observation.frame_bytes();
        Observations {
            spec: observation,
            unroll,
            columns,
            frames: &bytemuck::cast_slice(&self.frames)[..bytes],
            history: &self.history,
            flags: &self.flags,
            actions: &self.actions,
            rewards: &self.rewards,
            first_actions: &self.first_actions,
            first_rewards: &self.first_rewards,
            recurrent_state: &self.recurrent_state,
        }
    }

    /// Logits of the first T observations, one step at a time, as an actor sees them; and the state of
    /// its core after each.
    fn acted(&self, spec: &NetworkSpec, actor: &mut dyn Policy) -> (Vec<f32>, Vec<Vec<f32>>) {
        let observations = self.observations(spec);
        let (k, width) = (spec.observation.frame_stack, spec.logits());
        let (row, words) = (self.columns * spec.observation.frame_bytes(), spec.action.words());
        let valid = observations.valid_frames();
        let (mut all, mut states) = (Vec::new(), Vec::new());
        for t in 0..self.unroll {
            let rows: Vec<&[u8]> =
                (t..t + k).map(|t| &observations.frames[t * row..(t + 1) * row]).collect();
            let columns = t * self.columns..(t + 1) * self.columns;
            let before = t.checked_sub(1).map(|t| t * self.columns..(t + 1) * self.columns);
            let inputs = ActInputs {
                observations: StackedFrames::of_step(
                    &spec.observation,
                    &rows,
                    &valid[columns.clone()],
                ),
                flags: &self.flags[columns],
                last_actions: match &before {
                    None => &self.first_actions,
                    Some(before) => &self.actions[before.start * words..before.end * words],
                },
                last_rewards: before.map_or(&self.first_rewards, |before| &self.rewards[before]),
            };
            let mut logits = vec![f32::NAN; self.columns * width];
            actor.logits(&inputs, &mut logits).expect("acts");
            all.extend(logits);
            states.push(actor.recurrent_state().to_vec());
        }
        (all, states)
    }
}

/// A strip, its logits and its values.
type Seen = (Range<usize>, Vec<f32>, Vec<f32>);

/// Weights of the outputs: the objective is their sum with them. Keeps the outputs, by column.
struct Weights {
    columns: usize,
    logits: Vec<f32>,
    values: Vec<f32>,
    seen: Mutex<Vec<Seen>>,
}

/// The columns `strip` of rows of `columns` items of `width` numbers.
fn cut(numbers: &[f32], columns: usize, width: usize, strip: &Range<usize>) -> Vec<f32> {
    let rows = numbers.chunks_exact(columns * width);
    rows.flat_map(|row| &row[strip.start * width..strip.end * width]).copied().collect()
}

impl Objective for Weights {
    fn evaluator(&self) -> Box<dyn Evaluator + '_> {
        Box::new(Share { weights: self, logits: Vec::new(), values: Vec::new() })
    }
}

struct Share<'a> {
    weights: &'a Weights,
    logits: Vec<f32>,
    values: Vec<f32>,
}

impl Evaluator for Share<'_> {
    fn gradients(
        &mut self,
        strip: Range<usize>,
        logits: &[f32],
        values: &[f32],
    ) -> Option<(&[f32], &[f32])> {
        let Weights { columns, seen, .. } = self.weights;
        let width = logits.len() / values.len();
        let outputs = (strip.clone(), logits.to_vec(), values.to_vec());
        seen.lock().expect("no panic").push(outputs);
        self.logits = cut(&self.weights.logits, *columns, width, &strip);
        self.values = cut(&self.weights.values, *columns, 1, &strip);
        Some((&self.logits, &self.values))
    }
}

/// Outputs of the strips, and the gradient, for weights of the outputs that follow from `seed`.
fn learnt(
    spec: &NetworkSpec,
    flat: &[f32],
    block: &Block,
    engine: &mut dyn Engine,
    seed: u64,
) -> (Weights, Vec<f32>) {
    let mut rng = Rng::new(seed, 3);
    let steps = block.unroll * block.columns;
    let objective = Weights {
        columns: block.columns,
        logits: (0..steps * spec.logits()).map(|_| rng.normal_f64() as f32).collect(),
        values: (0..steps).map(|_| rng.normal_f64() as f32).collect(),
        seen: Mutex::default(),
    };
    let mut gradient = vec![f32::NAN; flat.len()];
    let (observations, mut times) = (block.observations(spec), StageTimes::default());
    let done = engine.gradient(flat, &observations, &objective, &mut gradient, &mut times);
    assert!(done.expect("runs"));
    (objective, gradient)
}

fn networks(by: By) -> Vec<NetworkSpec> {
    let vector = ObservationSpec::new(Dtype::F32, &[5]);
    let image = ObservationSpec { frame_stack: 3, ..ObservationSpec::new(Dtype::U8, &[12, 9]) };
    let mlp = Torso::Mlp { hidden: vec![7], activation: Activation::Tanh };
    let convs = vec![Conv { filters: 4, kernel: 3, stride: 2 }];
    let cnn = Torso::Cnn { convs, hidden: vec![9] };
    let deep = Torso::ImpalaDeep { channels: vec![2, 3], hidden: vec![8] };
    let choice = ActionSpec::Discrete { n: 2 };
    let choices = ActionSpec::MultiDiscrete { sizes: vec![2, 3] };
    let numbers = ActionSpec::Continuous { low: vec![-1.0; 2], high: vec![1.0; 2] };
    let lstm = Core::Lstm { hidden: 6 };
    let with = |observation: &ObservationSpec, action, torso, core, action_reward_inputs| {
        let base = NetworkSpec::new(observation.clone(), action, torso);
        NetworkSpec { core, action_reward_inputs, ..base }
    };
    let mut networks = vec![
        with(&vector, choice.clone(), mlp.clone(), lstm, false),
        with(&vector, choices, mlp.clone(), lstm, true),
        with(&vector, numbers, mlp, Core::None, true),
        with(&image, choice.clone(), cnn, lstm, true),
    ];
    if by != By::Rust {
        networks.push(with(&image, choice, deep, lstm, true));
    }
    networks
}

/// Each network with each that computes it.
fn all() -> impl Iterator<Item = (By, u64, NetworkSpec)> {
    By::ALL.iter().flat_map(|&by| (0..).zip(networks(by)).map(move |(at, spec)| (by, at, spec)))
}

#[test]
fn acting_step_by_step_equals_learning_at_once() {
    for (by, index, spec) in all() {
        let layout = ParamSpec::new(&spec).expect("valid");
        let mut flat = initial_parameters(&layout, index);
        let mut rng = Rng::new(index, 1);
        flat.iter_mut().for_each(|x| *x += 0.1 * rng.normal_f64() as f32);
        let mut actor = by.policy(&spec, 4);
        let mut engine = by.engine(&spec, 1);
        actor.load(&flat);
        // The first unroll begins with a zero state, the second with what the first left behind.
        for _unroll in 0..2 {
            let mut block = Block::random(&spec, 7, 4, &mut rng);
            block.recurrent_state = actor.recurrent_state().to_vec();
            let (acted, states) = block.acted(&spec, actor.as_mut());
            let (seen, _) = learnt(&spec, &flat, &block, engine.as_mut(), 0);
            let seen = seen.seen.into_inner().expect("no panic");
            let [(strip, logits, _)] = &seen[..] else { panic!("small enough for one strip") };
            assert_eq!(*strip, 0..4);
            for (at, (a, b)) in acted.iter().zip(logits).enumerate() {
                assert!((a - b).abs() <= 1e-5, "{by:?}, network {index}, logit {at}: {a} and {b}");
            }
            assert!(states.iter().all(|state| state.len() == 4 * spec.state_len()));
        }
    }
}

#[test]
fn memory_of_the_episode_before_is_gone_at_its_first_observation() {
    for &by in By::ALL {
        let spec = &networks(by)[1];
        let layout = ParamSpec::new(spec).expect("valid");
        let flat = initial_parameters(&layout, 3);
        let mut rng = Rng::new(9, 0);
        let mut block = Block::random(spec, 1, 3, &mut rng);
        block.flags[..3].copy_from_slice(&[flag::FIRST, 0, flag::FIRST]);
        let mut engine = by.engine(spec, 1);
        let mut logits = |block: &Block| {
            let (seen, _) = learnt(spec, &flat, block, engine.as_mut(), 0);
            seen.seen.into_inner().expect("no panic").remove(0).1
        };
        let before = logits(&block);
        block.recurrent_state.iter_mut().for_each(|x| *x += 1.0);
        block.first_rewards = vec![0.9; 3];
        let after = logits(&block);
        let width = spec.logits();
        assert_eq!(before[..width], after[..width]);
        assert_eq!(before[2 * width..3 * width], after[2 * width..3 * width]);
        assert_ne!(before[width..2 * width], after[width..2 * width], "others do remember");
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    for (by, index, spec) in all() {
        let layout = ParamSpec::new(&spec).expect("valid");
        let mut flat = initial_parameters(&layout, index);
        let mut rng = Rng::new(index, 2);
        flat.iter_mut().for_each(|x| *x += 0.1 * rng.normal_f64() as f32);
        let block = Block::random(&spec, 5, 3, &mut rng);
        let mut engine = by.engine(&spec, 1);
        let (_, gradient) = learnt(&spec, &flat, &block, engine.as_mut(), 7);
        let mut objective = |flat: &[f32]| {
            let (seen, _) = learnt(&spec, flat, &block, engine.as_mut(), 7);
            let outputs = seen.seen.into_inner().expect("no panic").remove(0);
            let dot = |weights: &[f32], outputs: &[f32]| {
                let pairs = weights.iter().zip(outputs);
                pairs.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>()
            };
            dot(&seen.logits, &outputs.1) + dot(&seen.values, &outputs.2)
        };
        // The slope along some directions over each parameter as a whole: relus make single ones jumpy.
        for entry in layout.entries() {
            let direction: Vec<f32> = (0..entry.numel()).map(|_| rng.normal_f64() as f32).collect();
            let norm = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
            let mut moved = |step: f32| {
                let mut moved = flat.clone();
                let range = moved[entry.range()].iter_mut().zip(&direction);
                range.for_each(|(x, d)| *x += step * d / norm);
                objective(&moved)
            };
            let step = 5e-4;
            let expected = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            let slopes = gradient[entry.range()].iter().zip(&direction);
            let slope = slopes.map(|(g, d)| f64::from(g * d / norm)).sum::<f64>();
            let tolerance = 0.02 * expected.abs().max(0.5);
            let name = &entry.name;
            assert!(
                (slope - expected).abs() < tolerance,
                "{by:?} {index} {name}: {slope}, {expected}"
            );
        }
    }
}

#[test]
#[cfg(feature = "torch")]
fn strips_and_threads_do_not_change_the_gradient() {
    let observation =
        ObservationSpec { frame_stack: 4, ..ObservationSpec::new(Dtype::U8, &[84, 84]) };
    let base = NetworkSpec::new(observation, ActionSpec::Discrete { n: 6 }, Torso::nature());
    let core = Core::Lstm { hidden: 16 };
    let spec = NetworkSpec { core, action_reward_inputs: true, ..base };
    let layout = ParamSpec::new(&spec).expect("valid");
    let mut rng = Rng::new(5, 0);
    let mut flat: Vec<f32> = (0..layout.len()).map(|_| 0.02 * rng.normal_f64() as f32).collect();
    // Far from where relu bends, or rounding would switch some of three million and with them all they feed.
    for entry in layout.entries().iter().filter(|entry| entry.name.starts_with("torso")) {
        let (scale, shift) = if entry.shape.len() == 1 { (1.0, 4.0) } else { (0.1, 0.0) };
        flat[entry.range()].iter_mut().for_each(|x| *x = *x * scale + shift);
    }
    let block = Block::random(&spec, 9, 16, &mut rng);
    let learnt =
        |threads| learnt(&spec, &flat, &block, By::Libtorch.engine(&spec, threads).as_mut(), 1);
    let (one, alone) = learnt(1);
    let (many, shared) = learnt(3);
    let strips = |weights: &Weights| weights.seen.lock().expect("no panic").len();
    assert!(strips(&one) > 1 && strips(&many) > strips(&one), "{} strips", strips(&many));
    let largest = alone.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    for (a, b) in alone.iter().zip(&shared) {
        assert!((a - b).abs() <= 1e-5 * largest, "{a} and {b}, of {largest}");
    }
}
