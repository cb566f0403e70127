//! A policy acts on one observation and is trained by hand-made gradient steps to prefer one action.
//!
//! ```text
//! cargo run --release --example act
//! ```

use impala_env::rng::Rng;
use impala_env::{ActionSpec, Dtype, ObservationSpec};
use impala_nn::bounds::ActionBounds;
use impala_nn::init::initial_parameters;
use impala_nn::mlp::{Input, MlpLearner};
use impala_nn::sampler::ActionSampler;
use impala_nn::spec::{Activation, NetworkSpec, ParamSpec, Torso};

const WANTED: usize = 2;
const ACTIONS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let action = ActionSpec::Discrete { n: ACTIONS };
    let torso = Torso::Mlp { hidden: vec![64, 64], activation: Activation::Tanh };
    let spec = NetworkSpec::new(ObservationSpec::new(Dtype::F32, &[4]), action.clone(), torso);
    let layout = ParamSpec::new(&spec)?;
    let mut parameters = initial_parameters(&layout, 1);
    println!("{} parameters, the first of them {}", layout.len(), layout.entries()[0].name);

    let observation = [0.1, -0.2, 0.3, -0.4];
    let input = Input::Dense(&observation);
    let mut network = MlpLearner::new(&spec)?;
    let mut sampler = ActionSampler::new(&action, ActionBounds::Clip, Rng::new(1, 0));
    let mut gradient = vec![0.0; layout.len()];
    for step in 0..=100 {
        network.load(&parameters);
        let (logits, values) = network.forward(&input);
        let (logits, value) = (logits.to_vec(), values[0]);
        let (mut chosen, mut log_prob) = ([0], [0.0]);
        assert!(sampler.sample(&logits, &[], &mut chosen, &mut log_prob), "finite logits");
        if step % 25 == 0 {
            let probability = log_prob[0].exp();
            println!("step {step}: action {} with probability {probability:.2}", chosen[0]);
        }
        // The gradient of -ln p(WANTED) + value^2 / 2.
        let sum: f32 = logits.iter().map(|x| x.exp()).sum();
        let d_logits: Vec<f32> = (0..ACTIONS)
            .map(|action| logits[action].exp() / sum - f32::from(u8::from(action == WANTED)))
            .collect();
        network.backward(&input, &d_logits, &[value]);
        network.write_gradient(&mut gradient);
        parameters.iter_mut().zip(&gradient).for_each(|(x, g)| *x -= 0.05 * g);
    }
    Ok(())
}
