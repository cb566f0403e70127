//! Times recurrent cores on top of an MLP.

use std::hint::black_box;

use impala_env::rng::Rng;
use impala_env::{ActionSpec, Dtype, ObservationSpec};
use impala_nn::act::ActInputs;
use impala_nn::composed::{ComposedLearner, ComposedPolicy};
use impala_nn::frames::{FrameRows, StackedFrames};
use impala_nn::init::initial_parameters;
use impala_nn::inputs::LearnInputs;
use impala_nn::spec::{Activation, Core, NetworkSpec, ParamSpec, Torso};

use super::{multiply_adds_per_ns, shortest_ns};

pub(super) fn measure() {
    for (inputs, width, hidden, unroll, columns) in
        [(6, 32, 32, 32, 8), (6, 32, 32, 32, 16), (64, 256, 256, 20, 16), (64, 256, 256, 20, 32)]
    {
        let observation = ObservationSpec::new(Dtype::F32, &[inputs]);
        let torso = Torso::Mlp { hidden: vec![width], activation: Activation::Tanh };
        let base = NetworkSpec::new(observation, ActionSpec::Discrete { n: 4 }, torso);
        let spec = NetworkSpec { core: Core::Lstm { hidden }, ..base };
        let layout = ParamSpec::new(&spec).expect("valid");
        let flat = initial_parameters(&layout, 1);
        let work = layout.multiply_adds() as f64;
        // The gradient with respect to observations is not computed.
        let backward = 2.0 * work - layout.entries()[0].numel() as f64;
        let report = |what: &str, rows: usize, work: f64, f: &mut dyn FnMut()| {
            let peak = multiply_adds_per_ns();
            let per_row = shortest_ns(60, f) / rows as f64;
            println!(
                "  {what:16} N={rows:4}: {per_row:8.1} ns/row, {:3.0}% of peak",
                work / per_row / peak * 100.0
            );
        };
        println!(
            "{inputs}-{width}-lstm {hidden}, {unroll} steps of {columns}, {work} multiply-adds"
        );
        let mut rng = Rng::new(1, 0);
        let rows = (unroll + 1) * columns;
        let x: Vec<f32> = (0..rows * inputs).map(|_| rng.normal_f64() as f32).collect();
        let mut actor = ComposedPolicy::new(&spec, columns).expect("native");
        report("load", 1, 0.0, &mut || actor.load(black_box(&flat)));
        let frames: [&[u8]; 1] = [bytemuck::cast_slice(&x[..columns * inputs])];
        let valid = vec![1; columns];
        let flags = vec![0; rows];
        let seen = ActInputs {
            observations: StackedFrames::of_step(&spec.observation, &frames, &valid),
            flags: &flags[..columns],
            last_actions: &vec![0; columns],
            last_rewards: &vec![0.0; columns],
        };
        let mut logits = vec![0.0; columns * 4];
        report("act", columns, work, &mut || actor.forward(black_box(&seen), &mut logits));
        let mut learner = ComposedLearner::new(&spec).expect("native");
        report("load to learn", 1, 0.0, &mut || learner.load(black_box(&flat)));
        let seen = LearnInputs {
            observations: StackedFrames {
                spec: &spec.observation,
                columns,
                strip: 0..columns,
                rows: FrameRows::Contiguous(bytemuck::cast_slice(&x)),
                valid: &[],
            },
            flags: &flags,
            extra: &[],
            state: &vec![0.0; columns * 2 * hidden],
        };
        report("learner forward", rows, work, &mut || {
            black_box(learner.forward(black_box(&seen)));
        });
        let learnt = unroll * columns;
        let (d_logits, d_values) = (vec![0.1; learnt * 4], vec![0.1; learnt]);
        report("learner backward", learnt, backward, &mut || {
            learner.backward(black_box(&seen), &d_logits, &d_values);
        });
    }
}
