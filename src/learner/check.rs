//! Checks the actions in a block, which other processes wrote, before they are used.

use super::LearnerError;
use crate::env::ActionSpec;

/// Checks `words`, `[T][B][W]` of actions of `spec`.
///
/// # Errors
/// [`LearnerError::BadAction`] for a discrete action that does not exist, [`LearnerError::ActionOutOfBounds`] for a number
/// that is not finite.
pub(super) fn actions(spec: &ActionSpec, words: &[i32]) -> Result<(), LearnerError> {
    match spec {
        ActionSpec::Discrete { n } => {
            // One pass without branches; an action out of range becomes a large u32.
            let largest = words.iter().fold(0_u32, |largest, &a| largest.max(a.cast_unsigned()));
            in_range(largest, *n)
        }
        _ => {
            let sizes = spec.sizes();
            let mut largest = vec![0_u32; sizes.len()];
            let mut finite = true;
            for action in words.chunks_exact(spec.words()) {
                let (discrete, continuous) = action.split_at(sizes.len());
                for (largest, word) in largest.iter_mut().zip(discrete) {
                    *largest = (*largest).max(word.cast_unsigned());
                }
                finite &= continuous.iter().fold(true, |finite, &w| finite & number(w).is_finite());
            }
            largest.into_iter().zip(sizes).try_for_each(|(largest, &n)| in_range(largest, n))?;
            if finite {
                return Ok(());
            }
            let rows = words.chunks_exact(spec.words());
            let mut numbers = rows.flat_map(|row| &row[sizes.len()..]).map(|&word| number(word));
            Err(LearnerError::ActionOutOfBounds {
                number: numbers.find(|x| !x.is_finite()).unwrap_or(0.0),
            })
        }
    }
}

const fn number(word: i32) -> f32 {
    f32::from_bits(word.cast_unsigned())
}

fn in_range(largest: u32, count: usize) -> Result<(), LearnerError> {
    if usize::try_from(largest).is_ok_and(|largest| largest < count) {
        Ok(())
    } else {
        Err(LearnerError::BadAction { largest: largest.cast_signed(), count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_has_its_own_range() {
        let one = ActionSpec::Discrete { n: 3 };
        assert!(actions(&one, &[0, 2, 1]).is_ok());
        for bad in [3, -1, i32::MIN, i32::MAX] {
            let error = actions(&one, &[0, bad, 1]).expect_err("no such action");
            assert!(
                matches!(error, LearnerError::BadAction { largest, count: 3 } if largest == bad)
            );
        }
        let several = ActionSpec::MultiDiscrete { sizes: vec![4, 2] };
        assert!(actions(&several, &[3, 1, 0, 0]).is_ok());
        let error = actions(&several, &[1, 3, 0, 0]).expect_err("3 is for the first choice only");
        assert!(matches!(error, LearnerError::BadAction { largest: 3, count: 2 }), "{error}");
        assert!(actions(&several, &[0, 0, 4, 0]).is_err());
        assert!(actions(&several, &[0, 0, 0, -1]).is_err());
    }

    #[test]
    fn numbers_are_finite() {
        let numbers = ActionSpec::Continuous { low: vec![-1.0; 2], high: vec![1.0; 2] };
        let words = |x: f32| [0.5_f32, -70.0, x, 0.0].map(|x| x.to_bits().cast_signed());
        assert!(actions(&numbers, &words(f32::MAX)).is_ok());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = actions(&numbers, &words(bad)).expect_err("no number");
            assert!(matches!(error, LearnerError::ActionOutOfBounds { .. }), "{error}");
        }
    }
}
