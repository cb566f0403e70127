//! Samples actions of any kind from a network's outputs: discrete, several discrete, continuous, or both.
//!
//! One choice is a categorical distribution ([`super::sample`]); several are one each, independent of each
//! other given the observation, so that their log-probabilities add up; numbers are a diagonal Gaussian
//! ([`super::gaussian`]); choices and numbers at once are independent of each other too. What is stored of an
//! action are its words: choices, then the bits of the numbers that were drawn, before their bounds.

use super::bounds::{ActionBounds, Applied};
use super::gaussian::{GaussianSampler, means};
use super::mask::extend_masked_rows;
use super::parts::{join_rows, split_rows};
use super::sample::{Sampler, greedy};
use impala_env::rng::Rng;
use impala_env::{ActionSpec, Actions};

/// Chooses actions, and brings them into the form that environments take.
#[derive(Debug)]
pub struct ActionSampler {
    kind: Kind,
    applied: Applied,
    /// Outputs of a row: logits of choices, and the rest.
    row: (usize, usize),
    /// Outputs with the logits of forbidden choices replaced.
    masked: Vec<f32>,
}

#[derive(Debug)]
enum Kind {
    Choices(Choices),
    Numbers { dims: usize, sampler: GaussianSampler },
    Both(Box<Both>),
}

/// Choices and numbers of one action, and memory for the part of each in a row.
#[derive(Debug)]
struct Both {
    choices: Choices,
    dims: usize,
    sampler: GaussianSampler,
    /// `[E][logits]`.
    logits: Vec<f32>,
    /// `[E][2 D]`.
    outputs: Vec<f32>,
    chosen: Vec<i32>,
    drawn: Vec<i32>,
    densities: Vec<f32>,
}

/// Categorical distributions, and memory for the part of one of several.
#[derive(Debug)]
struct Choices {
    sizes: Vec<usize>,
    sampler: Sampler,
    logits: Vec<f32>,
    actions: Vec<i32>,
    log_probs: Vec<f32>,
}

impl ActionSampler {
    /// For actions of `spec`, drawn from `rng`.
    #[must_use]
    pub fn new(spec: &ActionSpec, bounds: ActionBounds, mut rng: Rng) -> Self {
        let kind = match spec {
            ActionSpec::Discrete { .. } | ActionSpec::MultiDiscrete { .. } => {
                Kind::Choices(Choices::new(spec.sizes(), rng))
            }
            ActionSpec::Continuous { low, .. } => {
                let dims = low.len();
                Kind::Numbers { dims, sampler: GaussianSampler::new(dims, rng) }
            }
            ActionSpec::Hybrid { sizes, low, .. } => Kind::Both(Box::new(Both {
                dims: low.len(),
                sampler: GaussianSampler::new(low.len(), Rng::new(rng.next_u64(), 0)),
                choices: Choices::new(sizes, rng),
                logits: Vec::new(),
                outputs: Vec::new(),
                chosen: Vec::new(),
                drawn: Vec::new(),
                densities: Vec::new(),
            })),
        };
        let row = (spec.logits(), 2 * spec.numbers());
        Self { kind, applied: Applied::new(spec, bounds), row, masked: Vec::new() }
    }

    /// Draws an action for each row of `outputs` (`[E][outputs]`) among those that `masks` allows (`[E][logits]`
    /// bytes, or empty), and writes its words (`[E][W]`) and log-probability (`[E]`).
    ///
    /// Returns false if an output is not finite: the network has diverged, and the actions mean nothing.
    ///
    /// # Panics
    /// If lengths do not agree.
    #[must_use = "actions from outputs that are not finite mean nothing"]
    pub fn sample(
        &mut self,
        outputs: &[f32],
        masks: &[u8],
        words: &mut [i32],
        log_probs: &mut [f32],
    ) -> bool {
        let (outputs, finite) = masked(&mut self.masked, outputs, masks, self.row);
        finite
            & match &mut self.kind {
                Kind::Both(both) => both.sample(outputs, words, log_probs),
                Kind::Choices(choices) => choices.sample(outputs, words, log_probs),
                Kind::Numbers { sampler, .. } => sampler.sample(outputs, words, log_probs),
            }
    }

    /// Writes the most likely action of each row: of each choice the most likely one that is allowed, of
    /// numbers their means. Returns false if an output is not finite.
    ///
    /// # Panics
    /// If lengths do not agree.
    #[must_use = "actions from outputs that are not finite mean nothing"]
    pub fn greedy(&mut self, outputs: &[f32], masks: &[u8], words: &mut [i32]) -> bool {
        let (outputs, finite) = masked(&mut self.masked, outputs, masks, self.row);
        finite
            & match &mut self.kind {
                Kind::Both(both) => both.greedy(outputs, words),
                Kind::Choices(choices) => choices.greedy(outputs, words),
                Kind::Numbers { dims, .. } => means(outputs, *dims, words),
            }
    }

