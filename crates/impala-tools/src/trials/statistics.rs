//! The interquartile mean and its confidence interval, as in Agarwal et al. 2021 (arXiv 2108.13264).

use impala_env::rng::Rng;
use serde::{Deserialize, Serialize};

/// Resamples of an interval.
const RESAMPLES: usize = 10_000;
/// The resamples of the same figures are the same wherever they are drawn.
const SEED: u64 = 2021;

/// An interquartile mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Interquartile mean.
    pub iqm: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    /// Of runs that are grouped by environment; `None` of no run.
    ///
    /// The interval is between the percentiles 2.5 and 97.5 of the interquartile means of resamples. A resample
    /// draws from each environment as many runs as it has, with replacement.
    #[must_use]
    pub fn of(strata: &[Vec<f64>]) -> Option<Self> {
        Self::resampled(strata, RESAMPLES)
    }

    /// The same with so many resamples: an interval that is drawn needs fewer than one that is printed.
    #[must_use]
    pub fn resampled(strata: &[Vec<f64>], resamples: usize) -> Option<Self> {
        let iqm = interquartile_mean(strata.concat())?;
        let mut rng = Rng::new(SEED, 0);
        let mut means: Vec<f64> = (0..resamples)
            .filter_map(|_| {
                let drawn = strata.iter().flat_map(|runs| {
                    (0..runs.len()).map(|_| runs[rng.below(runs.len())]).collect::<Vec<_>>()
                });
                interquartile_mean(drawn.collect())
            })
            .collect();
        means.sort_by(f64::total_cmp);
        Some(Self { iqm, low: percentile(&means, 0.025), high: percentile(&means, 0.975) })
    }
}

/// Mean without the quarter of the smallest and the quarter of the largest values, both rounded down, as
/// `scipy.stats.trim_mean(values, 0.25)` has it; `None` of nothing.
fn interquartile_mean(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let cut = values.len() / 4;
    let kept = &values[cut..values.len() - cut];
    (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
}

/// In proportion between the neighbours, as numpy's default has it.
#[expect(clippy::cast_sign_loss, reason = "a position within the values")]
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let below = (at.floor() as usize).min(last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    low + (high - low) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interquartile_mean_is_that_of_scipy() {
        let iqm = |values: &[f64]| interquartile_mean(values.to_vec());
        // scipy.stats.trim_mean(values, 0.25)
        assert_eq!(iqm(&[1.0, 2.0, 3.0, 100.0]), Some(2.5));
        assert_eq!(iqm(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some(3.0));
        assert_eq!(iqm(&[0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 50.0, 70.0]), Some(2.5));
        assert_eq!(iqm(&[1.0, 2.0, 6.0]), Some(3.0), "a quarter of three is none");
        assert_eq!(iqm(&[]), None);
    }

    #[test]
    fn percentiles_are_those_of_numpy() {
        assert_eq!(percentile(&[1.0, 2.0, 4.0, 8.0], 0.25), 1.75);
        assert_eq!([0.0, 0.5, 1.0].map(|p| percentile(&[3.0, 7.0], p)), [3.0, 5.0, 7.0]);
        assert_eq!(percentile(&[5.0], 0.975), 5.0);
    }

    #[test]
    fn an_interval_holds_its_mean_and_is_the_same_again() {
        let runs = vec![vec![10.0, 12.0, 9.0, 30.0, 11.0]];
        let found = Estimate::of(&runs).expect("runs");
        assert_eq!(found.iqm, 11.0);
        assert!(9.0 <= found.low && found.low < 11.0 && 11.0 < found.high && found.high <= 30.0);
        assert_eq!(Estimate::of(&runs), Some(found));
        let one = Estimate::of(&[vec![4.0]]).expect("a run");
        assert_eq!((one.iqm, one.low, one.high), (4.0, 4.0, 4.0));
        assert_eq!((Estimate::of(&[]), Estimate::of(&[vec![]])), (None, None));
    }

    #[test]
    fn two_values_give_the_interval_that_can_be_worked_out() {
        // Resamples of {0, 1} are 0, 1/2 and 1 with odds 1/4, 1/2, 1/4: both ends lie in the outer quarters.
        let found = Estimate::of(&[vec![0.0, 1.0]]).expect("runs");
        assert_eq!((found.iqm, found.low, found.high), (0.5, 0.0, 1.0));
    }

    #[test]
    fn environments_are_resampled_apart() {
        // Each environment always gives the same, so there is nothing to be unsure of: a resample over all runs
        // together would now and then take more of one than of the other.
        let strata = [vec![0.0; 4], vec![1.0; 4]];
        let found = Estimate::of(&strata).expect("runs");
        assert_eq!((found.iqm, found.low, found.high), (0.5, 0.5, 0.5));
        let together = Estimate::of(&[strata.concat()]).expect("runs");
        assert!(together.low < 0.5 && 0.5 < together.high, "{together:?}");
    }
}
