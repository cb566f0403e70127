//! Prints the spec of a Gymnasium environment, as an actor sees it.
//!
//! ```text
//! cargo run --release --example look -- CartPole-v1
//! ```

use impala_env::{EnvOptions, ResetOut};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let id = std::env::args().nth(1).unwrap_or_else(|| "CartPole-v1".to_owned());
    let gymnasium = impala_gym::Source::Gymnasium.prefix();
    let name =
        impala_gym::Source::of(&id).map_or_else(|| format!("{gymnasium}{id}"), |_| id.clone());
    let mut envs = impala_gym::registry().make(&name, &EnvOptions::new(), 2, 1)?;
    let spec = envs.spec().clone();
    println!("observation {:?} of {:?}", spec.observation.shape, spec.observation.dtype);
    println!("action {:?}", spec.action);
    envs.notes().iter().for_each(|note| println!("note: {note}"));

    // Words, because f32 frames are to be aligned.
    let frame_bytes = spec.observation.frame_bytes();
    let mut frames = vec![0_u32; (2 * frame_bytes).div_ceil(4)];
    let frames = &mut bytemuck::cast_slice_mut(&mut frames)[..2 * frame_bytes];
    let mut masks = vec![0; 2 * spec.mask_bytes()];
    envs.reset(ResetOut { frames, masks: &mut masks })?;
    println!("first bytes of a first observation: {:?}", &frames[..frame_bytes.min(16)]);
    Ok(())
}
