//! Checks what environments have written (numbers that are not finite, masks that allow nothing) before it is acted on.

use super::ActorError;
use crate::env::{Dtype, EnvSpec};
use crate::policy::mask::first_without_choice;

/// Checks E frames, their masks (empty without masks) and `flags`, at `step` of the unroll.
///
/// # Errors
/// [`ActorError::NotFinite`], which calls the frames `what`, or [`ActorError::NothingAllowed`].
pub(super) fn observations(
    spec: &EnvSpec,
    frames: &[u8],
    masks: &[u8],
    flags: &[u8],
    what: &'static str,
    step: usize,
) -> Result<(), ActorError> {
    if let Some(env) = bad_number(spec, frames) {
        return Err(ActorError::NotFinite { env, what, step });
    }
    match first_without_choice(&spec.action, masks, flags) {
        Some(env) => Err(ActorError::NothingAllowed { env, step }),
        None => Ok(()),
    }
}

/// The first environment whose frame holds a number that is not finite.
fn bad_number(spec: &EnvSpec, frames: &[u8]) -> Option<usize> {
    if spec.observation.dtype != Dtype::F32 {
        return None;
    }
    let numbers: &[f32] = bytemuck::cast_slice(frames);
    first_not_finite(numbers).map(|at| at / spec.observation.frame_len())
}

/// Index of the first number that is not finite. Nearly always there is none, which a loop without an exit
/// finds out many at a time.
pub(super) fn first_not_finite(numbers: &[f32]) -> Option<usize> {
    let found = numbers.iter().fold(false, |found, x| found | !x.is_finite());
    if found { numbers.iter().position(|x| !x.is_finite()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{ActionSpec, ObservationSpec};

    #[test]
    fn the_environment_at_fault_is_named() {
        let observation = ObservationSpec::new(Dtype::F32, &[2]);
        let action = ActionSpec::MultiDiscrete { sizes: vec![2, 1] };
        let spec = EnvSpec { masks: true, ..EnvSpec::new("Test-v0", observation, action) };
        let check = |frames: [f32; 4], masks: &[u8]| {
            observations(&spec, bytemuck::cast_slice(&frames), masks, &[0; 2], "an observation", 7)
        };
        assert!(check([0.0; 4], &[1, 0, 1, 0, 1, 1]).is_ok());
        let error = check([0.0, 1.0, 2.0, f32::NAN], &[1; 6]).expect_err("not finite");
        assert!(matches!(error, ActorError::NotFinite { env: 1, step: 7, .. }), "{error}");
        let error = check([0.0; 4], &[1, 0, 1, 1, 1, 0]).expect_err("nothing allowed");
        assert!(matches!(error, ActorError::NothingAllowed { env: 1, step: 7 }), "{error}");
        assert!(error.is_of_environment());
    }
}
