//! The results as tables: for the terminal, for `learn.md` and for the HTML page.

use impala_rl::metrics::human::{duration, si};
use impala_rl::trials::{self, Estimate, Reached, Table, dash, list, or_dash, score};

use super::outcome::Score;
use super::report::{EnvironmentReport, LearnReport, Scores};

/// The tables of a benchmark: scores, the way there, and what failed.
pub(super) fn tables(report: &LearnReport) -> Vec<Table> {
    let rows =
        |row: fn(&EnvironmentReport) -> Vec<String>| report.environments.iter().map(row).collect();
    let mut tables = vec![
        Table {
            rows: rows(scores),
            ..Table::new(
                "Scores at the end of training",
                &[
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
                ],
            )
        },
        Table {
            rows: rows(way),
            ..Table::new(
                "The way there",
                &[
                    "environment",
                    "reached",
                    "frames to target",
                    "seconds to target",
                    "lowest after",
                    "frames/s",
                    "policy lag",
                ],
            )
        },
    ];
    let runs = report.environments.iter().flat_map(|env| &env.runs);
    let failed = runs.filter_map(|run| {
        let failure = run.failure.clone()?;
        Some(vec![run.env.clone(), run.seed.to_string(), failure])
    });
    let rows: Vec<_> = failed.collect();
    if !rows.is_empty() {
        tables.push(Table { rows, ..Table::new("Failed", &["environment", "seed", "why"]) });
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

fn interval(estimate: Estimate) -> String {
    trials::interval(estimate, score)
}

/// All of `learn.md`.
pub(super) fn markdown(report: &LearnReport) -> String {
    let machine = &report.machine;
    let above = format!(
        "# Learning: {}\n\nimpala {}, {} cores of {}\n\n",
        report.suite, report.version, machine.cores, machine.cpu
    );
    trials::markdown(above, &tables(report), &notes(report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::learn::report::tests::sample;

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
