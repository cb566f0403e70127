//! Scales of axes, with ticks at round numbers.

/// A range of values along an axis of `length` units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Maps `low..high` to `start..end`; an empty range is widened.
    pub(super) fn new(low: f64, high: f64, start: f64, end: f64) -> Self {
        let (low, high) =
            if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let high = if high > low { high } else { low + low.abs().max(1e-9) * 0.1 };
        Self { low, high, start, end }
    }

    /// The same, from and to round numbers.
    pub(super) fn rounded(low: f64, high: f64, start: f64, end: f64) -> Self {
        let scale = Self::new(low, high, start, end);
        let step = step(scale.high - scale.low);
        Self {
            low: (scale.low / step).floor() * step,
            high: (scale.high / step).ceil() * step,
            ..scale
        }
    }

    /// Where a value stands.
    pub(super) fn at(&self, value: f64) -> f64 {
        let part = (value - self.low) / (self.high - self.low);
        self.start + part * (self.end - self.start)
    }

    /// Round values within the range, three to ten of them.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let step = step(self.high - self.low);
        let first = (self.low / step - 1e-9).ceil();
        (0..20)
            .map(|n| (first + f64::from(n)) * step)
            .take_while(|tick| *tick <= self.high + step * 1e-9)
            // Adding up leaves -0 and 1e-17 where 0 is meant.
            .map(|tick| if tick.abs() < step * 1e-6 { 0.0 } else { tick })
            .collect()
    }
}

/// The round step (1, 2 or 5 times a power of ten) that gives about five ticks.
fn step(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = match rough / power {
        f if f < 1.5 => 1.0,
        f if f < 3.5 => 2.0,
        f if f < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(
            Scale::rounded(0.0, 97_753.0, 0.0, 1.0).ticks(),
            [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0, 100_000.0]
        );
        let ticks = Scale::rounded(-0.33, 0.32, 0.0, 1.0).ticks();
        assert_eq!((ticks.len(), ticks[2]), (5, 0.0), "{ticks:?}");
        assert!((ticks[0] + 0.4).abs() < 1e-9 && (ticks[4] - 0.4).abs() < 1e-9, "{ticks:?}");
        for (low, high) in [(0.0, 1e-7), (5.0, 5.0), (-3.0, 1e9), (f64::NAN, 1.0), (0.0, 0.0)] {
            let count = Scale::rounded(low, high, 0.0, 100.0).ticks().len();
            assert!((2..=11).contains(&count), "{low} to {high}: {count}");
        }
    }

    #[test]
    fn an_axis_may_point_down() {
        let scale = Scale::new(0.0, 10.0, 200.0, 0.0);
        assert_eq!((scale.at(0.0), scale.at(10.0), scale.at(2.5)), (200.0, 0.0, 150.0));
    }
}
