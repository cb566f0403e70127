//! Inputs of a network beside the observation: the previous action, its reward, and the state of the recurrent core.

use crate::frames::StackedFrames;
use impala_env::{ActionSpec, flag};

/// What a network learns from: N = steps * columns observations, time-major, and what came with them.
#[derive(Debug, Clone)]
pub struct LearnInputs<'a> {
    /// The observations.
    pub observations: StackedFrames<'a>,
    /// `[N]`, bits of [`impala_env::flag`]: where a recurrent core starts anew. Not read without one.
    pub flags: &'a [u8],
    /// `[N][extra inputs]`: the actions and rewards before, as [`encode`] gives them. Not read by a network without such inputs.
    pub extra: &'a [f32],
    /// `[columns][S]`: state of a recurrent core before the first step. Not read without one.
    pub state: &'a [f32],
}

impl<'a> From<StackedFrames<'a>> for LearnInputs<'a> {
    /// For networks that look at nothing else.
    fn from(observations: StackedFrames<'a>) -> Self {
        Self { observations, flags: &[], extra: &[], state: &[] }
    }
}

/// Encodes the action and the reward that led to one observation with `flags` into `out`, of
/// `action.inputs() + 1` numbers: each choice as a one-hot, then each number clipped to `[-1, 1]`; then the
/// reward clipped to `[-1, 1]`. All of it is zero at the first observation of an episode, and so is a
/// choice that there is not.
///
/// # Panics
/// If `words` or `out` are too short.
pub fn encode(action: &ActionSpec, words: &[i32], reward: f32, flags: u8, out: &mut [f32]) {
    out.fill(0.0);
    if flags & flag::FIRST != 0 {
        return;
    }
    let mut one_hot = |start: usize, size: usize, word: i32| {
        if let Ok(choice) = usize::try_from(word)
            && choice < size
        {
            out[start + choice] = 1.0;
        }
    };
    let (choices, numbers) = words.split_at(action.sizes().len());
    let mut start = 0;
    for (&size, &word) in action.sizes().iter().zip(choices) {
        one_hot(start, size, word);
        start += size;
    }
    for (x, &word) in out[start..start + action.numbers()].iter_mut().zip(numbers) {
        *x = f32::from_bits(word.cast_unsigned()).clamp(-1.0, 1.0);
    }
    out[action.inputs()] = reward.clamp(-1.0, 1.0);
}

/// Words that [`encode`] makes the `action.inputs()` numbers of `encoded` of; -1 for a choice that there is not.
///
/// # Panics
/// If `encoded` or `words` are too short.
pub fn decode(action: &ActionSpec, encoded: &[f32], words: &mut [i32]) {
    let (choices, numbers) = words.split_at_mut(action.sizes().len());
    let mut start = 0;
    for (&size, word) in action.sizes().iter().zip(choices) {
        let choice = encoded[start..start + size].iter().position(|&x| x != 0.0);
        *word = choice.and_then(|choice| i32::try_from(choice).ok()).unwrap_or(-1);
        start += size;
    }
    let encoded = &encoded[start..start + action.numbers()];
    for (word, x) in numbers.iter_mut().zip(encoded) {
        *word = x.to_bits().cast_signed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(action: &ActionSpec, words: &[i32], reward: f32, flags: u8) -> Vec<f32> {
        let mut out = vec![7.0; action.inputs() + 1];
        encode(action, words, reward, flags, &mut out);
        out
    }

    #[test]
    fn choices_are_one_hot_and_rewards_clipped() {
        let one = ActionSpec::Discrete { n: 3 };
        assert_eq!(encoded(&one, &[2], 0.5, 0), [0.0, 0.0, 1.0, 0.5]);
        assert_eq!(encoded(&one, &[0], -7.0, flag::TERMINATED), [1.0, 0.0, 0.0, -1.0]);
        let two = ActionSpec::MultiDiscrete { sizes: vec![2, 3] };
        assert_eq!(encoded(&two, &[1, 0], 3.0, 0), [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        // Memory that others write: a choice that there is not must not be an index.
        assert_eq!(encoded(&one, &[3], 0.0, 0), [0.0; 4]);
        assert_eq!(encoded(&one, &[-1], 0.0, 0), [0.0; 4]);
    }

    #[test]
    fn numbers_are_clipped() {
        let action = ActionSpec::Continuous { low: vec![-2.0; 3], high: vec![2.0; 3] };
        let words = [0.25_f32, -1.5, 2.0].map(|x| x.to_bits().cast_signed());
        assert_eq!(encoded(&action, &words, 0.0, 0), [0.25, -1.0, 1.0, 0.0]);
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let (low, high) = (vec![-2.0; 2], vec![2.0; 2]);
        let action = ActionSpec::Hybrid { sizes: vec![2, 3], low, high };
        for choices in [[1, 0], [0, 2], [-1, -1]] {
            let numbers = [0.25_f32, -3.0].map(|x| x.to_bits().cast_signed());
            let code = encoded(&action, &[&choices[..], &numbers].concat(), 0.5, 0);
            let mut words = [7; 4];
            decode(&action, &code[..action.inputs()], &mut words);
            assert_eq!(words[..2], choices);
            assert_eq!(encoded(&action, &words, 0.5, 0), code, "the same network input");
        }
        let mut words = [7; 4];
        decode(&action, &[0.0; 7], &mut words);
        assert_eq!(encoded(&action, &words, 0.0, 0), [0.0; 8], "zeros are an episode's beginning");
    }

    #[test]
    fn nothing_comes_before_the_first_observation() {
        assert_eq!(encoded(&ActionSpec::Discrete { n: 2 }, &[1], 1.0, flag::FIRST), [0.0; 3]);
    }
}
