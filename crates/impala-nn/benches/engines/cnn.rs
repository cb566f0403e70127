//! Times convolutional networks.

use std::hint::black_box;

use impala_env::rng::Rng;
use impala_env::{ActionSpec, Dtype, ObservationSpec};
use impala_nn::cnn::{CnnLearner, CnnPolicy};
use impala_nn::frames::{FrameRows, StackedFrames};
use impala_nn::init::initial_parameters;
use impala_nn::spec::{NetworkSpec, ParamSpec, Torso};

use super::{multiply_adds_per_ns, shortest_ns};

pub(super) fn measure() {
    for (name, torso, columns) in [
        ("shallow", Torso::atari_shallow(), 8),
        ("nature", Torso::nature(), 8),
        ("impala-deep", Torso::impala_deep(), 1),
    ] {
        let observation =
            ObservationSpec { frame_stack: 4, ..ObservationSpec::new(Dtype::U8, &[84, 84]) };
        let spec = NetworkSpec::new(observation, ActionSpec::Discrete { n: 6 }, torso);
        let layout = ParamSpec::new(&spec).expect("valid");
        let flat = initial_parameters(&layout, 1);
        let work = layout.multiply_adds() as f64;
        let first = &layout.entries()[0];
        let first = (first.uses * first.numel()) as f64;
        let report = |what: &str, rows: usize, work: f64, f: &mut dyn FnMut()| {
            let peak = multiply_adds_per_ns();
            let per_row = shortest_ns(12, f) / rows as f64;
            let speed = work / per_row;
            println!(
                "  {what:16} N={rows:4}: {:7.1} us/row, {:5.1} GFLOP/s, {:3.0}% of peak",
                per_row / 1000.0,
                2.0 * speed,
                speed / peak * 100.0
            );
        };
        println!("{name}, {:.2} M multiply-adds", work / 1e6);
        let mut rng = Rng::new(1, 0);
        let (unroll, frame) = (20, 84 * 84);
        let bytes: Vec<u8> =
            (0..(unroll + 4) * 8 * frame).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        let mut actor = CnnPolicy::new(&spec).expect("a CNN");
        report("load", 1, 0.0, &mut || actor.load(black_box(&flat)));
        for envs in [8, 32] {
            let rows: Vec<&[u8]> = bytes.chunks_exact(envs * frame).take(4).collect();
            let valid = vec![4; envs];
            let seen = StackedFrames::of_step(&spec.observation, &rows, &valid);
            let mut logits = vec![0.0; envs * 6];
            report("act", envs, work, &mut || actor.forward(black_box(&seen), &mut logits));
        }
        let mut learner = CnnLearner::new(&spec).expect("a CNN");
        report("load to learn", 1, 0.0, &mut || learner.load(black_box(&flat)));
        let rows = (unroll + 1) * columns;
        let valid = vec![4; rows];
        let images = StackedFrames {
            spec: &spec.observation,
            columns,
            strip: 0..columns,
            rows: FrameRows::Contiguous(&bytes[..(unroll + 4) * columns * frame]),
            valid: &valid,
        };
        report("learner forward", rows, work, &mut || {
            black_box(learner.forward(black_box(&images)));
        });
        let learnt = unroll * columns;
        let (d_logits, d_values) = (vec![0.1; learnt * 6], vec![0.1; learnt]);
        report("learner backward", learnt, 2.0 * work - first, &mut || {
            learner.backward(black_box(&images), &d_logits, &d_values);
        });
    }
}
