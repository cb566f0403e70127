//! The two engines against each other, and the closed-form loss against libtorch's autograd.

use impala_rl::config::Device;
use impala_rl::env::{ActionSpec, Dtype, ObservationSpec, flag};
use std::ops::Range;
use std::sync::Mutex;

use impala_rl::learner::engine::{Engine, Evaluator, Objective, Observations, StageTimes};
use impala_rl::learner::loss::{Batch, Loss, LossConfig};
use impala_rl::learner::native_engine::NativeEngine;
use impala_rl::learner::torch_engine::{Place, TorchEngine};
use impala_rl::learner::vtrace::{Inputs, VtraceConfig, vtrace};
use impala_rl::policy::act::Policy;
use impala_rl::policy::frames::StackedFrames;
use impala_rl::policy::init::initial_parameters;
use impala_rl::policy::native::NativePolicy;
use impala_rl::policy::normalize;
use impala_rl::policy::spec::{Activation, Conv, Core, NetworkSpec, ParamSpec, Torso};
use impala_rl::policy::torch::TorchPolicy;
use impala_rl::rng::Rng;
use tch::{Kind, Tensor};

const STEPS: usize = 6;
const COLUMNS: usize = 4;
const ACTIONS: usize = 3;

fn network(dtype: Dtype, frame_stack: usize, shape: &[usize], torso: Torso) -> NetworkSpec {
    let observation = ObservationSpec { frame_stack, ..ObservationSpec::new(dtype, shape) };
    NetworkSpec::new(observation, ActionSpec::Discrete { n: ACTIONS }, torso)
}

fn mlp(activation: Activation) -> Torso {
    Torso::Mlp { hidden: vec![33, 16], activation }
}

fn cnn(convs: &[(usize, usize, usize)], hidden: &[usize]) -> Torso {
    let convs = convs.iter().map(|&(filters, kernel, stride)| Conv { filters, kernel, stride });
    Torso::Cnn { convs: convs.collect(), hidden: hidden.to_vec() }
}

fn normal(rng: &mut Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.normal_f64() as f32).collect()
}

/// Frames as they lie in a block, 4-byte aligned.
fn frames(rng: &mut Rng, spec: &ObservationSpec) -> Vec<f32> {
    let bytes = (STEPS + spec.frame_stack) * COLUMNS * spec.frame_bytes();
    match spec.dtype {
        Dtype::F32 => normal(rng, bytes / 4),
        // Any bits will do as bytes.
        Dtype::U8 => (0..bytes / 4).map(|_| f32::from_bits(rng.next_u64() as u32)).collect(),
    }
}

/// Hands fixed gradients back, and keeps the outputs. Both engines take these few columns at once.
struct Fixed {
    d_logits: Vec<f32>,
    d_values: Vec<f32>,
    outputs: Mutex<Vec<f32>>,
}

impl Objective for Fixed {
    fn evaluator(&self) -> Box<dyn Evaluator + '_> {
        Box::new(self)
    }
}

impl Evaluator for &Fixed {
    fn gradients(
        &mut self,
        strip: Range<usize>,
        logits: &[f32],
        values: &[f32],
    ) -> Option<(&[f32], &[f32])> {
        assert_eq!(strip, 0..COLUMNS);
        *self.outputs.lock().expect("one thread") = [logits, values].concat();
        Some((&self.d_logits, &self.d_values))
    }
}

fn close(what: &str, left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len(), "{what}");
    for (at, (a, b)) in left.iter().zip(right).enumerate() {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{what} {at}: {a} and {b}");
    }
}

