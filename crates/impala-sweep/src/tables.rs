//! The results as tables: for the terminal, for `sweep.md` and for the HTML page.

use std::collections::BTreeMap;

use impala_rl::metrics::human::si;
use impala_rl::trials::{self, Estimate, Table, dash, list, or_dash};

use super::report::{SweepReport, TrialReport};

/// Settings with more values than this are no rows of a table.
const MOST_VALUES: usize = 12;

/// The tables of a sweep.
pub(crate) fn tables(report: &SweepReport) -> Vec<Table> {
    let mut tables = vec![ranking(report)];
    tables.extend(rungs(report));
    tables.extend(by_setting(report));
    tables.extend(failed(report));
    tables
}

fn ranking(report: &SweepReport) -> Table {
    let mut head = vec!["trial"];
    head.extend(report.keys.iter().map(String::as_str));
    if report.halving.is_some() {
        head.push("rung");
    }
    head.extend([report.metric.name(), "seeds", "frames", "frames/s", "runs"]);
    let rows = report.trials.iter().map(|trial| row(report, trial)).collect();
    Table { rows, ..Table::new("Trials, the best first", &head) }
}

fn row(report: &SweepReport, trial: &TrialReport) -> Vec<String> {
    let metric = report.metric;
    let runs: Vec<_> = trial.last_runs().collect();
    let mean = |of: fn(&super::Outcome) -> f64| {
        let done = runs.iter().filter(|run| run.frames > 0);
        let values: Vec<f64> = done.map(|run| of(run)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let mut cells = vec![trial.trial.clone()];
    cells.extend(report.keys.iter().map(|key| trial.varied.get(key).cloned().unwrap_or_else(dash)));
    if report.halving.is_some() {
        cells.push((trial.rung + 1).to_string());
    }
    let values = trial.score.each.iter();
    let each = values.map(|value| or_dash(*value, |value| metric.text(value)));
    cells.push(match trial.score.each[..] {
        // Of one run nothing is known of its spread.
        [Some(one)] => metric.text(one),
        _ => or_dash(trial.score.estimate, |estimate| interval(report, estimate)),
    });
    cells.push(list(each));
    cells.push(or_dash(mean(|run| run.frames as f64), si));
    cells.push(or_dash(mean(|run| run.frames_per_s), si));
    let failed = runs.iter().filter(|run| run.failure.is_some()).count();
    cells.push(match (failed, runs.len()) {
        (0, done) => done.to_string(),
        (failed, done) => format!("{done}, {failed} failed"),
    });
    cells
}

fn rungs(report: &SweepReport) -> Option<Table> {
    report.halving?;
    let mut table = Table::new("Rungs", &["rung", "frames", "trials", "done", "best return"]);
    for (at, rung) in report.rungs.iter().enumerate() {
        let done = report.trials.iter().filter(|trial| trial.rung >= at && !trial.runs.is_empty());
        let runs = report.trials.iter().flat_map(|trial| &trial.runs).filter(|run| run.rung == at);
        let best = runs.filter_map(|run| run.return_mean).reduce(f64::max);
        table.rows.push(vec![
            (at + 1).to_string(),
            or_dash(rung.frames, |frames| si(frames as f64)),
            rung.trials.to_string(),
            done.count().to_string(),
            or_dash(best, trials::score),
        ]);
    }
    Some(table)
}

/// What each value of a setting comes to, over all that else varies. With halving the runs of the first rung count, which all
/// trials have.
fn by_setting(report: &SweepReport) -> Option<Table> {
    if report.keys.len() < 2 {
        // That is the ranking.
        return None;
    }
    let mut rows = Vec::new();
    for key in &report.keys {
        let mut by_value: BTreeMap<&str, Vec<&TrialReport>> = BTreeMap::new();
        for trial in &report.trials {
            let value = trial.varied.get(key).map_or("", String::as_str);
            by_value.entry(value).or_default().push(trial);
        }
        if by_value.len() > MOST_VALUES || by_value.len() == report.trials.len() {
            continue;
        }
        let mut values: Vec<_> = by_value.into_iter().collect();
        values.sort_by(|(a, _), (b, _)| match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.total_cmp(&b),
            _ => a.cmp(b),
        });
        for (value, trials) in values {
            let runs = trials.iter().flat_map(|trial| &trial.runs).filter(|run| run.rung == 0);
            let scores: Vec<Option<f64>> = runs.map(|run| report.metric.of(run)).collect();
            let known: Vec<f64> = scores.iter().flatten().copied().collect();
            let estimate = Estimate::of(&[known]);
            rows.push(vec![
                key.clone(),
                value.to_owned(),
                trials.len().to_string(),
                format!("{} of {}", scores.iter().flatten().count(), scores.len()),
                or_dash(estimate, |estimate| interval(report, estimate)),
            ]);
        }
    }
    let head = ["setting", "value", "trials", "runs with a score", report.metric.name()];
    (!rows.is_empty())
        .then(|| Table { rows, ..Table::new("By setting, over all that else varies", &head) })
}

fn failed(report: &SweepReport) -> Option<Table> {
    let mut table = Table::new("Failed", &["trial", "seed", "why"]);
    for run in report.trials.iter().flat_map(|trial| &trial.runs) {
        if let Some(failure) = &run.failure {
            table.rows.push(vec![run.trial.clone(), run.seed.to_string(), failure.clone()]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

fn interval(report: &SweepReport, estimate: Estimate) -> String {
    trials::interval(estimate, |value| report.metric.text(value))
}

/// What the tables mean, for below them.
pub(crate) fn notes(report: &SweepReport) -> Vec<String> {
    let metric = report.metric;
    let mut notes = vec![format!(
        "{}: {}. Interquartile mean over the seeds with its 95 % bootstrap interval (Agarwal et al. 2021), and every seed. \
         A trial with runs that have no such figure stands below all whose runs have one.",
        metric.name(),
        metric.describe()
    )];
    notes.extend(overlap(report));
    if report.trials.len() > 1 {
        notes.push(
            "The best of many scores is also the luckiest: the same settings come to less when they are run again with other \
             seeds. best.toml is made for that."
                .to_owned(),
        );
    }
    if let Some(halving) = report.halving {
        let how = if halving.restart { "begin anew" } else { "go on from their checkpoints" };
        notes.push(format!(
            "Successive halving: one trial in {} goes on with {} times the frames; runs {how}. A learning rate that decays does so \
             over the budget of each rung.",
            halving.factor, halving.factor
        ));
    }
    notes
}

/// Whether the best is told apart from the rest.
fn overlap(report: &SweepReport) -> Option<String> {
    let best = report.winner()?;
    let Estimate { low, high, .. } = best.score.estimate?;
    let near = report.trials[1..]
        .iter()
        .filter(|trial| trial.rung == best.rung && trial.missing <= best.missing);
    let near = near.filter_map(|trial| Some((trial, trial.score.estimate?)));
    let near = near.filter(|(_, other)| other.low <= high && low <= other.high);
    let names: Vec<_> = near.map(|(trial, _)| trial.trial.as_str()).collect();
    if report.seeds == 1 {
        return Some(
            "One seed says nothing of luck: --seeds 3 or more gives intervals.".to_owned(),
        );
    }
    (!names.is_empty()).then(|| {
        format!(
            "The intervals of {} overlap that of {}: these seeds do not tell them apart.",
            names.join(", "),
            best.trial
        )
    })
}

/// All of `sweep.md`.
pub(crate) fn markdown(report: &SweepReport) -> String {
    let above = format!("# {}\n\nimpala {}\n\n", title(report), report.version);
    trials::markdown(above, &tables(report), &notes(report))
}

pub(crate) fn title(report: &SweepReport) -> String {
    if report.sweep.is_empty() { "Sweep".to_owned() } else { format!("Sweep: {}", report.sweep) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{outcome, plan, sample};

    #[test]
    fn tables_hold_every_figure() {
        let text = markdown(&sample());
        for part in [
            "| trial-002 | 0.003 ",
            "| 425 [400, 450] ",
            "| 400, 450 ",
            "| 500, - ",
            "| 2, 1 failed ",
            "## Failed",
            "<killed> \\| gone",
            "mean return of the last episodes",
            "luckiest",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("NaN") && !text.contains("overlap"), "{text}");
        for table in tables(&sample()) {
            assert!(table.rows.iter().all(|row| row.len() == table.head.len()), "{table:?}");
        }
    }

    #[test]
    fn each_value_is_summed_up_over_all_that_else_varies() {
        let plan = plan("--set learning-rate=0.01,0.003 --set entropy-cost=0,0.1 --seeds 1");
        let outcomes: Vec<_> = [10.0, 20.0, 30.0, 50.0]
            .iter()
            .zip(1..)
            .map(|(&value, number)| outcome(&format!("trial-00{number}"), 1, 0, value))
            .collect();
        let report = SweepReport::of(&plan, &outcomes, 1);
        let found = by_setting(&report).expect("two settings");
        let cells: Vec<_> = found
            .rows
            .iter()
            .map(|row| format!("{} {} {} {}", row[0], row[1], row[2], row[4]))
            .collect();
        assert_eq!(
            cells,
            [
                "entropy-cost 0.0 2 20 [10, 30]",
                "entropy-cost 0.1 2 35 [20, 50]",
                "learning-rate 0.003 2 40 [30, 50]",
                "learning-rate 0.01 2 15 [10, 20]",
            ]
        );
        assert!(overlap(&report).is_some_and(|note| note.contains("One seed")));
    }

    #[test]
    fn what_the_seeds_do_not_tell_apart_is_said() {
        let plan = plan("--set learning-rate=0.01,0.003 --seeds 2");
        let outcomes = [(1, 1, 10.0), (1, 2, 20.0), (2, 1, 12.0), (2, 2, 30.0)];
        let outcomes = outcomes
            .map(|(trial, seed, value)| outcome(&format!("trial-00{trial}"), seed, 0, value));
        let note = overlap(&SweepReport::of(&plan, &outcomes, 1)).expect("they overlap");
        assert!(note.contains("trial-001 overlap that of trial-002"), "{note}");
    }
}
