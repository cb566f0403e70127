//! `learn.html`: the results as one HTML page that loads no other file.

use impala_rl::metrics::human::si;
use impala_rl::report::{LineChart, document};
use impala_rl::trials::chart_of_seeds;
use maud::{PreEscaped, html};

use super::report::{EnvironmentReport, LearnReport};
use super::tables::{notes, tables};

/// The whole page.
pub(super) fn html(report: &LearnReport) -> String {
    let title = format!("Learning: {}", report.suite);
    let machine = &report.machine;
    let content = html! {
        p.soft { "impala " (report.version) " · " (machine.cores) " cores of " (machine.cpu) }
        @for found in tables(report) { (found.html()) }
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

/// The curves of all seeds, and what sums them up.
fn chart(env: &EnvironmentReport) -> LineChart {
    let curves = env.runs.iter().filter(|run| run.curve.len() >= 2);
    let curves: Vec<_> = curves.map(|run| (run.seed, &run.curve[..])).collect();
    LineChart {
        mark: env.target.map(|target| (target, format!("target {}", si(target)))),
        ..chart_of_seeds(env.env.clone(), &curves)
    }
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
    fn an_environment_without_a_run_has_an_empty_chart() {
        let mut env = sample().environments.remove(0);
        env.runs.clear();
        let chart = chart(&env);
        assert!(!chart.has_data() && !chart.svg().contains("NaN"));
    }
}
