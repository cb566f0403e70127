//! Median, smallest and largest value of repeated measurements.

use std::fmt;

use impala_rl::metrics::human::si;
use impala_rl::tune::median;
use serde::Serialize;

/// Median, smallest and largest of the repeats of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Spread {
    /// Median; the mean of the two in the middle if there is no middle.
    pub(crate) median: f64,
    /// Smallest.
    pub(crate) min: f64,
    /// Largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one sample; all zero of none.
    #[must_use]
    pub(crate) fn of(samples: &[f64]) -> Self {
        let by = |a: &f64, b: &f64| a.total_cmp(b);
        let (Some(min), Some(max)) =
            (samples.iter().copied().min_by(by), samples.iter().copied().max_by(by))
        else {
            return Self::default();
        };
        Self { median: median(samples.iter().copied()), min, max }
    }

    /// Of one figure of each repeat.
    pub(crate) fn over<T>(repeats: &[T], figure: impl Fn(&T) -> f64) -> Self {
        Self::of(&repeats.iter().map(figure).collect::<Vec<_>>())
    }
}

/// `median (min .. max)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        let text = format!("{:>9} ({} .. {})", si(*median), si(*min), si(*max));
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_ordered() {
        let spread = |samples: &[f64]| {
            let Spread { median, min, max } = Spread::of(samples);
            (median, min, max)
        };
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (2.5, 1.0, 4.0));
        assert_eq!(spread(&[]), (0.0, 0.0, 0.0));
        assert_eq!(Spread::over(&[1_u32, 5], |&n| f64::from(n)).max, 5.0);
    }
}