    /// What the environments are given for `words`, `[E][W]`.
    pub fn applied<'a>(&'a mut self, words: &'a [i32]) -> Actions<'a> {
        self.applied.actions(words)
    }
}

/// `outputs` as `masks` leaves them, and whether they are finite where that can be seen here alone.
fn masked<'a>(
    buffer: &'a mut Vec<f32>,
    outputs: &'a [f32],
    masks: &[u8],
    (logits, rest): (usize, usize),
) -> (&'a [f32], bool) {
    if masks.is_empty() {
        return (outputs, true);
    }
    assert_eq!(masks.len() * (logits + rest), outputs.len() * logits, "masks");
    buffer.clear();
    let finite = extend_masked_rows(buffer, outputs, masks, (logits, rest));
    (buffer, finite)
}

impl Both {
    fn sample(&mut self, outputs: &[f32], words: &mut [i32], log_probs: &mut [f32]) -> bool {
        let envs = log_probs.len();
        self.split(outputs, envs);
        self.densities.resize(envs, 0.0);
        let mut finite = self.choices.sample(&self.logits, &mut self.chosen, log_probs);
        finite &= self.sampler.sample(&self.outputs, &mut self.drawn, &mut self.densities);
        log_probs.iter_mut().zip(&self.densities).for_each(|(sum, density)| *sum += density);
        self.join(words);
        finite
    }

    fn greedy(&mut self, outputs: &[f32], words: &mut [i32]) -> bool {
        self.split(outputs, words.len() / (self.choices.sizes.len() + self.dims));
        let mut finite = self.choices.greedy(&self.logits, &mut self.chosen);
        finite &= means(&self.outputs, self.dims, &mut self.drawn);
        self.join(words);
        finite
    }

    /// Takes the rows of `outputs` apart, and makes room for their actions.
    fn split(&mut self, outputs: &[f32], envs: usize) {
        let logits = self.choices.sizes.iter().sum::<usize>();
        let width = logits + 2 * self.dims;
        assert_eq!(outputs.len(), envs * width, "outputs");
        split_rows(outputs, (logits, width), &mut self.logits, &mut self.outputs);
        self.chosen.resize(envs * self.choices.sizes.len(), 0);
        self.drawn.resize(envs * self.dims, 0);
    }

    /// Writes choices and numbers as rows.
    fn join(&self, words: &mut [i32]) {
        let count = self.choices.sizes.len();
        join_rows(&self.chosen, &self.drawn, (count, count + self.dims), words);
    }
}

impl Choices {
    fn new(sizes: &[usize], rng: Rng) -> Self {
        Self {
            sizes: sizes.to_vec(),
            sampler: Sampler::new(rng),
            logits: Vec::new(),
            actions: Vec::new(),
            log_probs: Vec::new(),
        }
    }

    fn sample(&mut self, outputs: &[f32], words: &mut [i32], log_probs: &mut [f32]) -> bool {
        if let [_] = self.sizes[..] {
            return self.sampler.sample(outputs, words, log_probs);
        }
        log_probs.fill(0.0);
        let (mut finite, envs) = (true, log_probs.len());
        self.each(outputs, words, envs, |choice| {
            finite &= choice.sampler.sample(choice.logits, choice.actions, choice.log_probs);
            log_probs.iter_mut().zip(&*choice.log_probs).for_each(|(sum, part)| *sum += part);
        });
        finite
    }

    fn greedy(&mut self, outputs: &[f32], words: &mut [i32]) -> bool {
        if let [_] = self.sizes[..] {
            return greedy(outputs, words);
        }
        let (mut finite, envs) = (true, words.len() / self.sizes.len());
        self.each(outputs, words, envs, |choice| finite &= greedy(choice.logits, choice.actions));
        finite
    }

