//! `learn.html`: one page that needs nothing else.

use impala_rl::metrics::human::si;
use impala_rl::report::{LineChart, Series, document};
use maud::{Markup, PreEscaped, html};

use super::curve;
use super::report::{EnvironmentReport, LearnReport};
use super::statistics::Estimate;
use super::tables::{Table, notes, tables};

/// Points of the curve over all seeds.
const CURVE_POINTS: u32 = 60;
/// Resamples of each: an interval that is drawn needs fewer than one that is printed.
const CURVE_RESAMPLES: usize = 1000;

/// The whole page.
pub(super) fn html(report: &LearnReport) -> String {
    let title = format!("Learning: {}", report.suite);
    let machine = &report.machine;
    let content = html! {
        p.soft { "impala " (report.version) " · " (machine.cores) " cores of " (machine.cpu) }
        @for found in tables(report) { (table(&found)) }
        @for note in notes(report) { p.soft { (note) } }
        h2 { "Mean return of the last 100 training episodes" }
        div.grid {
            @for env in &report.environments {
                @let chart = chart(env);
                div.card data-empty[!chart.has_data()] { (PreEscaped(chart.svg())) }
            }
        }
        h2 { "Flags" }
        div.card.scroll {
            table {
                @for env in &report.environments {
                    tr { th { (env.env) } td { code { (env.flags.join(" ")) } } }
                }
            }
        }
    };
    document(&title, &content)
}

fn table(found: &Table) -> Markup {
    html! {
        h2 { (found.title) }
        div.card.scroll {
            table {
                tr { @for name in &found.head { th { (name) } } }
                @for row in &found.rows {
                    tr { @for cell in row { td { (cell) } } }
                }
            }
        }
    }
}

/// The curves of all seeds, and what sums them up.
fn chart(env: &EnvironmentReport) -> LineChart {
    let curves = env.runs.iter().filter(|run| run.curve.len() >= 2);
    let curves: Vec<_> = curves.map(|run| (run.seed, &run.curve[..])).collect();
    let mut series = Vec::new();
    // Alone it is what sums it up.
    if curves.len() > 1 {
        series.push(over_seeds(&curves.iter().map(|(_, points)| *points).collect::<Vec<_>>()));
    }
    for (seed, points) in &curves {
        let points = points.iter().map(|point| (point.frames, point.return_mean)).collect();
        let faint = curves.len() > 1;
        series.push(Series { faint, ..Series::new(format!("seed {seed}"), points) });
    }
    LineChart {
        title: env.env.clone(),
        x_label: "frames learnt",
        series,
        mark: env.target.map(|target| (target, format!("target {}", si(target)))),
        ..LineChart::default()
    }
}

/// Interquartile mean and interval at evenly spaced frames that all curves have.
fn over_seeds(curves: &[&[curve::Point]]) -> Series {
    let ends = |points: &[curve::Point]| Some((points.first()?.frames, points.last()?.frames));
    let ends: Vec<_> = curves.iter().filter_map(|points| ends(points)).collect();
    let first = ends.iter().map(|ends| ends.0).fold(f64::NEG_INFINITY, f64::max);
    let last = ends.iter().map(|ends| ends.1).fold(f64::INFINITY, f64::min);
    let mut series = Series::new("interquartile mean, 95 %", Vec::new());
    for step in 0..=CURVE_POINTS {
        let frames = first + (last - first) * f64::from(step) / f64::from(CURVE_POINTS);
        let means = curves.iter().filter_map(|points| curve::at(points, frames)).collect();
        if let Some(Estimate { iqm, low, high }) = Estimate::resampled(&[means], CURVE_RESAMPLES) {
            series.points.push((frames, iqm));
            series.band.push((frames, low, high));
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::learn::report::tests::sample;

    #[test]
    fn a_page_holds_every_curve_and_needs_nothing_else() {
        let page = html(&sample());
        assert_eq!(page.matches("<svg").count(), 2, "one chart for each environment");
        assert_eq!(page.matches(r#"class="faint"#).count(), 4, "one line for each run");
        assert_eq!(page.matches(r#"class="band"#).count(), 2);
        for part in ["seed 1", "seed 2", "target 475", "&lt;killed&gt;", "CartPole-v1"] {
            assert!(page.contains(part), "{part}");
        }
        for foreign in ["<script", "<link", "src=", "NaN", "inf "] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn the_line_over_all_seeds_spans_what_they_share() {
        let point = |frames, return_mean| curve::Point { frames, seconds: 0.0, return_mean };
        let [a, b] = [[point(0.0, 1.0), point(60.0, 1.0)], [point(30.0, 3.0), point(90.0, 3.0)]];
        let series = over_seeds(&[&a, &b]);
        assert_eq!(series.points.first(), Some(&(30.0, 2.0)));
        assert_eq!(series.points.last(), Some(&(60.0, 2.0)));
        assert_eq!(series.band.first(), Some(&(30.0, 1.0, 3.0)));
    }

    #[test]
    fn an_environment_without_a_run_has_an_empty_chart() {
        let mut env = sample().environments.remove(0);
        env.runs.clear();
        let chart = chart(&env);
        assert!(!chart.has_data() && !chart.svg().contains("NaN"));
    }
}
