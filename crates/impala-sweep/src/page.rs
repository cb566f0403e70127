//! `sweep.html`: the results as one HTML page that loads no other file.

use impala_rl::report::{LineChart, document};
use impala_rl::trials::{Point, chart_of_seeds, over_seeds};
use maud::{PreEscaped, html};

use super::report::{SweepReport, TrialReport};
use super::tables::{notes, tables, title};

/// Trials whose curves share a chart: more cannot be told apart.
const TOGETHER: usize = 6;

/// The whole page.
pub(crate) fn html(report: &SweepReport) -> String {
    let best = report.best_config();
    let together = together(report);
    let content = html! {
        p.soft {
            "impala " (report.version) " · " (report.trials.len()) " trials, " (report.seeds)" seeds each · runs at a time: "
            (report.jobs)
        }
        @let mut all = tables(report).into_iter();
        @if let Some(ranking) = all.next() { (ranking.html()) }
        @for note in notes(report) { p.soft { (note) } }
        @if let Some(best) = &best {
            h2 { "The best settings" }
            div.card.scroll { pre { (best) } }
        }
        h2 { "Mean return of the last 100 training episodes" }
        div.card data-empty[!together.has_data()] { (PreEscaped(together.svg())) }
        h2 { "Each trial, the best first" }
        div.grid {
            @for trial in &report.trials {
                @let chart = chart(report, trial);
                div.card data-empty[!chart.has_data()] { (PreEscaped(chart.svg())) }
            }
        }
        @for table in all { (table.html()) }
    };
    document(&title(report), &content)
}

/// The best trials in one chart, each with its interval.
fn together(report: &SweepReport) -> LineChart {
    let mut series = Vec::new();
    for trial in &report.trials {
        let curves = curves(trial);
        if series.len() < TOGETHER && !curves.is_empty() {
            series.push(over_seeds(name(report, trial), &points(&curves)));
        }
    }
    let shown = series.len();
    LineChart {
        title: format!(
            "The best {shown} of {} trials: interquartile mean, 95 %",
            report.trials.len()
        ),
        x_label: "frames learnt",
        series,
        ..LineChart::default()
    }
}

/// The curves of all seeds, and what sums them up.
fn chart(report: &SweepReport, trial: &TrialReport) -> LineChart {
    chart_of_seeds(name(report, trial), &curves(trial))
}

/// Seeds with the curves of the last rung. A run that went on has them from its start.
fn curves(trial: &TrialReport) -> Vec<(u32, &[Point])> {
    let runs = trial.last_runs().filter(|run| run.curve.len() >= 2);
    let mut curves: Vec<_> = runs.map(|run| (run.seed, &run.curve[..])).collect();
    curves.sort_by_key(|(seed, _)| *seed);
    curves
}

fn points<'a>(curves: &[(u32, &'a [Point])]) -> Vec<&'a [Point]> {
    curves.iter().map(|(_, points)| *points).collect()
}

fn name(report: &SweepReport, trial: &TrialReport) -> String {
    let short = trial.trial.trim_start_matches("trial-");
    let values =
        report.keys.iter().filter_map(|key| Some(format!("{key} {}", trial.varied.get(key)?)));
    format!("{short}: {}", values.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_page_holds_every_curve_and_needs_nothing_else() {
        let page = html(&sample());
        assert_eq!(
            page.matches("<svg").count(),
            4,
            "one for the best together, one for each trial"
        );
        assert_eq!(
            page.matches(r#"class="faint"#).count(),
            4,
            "a line for each seed beside others"
        );
        for part in [
            "The best 3 of 3",
            "002: learning-rate 0.003",
            "&lt;killed&gt;",
            "425 [400, 450]",
            "learning-rate = 0.003",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for foreign in ["<script", "<link", "src=", "NaN", "inf "] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_trial_without_a_run_has_an_empty_chart() {
        let mut report = sample();
        report.trials[0].runs.clear();
        let chart = chart(&report, &report.trials[0]);
        assert!(!chart.has_data() && !chart.svg().contains("NaN"));
    }
}