    /// Hands each choice's part of `outputs` to `choose`, and its actions to `words`.
    fn each(
        &mut self,
        outputs: &[f32],
        words: &mut [i32],
        envs: usize,
        mut choose: impl FnMut(Choice<'_>),
    ) {
        let Self { sizes, sampler, logits, actions, log_probs } = self;
        let (all, count) = (sizes.iter().sum::<usize>(), sizes.len());
        assert_eq!(outputs.len(), envs * all, "outputs");
        assert_eq!(words.len(), envs * count, "words");
        actions.resize(envs, 0);
        log_probs.resize(envs, 0.0);
        let mut start = 0;
        for (word, &size) in sizes.iter().enumerate() {
            logits.clear();
            for row in outputs.chunks_exact(all) {
                logits.extend_from_slice(&row[start..start + size]);
            }
            choose(Choice { sampler: &mut *sampler, logits, actions, log_probs });
            for (row, &action) in words.chunks_exact_mut(count).zip(&*actions) {
                row[word] = action;
            }
            start += size;
        }
    }
}

/// One choice of all environments.
struct Choice<'a> {
    sampler: &'a mut Sampler,
    /// `[E][n]`.
    logits: &'a [f32],
    actions: &'a mut [i32],
    log_probs: &'a mut [f32],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::log_softmax;

    fn sampler(spec: &ActionSpec) -> ActionSampler {
        ActionSampler::new(spec, ActionBounds::Clip, Rng::new(4, 0))
    }

    #[test]
    fn choices_are_independent_and_their_log_probabilities_add_up() {
        const DRAWS: usize = 60_000;
        let spec = ActionSpec::MultiDiscrete { sizes: vec![2, 3] };
        let row = [0.5, -0.5, 1.0, 0.0, -2.0];
        let (mut words, mut log_probs) = (vec![-1; 2 * DRAWS], vec![f32::NAN; DRAWS]);
        assert!(sampler(&spec).sample(&row.repeat(DRAWS), &[], &mut words, &mut log_probs));
        let (first, second) = (log_softmax(&row[..2]), log_softmax(&row[2..]));
        let mut counts = [[0_u32; 3]; 2];
        for (pair, &log_prob) in words.chunks_exact(2).zip(&log_probs) {
            let at = |word: i32| usize::try_from(word).expect("not negative");
            counts[at(pair[0])][at(pair[1])] += 1;
            let exact = first[at(pair[0])] + second[at(pair[1])];
            assert!(
                (f64::from(log_prob) - exact).abs() < 2e-6,
                "{pair:?}: {log_prob} is not {exact}"
            );
        }
        let mut chi_squared = 0.0;
        for (a, row) in counts.iter().enumerate() {
            for (b, &count) in row.iter().enumerate() {
                let expected = (first[a] + second[b]).exp() * DRAWS as f64;
                chi_squared += (f64::from(count) - expected).powi(2) / expected;
            }
        }
        assert!(chi_squared < 5.0 + 5.0 * 10.0_f64.sqrt(), "{chi_squared}: {counts:?}");
    }

    #[test]
    fn forbidden_choices_are_never_taken() {
        let row = [5.0, 0.0, 0.5, 3.0, 9.0];
        let mask = [0, 1, 1, 1, 0];
        for (spec, allowed) in [
            (ActionSpec::Discrete { n: 5 }, [&[1, 2, 3][..], &[]]),
            (ActionSpec::MultiDiscrete { sizes: vec![2, 3] }, [&[1], &[0, 1]]),
        ] {
            let (words_of, rows) = (spec.words(), 5_000);
            let (mut words, mut log_probs) = (vec![-1; words_of * rows], vec![f32::NAN; rows]);
            let mut sampler = sampler(&spec);
            let (outputs, masks) = (row.repeat(rows), mask.repeat(rows));
            assert!(sampler.sample(&outputs, &masks, &mut words, &mut log_probs));
            for action in words.chunks_exact(words_of) {
                assert!(action.iter().zip(allowed).all(|(a, set)| set.contains(a)), "{action:?}");
            }
            // Frequencies of what is left: the log-probabilities are those of the renormalised policy.
            let mean = log_probs.iter().map(|&p| f64::from(p).exp()).sum::<f64>() / rows as f64;
            let left = log_softmax(if words_of == 1 { &row[1..4] } else { &row[2..4] });
            let exact: f64 = left.iter().map(|p| (2.0 * p).exp()).sum();
            assert!((mean - exact).abs() < 0.02, "{mean} and {exact}");
            assert!(sampler.greedy(&outputs, &masks, &mut words));
            let best = if words_of == 1 { &[3][..] } else { &[1, 1] };
            assert!(words.chunks_exact(words_of).all(|action| action == best));
        }
    }

