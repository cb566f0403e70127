//! Axes: ticks at round numbers, and numbers as people read them.

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

/// A number with three digits and an SI prefix: `1.23M`, `45k`.
#[must_use]
pub fn si(value: f64) -> String {
    const PREFIXES: &[(f64, &str)] = &[(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "-".to_owned() };
    }
    let size = value.abs() * 1.000_5;
    // Below 1 a plain decimal reads better than 50m, and a power of ten better than many zeros.
    match size {
        s if s < 0.000_999 => return format!("{value:.1e}").replace(".0e", "e"),
        s if s < 1.0 => return short(value),
        _ => {}
    }
    let (factor, prefix) =
        PREFIXES.iter().find(|(factor, _)| size >= *factor).copied().unwrap_or((1.0, ""));
    format!("{}{prefix}", short(value / factor))
}

/// At most three significant digits, no zeros at the end.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.1 => 2,
        size if size >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    match text.split_once('.') {
        Some((whole, "")) => whole.to_owned(),
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

/// Bytes in binary units.
pub(super) fn bytes(value: f64) -> String {
    match value {
        v if v >= 1024.0 * 1024.0 * 1024.0 => format!("{:.2} GiB", v / 1_073_741_824.0),
        v if v >= 1024.0 * 1024.0 => format!("{:.1} MiB", v / 1_048_576.0),
        v => format!("{:.0} KiB", v / 1024.0),
    }
}

/// Seconds in the unit that fits.
#[must_use]
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 3600.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 120.0 => format!("{:.1} min", s / 60.0),
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{} ms", short(s * 1e3)),
        s if s >= 1e-6 => format!("{} µs", short(s * 1e6)),
        s => format!("{} ns", short(s * 1e9)),
    }
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

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (475.7, "476"),
            (1_234_567.0, "1.23M"),
            (45_000.0, "45k"),
            (0.25, "0.25"),
            (0.002, "0.002"),
            (0.000_25, "2.5e-4"),
            (-0.5, "-0.5"),
            (1000.0, "1k"),
            (999_999.9, "1M"),
            (20.0, "20"),
        ] {
            assert_eq!(si(value), text, "{value}");
        }
        assert_eq!(time(0.000_123_4), "123 µs");
        assert_eq!(bytes(3.0 * 1024.0 * 1024.0), "3.0 MiB");
    }
}
