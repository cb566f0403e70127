//! Turns stored actions into what an environment takes: discrete actions unchanged, continuous ones brought within
//! their bounds.
//!
//! A policy over numbers works in units of its own: where both bounds of a number are finite, -1 and 1
//! stand for them, so that a network that says nothing yet explores all that is between; other numbers
//! are in the environment's units.

use impala_env::{ActionSpec, Actions};

/// Wider ranges count as unbounded: libraries write "no bound" as the largest number as well.
const WIDEST: f32 = 1e9;

/// How a number that a policy has drawn comes within its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum ActionBounds {
    /// Cut off at the bounds
    #[default]
    Clip,
    /// By tanh, which never quite reaches them; for finite bounds
    Squash,
}

/// Whether both bounds of a number are finite, for the policy's units and for [`ActionBounds::Squash`].
#[must_use]
pub fn is_bounded(low: f32, high: f32) -> bool {
    high - low <= WIDEST
}

/// What 0 and 1 in the policy's units stand for, the latter as a distance: the middle of the bounds and half their width where they are
/// finite, else 0 and 1.
#[must_use]
pub fn middle_and_reach(low: f32, high: f32) -> (f32, f32) {
    if is_bounded(low, high) {
        (low / 2.0 + high / 2.0, high / 2.0 - low / 2.0)
    } else {
        (0.0, 1.0)
    }
}

/// The bounds of all numbers of an action, and memory for actions within them.
#[derive(Debug)]
pub struct Applied {
    /// Choices before the numbers of a row.
    choices: usize,
    numbers: Vec<Number>,
    squash: bool,
    within: Vec<f32>,
    /// Rows of discrete actions and of continuous ones within their bounds.
    words: Vec<i32>,
}

/// `a = middle + reach * u`, kept from `low` to `high`.
#[derive(Debug, Clone, Copy)]
struct Number {
    low: f32,
    high: f32,
    middle: f32,
    reach: f32,
    bounded: bool,
}

impl Applied {
    /// For the actions of `spec`.
    #[must_use]
    pub fn new(spec: &ActionSpec, bounds: ActionBounds) -> Self {
        let (low, high) = spec.bounds();
        let numbers = low.iter().zip(high).map(|(&low, &high)| Number::new(low, high));
        Self {
            choices: spec.sizes().len(),
            numbers: numbers.collect(),
            squash: bounds == ActionBounds::Squash,
            within: Vec::new(),
            words: Vec::new(),
        }
    }

    /// What the environments are given for `words`, `[E][W]`.
    pub fn actions<'a>(&'a mut self, words: &'a [i32]) -> Actions<'a> {
        if self.numbers.is_empty() {
            return Actions::Discrete(words);
        }
        let Self { choices, numbers, squash, within, words: both } = self;
        if *choices > 0 {
            both.clear();
            both.extend_from_slice(words);
            for row in both.chunks_exact_mut(*choices + numbers.len()) {
                for (word, number) in row[*choices..].iter_mut().zip(&*numbers) {
                    let drawn = f32::from_bits(word.cast_unsigned());
                    *word = number.apply(drawn, *squash).to_bits().cast_signed();
                }
            }
            return Actions::Hybrid(both);
        }
        within.clear();
        for row in words.chunks_exact(numbers.len()) {
            let drawn = row.iter().map(|word| f32::from_bits(word.cast_unsigned()));
            within.extend(drawn.zip(&*numbers).map(|(u, number)| number.apply(u, *squash)));
        }
        Actions::Continuous(within)
    }
}

impl Number {
    fn new(low: f32, high: f32) -> Self {
        let (middle, reach) = middle_and_reach(low, high);
        Self { low, high, middle, reach, bounded: is_bounded(low, high) }
    }

    fn apply(self, u: f32, squash: bool) -> f32 {
        let u = if squash && self.bounded { u.tanh() } else { u };
        // Last, because rounding may pass a bound by a digit.
        (self.middle + self.reach * u).clamp(self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(numbers: &[f32]) -> Vec<i32> {
        numbers.iter().map(|x| x.to_bits().cast_signed()).collect()
    }

    fn applied(low: &[f32], high: &[f32], bounds: ActionBounds, drawn: &[f32]) -> Vec<f32> {
        let spec = ActionSpec::Continuous { low: low.to_vec(), high: high.to_vec() };
        let words = words(drawn);
        match Applied::new(&spec, bounds).actions(&words) {
            Actions::Continuous(numbers) => numbers.to_vec(),
            _ => panic!("numbers stay numbers"),
        }
    }

    #[test]
    fn one_is_the_bound_where_there_is_one() {
        let clipped =
            applied(&[-2.0, 0.0], &[2.0, 10.0], ActionBounds::Clip, &[0.5, 1.0, -7.0, 0.0]);
        assert_eq!(clipped, [1.0, 10.0, -2.0, 5.0]);
        let squashed =
            applied(&[-2.0, 0.0], &[2.0, 10.0], ActionBounds::Squash, &[0.0, 9.0, 1.0, 0.0]);
        assert_eq!(squashed[..2], [0.0, 10.0]);
        assert!((squashed[2] - 2.0 * 1.0_f32.tanh()).abs() < 1e-6 && squashed[3] == 5.0);
    }

    #[test]
    fn without_a_bound_units_are_those_of_the_environment() {
        let (inf, max) = (f32::INFINITY, f32::MAX);
        let low = [-inf, 3.0, -max];
        let high = [inf, inf, max];
        for bounds in [ActionBounds::Clip, ActionBounds::Squash] {
            assert_eq!(applied(&low, &high, bounds, &[-70.0, 1.0, 5.0]), [-70.0, 3.0, 5.0]);
        }
    }

    #[test]
    fn choices_are_passed_on() {
        let spec = ActionSpec::MultiDiscrete { sizes: vec![2, 3] };
        let mut applied = Applied::new(&spec, ActionBounds::Clip);
        assert_eq!(applied.actions(&[1, 2]), Actions::Discrete(&[1, 2]));
    }

    #[test]
    fn of_both_the_numbers_alone_are_brought_within() {
        let spec = ActionSpec::Hybrid { sizes: vec![5], low: vec![-2.0], high: vec![2.0] };
        let mut applied = Applied::new(&spec, ActionBounds::Clip);
        let [half, far] = [0.5_f32, 7.0].map(|x| x.to_bits().cast_signed());
        let drawn = [4, half, 3, far];
        let Actions::Hybrid(given) = applied.actions(&drawn) else { panic!("both") };
        let [one, two] = [1.0_f32, 2.0].map(|x| x.to_bits().cast_signed());
        assert_eq!(given, [4, one, 3, two]);
    }

    proptest! {
        #[test]
        fn nothing_leaves_its_bounds(
            low in -1e8_f32..1e8,
            width in 1e-3_f32..1e8,
            u in -1e30_f32..1e30,
            squash in any::<bool>(),
        ) {
            let high = low + width.max(low.abs() * 1e-6);
            let bounds = if squash { ActionBounds::Squash } else { ActionBounds::Clip };
            for u in [u, u.signum(), u % 1.0] {
                let action = applied(&[low], &[high], bounds, &[u])[0];
                prop_assert!((low..=high).contains(&action), "{} not in {}..={}", action, low, high);
            }
        }
    }
}