    #[test]
    fn outputs_that_are_not_finite_are_reported_even_where_forbidden() {
        for spec in [
            ActionSpec::Discrete { n: 4 },
            ActionSpec::MultiDiscrete { sizes: vec![2, 2] },
            ActionSpec::Continuous { low: vec![-1.0; 2], high: vec![1.0; 2] },
        ] {
            let mut sampler = sampler(&spec);
            let masks: &[&[u8]] = match spec {
                ActionSpec::Continuous { .. } => &[&[]],
                _ => &[&[], &[1, 0, 0, 1]],
            };
            for mask in masks {
                for at in 0..4 {
                    let mut outputs = [0.5; 4];
                    outputs[at] = f32::NAN;
                    let mut words = vec![0; spec.words()];
                    assert!(!sampler.sample(&outputs, mask, &mut words, &mut [0.0]), "{at}");
                    assert!(!sampler.greedy(&outputs, mask, &mut words), "{at}");
                    assert!(sampler.sample(&[0.5; 4], mask, &mut words, &mut [0.0]));
                }
            }
        }
    }

    #[test]
    fn greedy_takes_the_best_of_each_choice() {
        let spec = ActionSpec::MultiDiscrete { sizes: vec![2, 3] };
        let mut words = [-1; 4];
        let outputs = [0.0, 1.0, 3.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.5];
        assert!(sampler(&spec).greedy(&outputs, &[], &mut words));
        assert_eq!(words, [1, 0, 0, 2]);
    }

    #[test]
    fn of_both_each_is_drawn_as_alone_and_the_log_probability_is_of_both() {
        const DRAWS: usize = 40_000;
        let spec = ActionSpec::Hybrid { sizes: vec![2, 3], low: vec![-1.0; 2], high: vec![1.0; 2] };
        let row = [0.5, -0.5, 1.0, 9.0, -2.0, 0.3, -0.7, -0.5, 0.2];
        let mask = [1, 1, 1, 0, 1];
        let (mut words, mut log_probs) = (vec![-1; 4 * DRAWS], vec![f32::NAN; DRAWS]);
        let mut sampler = sampler(&spec);
        let (outputs, masks) = (row.repeat(DRAWS), mask.repeat(DRAWS));
        assert!(sampler.sample(&outputs, &masks, &mut words, &mut log_probs));
        let (first, second) = (log_softmax(&row[..2]), log_softmax(&[row[2], row[4]]));
        let (mut sums, mut ones) = ([0.0; 2], 0);
        for (action, &log_prob) in words.chunks_exact(4).zip(&log_probs) {
            let at = |word: i32| usize::try_from(word).expect("not negative");
            assert_ne!(action[1], 1, "forbidden");
            ones += action[0];
            let mut exact = first[at(action[0])] + second[at(action[1]) / 2];
            for dim in 0..2 {
                let u = f64::from(f32::from_bits(action[2 + dim].cast_unsigned()));
                sums[dim] += u;
                let (mean, raw) = (f64::from(row[5 + dim]), f64::from(row[7 + dim]));
                let log_std = -1.5 + 3.5 * ((raw + 1.5) / 3.5).tanh();
                let z = (u - mean) / log_std.exp();
                exact -= 0.5 * z * z + log_std + 0.5 * std::f64::consts::TAU.ln();
            }
            assert!((f64::from(log_prob) - exact).abs() < 1e-4, "{log_prob} is not {exact}");
        }
        for (sum, mean) in sums.iter().zip(&row[5..7]) {
            assert!((sum / DRAWS as f64 - f64::from(*mean)).abs() < 0.04, "{sum}");
        }
        let share = f64::from(ones) / DRAWS as f64;
        assert!((share - first[1].exp()).abs() < 0.02, "{share}");

        let mut best = [0; 4];
        assert!(sampler.greedy(&row, &mask, &mut best));
        assert_eq!(best[..2], [0, 0]);
        assert_eq!([best[2], best[3]].map(|w| f32::from_bits(w.cast_unsigned())), [0.3, -0.7]);
        assert!(!sampler.greedy(&[f32::NAN; 9], &mask, &mut best));
        let Actions::Hybrid(given) = sampler.applied(&words[..4]) else { panic!("both") };
        assert_eq!(given[..2], words[..2]);
    }

    #[test]
    fn numbers_are_drawn_and_brought_within_their_bounds() {
        let spec = ActionSpec::Continuous { low: vec![-2.0], high: vec![2.0] };
        let mut sampler = sampler(&spec);
        let (mut words, mut log_probs) = ([0; 64], [0.0; 64]);
        assert!(sampler.sample(&[0.0, 0.0].repeat(64), &[], &mut words, &mut log_probs));
        let drawn = words.map(|word| f32::from_bits(word.cast_unsigned()));
        let Actions::Continuous(within) = sampler.applied(&words) else { panic!("numbers") };
        assert!(drawn.iter().any(|u| u.abs() > 1.0), "some are beyond");
        for (u, a) in drawn.iter().zip(within) {
            assert_eq!(*a, (2.0 * u).clamp(-2.0, 2.0));
        }
    }
}