#[test]
fn both_give_the_same_outputs_and_gradients() {
    for (dtype, stack, shape, torso, observation_clip) in [
        (Dtype::F32, 1, &[5][..], mlp(Activation::Tanh), None),
        (Dtype::F32, 3, &[5], mlp(Activation::Relu), None),
        (Dtype::F32, 1, &[5], mlp(Activation::Tanh), Some(1.5)),
        (Dtype::F32, 3, &[5], mlp(Activation::Tanh), Some(1.5)),
        (Dtype::U8, 4, &[5], mlp(Activation::Tanh), None),
        (Dtype::U8, 4, &[36, 36], cnn(&[(16, 8, 4), (32, 4, 2)], &[64]), None),
        (Dtype::F32, 1, &[10, 5], cnn(&[(16, 3, 1), (16, 3, 1)], &[]), None),
        (Dtype::U8, 2, &[3, 13, 11], cnn(&[(7, 4, 2), (33, 2, 1), (5, 3, 1)], &[19, 24]), None),
    ] {
        let mut rng = Rng::new(stack as u64, 0);
        let base = network(dtype, stack, shape, torso);
        let separate_value = matches!(base.torso, Torso::Mlp { .. }) && stack != 3;
        let base = NetworkSpec { observation_clip, ..base };
        let lstm = |hidden| Core::Lstm { hidden };
        for spec in [
            NetworkSpec { separate_value, ..base.clone() },
            NetworkSpec { separate_value, action_reward_inputs: true, ..base.clone() },
            NetworkSpec { core: lstm(19), ..base.clone() },
            NetworkSpec { core: lstm(32), action_reward_inputs: true, ..base.clone() },
        ] {
            the_same(&spec, &mut rng);
        }
    }
}

fn the_same(spec: &NetworkSpec, rng: &mut Rng) {
    let [native, torch] = by_both(spec, rng, Place::Cpu { threads: 1 });
    close(&format!("{spec:?} output"), &native.0, &torch.0);
    close(&format!("{spec:?} gradient"), &native.1, &torch.1);
}

/// Outputs and gradient of the engine in Rust, and of libtorch at `place`.
fn by_both(spec: &NetworkSpec, rng: &mut Rng, place: Place) -> [(Vec<f32>, Vec<f32>); 2] {
    let stack = spec.observation.frame_stack;
    let layout = ParamSpec::new(spec).expect("valid");
    let mut parameters = initial_parameters(&layout, 3);
    for name in [normalize::MEAN, normalize::SCALE] {
        if let Some(statistic) = layout.get(name) {
            parameters[statistic.range()].copy_from_slice(&[0.5, 1.0, 2.0, 0.1, 0.7]);
        }
    }
    let frames = frames(rng, &spec.observation);
    let mut flags = vec![0; (STEPS + 1) * COLUMNS];
    (flags[2 * COLUMNS + 1], flags[3 * COLUMNS]) = (flag::FIRST, flag::FIRST);
    let steps = STEPS * COLUMNS;
    let (rewards, state) = (normal(rng, steps + COLUMNS), normal(rng, COLUMNS * spec.state_len()));
    let action = |_| i32::try_from(rng.below(ACTIONS)).expect("small");
    let actions: Vec<i32> = (0..steps + COLUMNS).map(action).collect();
    let observations = Observations {
        spec: &spec.observation,
        unroll: STEPS,
        columns: COLUMNS,
        frames: bytemuck::cast_slice(&frames),
        history: &[0, 1, 2, 0].map(|n: u8| n.min(stack as u8 - 1)),
        flags: &flags,
        actions: &actions[COLUMNS..],
        rewards: &rewards[COLUMNS..],
        first_actions: &actions[..COLUMNS],
        first_rewards: &rewards[..COLUMNS],
        recurrent_state: &state,
    };
    let (d_logits, d_values) = (normal(rng, steps * ACTIONS), normal(rng, steps));
    let run = |engine: &mut dyn Engine| {
        let objective = Fixed {
            d_logits: d_logits.clone(),
            d_values: d_values.clone(),
            outputs: Mutex::default(),
        };
        let mut gradient = vec![f32::NAN; layout.len()];
        let mut times = StageTimes::default();
        let done =
            engine.gradient(&parameters, &observations, &objective, &mut gradient, &mut times);
        assert!(done.expect("runs"));
        (objective.outputs.into_inner().expect("one thread"), gradient)
    };
    [
        run(&mut NativeEngine::new(spec, 1).expect("native")),
        run(&mut TorchEngine::new(spec, &layout, place).expect("libtorch")),
    ]
}

