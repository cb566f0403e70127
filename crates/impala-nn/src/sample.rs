//! Samples discrete actions from logits: softmax, inverse distribution function and log-probability, 16 observations at
//! a time.

use super::math::{exp, ln};
use crate::simd::{Kernel, LANES, Simd};
use crate::simd::{Level, launch};
use impala_env::rng::Rng;

/// Draws actions of a categorical policy. One uniform number per observation, in their order.
#[derive(Debug)]
pub struct Sampler {
    level: Level,
    rng: Rng,
    /// `[A]`, for more actions than fit registers.
    columns: Vec<Column>,
}

impl Sampler {
    /// A sampler that draws from `rng`.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { level: Level::active(), rng, columns: Vec::new() }
    }

    /// Draws an action for each row of `logits` (`[E][A]`) with the probabilities of its softmax, and
    /// writes the actions (`[E]`, from 0 to A - 1) and the logarithms of their probabilities (`[E]`).
    ///
    /// Returns false if a logit is not finite: the network has diverged, and though all actions are in
    /// range, those of that row mean nothing.
    ///
    /// # Panics
    /// If there are no actions to fill, or lengths do not agree.
    #[must_use = "actions from logits that are not finite mean nothing"]
    pub fn sample(&mut self, logits: &[f32], actions: &mut [i32], log_probs: &mut [f32]) -> bool {
        let count = actions_per_row(logits, actions);
        assert_eq!(log_probs.len(), actions.len(), "log-probabilities");
        // Allocates in the first call only.
        self.columns.resize(count, Column::default());
        let Self { level, rng, columns } = self;
        launch(*level, Sample { logits, rng, columns, actions, log_probs })
    }
}

/// Writes the most likely action of each row of `logits` (`[E][A]`), the first of those that are equal.
/// Returns false if a logit is not finite.
///
/// # Panics
/// If there are no actions to fill, or lengths do not agree.
#[must_use = "actions from logits that are not finite mean nothing"]
pub fn greedy(logits: &[f32], actions: &mut [i32]) -> bool {
    let count = actions_per_row(logits, actions);
    for (action, row) in actions.iter_mut().zip(logits.chunks_exact(count)) {
        let mut best = (0, row[0]);
        for (index, &logit) in (0..).zip(row) {
            if logit > best.1 {
                best = (index, logit);
            }
        }
        *action = best.0;
    }
    logits.iter().fold(true, |finite, logit| finite & logit.is_finite())
}

fn actions_per_row(logits: &[f32], actions: &[i32]) -> usize {
    let count = logits.len() / actions.len();
    assert!(
        count > 0 && count * actions.len() == logits.len(),
        "{} logits for {} actions",
        logits.len(),
        actions.len()
    );
    count
}

/// One action of 8 observations: logits less the largest of their row, and the sums of the weights
/// `e^x` up to this action.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    shifted: [f32; LANES],
    cumulative: [f32; LANES],
}

struct Sample<'a> {
    logits: &'a [f32],
    rng: &'a mut Rng,
    columns: &'a mut [Column],
    actions: &'a mut [i32],
    log_probs: &'a mut [f32],
}

impl Kernel for Sample<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        // A number of columns that is known to the compiler stays in registers.
        match self.columns.len() {
            2 => Sample { columns: &mut [Column::default(); 2], ..self }.all(s),
            3 => Sample { columns: &mut [Column::default(); 3], ..self }.all(s),
            4 => Sample { columns: &mut [Column::default(); 4], ..self }.all(s),
            6 => Sample { columns: &mut [Column::default(); 6], ..self }.all(s),
            _ => self.all(s),
        }
    }
}

impl Sample<'_> {
    #[inline(always)]
    fn all<S: Simd>(self, s: S) -> bool {
        let Self { logits, rng, columns, actions, log_probs } = self;
        let count = columns.len();
        // Stays 0 until something that is not finite is multiplied by 0.
        let mut flaw = s.splat(0.0);
        let (whole, rest) = actions.as_chunks_mut::<LANES>();
        let (whole_log_probs, rest_log_probs) = log_probs.as_chunks_mut::<LANES>();
        let mut rows = logits.chunks_exact(LANES * count);
        for ((rows, actions), log_probs) in (&mut rows).zip(whole).zip(whole_log_probs) {
            for (j, column) in columns.iter_mut().enumerate() {
                for n in 0..LANES {
                    column.shifted[n] = rows[n * count + j];
                }
            }
            let mut uniform = [0.0; LANES];
            for uniform in &mut uniform {
                *uniform = rng.unit_f32();
            }
            draw(s, columns, &uniform, &mut flaw, actions, log_probs);
        }
        if !rest.is_empty() {
            let (mut uniform, mut last, mut last_log_probs) =
                ([0.0; LANES], [0; LANES], [0.0; LANES]);
            columns.fill(Column::default());
            for (n, row) in rows.remainder().chunks_exact(count).enumerate() {
                uniform[n] = rng.unit_f32();
                for (column, &x) in columns.iter_mut().zip(row) {
                    column.shifted[n] = x;
                }
            }
            draw(s, columns, &uniform, &mut flaw, &mut last, &mut last_log_probs);
            rest.copy_from_slice(&last[..rest.len()]);
            rest_log_probs.copy_from_slice(&last_log_probs[..rest_log_probs.len()]);
        }
        let mut flaws = [0.0; LANES];
        s.store(flaw, &mut flaws);
        flaws == [0.0; LANES]
    }
}

