//! Draws stacked bars (over time, or one for each process) and histograms, as SVG.

use std::fmt::Write as _;

use impala_metrics::human::{percent, si};

use super::frame::{Area, Legend, escape};
use super::scale::Scale;
use super::style::{COLOURS, REST};

/// Bars of stacked parts.
#[derive(Debug, Clone, Default)]
pub(super) struct StackedBars {
    pub(super) title: String,
    pub(super) x_label: String,
    /// Names of the parts, from the bottom up; "other" is grey.
    pub(super) parts: Vec<&'static str>,
    /// Where each bar begins and ends on the x axis, and its parts.
    pub(super) bars: Vec<(f64, f64, Vec<f64>)>,
    /// Whether the parts are shares of 1, written in per cent.
    pub(super) percent: bool,
    /// Names below the bars, instead of numbers.
    pub(super) names: Vec<String>,
}

impl StackedBars {
    /// Whether there is anything to draw.
    pub(super) fn has_data(&self) -> bool {
        self.bars.iter().any(|(_, _, parts)| parts.iter().any(|&part| part > 0.0))
    }

    #[expect(clippy::cast_sign_loss, reason = "at least 1")]
    pub(super) fn svg(&self) -> String {
        let legend = self.legend();
        let (mut svg, area) = (legend.open(&self.title), legend.area());
        let Area { left, right, top, bottom } = area;
        let sum = |parts: &[f64]| parts.iter().sum::<f64>();
        let highest = self.bars.iter().map(|b| sum(&b.2)).fold(0.0, f64::max);
        let high = if self.percent { 1.0 } else { highest };
        let y = Scale::rounded(0.0, high, bottom, top);
        let ends = self.bars.first().zip(self.bars.last()).map_or((0.0, 1.0), |(a, b)| (a.0, b.1));
        let x = Scale::new(ends.0, ends.1, left, right);
        let number = |value: f64| if self.percent { percent(value) } else { si(value) };
        // Bars with names have no numbers below them.
        let ticks = if self.names.is_empty() { x.ticks() } else { Vec::new() };
        area.axes(&mut svg, (&x, &ticks), &y, &self.x_label, number);
        for (index, (from, to, parts)) in self.bars.iter().enumerate() {
            let (start, end) = (x.at(*from), x.at(*to));
            let gap = if self.names.is_empty() { 0.0 } else { (end - start) * 0.12 };
            let mut base = 0.0;
            for (part, &value) in parts.iter().enumerate().filter(|(_, value)| **value > 0.0) {
                let (low, high) = (y.at(base), y.at(base + value));
                base += value;
                let _infallible = write!(
                    svg,
                    r#"<rect class="f{}" x="{:.2}" y="{high:.2}" width="{:.2}" height="{:.2}"><title>{}: {}</title></rect>"#,
                    self.colour(part),
                    start + gap,
                    // A hair wider than its place, or seams show between neighbours.
                    (end - start - 2.0 * gap + 0.3).max(0.5),
                    low - high,
                    escape(self.parts.get(part).copied().unwrap_or_default()),
                    number(value)
                );
                if !self.names.is_empty() && low - high > 16.0 && end - start > 48.0 {
                    let _infallible = write!(
                        svg,
                        r#"<text class="value" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                        f64::midpoint(start, end),
                        f64::midpoint(low, high) + 4.0,
                        number(value)
                    );
                }
            }
            if let Some(name) = self.names.get(index) {
                // Only as many names as fit.
                let every = (44.0 / (end - start)).ceil().max(1.0) as usize;
                if index % every == 0 {
                    let _infallible = write!(
                        svg,
                        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                        f64::midpoint(start, end),
                        bottom + 18.0,
                        escape(name)
                    );
                }
            }
        }
        svg.push_str("</svg>");
        svg
    }

    /// The names of parts that can be seen.
    fn legend(&self) -> Legend {
        let shown =
            |part: usize| self.bars.iter().any(|b| b.2.get(part).is_some_and(|&v| v > 0.001));
        let names = self.parts.iter().enumerate().filter(|(part, _)| shown(*part));
        Legend::new(names.map(|(part, name)| (self.colour(part), *name)))
    }

    fn colour(&self, part: usize) -> usize {
        if self.parts.get(part) == Some(&"other") { REST } else { part % COLOURS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::frame::attributes;

    #[test]
    fn parts_are_stacked_to_the_full_height() {
        let chart = StackedBars {
            title: "t".into(),
            x_label: "s".into(),
            parts: vec!["work", "never", "other"],
            bars: vec![(0.0, 1.0, vec![0.25, 0.0, 0.75]), (1.0, 2.0, vec![0.5, 0.0, 0.5])],
            percent: true,
            names: vec![],
        };
        let svg = chart.svg();
        assert!(chart.has_data());
        assert!(svg.contains(">work<") && svg.contains(">other<") && !svg.contains(">never<"));
        assert!(svg.contains("<title>work: 25 %</title>"), "{svg}");
        let Area { top, bottom, .. } = chart.legend().area();
        let heights: f64 = svg
            .split("height=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok())
            .filter(|&height| height != 10.0)
            .sum();
        assert!((heights - 2.0 * (bottom - top)).abs() < 0.1, "{heights}");
    }

    #[test]
    fn a_legend_of_any_length_lies_above_the_bars() {
        let all = [
            "wait for data",
            "batching",
            "forward",
            "V-trace and loss",
            "backward",
            "optimizer",
            "publish",
            "checkpoint",
            "other",
        ];
        let wide = [
            "environment",
            "held back by the limit of lag",
            "waiting for a slot of the ring",
            "inference and drawing of actions",
            "fetching of weights",
            "commit",
            "all the others",
        ];
        for parts in [&all[..2], &all[..], &wide[..], &[&all[..], &wide[..]].concat()[..]] {
            let share = 1.0 / parts.len() as f64;
            let chart = StackedBars {
                parts: parts.to_vec(),
                bars: vec![(0.0, 1.0, vec![share; parts.len()])],
                percent: true,
                ..StackedBars::default()
            };
            let svg = chart.svg();
            let names = attributes(&svg, "text class=\"legend\"", "y");
            assert_eq!(names.len(), parts.len(), "{svg}");
            let lowest = names.into_iter().fold(0.0, f64::max);
            // Bars are rectangles without round corners; 100 % is where the stack ends.
            let bars = svg.split("<rect").skip(1).filter(|rest| rest.contains("<title>"));
            let tops: Vec<f64> =
                bars.flat_map(|rest| attributes(&format!("<rect{rest}"), "rect", "y")).collect();
            assert_eq!(tops.len(), parts.len(), "{svg}");
            let top = tops.into_iter().fold(f64::INFINITY, f64::min);
            let label = svg.split(">100 %<").next().and_then(|text| text.rsplit("<text").next());
            let label = attributes(&format!("<text{}>", label.expect("a label")), "text", "y")[0];
            assert!(lowest + 4.0 < top.min(label - 10.0), "{lowest} below {top}, {label}: {svg}");
        }
    }
}
