//! Formats numbers for people: the same way on the console, in the live view, the report and the benchmarks.

/// Three significant digits and an SI prefix: `1.23M`, `45k`, `0.5`, `4.5e-5`.
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
        s if s < 1.0 => return three_digits(value),
        _ => {}
    }
    let (factor, prefix) =
        PREFIXES.iter().find(|(factor, _)| size >= *factor).copied().unwrap_or((1.0, ""));
    format!("{}{prefix}", three_digits(value / factor))
}

/// At most three significant digits, no zeros at the end.
fn three_digits(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.1 => 2,
        size if size >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

/// Bytes in binary units: `2.50 GiB`, `3.0 MiB`, `12 KiB`.
#[must_use]
pub fn bytes(value: f64) -> String {
    match value {
        v if v >= 1024.0 * 1024.0 * 1024.0 => format!("{:.2} GiB", v / 1_073_741_824.0),
        v if v >= 1024.0 * 1024.0 => format!("{:.1} MiB", v / 1_048_576.0),
        v => format!("{:.0} KiB", v / 1024.0),
    }
}

/// A time in the unit that fits: `1.5 h`, `2.0 min`, `3.40 s`, `123 µs`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 3600.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 120.0 => format!("{:.1} min", s / 60.0),
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{} ms", three_digits(s * 1e3)),
        s if s >= 1e-6 => format!("{} µs", three_digits(s * 1e6)),
        s => format!("{} ns", three_digits(s * 1e9)),
    }
}

/// A running clock: `1:02:03`, `2:03`, or `3.4 s`.
#[must_use]
pub fn clock(seconds: f64) -> String {
    #[expect(clippy::cast_sign_loss, reason = "not below 0")]
    let whole = seconds.max(0.0) as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{:.1} s", seconds.max(0.0)),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

/// A share of 1: `0 %`, `3.2 %`, `45 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p < 0.05 => "0 %".to_owned(),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
    #[test]
    fn other_quantities_have_their_units() {
        assert_eq!(duration(0.000_123_4), "123 µs");
        assert_eq!([5_400.0, 120.0, 3.4].map(duration), ["1.5 h", "2.0 min", "3.40 s"]);
        assert_eq!(bytes(3.0 * 1024.0 * 1024.0), "3.0 MiB");
        assert_eq!([3.42, 125.0, 3_725.0, -1.0].map(clock), ["3.4 s", "2:05", "1:02:05", "0.0 s"]);
        assert_eq!([0.000_1, 0.032, 0.451].map(percent), ["0 %", "3.2 %", "45 %"]);
    }
}