/// Draws 8 actions from the logits in `columns`.
#[inline(always)]
fn draw<S: Simd>(
    s: S,
    columns: &mut [Column],
    uniform: &[f32; LANES],
    flaw: &mut S::V,
    actions: &mut [i32; LANES],
    log_probs: &mut [f32; LANES],
) {
    /// 1.5 * 2^23: a whole number added to it is in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    /// The smallest step of the uniform numbers.
    const MIN_UNIFORM: f32 = 1.0 / 16_777_216.0;
    let minus = |x: S::V| s.mul(x, s.splat(-1.0));
    let mut max = s.splat(f32::NEG_INFINITY);
    for column in &*columns {
        let x = s.load(&column.shifted);
        max = s.max(max, x);
        *flaw = s.mul_add(x, s.splat(0.0), *flaw);
    }
    let minus_max = minus(max);
    let mut total = s.splat(0.0);
    for column in &mut *columns {
        let shifted = s.add(s.load(&column.shifted), minus_max);
        total = s.add(total, exp(s, shifted));
        s.store(shifted, &mut column.shifted);
        s.store(total, &mut column.cumulative);
    }
    // The action is the first whose sum is beyond `u * total`. As u is at most 1 - 2^-24, the product is
    // below the total after rounding too, so there is one, and never one whose weight was rounded away;
    // as u is not 0, nor one before them whose weight is next to nothing.
    let uniform = s.max(s.splat(MIN_UNIFORM), s.load(uniform));
    let minus_threshold = minus(s.mul(uniform, total));
    // The last one is taken unless an earlier one is found: NaN finds none.
    let [earlier @ .., last] = columns else {
        return;
    };
    let mut index = s.splat(ROUND + earlier.len() as f32);
    let (mut action, mut shifted) = (index, s.load(&last.shifted));
    for column in earlier.iter().rev() {
        index = s.add(index, s.splat(-1.0));
        let beyond = s.add(s.load(&column.cumulative), minus_threshold);
        action = s.where_positive(beyond, index, action);
        shifted = s.where_positive(beyond, s.load(&column.shifted), shifted);
    }
    s.store(s.add(shifted, minus(ln(s, total))), log_probs);
    let mut rounded = [0.0; LANES];
    s.store(action, &mut rounded);
    for n in 0..LANES {
        actions[n] = rounded[n].to_bits().cast_signed() - ROUND.to_bits().cast_signed();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sampler(level: Level, seed: u64) -> Sampler {
        Sampler { level, ..Sampler::new(Rng::new(seed, 0)) }
    }

    /// Log-probabilities of one row of logits, by the definition.
    pub(crate) fn log_softmax(row: &[f32]) -> Vec<f64> {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shifted: Vec<f64> = row.iter().map(|&x| f64::from(x) - f64::from(max)).collect();
        let total: f64 = shifted.iter().map(|x| x.exp()).sum();
        shifted.iter().map(|x| x - total.ln()).collect()
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        const DRAWS: usize = 60_000;
        let rows = [
            &[0.5, -1.0][..],
            &[3.0],
            &[100.0, 101.0, 99.5, 100.2, 97.0, 101.5],
            &[0.1, -0.4, 0.0, 2.0, 0.3, 0.2, 0.1, 0.9, -3.0, -0.1, 1.0],
        ];
        for (level, row) in Level::all().into_iter().flat_map(|level| rows.map(|row| (level, row)))
        {
            let logits = row.repeat(DRAWS);
            let (mut actions, mut log_probs) = (vec![-1; DRAWS], vec![0.0; DRAWS]);
            assert!(sampler(level, 11).sample(&logits, &mut actions, &mut log_probs));
            let mut counts = vec![0_u32; row.len()];
            for &action in &actions {
                counts[usize::try_from(action).expect("in range")] += 1;
            }
            let expected: Vec<f64> =
                log_softmax(row).iter().map(|x| x.exp() * DRAWS as f64).collect();
            let chi_squared: f64 =
                counts.iter().zip(&expected).map(|(&n, e)| (f64::from(n) - e).powi(2) / e).sum();
            // Mean A - 1, variance 2 (A - 1): beyond 5 standard deviations something is wrong.
            let degrees = row.len() as f64 - 1.0;
            assert!(
                chi_squared <= degrees + 5.0 * (2.0 * degrees).sqrt(),
                "{row:?}: {chi_squared}, {counts:?}"
            );
        }
    }

    #[test]
    fn log_probabilities_are_right_to_1e6() {
        for level in Level::all() {
            let mut rng = Rng::new(5, 0);
            for (rows, count) in [(1, 2), (3, 1), (8, 3), (16, 2), (29, 18), (64, 6)] {
                for scale in [0.01, 1.0, 5.0] {
                    let logits: Vec<f32> = (0..rows * count)
                        .map(|_| (scale * rng.normal_f64()) as f32 + 7.0)
                        .collect();
                    let (mut actions, mut log_probs) = (vec![-1; rows], vec![0.0; rows]);
                    assert!(sampler(level, 2).sample(&logits, &mut actions, &mut log_probs));
                    for ((row, &action), &log_prob) in
                        logits.chunks(count).zip(&actions).zip(&log_probs)
                    {
                        let exact = log_softmax(row)[usize::try_from(action).expect("in range")];
                        let error = (f64::from(log_prob) - exact).abs();
                        assert!(
                            error <= 1e-6 * exact.abs().max(1.0),
                            "{row:?} {action}: {log_prob} is {error:e} off"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn one_uniform_number_a_row_whatever_the_instructions() {
        let logits: Vec<f32> = (0..11 * 4).map(|i| (i as f32).sin()).collect();
        let draw = |level: Level, rows: usize| {
            let mut sampler = sampler(level, 9);
            let (mut actions, mut log_probs) = (vec![-1; rows], vec![0.0; rows]);
            assert!(sampler.sample(&logits[..rows * 4], &mut actions, &mut log_probs));
            (actions, sampler.rng.next_u64())
        };
        for level in Level::all() {
            assert_eq!(draw(Level::BASELINE, 11), draw(level, 11), "{}", level.name());
        }
        assert_eq!(draw(Level::active(), 3).0, draw(Level::active(), 11).0[..3]);
        let mut rng = Rng::new(9, 0);
        (0..11).for_each(|_| _ = rng.unit_f32());
        assert_eq!(draw(Level::active(), 11).1, rng.next_u64());
    }

    #[test]
    fn impossible_actions_are_never_drawn() {
        let row = [-1e30_f32, 0.0, -200.0, 0.0, -1e30];
        let logits = row.repeat(20_000);
        let (mut actions, mut log_probs) = (vec![-1; 20_000], vec![0.0; 20_000]);
        assert!(sampler(Level::active(), 1).sample(&logits, &mut actions, &mut log_probs));
        assert!(actions.iter().all(|a| [1, 3].contains(a)));
        assert!(log_probs.iter().all(|p| (p + std::f32::consts::LN_2).abs() < 1e-6));
    }

    #[test]
    fn a_uniform_number_of_zero_takes_nothing_impossible() {
        struct Zero<'a>(&'a mut [Column], &'a mut [i32; LANES]);

        impl Kernel for Zero<'_> {
            type Output = ();

            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                let mut flaw = s.splat(0.0);
                draw(s, self.0, &[0.0; LANES], &mut flaw, self.1, &mut [0.0; LANES]);
            }
        }

        for level in Level::all() {
            let column = |z: f32| Column { shifted: [z; LANES], ..Column::default() };
            let mut actions = [-1; LANES];
            let mut columns = [column(-1e30), column(-1e30), column(2.0), column(0.0)];
            launch(level, Zero(&mut columns, &mut actions));
            assert_eq!(actions, [2; LANES]);
        }
    }

    #[test]
    fn logits_that_are_not_finite_are_reported_and_harmless() {
        for level in Level::all() {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for at in 0..27 {
                    let mut sampler = sampler(level, 3);
                    let mut logits = [0.25; 27];
                    logits[at] = bad;
                    let (mut actions, mut log_probs) = ([-1; 9], [0.0; 9]);
                    assert!(
                        !sampler.sample(&logits, &mut actions, &mut log_probs),
                        "{bad} at {at}"
                    );
                    assert!(actions.iter().all(|action| (0..3).contains(action)), "{actions:?}");
                    assert!(!greedy(&logits, &mut actions));
                    assert!(actions.iter().all(|action| (0..3).contains(action)), "{actions:?}");
                    // Nothing of it is left for the next call.
                    assert!(sampler.sample(&[0.5; 3], &mut actions[..1], &mut log_probs[..1]));
                }
            }
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        let mut actions = [-1; 3];
        assert!(greedy(&[1.0, 3.0, 3.0, -1.0, -2.0, -3.0, 0.0, 0.0, 0.5], &mut actions));
        assert_eq!(actions, [1, 0, 2]);
    }

    #[test]
    #[should_panic(expected = "5 logits for 2 actions")]
    fn lengths_must_agree() {
        let _ = greedy(&[0.0; 5], &mut [0; 2]);
    }
}
