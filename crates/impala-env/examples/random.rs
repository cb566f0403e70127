//! Plays a built-in environment with random actions and prints the mean return.
//!
//! ```text
//! cargo run --release --example random -- CartPole-v1
//! ```

use impala_env::rng::Rng;
use impala_env::{ActionSpec, Actions, EnvOptions, Registry, ResetOut, StepOut, flag};

const ENVS: usize = 8;
const STEPS: usize = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "CartPole-v1".to_owned());
    let mut envs = Registry::builtin().make(&name, &EnvOptions::new(), ENVS, 1)?;
    let spec = envs.spec().clone();
    let ActionSpec::Discrete { n } = spec.action else {
        return Err(format!("{name} wants {:?}: this example makes one choice", spec.action).into());
    };
    // Words, because f32 frames are to be aligned.
    let mut frames = vec![0_u32; (ENVS * spec.observation.frame_bytes()).div_ceil(4)];
    let frames =
        &mut bytemuck::cast_slice_mut(&mut frames)[..ENVS * spec.observation.frame_bytes()];
    let mut masks = vec![0; ENVS * spec.mask_bytes()];
    envs.reset(ResetOut { frames, masks: &mut masks })?;

    let (mut rng, mut actions) = (Rng::new(2, 0), [0_i32; ENVS]);
    let (mut rewards, mut flags, mut running) = ([0.0; ENVS], [0; ENVS], [0.0; ENVS]);
    let mut returns = Vec::new();
    for _step in 0..STEPS {
        for action in &mut actions {
            *action = i32::try_from(rng.below(n))?;
        }
        let out = StepOut { frames, rewards: &mut rewards, flags: &mut flags, masks: &mut masks };
        envs.step(Actions::Discrete(&actions), out)?;
        for env in 0..ENVS {
            running[env] += rewards[env];
            if flags[env] & flag::DONE != 0 {
                returns.push(std::mem::take(&mut running[env]));
            }
        }
    }
    let mean = returns.iter().sum::<f32>() / returns.len() as f32;
    println!("{name}: {} episodes, mean return {mean:.1}", returns.len());
    Ok(())
}
