//! One run of the benchmark: it trains an agent and then evaluates its final policy twice, greedy and sampled.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use impala_rl::trials::{
    Curve, Ended, Folder, FolderError, PLAY, SUPERVISOR, Watch, beside, last_metrics, last_words,
    read_json,
};

use super::error::LearnError;
use super::outcome::{Outcome, Score};
use super::plan::Trial;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stage {
    /// It learns.
    Training {
        /// Frames learnt.
        frames: u64,
        /// Mean return of the last episodes.
        return_mean: Option<f64>,
    },
    /// Its final policy plays.
    Evaluating,
}

/// Runs and evaluates trials.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) folder: &'a Folder,
    pub(super) watch: &'a Watch,
    pub(super) eval_episodes: u32,
    pub(super) eval_limit: Duration,
}

impl Runner<'_> {
    /// What a trial came to, if it is done and did not fail.
    pub(super) fn finished(&self, trial: Trial<'_>) -> Result<Option<Outcome>, LearnError> {
        let kept: Option<Outcome> = self.folder.kept(&trial.name())?;
        Ok(kept.filter(|outcome| outcome.failure.is_none()))
    }

    /// Runs a trial to its end. A run that fails is an outcome; an error is for what ends the benchmark.
    pub(super) fn run(
        &self,
        trial: Trial<'_>,
        tick: &mut dyn FnMut(Stage),
    ) -> Result<Outcome, LearnError> {
        self.folder.clear(&trial.name())?;
        let mut outcome = Outcome::new(trial);
        outcome.failure = self.train(trial, &mut outcome, tick)?;
        for greedy in [true, false] {
            if outcome.failure.is_none() {
                match self.evaluate(trial, greedy, tick)? {
                    Ok(score) if greedy => outcome.greedy = Some(score),
                    Ok(score) => outcome.sampled = Some(score),
                    Err(failure) => outcome.failure = Some(failure),
                }
            }
        }
        Ok(outcome)
    }

    /// Gives why it failed, if it did.
    fn train(
        &self,
        trial: Trial<'_>,
        outcome: &mut Outcome,
        tick: &mut dyn FnMut(Stage),
    ) -> Result<Option<String>, LearnError> {
        let run_dir = self.folder.run_dir(&trial.name());
        let mut command = self.program(SUPERVISOR, trial, File::create)?;
        command.args(&trial.planned.flags).args(["--seed", &trial.seed.to_string()]);
        command.arg("--run-dir").arg(&run_dir);
        let ended = self.watch.run(&mut command, None, || {
            let last = last_metrics(&run_dir);
            let frames = last.as_ref().map_or(0, |line| line.frames);
            let return_mean = last.and_then(|line| line.return_mean);
            tick(Stage::Training { frames, return_mean });
        })?;
        let failure = self.failure(trial, SUPERVISOR, ended)?;
        let target = trial.planned.entry.target;
        let curve = Curve::of_run(&run_dir, target).map_err(FolderError::file(&run_dir, "read"))?;
        outcome.training_return = curve.points.last().map(|point| point.return_mean);
        (outcome.episodes, outcome.reached) = (curve.episodes, curve.reached);
        outcome.curve = curve.points;
        if failure.is_some() {
            return Ok(failure);
        }
        let Some(summary) = read_json(&run_dir.join("summary.json")) else {
            return Ok(Some("impala-supervisor left no summary.json".to_owned()));
        };
        let number = |key: &str| summary[key].as_f64().unwrap_or(0.0);
        outcome.frames = summary["frames"].as_u64().unwrap_or(0);
        (outcome.wall_s, outcome.frames_per_s) = (number("wall_s"), number("frames_per_s"));
        outcome.policy_lag_mean = number("policy_lag_mean");
        let stopped = summary["status"] == "interrupted";
        Ok(stopped.then(|| "somebody else stopped impala-supervisor".to_owned()))
    }

    /// Gives the score, or why there is none.
    fn evaluate(
        &self,
        trial: Trial<'_>,
        greedy: bool,
        tick: &mut dyn FnMut(Stage),
    ) -> Result<Result<Score, String>, LearnError> {
        let run_dir = self.folder.run_dir(&trial.name());
        let choice = if greedy { "greedy" } else { "sampled" };
        let output = run_dir.join(format!("evaluation-{choice}.json"));
        let append = |path: PathBuf| OpenOptions::new().append(true).open(path);
        let mut command = self.program(PLAY, trial, append)?;
        command.arg(&run_dir).arg(format!("--{choice}")).arg("--output").arg(&output);
        command.args(["--episodes", &self.eval_episodes.to_string()]);
        command.args(["--seed", &trial.seed.to_string()]);
        let ended =
            self.watch.run(&mut command, Some(self.eval_limit), || tick(Stage::Evaluating))?;
        if let Some(failure) = self.failure(trial, PLAY, ended)? {
            return Ok(Err(format!("{choice} evaluation: {failure}")));
        }
        let score = read_json(&output).and_then(|found| serde_json::from_value(found).ok());
        Ok(score.ok_or_else(|| format!("{choice} evaluation: impala-play left no figures")))
    }

    /// A program beside this one, which writes to the log of the run.
    fn program(
        &self,
        name: &str,
        trial: Trial<'_>,
        open: impl Fn(PathBuf) -> std::io::Result<File>,
    ) -> Result<Command, LearnError> {
        let log = self.folder.log(&trial.name());
        let file = open(log.clone()).and_then(|file| Ok([file.try_clone()?, file]));
        let [out, err] = file.map_err(FolderError::file(&log, "write"))?;
        let mut command = Command::new(beside(name)?);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Ok(command)
    }

    /// Why a program failed, if it did.
    fn failure(
        &self,
        trial: Trial<'_>,
        name: &str,
        ended: Ended,
    ) -> Result<Option<String>, LearnError> {
        match ended {
            Ended::Asked(signal) => Err(LearnError::Interrupted {
                signal: signal as i32,
                path: self.folder.path().to_owned(),
            }),
            Ended::TooLong => Ok(Some(format!(
                "{name} took more than {} s; --eval-time-limit allows more",
                self.eval_limit.as_secs()
            ))),
            Ended::Exited(status) if status.success() => Ok(None),
            Ended::Exited(status) => {
                let said = last_words(&self.folder.log(&trial.name()));
                Ok(Some(format!("{name}: {status}: {said}")))
            }
        }
    }
}
