//! The figures as tables: for the terminal and `learn.md`, and for the page.

use std::fmt;

use impala_rl::metrics::human::{duration, si};

use super::curve::Reached;
use super::outcome::Score;
use super::report::{EnvironmentReport, LearnReport, Scores};
use super::statistics::Estimate;

/// A heading, and rows of text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The tables of a benchmark: scores, the way there, and what failed.
pub(super) fn tables(report: &LearnReport) -> Vec<Table> {
    let rows =
        |row: fn(&EnvironmentReport) -> Vec<String>| report.environments.iter().map(row).collect();
    let head = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let mut tables = vec![
        Table {
            title: "Scores at the end of training",
            head: head(&[
                "environment",
                "frames",
                "target",
                "A2C",
                "PPO",
                "greedy",
                "mean",
                "seeds",
                "sampled",
                "mean",
                "seeds",
            ]),
            rows: rows(scores),
        },
        Table {
            title: "The way there",
            head: head(&[
                "environment",
                "reached",
                "frames to target",
                "seconds to target",
                "lowest after",
                "frames/s",
                "policy lag",
            ]),
            rows: rows(way),
        },
    ];
    let runs = report.environments.iter().flat_map(|env| &env.runs);
    let failed = runs.filter_map(|run| {
        let failure = run.failure.clone()?;
        Some(vec![run.env.clone(), run.seed.to_string(), failure])
    });
    let rows: Vec<_> = failed.collect();
    if !rows.is_empty() {
        tables.push(Table { title: "Failed", head: head(&["environment", "seed", "why"]), rows });
    }
    tables
}

/// What the tables mean, for below them.
pub(super) fn notes(report: &LearnReport) -> Vec<String> {
    let episodes = report.eval_episodes;
    let mut notes = vec![
        format!(
            "Scores are returns of the final policy in {episodes} fresh episodes: greedy takes the most likely action, \
             sampled draws it. Interquartile mean over the seeds with its 95 % bootstrap interval (Agarwal et al. 2021), \
             mean, and every seed."
        ),
        "The target is reached when the mean return of the last 100 training episodes first is at least as high; \
         lowest after is the lowest such mean from then on. A2C and PPO are published scores of settings tuned for each \
         environment, one run each (RL Baselines3 Zoo)."
            .to_owned(),
    ];
    if let Some(estimate) = report.normalized {
        notes.push(format!(
            "Greedy scores as shares of the way from a random policy (0) to the target (1), over all environments that \
             have both: {}.",
            interval(estimate)
        ));
    }
    notes
}

fn scores(env: &EnvironmentReport) -> Vec<String> {
    let [name, frames] = [env.env.clone(), si(env.total_frames as f64)];
    let mut cells = vec![name, frames];
    cells.extend([env.target, env.a2c, env.ppo].map(|value| or_dash(value, score)));
    cells.extend(of_choice(env.greedy.as_ref(), env.runs.iter().map(|run| run.greedy)));
    cells.extend(of_choice(env.sampled.as_ref(), env.runs.iter().map(|run| run.sampled)));
    cells
}

/// Interquartile mean with interval, mean, and each run.
fn of_choice(scores: Option<&Scores>, runs: impl Iterator<Item = Option<Score>>) -> [String; 3] {
    let iqm = |scores: &Scores| match scores.each[..] {
        // Of one run nothing is known of its spread.
        [one] => score(one),
        _ => interval(scores.estimate),
    };
    let each = runs.map(|run| or_dash(run, |found| score(found.return_mean)));
    [or_dash(scores, iqm), or_dash(scores, |scores| score(scores.mean)), list(each)]
}

fn way(env: &EnvironmentReport) -> Vec<String> {
    let each = |of: fn(Reached) -> String| match env.target {
        None => dash(),
        Some(_) => list(env.runs.iter().map(|run| or_dash(run.reached, of))),
    };
    vec![
        env.env.clone(),
        if env.target.is_some() {
            format!("{} of {}", env.reached, env.runs.len())
        } else {
            dash()
        },
        each(|reached| si(reached.frames)),
        each(|reached| duration(reached.seconds)),
        or_dash(env.lowest_after, score),
        or_dash(env.frames_per_s, |spread| si(spread.median)),
        or_dash(env.policy_lag_mean, |spread| format!("{:.2}", spread.median)),
    ]
}

fn dash() -> String {
    "-".to_owned()
}

fn or_dash<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(dash, text)
}

fn list(values: impl Iterator<Item = String>) -> String {
    let text = values.collect::<Vec<_>>().join(", ");
    if text.is_empty() { dash() } else { text }
}

fn interval(estimate: Estimate) -> String {
    let Estimate { iqm, low, high } = estimate;
    format!("{} [{}, {}]", score(iqm), score(low), score(high))
}

/// A return: about four digits.
pub(super) fn score(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Markdown, with columns of one width so that it reads well as it is.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = |cell: &String| cell.replace('|', "\\|");
        let lines: Vec<Vec<String>> = [&self.head]
            .into_iter()
            .chain(&self.rows)
            .map(|row| row.iter().map(safe).collect())
            .collect();
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(|at| width(at).unwrap_or(0)).collect();
        writeln!(f, "## {}\n", self.title)?;
        for (at, line) in lines.iter().enumerate() {
            for (cell, &width) in line.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if at == 0 {
                for &width in &widths {
                    write!(f, "|{}", "-".repeat(width + 2))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// All of `learn.md`.
pub(super) fn markdown(report: &LearnReport) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "# Learning: {}\n\nimpala {}, {} cores of {}\n\n",
        report.suite, report.version, machine.cores, machine.cpu
    );
    for table in tables(report) {
        text.push_str(&format!("{table}\n"));
    }
    text + &notes(report).join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::learn::report::tests::sample;

    #[test]
    fn returns_are_short() {
        for (value, text) in [
            (497.44, "497.4"),
            (500.0, "500"),
            (0.934, "0.93"),
            (-84.04, "-84"),
            (5819.3, "5819"),
            (0.0, "0"),
            (100.0, "100"),
        ] {
            assert_eq!(score(value), text);
        }
    }

    #[test]
    fn tables_hold_every_figure() {
        let text = markdown(&sample());
        for part in [
            "| CartPole-v1 | 100k ",
            "| 475 ",
            "425 [400, 450]",
            "| 400, 450 |",
            "| 500, - ",
            "1 of 2",
            "-, 90k",
            "-, 1.80 s",
            "476.5",
            "## Failed",
            "<killed> \\| gone",
            "100 fresh episodes",
            "random policy (0)",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("NaN"), "{text}");
        let [scores, way, ..] = &tables(&sample())[..] else { panic!("tables") };
        for table in [scores, way] {
            assert!(table.rows.iter().all(|row| row.len() == table.head.len()), "{table:?}");
        }
    }
}