/// Where `a_device_has_the_gradients_of_the_cpu` computes: `IMPALA_TEST_DEVICE`, else the first GPU if there is one.
fn device_under_test() -> Option<Place> {
    let given = std::env::var("IMPALA_TEST_DEVICE").ok();
    let device = given
        .map(|text| text.parse::<Device>().unwrap_or_else(|e| panic!("IMPALA_TEST_DEVICE: {e}")));
    match device {
        Some(device) => Some(Place::new(device.cuda_index(0), 1)),
        None => tch::Cuda::is_available().then_some(Place::Cuda { index: 0 }),
    }
}

/// Length of the difference over that of `reference`.
fn relative_error(found: &[f32], reference: &[f32]) -> f64 {
    let length =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let differences = found.iter().zip(reference).map(|(a, b)| f64::from(a - b));
    length(&mut { differences }) / length(&mut reference.iter().map(|&b| f64::from(b)))
}

#[test]
fn a_device_has_the_gradients_of_the_cpu() {
    let Some(place) = device_under_test() else {
        eprintln!("skipped: libtorch finds no GPU");
        return;
    };
    // Convolutions on a GPU may round their inputs to 10 bits (TF32), so single numbers differ.
    const MOST: f64 = 5e-3;
    let pixels = |torso| network(Dtype::U8, 4, &[84, 84], torso);
    let nature = cnn(&[(32, 8, 4), (64, 4, 2), (64, 3, 1)], &[512]);
    let deep = Torso::ImpalaDeep { channels: vec![16, 32, 32], hidden: vec![256] };
    let dense = network(Dtype::F32, 1, &[5], mlp(Activation::Tanh));
    let lstm = NetworkSpec { core: Core::Lstm { hidden: 32 }, ..dense.clone() };
    for (name, spec) in
        [("mlp", dense), ("lstm", lstm), ("nature", pixels(nature)), ("impala-deep", pixels(deep))]
    {
        let [cpu, device] = by_both(&spec, &mut Rng::new(6, 0), place);
        let (output, gradient) =
            (relative_error(&device.0, &cpu.0), relative_error(&device.1, &cpu.1));
        // `scripts/device-check` reads these lines.
        println!("device-gradient {name} {output:.1e} {gradient:.1e}");
        assert!(output < MOST && gradient < MOST, "{name} on {place:?}: {output} {gradient}");
    }
}

#[test]
fn both_act_alike() {
    both_act_alike_on(&[5], mlp(Activation::Relu));
    both_act_alike_on(&[9, 8], cnn(&[(20, 3, 2), (6, 2, 1)], &[12]));
}

fn both_act_alike_on(shape: &[usize], torso: Torso) {
    let mut rng = Rng::new(8, 0);
    let spec = network(Dtype::U8, 2, shape, torso);
    let layout = ParamSpec::new(&spec).expect("valid");
    let parameters = initial_parameters(&layout, 5);
    let bytes = spec.observation.frame_bytes() * 3;
    let row = |rng: &mut Rng| -> Vec<u8> { (0..bytes).map(|_| rng.below(256) as u8).collect() };
    let (older, newer) = (row(&mut rng), row(&mut rng));
    let rows: [&[u8]; 2] = [&older, &newer];
    let seen = StackedFrames::of_step(&spec.observation, &rows, &[2, 1, 2]);
    let mut native = NativePolicy::new(&spec, 3).expect("native");
    let mut torch = TorchPolicy::new(&spec, &layout, 3).expect("libtorch");
    let mut logits = [[0.0; 3 * ACTIONS]; 2];
    let policies: [&mut dyn Policy; 2] = [&mut native, &mut torch];
    for (policy, logits) in policies.into_iter().zip(&mut logits) {
        policy.load(&parameters);
        policy.logits(&seen.clone().into(), logits).expect("acts");
    }
    close("logit", &logits[0], &logits[1]);
}

