//! `learn.json`: the results of all runs.

use impala_rl::trials::Estimate;
use serde::Serialize;

use super::outcome::{Outcome, Score};
use super::plan::{Plan, Planned};
use crate::bench::machine::Machine;
use crate::bench::stats::Spread;

/// What all runs came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct LearnReport {
    pub(super) benchmark: &'static str,
    /// Version of the program.
    pub(super) version: &'static str,
    pub(super) machine: Machine,
    pub(super) suite: String,
    pub(super) eval_episodes: u32,
    /// Greedy scores as shares of the way from a random policy to the target, over the environments that have both.
    pub(super) normalized: Option<Estimate>,
    pub(super) environments: Vec<EnvironmentReport>,
}

/// The runs of one environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct EnvironmentReport {
    pub(super) env: String,
    pub(super) flags: Vec<String>,
    pub(super) total_frames: u64,
    pub(super) target: Option<f64>,
    pub(super) a2c: Option<f64>,
    pub(super) ppo: Option<f64>,
    pub(super) random: Option<f64>,
    pub(super) failed: usize,
    pub(super) greedy: Option<Scores>,
    pub(super) sampled: Option<Scores>,
    /// Runs that reached the target.
    pub(super) reached: usize,
    /// Lowest mean after the target was first reached, over all runs.
    pub(super) lowest_after: Option<f64>,
    pub(super) frames_per_s: Option<Spread>,
    pub(super) policy_lag_mean: Option<Spread>,
    pub(super) runs: Vec<Outcome>,
}

/// Scores of the final policies, one for each seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Scores {
    pub(super) mean: f64,
    /// Interquartile mean over the seeds, with its interval.
    #[serde(flatten)]
    pub(super) estimate: Estimate,
    pub(super) each: Vec<f64>,
}

impl LearnReport {
    /// Of the outcomes in the order of the plan; those that are missing have not been run.
    pub(super) fn of(plan: &Plan, outcomes: &[Outcome]) -> Self {
        let environments = plan.environments.iter().map(|planned| {
            let of_env = outcomes.iter().filter(|outcome| outcome.env == planned.entry.env);
            EnvironmentReport::of(planned, of_env.cloned().collect())
        });
        let environments: Vec<_> = environments.collect();
        let strata: Vec<_> =
            environments.iter().filter_map(EnvironmentReport::normalized).collect();
        Self {
            benchmark: "learn",
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::here(),
            suite: plan.suite.clone(),
            eval_episodes: plan.eval_episodes,
            normalized: Estimate::of(&strata),
            environments,
        }
    }
}

impl EnvironmentReport {
    fn of(planned: &Planned, runs: Vec<Outcome>) -> Self {
        let entry = &planned.entry;
        let trained: Vec<_> = runs.iter().filter(|run| run.frames > 0).collect();
        let spread =
            |of: fn(&&Outcome) -> f64| (!trained.is_empty()).then(|| Spread::over(&trained, of));
        let lowest = runs.iter().filter_map(|run| Some(run.reached?.lowest_after));
        Self {
            env: entry.env.clone(),
            flags: planned.flags.clone(),
            total_frames: entry.total_frames,
            target: entry.target,
            a2c: entry.a2c,
            ppo: entry.ppo,
            random: entry.random,
            failed: runs.iter().filter(|run| run.failure.is_some()).count(),
            greedy: Scores::of(runs.iter().filter_map(|run| run.greedy)),
            sampled: Scores::of(runs.iter().filter_map(|run| run.sampled)),
            reached: runs.iter().filter(|run| run.reached.is_some()).count(),
            lowest_after: lowest.reduce(f64::min),
            frames_per_s: spread(|run| run.frames_per_s),
            policy_lag_mean: spread(|run| run.policy_lag_mean),
            runs,
        }
    }

    fn normalized(&self) -> Option<Vec<f64>> {
        let (low, high) = (self.random?, self.target?);
        let shares = |score: &f64| (score - low) / (high - low);
        Some(self.greedy.as_ref()?.each.iter().map(shares).collect())
    }
}

impl Scores {
    fn of(scores: impl Iterator<Item = Score>) -> Option<Self> {
        let each: Vec<f64> = scores.map(|score| score.return_mean).collect();
        let estimate = Estimate::of(std::slice::from_ref(&each))?;
        Some(Self { mean: each.iter().sum::<f64>() / each.len() as f64, estimate, each })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use impala_rl::trials::{Point, Reached};

    use super::*;
    use crate::bench::learn::suite::Suite;

    /// Two environments with two seeds each; one run of the second has failed.
    pub(in crate::bench::learn) fn sample() -> LearnReport {
        let mut suite = Suite::find("classic").expect("it is there");
        suite.entries.truncate(2);
        let planned = |entry| Planned { entry, flags: vec!["--x".to_owned()], seeds: 2 };
        let environments = suite.entries.into_iter().map(planned).collect();
        let plan =
            Plan { suite: suite.name, program: String::new(), eval_episodes: 100, environments };
        let point = |frames: f64, return_mean| Point { frames, seconds: frames / 1e5, return_mean };
        let score = |return_mean| Score {
            return_mean,
            return_std: 1.0,
            return_min: 0.0,
            return_max: 500.0,
            length_mean: return_mean,
        };
        let outcomes: Vec<_> = plan
            .trials()
            .enumerate()
            .map(|(at, trial)| Outcome {
                frames: 100_000,
                frames_per_s: 50_000.0 + at as f64,
                wall_s: 2.0,
                policy_lag_mean: 2.0,
                greedy: (at < 3).then(|| score(400.0 + 50.0 * at as f64)),
                sampled: (at < 2).then(|| score(350.0)),
                reached: (at == 1).then_some(Reached {
                    frames: 90_000.0,
                    seconds: 1.8,
                    lowest_after: 476.5,
                }),
                failure: (at == 3).then(|| "impala-supervisor: <killed> | gone".to_owned()),
                curve: vec![point(10.0, 20.0), point(5e4, 200.0), point(1e5, 450.0 + at as f64)],
                ..Outcome::new(trial)
            })
            .collect();
        LearnReport::of(&plan, &outcomes)
    }

    #[test]
    fn seeds_are_summed_up_by_environment() {
        let report = sample();
        let [cartpole, acrobot] = &report.environments[..] else { panic!("two") };
        let greedy = cartpole.greedy.as_ref().expect("scores");
        assert_eq!(
            (greedy.mean, greedy.estimate.iqm, &greedy.each[..]),
            (425.0, 425.0, &[400.0, 450.0][..])
        );
        assert_eq!((greedy.estimate.low, greedy.estimate.high), (400.0, 450.0));
        assert_eq!((cartpole.reached, cartpole.lowest_after), (1, Some(476.5)));
        assert_eq!(cartpole.frames_per_s.map(|s| s.median), Some(50_000.5));
        assert_eq!((acrobot.failed, acrobot.sampled.clone()), (1, None));
        let normalized = report.normalized.expect("random and target are known");
        assert!(0.8 < normalized.iqm && normalized.iqm < 2.5, "{normalized:?}");
    }
}
