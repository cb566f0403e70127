//! Scores trials, and ranks them by the metric that the user chose.

use std::cmp::Ordering;

use clap::ValueEnum;
use impala_rl::metrics::human::si;
use impala_rl::trials::{Estimate, score};
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;

/// What the best is best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Mean return of the last episodes of training; higher is better
    Return,
    /// Frames until the mean return reached --stop-at-return; lower is better
    FramesToTarget,
    /// Frames learnt per second; higher is better
    FramesPerS,
}

/// What the runs of a trial come to. A run without a value has failed, has had no episode, or has not reached the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Score {
    /// Interquartile mean over the seeds, with its interval; of those that have a value.
    #[serde(flatten)]
    pub(crate) estimate: Option<Estimate>,
    /// Of each run.
    pub(crate) each: Vec<Option<f64>>,
}

impl Metric {
    /// As it is typed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::FramesToTarget => "frames-to-target",
            Self::FramesPerS => "frames-per-s",
        }
    }

    /// What it is, for headings and notes.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Return => "mean return of the last episodes of training",
            Self::FramesToTarget => "frames until the mean return reached the target",
            Self::FramesPerS => "frames learnt per second",
        }
    }

    const fn is_cost(self) -> bool {
        matches!(self, Self::FramesToTarget)
    }

    /// Of a run, if it has one.
    pub(crate) fn of(self, run: &Outcome) -> Option<f64> {
        if run.failure.is_some() {
            return None;
        }
        match self {
            Self::Return => run.return_mean,
            Self::FramesToTarget => run.frames_to_target.map(|frames| frames as f64),
            Self::FramesPerS => Some(run.frames_per_s),
        }
    }

    /// As people read it.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Return => score(value),
            Self::FramesToTarget | Self::FramesPerS => si(value),
        }
    }

    /// The better one is less, as it comes first. First counts how many runs have no value: what fails or misses the target
    /// now and then is not the best, however good the rest.
    pub(crate) fn compare(self, a: &Score, b: &Score) -> Ordering {
        let better =
            |a: f64, b: f64| if self.is_cost() { a.total_cmp(&b) } else { b.total_cmp(&a) };
        let iqm = |score: &Score| score.estimate.map(|estimate| estimate.iqm);
        match (iqm(a), iqm(b)) {
            (Some(x), Some(y)) => a.missing().cmp(&b.missing()).then(better(x, y)),
            (x, y) => y.is_some().cmp(&x.is_some()),
        }
    }
}

impl Score {
    pub(crate) fn of(metric: Metric, runs: &[&Outcome]) -> Self {
        let each: Vec<_> = runs.iter().map(|run| metric.of(run)).collect();
        let values: Vec<f64> = each.iter().flatten().copied().collect();
        Self { estimate: Estimate::of(&[values]), each }
    }

    /// Runs without a value.
    pub(crate) fn missing(&self) -> usize {
        self.each.iter().filter(|value| value.is_none()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(metric: Metric, values: &[Option<f64>]) -> Score {
        let run = |value: &Option<f64>| Outcome {
            return_mean: *value,
            frames_to_target: value.map(|_| 5000),
            frames_per_s: 1.0,
            ..Outcome::new("trial-001", 1, 0)
        };
        let runs: Vec<Outcome> = values.iter().map(run).collect();
        Score::of(metric, &runs.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_score_is_the_interquartile_mean_of_what_there_is() {
        let found = score(Metric::Return, &[Some(1.0), None, Some(3.0)]);
        assert_eq!(found.estimate.map(|estimate| estimate.iqm), Some(2.0));
        assert_eq!((found.missing(), found.each.len()), (1, 3));
        assert_eq!(score(Metric::Return, &[None]).estimate, None);
        let failed = Outcome {
            return_mean: Some(5.0),
            failure: Some("gone".to_owned()),
            ..Outcome::new("trial-001", 1, 0)
        };
        assert_eq!(Metric::Return.of(&failed), None, "a run that failed proves nothing");
    }

    #[test]
    fn the_better_comes_first_and_the_unreliable_last() {
        let of = |values: &[Option<f64>]| score(Metric::Return, values);
        let (good, bad) = (of(&[Some(9.0), Some(9.0)]), of(&[Some(1.0), Some(1.0)]));
        let (lucky, none) = (of(&[Some(99.0), None]), of(&[None, None]));
        let mut all = [&none, &lucky, &bad, &good];
        all.sort_by(|a, b| Metric::Return.compare(a, b));
        assert_eq!(all, [&good, &bad, &lucky, &none]);
        assert_eq!(
            Metric::FramesToTarget.compare(&good, &bad),
            Ordering::Greater,
            "fewer is better"
        );
        assert_eq!(Metric::Return.compare(&none, &none), Ordering::Equal);
    }

    #[test]
    fn names_are_those_of_the_file() {
        for metric in Metric::value_variants() {
            let text = serde_json::to_string(metric).expect("JSON");
            assert_eq!(text, format!("{:?}", metric.name()));
            let typed = metric.to_possible_value().expect("shown");
            assert_eq!(typed.get_name(), metric.name());
        }
    }
}
