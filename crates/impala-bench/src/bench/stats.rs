//! Figures with their spread.

use std::fmt;

use serde::Serialize;

/// Median, smallest and largest of the repeats of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spread {
    /// Median; the mean of the two in the middle if there is no middle.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one sample; all zero of none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Self { median, min, max }
    }

    /// Of one figure of each repeat.
    pub fn over<T>(repeats: &[T], figure: impl Fn(&T) -> f64) -> Self {
        Self::of(&repeats.iter().map(figure).collect::<Vec<_>>())
    }
}

/// `median (min .. max)`, with three digits or so each.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        let text = format!("{:>9} ({} .. {})", Short(*median), Short(*min), Short(*max));
        f.pad(&text)
    }
}

/// A number for people: about four digits, k, M and G for large ones.
#[derive(Debug, Clone, Copy)]
pub struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (x, unit) = match self.0.abs() {
            a if a >= 1e9 => (self.0 / 1e9, "G"),
            a if a >= 1e6 => (self.0 / 1e6, "M"),
            a if a >= 1e4 => (self.0 / 1e3, "k"),
            _ => (self.0, ""),
        };
        let decimals = match x.abs() {
            a if a >= 100.0 => 0,
            a if a >= 1.0 => 2,
            a if a >= 0.01 || a == 0.0 => 4,
            _ => 6,
        };
        f.pad(&format!("{x:.decimals$}{unit}"))
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

    #[test]
    fn numbers_are_short() {
        let short: Vec<_> = [0.012_345, 0.000_045, 1.5, 123.4, 12_345.0, 2_500_000.0, 1.2e10]
            .map(|x| Short(x).to_string())
            .into();
        assert_eq!(short, ["0.0123", "0.000045", "1.50", "123", "12.35k", "2.50M", "12.00G"]);
    }
}
