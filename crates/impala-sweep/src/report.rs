//! `sweep.json`: the results of all runs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::halving::{Halving, Rung};
use super::outcome::Outcome;
use super::plan::{Plan, Trial};
use super::score::{Metric, Score};

/// What all runs came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SweepReport {
    /// Name of the file that says what is tried.
    pub(crate) sweep: String,
    /// Version of the program.
    pub(crate) version: &'static str,
    pub(crate) metric: Metric,
    pub(crate) seeds: u32,
    /// Runs at a time.
    pub(crate) jobs: usize,
    pub(crate) halving: Option<Halving>,
    pub(crate) rungs: Vec<Rung>,
    /// Settings that vary.
    pub(crate) keys: Vec<String>,
    /// Name of the best trial, if one has a score.
    pub(crate) best: Option<String>,
    /// Runs that failed.
    pub(crate) failed: usize,
    /// The best first.
    pub(crate) trials: Vec<TrialReport>,
}

/// The runs of one trial.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TrialReport {
    pub(crate) trial: String,
    /// What it tries, as flags take it.
    pub(crate) varied: BTreeMap<String, String>,
    /// All that is set, as a file for `--config`.
    pub(crate) config: String,
    /// The last rung that it came to, from 0.
    pub(crate) rung: usize,
    /// Of the last rung.
    pub(crate) score: Score,
    /// Runs without a score.
    pub(crate) missing: usize,
    /// All runs, rung after rung.
    pub(crate) runs: Vec<Outcome>,
}

impl SweepReport {
    /// Of the outcomes that there are; those that are missing have not been run.
    pub(crate) fn of(plan: &Plan, outcomes: &[Outcome], jobs: usize) -> Self {
        let metric = plan.metric;
        let trials = plan.trials.iter().map(|trial| TrialReport::of(plan, trial, outcomes));
        let mut trials: Vec<_> = trials.collect();
        // A stable sort: equals stay in the order of the plan. Who came further is better, by the scores of the rung before.
        trials.sort_by(|a, b| b.rung.cmp(&a.rung).then_with(|| metric.compare(&a.score, &b.score)));
        let first = trials.first().filter(|trial| trial.score.estimate.is_some());
        Self {
            sweep: plan.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            metric,
            seeds: plan.seeds,
            jobs,
            halving: plan.halving,
            rungs: plan.rungs.clone(),
            keys: plan.keys().into_iter().map(str::to_owned).collect(),
            best: first.map(|trial| trial.trial.clone()),
            failed: outcomes.iter().filter(|outcome| outcome.failure.is_some()).count(),
            trials,
        }
    }

    /// The best trial, if one has a score.
    pub(crate) fn winner(&self) -> Option<&TrialReport> {
        self.trials.first().filter(|_| self.best.is_some())
    }

    /// `best.toml`: the settings of the best trial, for `--config`.
    pub(crate) fn best_config(&self) -> Option<String> {
        let best = self.winner()?;
        let varied = best.varied.iter().map(|(key, value)| format!("{key} {value}"));
        let iqm = best.score.estimate.map(|estimate| self.metric.text(estimate.iqm));
        Some(format!(
            "# The best of {} trials of a sweep: {}, {} {} over {} runs. What it tried: {}.\n\
             # `impala-supervisor --config` on this file runs it; the seed is not part of it.\n{}",
            self.trials.len(),
            best.trial,
            self.metric.name(),
            iqm.unwrap_or_default(),
            best.last_runs().count(),
            varied.collect::<Vec<_>>().join(", ").replace(char::is_control, " "),
            best.config
        ))
    }
}

impl TrialReport {
    fn of(plan: &Plan, trial: &Trial, outcomes: &[Outcome]) -> Self {
        let runs: Vec<_> = outcomes.iter().filter(|run| run.trial == trial.name).cloned().collect();
        let rung = runs.iter().map(|run| run.rung).max().unwrap_or(0);
        let last: Vec<_> = runs.iter().filter(|run| run.rung == rung).collect();
        let score = Score::of(plan.metric, &last);
        Self {
            trial: trial.name.clone(),
            varied: trial.varied.iter().cloned().collect(),
            config: trial.config(plan.rungs.get(rung).and_then(|rung| rung.frames)),
            rung,
            missing: score.missing(),
            score,
            runs,
        }
    }

    /// The runs of the last rung.
    pub(crate) fn last_runs(&self) -> impl Iterator<Item = &Outcome> {
        self.runs.iter().filter(|run| run.rung == self.rung)
    }
}

