//! Action masks: which choices are allowed at an observation.

use impala_env::{ActionSpec, flag};

/// Logit of a forbidden choice: its probability is 0 in single precision beside that of any other.
pub const FORBIDDEN: f32 = -1e30;

/// Appends `logits` with [`FORBIDDEN`] where `mask` (as many bytes) is 0. Returns false if a logit is not
/// finite, of a forbidden choice too.
pub(crate) fn extend_masked(masked: &mut Vec<f32>, logits: &[f32], mask: &[u8]) -> bool {
    debug_assert_eq!(logits.len(), mask.len());
    masked.extend(logits.iter().zip(mask).map(|(&z, &m)| if m == 0 { FORBIDDEN } else { z }));
    logits.iter().fold(true, |finite, z| finite & z.is_finite())
}

/// The same for rows of outputs of which `logits` are of choices and `rest` are not: these are appended as they
/// are, and not looked at. `masks` has `logits` bytes a row.
pub fn extend_masked_rows(
    masked: &mut Vec<f32>,
    outputs: &[f32],
    masks: &[u8],
    (logits, rest): (usize, usize),
) -> bool {
    if rest == 0 {
        return extend_masked(masked, outputs, masks);
    }
    let rows = outputs.chunks_exact(logits + rest).zip(masks.chunks_exact(logits));
    rows.fold(true, |finite, (row, mask)| {
        let (choices, numbers) = row.split_at(logits);
        let all = extend_masked(masked, choices, mask);
        masked.extend_from_slice(numbers);
        finite & all
    })
}

/// The first row of `masks` (`[rows][logits]`) in which some choice has nothing that is allowed; `None`
/// also for actions that are numbers. Rows whose `flags` say that the episode is over are passed over: no
/// action follows, and in most board games no move is left.
#[must_use]
pub fn first_without_choice(action: &ActionSpec, masks: &[u8], flags: &[u8]) -> Option<usize> {
    let sizes = action.sizes();
    if sizes.is_empty() {
        return None;
    }
    masks.chunks_exact(action.logits()).zip(flags).position(|(mut row, flags)| {
        flags & flag::DONE == 0
            && sizes.iter().any(|&size| {
                let (choice, rest) = row.split_at(size);
                row = rest;
                choice.iter().all(|&allowed| allowed == 0)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_choices_get_their_logit_and_hide_nothing() {
        let mut masked = vec![9.0];
        assert!(extend_masked(&mut masked, &[1.0, 2.0, 3.0], &[1, 0, 7]));
        assert_eq!(masked, [9.0, 1.0, FORBIDDEN, 3.0]);
        assert!(!extend_masked(&mut masked, &[1.0, f32::NAN], &[1, 0]));
    }

    #[test]
    fn what_is_no_logit_is_passed_over() {
        let (mut masked, outputs) = (vec![], [1.0, 2.0, f32::NAN, 3.0, 4.0, 5.0]);
        assert!(extend_masked_rows(&mut masked, &outputs, &[0, 1, 1, 0], (2, 1)));
        assert_eq!(masked[..2], [FORBIDDEN, 2.0]);
        assert!(masked[2].is_nan());
        assert_eq!(masked[3..], [3.0, FORBIDDEN, 5.0]);
        assert!(!extend_masked_rows(&mut masked, &[f32::NAN, 0.0], &[0], (1, 1)));
    }

    #[test]
    fn every_choice_needs_something_allowed() {
        let single = ActionSpec::Discrete { n: 3 };
        let first_without_choice =
            |action: &ActionSpec, masks: &[u8]| first_without_choice(action, masks, &[0, 0]);
        assert_eq!(first_without_choice(&single, &[0, 0, 1, 1, 0, 0]), None);
        assert_eq!(first_without_choice(&single, &[0, 0, 1, 0, 0, 0]), Some(1));
        let several = ActionSpec::MultiDiscrete { sizes: vec![2, 1] };
        assert_eq!(first_without_choice(&several, &[0, 1, 1, 1, 1, 0]), Some(1));
        assert_eq!(first_without_choice(&several, &[0, 0, 1]), Some(0));
        assert_eq!(first_without_choice(&several, &[]), None);
    }

    #[test]
    fn nothing_needs_to_be_allowed_when_the_game_is_over() {
        let (action, masks) = (ActionSpec::Discrete { n: 2 }, [0, 0, 0, 0, 1, 0]);
        let first = |flags: [u8; 3]| first_without_choice(&action, &masks, &flags);
        assert_eq!(first([flag::TERMINATED, flag::TRUNCATED, 0]), None);
        assert_eq!(first([flag::TERMINATED, flag::FIRST, 0]), Some(1));
    }
}
