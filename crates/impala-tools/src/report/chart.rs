//! Draws line charts as SVG.

use std::fmt::Write as _;

use impala_metrics::human::si;

use super::frame::{Area, Legend, escape};
use super::scale::Scale;
use super::style::COLOURS;

/// More points than this are merged: no screen shows them.
const MAX_POINTS: usize = 600;

/// A line with a name.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// x, y.
    pub points: Vec<(f64, f64)>,
    /// x, low, high.
    pub band: Vec<(f64, f64, f64)>,
    /// Drawn as a faint line under its own running mean.
    pub noisy: bool,
    /// Drawn as a faint line: one of many that another series sums up.
    pub faint: bool,
    /// Drawn as a thin line: it accompanies another series.
    pub thin: bool,
}

impl Series {
    /// A plain line.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, ..Self::default() }
    }
}

/// A plot of lines.
#[derive(Debug, Clone, Default)]
pub struct LineChart {
    /// Above the plot.
    pub title: String,
    /// Below the x axis.
    pub x_label: &'static str,
    /// The lines.
    pub series: Vec<Series>,
    /// Whether 0 belongs to the plot whatever the data.
    pub from_zero: bool,
    /// A dashed line across, with its name.
    pub mark: Option<(f64, String)>,
}

impl LineChart {
    /// Whether there is anything to draw.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.series.iter().any(|series| series.points.len() >= 2)
    }

    /// One element, which takes its style from [`super::document`].
    #[must_use]
    pub fn svg(&self) -> String {
        // One line needs no name.
        let names = self.series.iter().filter(|_| self.series.len() > 1);
        let names = names.enumerate().map(|(index, s)| (index % COLOURS, s.name.as_str()));
        let legend = Legend::new(names);
        let (mut svg, area) = (legend.open(&self.title), legend.area());
        let Area { left, right, top, bottom } = area;
        let xs = || self.series.iter().flat_map(|s| s.points.iter().map(|p| p.0));
        let (low, high) = self.y_range();
        let x = Scale::new(least(xs()), most(xs()), left, right);
        let y = Scale::rounded(low, high, bottom, top);
        area.axes(&mut svg, (&x, &x.ticks()), &y, self.x_label, si);
        for (index, series) in self.series.iter().enumerate() {
            draw(&mut svg, series, index % COLOURS, (&x, &y), &area);
        }
        if let Some((value, name)) = self.mark.as_ref().filter(|(v, _)| (low..=high).contains(v)) {
            let at = y.at(*value);
            let _infallible = write!(
                svg,
                r#"<path class="axis" stroke-dasharray="5 4" d="M{left} {at:.1}H{right:.1}"/><text x="{right:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                at + 14.0,
                escape(name)
            );
        }
        svg.push_str("</svg>");
        svg
    }

    /// Outliers of noisy series may leave the plot: single updates must not flatten the rest.
    fn y_range(&self) -> (f64, f64) {
        let mut values: Vec<f64> = Vec::new();
        for series in &self.series {
            let mut own: Vec<f64> =
                series.points.iter().map(|p| p.1).filter(|y| y.is_finite()).collect();
            own.sort_by(f64::total_cmp);
            if series.noisy && own.len() >= 50 {
                let cut = own.len() / 100;
                own = own[cut..own.len() - cut].to_vec();
            }
            values.extend(own);
            values.extend(series.band.iter().flat_map(|b| [b.1, b.2]));
        }
        if let Some((value, _)) = &self.mark {
            // A target that is near belongs to the picture.
            let top = most(values.iter().copied());
            if *value <= top * 1.3 {
                values.push(*value);
            }
        }
        if self.from_zero {
            values.push(0.0);
        }
        (least(values.iter().copied()), most(values.iter().copied()))
    }
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|v| v.is_finite()).fold(f64::INFINITY, f64::min)
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|v| v.is_finite()).fold(f64::NEG_INFINITY, f64::max)
}

fn draw(svg: &mut String, series: &Series, colour: usize, (x, y): (&Scale, &Scale), area: &Area) {
    let clamp = |v: f64| y.at(v).clamp(area.top - 2.0, area.bottom + 2.0);
    if series.band.len() >= 2 {
        let upper = series.band.iter().map(|b| (x.at(b.0), clamp(b.2)));
        let lower = series.band.iter().rev().map(|b| (x.at(b.0), clamp(b.1)));
        let d = path(upper.chain(lower));
        let _infallible = write!(svg, r#"<path class="band f{colour}" d="{d}Z"/>"#);
    }
    let mut line = |class: &str, points: &[(f64, f64)]| {
        let d = path(points.iter().map(|p| (x.at(p.0), clamp(p.1))));
        let _infallible = write!(
            svg,
            r#"<path class="{class} s{colour}" d="{d}"><title>{}</title></path>"#,
            escape(&series.name)
        );
    };
    let points: Vec<_> = series.points.iter().copied().filter(|p| p.1.is_finite()).collect();
    let points = merged(&points);
    if series.noisy && points.len() >= 20 {
        line("faint", &points);
        line("line", &running_mean(&points, points.len() / 20));
    } else {
        let class = match (series.faint, series.thin) {
            (true, _) => "faint",
            (false, true) => "thin",
            (false, false) => "line",
        };
        line(class, &points);
    }
}

/// `M..L..` through the points.
fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut d = String::new();
    for (index, (x, y)) in points.enumerate() {
        let _infallible = write!(d, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    d
}

/// Means of neighbours, so that at most [`MAX_POINTS`] are left.
fn merged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MAX_POINTS).max(1);
    let mean = |chunk: &[(f64, f64)]| {
        let n = chunk.len() as f64;
        (chunk.iter().map(|p| p.0).sum::<f64>() / n, chunk.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(size).map(mean).collect()
}

/// Mean over `half` neighbours on both sides.
fn running_mean(points: &[(f64, f64)], half: usize) -> Vec<(f64, f64)> {
    (0..points.len())
        .map(|at| {
            let near = &points[at.saturating_sub(half)..(at + half + 1).min(points.len())];
            (points[at].0, near.iter().map(|p| p.1).sum::<f64>() / near.len() as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_points_and_no_more_than_a_screen_shows() {
        let points: Vec<_> = (0..5000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        assert!(merged(&points).len() <= MAX_POINTS);
        assert_eq!(merged(&points[..3]), points[..3]);
        let chart = LineChart {
            title: "a <b> & \"c\"".into(),
            x_label: "frames",
            series: vec![
                Series::new("one", points),
                Series::new("two", vec![(0.0, f64::NAN), (9.0, 1.0)]),
            ],
            ..LineChart::default()
        };
        let svg = chart.svg();
        assert!(chart.has_data() && svg.contains("a &lt;b&gt; &amp; &quot;c&quot;"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains(">one<") && svg.contains(">two<"), "a legend");
    }

    #[test]
    fn an_outlier_of_a_noisy_series_leaves_the_plot() {
        let mut points: Vec<_> = (0..200).map(|i| (f64::from(i), 1.0 + f64::from(i % 3))).collect();
        points[100].1 = 1e9;
        let series = Series { noisy: true, ..Series::new("x", points) };
        let chart = LineChart { series: vec![series], ..LineChart::default() };
        assert_eq!(chart.y_range(), (1.0, 3.0));
    }

    #[test]
    fn an_empty_plot_is_still_a_plot() {
        let chart = LineChart { title: "t".into(), ..LineChart::default() };
        assert!(!chart.has_data());
        assert!(chart.svg().ends_with("</svg>") && !chart.svg().contains("NaN"));
    }
}