/// Positions of the trials that go on to the next rung, in the order of the plan.
pub(crate) fn who_goes_on(
    metric: Metric,
    trials: &[usize],
    scores: &[Score],
    keep: usize,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..trials.len()).collect();
    order.sort_by(|&a, &b| metric.compare(&scores[a], &scores[b]));
    // Of which nothing is known there is nothing to go on with.
    let known = order.into_iter().filter(|&at| scores[at].estimate.is_some());
    let mut kept: Vec<_> = known.take(keep).map(|at| trials[at]).collect();
    kept.sort_unstable();
    kept
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser as _;
    use impala_rl::trials::Point;

    use super::*;
    use crate::args::SweepArgs;

    pub(crate) fn plan(flags: &str) -> Plan {
        let argv = std::iter::once("impala-sweep").chain(flags.split_whitespace());
        Plan::of(&SweepArgs::try_parse_from(argv).expect(flags)).expect(flags)
    }

    pub(crate) fn outcome(trial: &str, seed: u32, rung: usize, return_mean: f64) -> Outcome {
        let point = |frames, return_mean| Point { frames, seconds: 0.1, return_mean };
        Outcome {
            return_mean: Some(return_mean),
            status: "finished".to_owned(),
            frames: 1000 * (rung as u64 + 1),
            wall_s: 2.0,
            frames_per_s: 500.0,
            curve: vec![
                point(10.0, 1.0),
                point(500.0, return_mean / 2.0),
                point(1000.0, return_mean),
            ],
            ..Outcome::new(trial, seed, rung)
        }
    }

    /// Three learning rates, two seeds; one run of the third has failed.
    pub(crate) fn sample() -> SweepReport {
        let plan = plan("--set learning-rate=0.001,0.003,0.01 --seeds 2 -- --env CartPole-v1");
        let mut outcomes = vec![
            outcome("trial-001", 1, 0, 40.0),
            outcome("trial-001", 2, 0, 60.0),
            outcome("trial-002", 1, 0, 400.0),
            outcome("trial-002", 2, 0, 450.0),
            outcome("trial-003", 1, 0, 500.0),
            outcome("trial-003", 2, 0, 0.0),
        ];
        outcomes[5].failure = Some("impala-supervisor: <killed> | gone".to_owned());
        outcomes[5].curve.clear();
        SweepReport::of(&plan, &outcomes, 2)
    }

    #[test]
    fn the_best_comes_first_and_can_be_run_again() {
        let report = sample();
        let order: Vec<_> = report.trials.iter().map(|trial| trial.trial.as_str()).collect();
        assert_eq!(order, ["trial-002", "trial-001", "trial-003"]);
        assert_eq!((report.best.as_deref(), report.failed), (Some("trial-002"), 1));
        assert_eq!(report.trials[2].missing, 1);
        let best = report.best_config().expect("one is best");
        assert!(best.contains("return 425 over 2 runs"), "{best}");
        assert!(best.contains("\nlearning-rate = 0.003\n"), "{best}");
        assert!(toml::from_str::<toml::Table>(&best).is_ok(), "{best}");
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["trials"][0]["score"]["iqm"], 425.0);
        assert_eq!(json["trials"][0]["varied"]["learning-rate"], "0.003");
    }

    #[test]
    fn nothing_is_best_before_anything_ran() {
        let plan = plan("--set learning-rate=0.001,0.003");
        let report = SweepReport::of(&plan, &[], 1);
        assert_eq!((report.best.clone(), report.best_config()), (None, None));
        assert_eq!(report.trials.len(), 2);
    }

    #[test]
    fn who_came_further_is_better() {
        let plan = plan("--set learning-rate=0.001,0.003 --seeds 1");
        let outcomes = [
            outcome("trial-001", 1, 0, 90.0),
            outcome("trial-002", 1, 0, 95.0),
            outcome("trial-002", 1, 1, 80.0),
        ];
        let report = SweepReport::of(&plan, &outcomes, 1);
        assert_eq!(report.best.as_deref(), Some("trial-002"));
        assert_eq!(report.trials[0].rung, 1);
        assert_eq!(report.trials[0].last_runs().count(), 1);
    }

    #[test]
    fn the_best_of_a_rung_go_on() {
        let score = |value: Option<f64>| {
            let run = Outcome { return_mean: value, ..Outcome::new("t", 1, 0) };
            Score::of(Metric::Return, &[&run])
        };
        let scores = [Some(1.0), Some(5.0), None, Some(3.0)].map(score);
        let on = |keep| who_goes_on(Metric::Return, &[2, 4, 6, 8], &scores, keep);
        assert_eq!(on(2), [4, 8]);
        assert_eq!(on(1), [4]);
        assert_eq!(on(4), [2, 4, 8], "who has no score does not");
    }
}
