//! Times MLPs, samplers and elementary functions.

use std::hint::black_box;

use impala_env::rng::Rng;
use impala_env::{ActionSpec, Dtype, ObservationSpec};
use impala_nn::init::initial_parameters;
use impala_nn::math::{exp_in_place, ln_in_place};
use impala_nn::mlp::{Input, MlpLearner, MlpPolicy};
use impala_nn::sample::Sampler;
use impala_nn::simd::Level;
use impala_nn::spec::{Activation, NetworkSpec, ParamSpec, Torso};

use super::{multiply_adds_per_ns, shortest_ns};

fn network(inputs: usize, hidden: &[usize], logits: usize, activation: Activation) -> NetworkSpec {
    let observation = ObservationSpec::new(Dtype::F32, &[inputs]);
    let torso = Torso::Mlp { hidden: hidden.to_vec(), activation };
    NetworkSpec::new(observation, ActionSpec::Discrete { n: logits }, torso)
}

/// Multiply-adds per row: forward, and backward (twice that, less the first layer's input gradient).
fn work(inputs: usize, hidden: &[usize], outputs: usize) -> (f64, f64) {
    let widths: Vec<usize> = [inputs].iter().chain(hidden).chain(&[outputs]).copied().collect();
    let forward: usize = widths.windows(2).map(|w| w[0] * w[1]).sum();
    (forward as f64, (2 * forward - widths[0] * widths[1]) as f64)
}

pub(super) fn measure() {
    let level = Level::active();
    println!("{}: {:.1} multiply-adds per ns", level.name(), multiply_adds_per_ns());
    let mut sampler = Sampler::new(Rng::new(1, 0));
    for (rows, count) in [(16, 2), (64, 2), (64, 6), (64, 18)] {
        let logits = vec![0.5; rows * count];
        let (mut actions, mut log_probs) = (vec![0; rows], vec![0.0; rows]);
        let ns = shortest_ns(500, || {
            let _ = black_box(sampler.sample(black_box(&logits), &mut actions, &mut log_probs));
        });
        println!("sample {rows} of {count}: {:.2} ns/row", ns / rows as f64);
    }
    let mut x = vec![0.5; 1280];
    let ns = shortest_ns(500, || exp_in_place(black_box(&mut x))) / x.len() as f64;
    println!("exp: {ns:.3} ns each");
    let ns = shortest_ns(500, || ln_in_place(black_box(&mut x))) / x.len() as f64;
    println!("ln: {ns:.3} ns each");
    for (inputs, hidden, actions, activation) in [
        (4, &[64, 64][..], 2, Activation::Tanh),
        (4, &[64, 64], 2, Activation::Relu),
        (4, &[256, 256], 2, Activation::Tanh),
        (50, &[64, 64], 18, Activation::Tanh),
    ] {
        let spec = network(inputs, hidden, actions, activation);
        let parameters = ParamSpec::new(&spec).expect("valid");
        let flat = initial_parameters(&parameters, 1);
        let (forward, backward) = work(inputs, hidden, actions + 1);
        let peak = multiply_adds_per_ns();
        let report = |what: &str, rows: usize, ns: f64, work: f64| {
            let per_row = ns / rows as f64;
            println!(
                "  {what:16} N={rows:4}: {per_row:7.1} ns/row, {:3.0}% of peak",
                work / per_row / peak * 100.0
            );
        };
        println!("{inputs}-{hidden:?}-{actions} {activation:?}, peak {peak:.1}");
        let mut actor = MlpPolicy::new(&spec).expect("an MLP");
        let ns = shortest_ns(500, || actor.load(black_box(&flat)));
        println!("  load            {ns:.0} ns");
        let mut rng = Rng::new(1, 0);
        for rows in [8, 16, 64] {
            let x: Vec<f32> = (0..rows * inputs).map(|_| rng.normal_f64() as f32).collect();
            let mut logits = vec![0.0; rows * actions];
            let ns = shortest_ns(500, || actor.forward(black_box(&x), black_box(&mut logits)));
            report("act", rows, ns, forward);
        }
        let mut learner = MlpLearner::new(&spec).expect("an MLP");
        learner.load(&flat);
        for rows in [320, 4096] {
            let x: Vec<f32> = (0..rows * inputs).map(|_| rng.normal_f64() as f32).collect();
            let input = Input::Dense(&x);
            let d_logits = vec![0.1; rows * actions];
            let d_values = vec![0.1; rows];
            let repeats = 1_000_000 / rows / (hidden[0] / 64);
            let ns = shortest_ns(repeats, || {
                black_box(learner.forward(black_box(&input)));
            });
            report("learner forward", rows, ns, forward);
            let ns = shortest_ns(repeats, || {
                learner.backward(&input, black_box(&d_logits), &d_values);
            });
            report("learner backward", rows, ns, backward);
        }
    }
}