#[test]
fn the_loss_has_the_gradient_that_autograd_finds() {
    let mut rng = Rng::new(4, 2);
    let rows = (STEPS + 1) * COLUMNS;
    let steps = STEPS * COLUMNS;
    let (logits, values) = (normal(&mut rng, rows * ACTIONS), normal(&mut rng, rows));
    let rewards = normal(&mut rng, steps);
    let behaviour: Vec<f32> = normal(&mut rng, steps).iter().map(|x| -1.1 + 0.3 * x).collect();
    let actions: Vec<i32> = [0, 1, 2].into_iter().cycle().take(steps).collect();
    let clips = VtraceConfig { rho_bar: 1.0, c_bar: 0.9, pg_rho_bar: 1.1, lambda: 0.95 };
    let config = LossConfig {
        discount: 0.97,
        baseline_cost: 0.4,
        entropy_cost: 0.03,
        vtrace: clips,
        ..LossConfig::PAPER
    };
    let flags = vec![0; rows];
    let batch = Batch {
        columns: COLUMNS,
        action: &ActionSpec::Discrete { n: ACTIONS },
        actions: &actions,
        masks: &[],
        rewards: &rewards,
        behaviour_log_probs: &behaviour,
        flags: &flags,
        reward_factors: &[],
    };
    let mut loss = Loss::default();
    loss.compute(&batch, 0..COLUMNS, (&logits, &values), &config, (1.0, None));

    // The same in libtorch's operations, with V-trace's outputs as constants.
    let size = |n: usize| i64::try_from(n).expect("small");
    let (a, t) = (size(ACTIONS), size(steps));
    let z = Tensor::from_slice(&logits).reshape([-1, a]).set_requires_grad(true);
    let v = Tensor::from_slice(&values).set_requires_grad(true);
    let log_pi = z.narrow(0, 0, t).log_softmax(-1, Kind::Float);
    let taken: Vec<i64> = actions.iter().map(|&a| i64::from(a)).collect();
    let log_pi_a =
        log_pi.gather(1, &Tensor::from_slice(&taken).reshape([-1, 1]), false).reshape([-1]);
    let ratios = Vec::<f32>::try_from((&log_pi_a - Tensor::from_slice(&behaviour)).exp().detach());
    let ratios = ratios.expect("f32");
    let (mut vs, mut advantages) = (vec![0.0; steps], vec![0.0; steps]);
    let discounts = vec![config.discount; steps];
    let inputs = Inputs {
        columns: COLUMNS,
        ratios: &ratios,
        discounts: &discounts,
        rewards: &rewards,
        values: &values,
    };
    vtrace(inputs, clips, &mut vs, &mut advantages);
    let policy = -(Tensor::from_slice(&advantages) * &log_pi_a).sum(Kind::Float);
    let baseline =
        (Tensor::from_slice(&vs) - v.narrow(0, 0, t)).square().sum(Kind::Float) * 0.5 * 0.4;
    let entropy = (log_pi.exp() * &log_pi).sum(Kind::Float) * 0.03;
    (policy + baseline + entropy).backward();
    let gradient =
        |tensor: &Tensor| Vec::<f32>::try_from(tensor.grad().reshape([-1])).expect("f32");
    // The bootstrap row is a constant: it has no gradient.
    let (d_logits, d_values) = (gradient(&z), gradient(&v));
    close("dL/dlogit", loss.d_logits(), &d_logits[..steps * ACTIONS]);
    close("dL/dvalue", loss.d_values(), &d_values[..steps]);
    assert!(d_logits[steps * ACTIONS..].iter().chain(&d_values[steps..]).all(|&d| d == 0.0));
}
