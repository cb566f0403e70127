//! Plots the histogram of policy lags, without its rarest values.

use super::bars::StackedBars;
use super::run_data::RunData;

/// One unroll of so many may lie beyond the axis, and one of fewer.
const RARE: u64 = 1000;
/// An axis that would be longer by this factor is cut.
const WORTH_CUTTING: u64 = 2;

/// Buckets that are shown, and what lies beyond them: how many unrolls, and the largest lag.
fn cut(buckets: &[[u64; 3]]) -> (&[[u64; 3]], Option<(u64, u64)>) {
    let count: u64 = buckets.iter().map(|bucket| bucket[2]).sum();
    let Some(&[_, largest, _]) = buckets.last() else { return (buckets, None) };
    let mut beyond = 0;
    let mut shown = buckets.len();
    while shown > 1 && beyond + buckets[shown - 1][2] <= (count / RARE).max(1) {
        shown -= 1;
        beyond += buckets[shown][2];
    }
    let end = buckets[shown - 1][1];
    if largest < WORTH_CUTTING * (end + 1) {
        return (buckets, None);
    }
    (&buckets[..shown], Some((beyond, largest)))
}

pub(super) fn lag_histogram(run: &RunData, title: String) -> StackedBars {
    bars(&run.last().lag_histogram, title)
}

fn bars(buckets: &[[u64; 3]], title: String) -> StackedBars {
    let sum = buckets.iter().map(|bucket| bucket[2]).sum::<u64>().max(1) as f64;
    // Wide buckets are drawn as high as their values on average, so that areas can be compared.
    let bar = |&[low, high, n]: &[u64; 3]| {
        let width = (high - low + 1) as f64;
        (low as f64 - 0.5, high as f64 + 0.5, vec![100.0 * n as f64 / sum / width])
    };
    let (shown, beyond) = cut(buckets);
    let mut x_label = "updates between acting and learning".to_owned();
    if let Some((n, largest)) = beyond {
        let unrolls = if n == 1 { "unroll" } else { "unrolls" };
        x_label.push_str(&format!("; beyond: {n} {unrolls}, up to {largest}"));
    }
    StackedBars {
        title,
        x_label,
        parts: vec!["of all unrolls, per update of lag"],
        bars: shown.iter().map(bar).collect(),
        percent: false,
        names: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::frame::attributes;

    /// Where bars end, and the text.
    fn drawn(buckets: &[[u64; 3]]) -> (f64, String) {
        let chart = bars(buckets, "t".to_owned());
        (chart.bars[chart.bars.len() - 1].1, chart.svg())
    }

    #[test]
    fn one_outlier_does_not_stretch_the_axis() {
        // Few unrolls and many: one of them was late.
        for n in [10, 100_000] {
            let (end, svg) = drawn(&[[3, 3, n], [4, 4, n], [5, 5, n], [384, 447, 1]]);
            assert_eq!(end, 5.5);
            assert!(svg.contains("; beyond: 1 unroll, up to 447"), "{svg}");
            // What is shown fills the plot: three bars of the same width.
            let widths = attributes(&svg, "rect class=\"f0\" x", "width");
            let wide = widths.iter().filter(|&&width| width > 150.0).count();
            assert_eq!(wide, 3, "{widths:?}");
        }
        let (end, svg) = drawn(&[[3, 3, 3000], [200, 223, 1], [384, 447, 2]]);
        assert_eq!(end, 3.5);
        assert!(svg.contains("; beyond: 3 unrolls, up to 447"), "{svg}");
    }

    #[test]
    fn what_is_common_or_near_is_shown() {
        for buckets in [
            &[[3, 3, 100], [384, 447, 2]][..],
            &[[3, 3, 3000], [384, 447, 4]],
            &[[3, 3, 3000], [6, 6, 1]],
            &[[384, 447, 1]],
        ] {
            let (end, svg) = drawn(buckets);
            assert_eq!(end, buckets[buckets.len() - 1][1] as f64 + 0.5, "{buckets:?}");
            assert!(!svg.contains("beyond"), "{buckets:?}");
        }
        assert!(!bars(&[], "t".to_owned()).has_data());
    }
}
