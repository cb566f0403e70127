//! One run: training, and two evaluations of what it came to.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use impala_rl::metrics::MetricsRecord;
use serde_json::Value;

use super::child::{Ended, Watch};
use super::curve::Curve;
use super::error::LearnError;
use super::folder::Folder;
use super::outcome::{Outcome, Score};
use super::plan::Trial;
use super::program::{self, PLAY, SUPERVISOR};

/// Bytes at the end of `metrics.jsonl` that hold its last line.
const TAIL_BYTES: u64 = 1 << 17;

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
    /// Runs a trial to its end. A run that fails is an outcome; an error is for what ends the benchmark.
    pub(super) fn run(
        &self,
        trial: Trial<'_>,
        tick: &mut dyn FnMut(Stage),
    ) -> Result<Outcome, LearnError> {
        self.folder.clear(trial)?;
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
        let run_dir = self.folder.run_dir(trial);
        let mut command = self.program(SUPERVISOR, trial, File::create)?;
        command.args(&trial.planned.flags).args(["--seed", &trial.seed.to_string()]);
        command.arg("--run-dir").arg(&run_dir);
        let ended = self.watch.run(&mut command, None, || {
            let last = last_line(&run_dir.join("metrics.jsonl"));
            let frames = last.as_ref().map_or(0, |line| line.frames);
            let return_mean = last.and_then(|line| line.return_mean);
            tick(Stage::Training { frames, return_mean });
        })?;
        let failure = self.failure(trial, SUPERVISOR, ended)?;
        let target = trial.planned.entry.target;
        if let Ok(episodes) = File::open(run_dir.join("episodes.csv")) {
            let curve = Curve::read(BufReader::new(episodes), target)
                .map_err(LearnError::file(&run_dir, "read"))?;
            outcome.training_return = curve.points.last().map(|point| point.return_mean);
            (outcome.episodes, outcome.reached) = (curve.episodes, curve.reached);
            outcome.curve = curve.points;
        }
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
        let run_dir = self.folder.run_dir(trial);
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
        let log = self.folder.log(trial);
        let file = open(log.clone()).and_then(|file| Ok([file.try_clone()?, file]));
        let [out, err] = file.map_err(LearnError::file(&log, "write"))?;
        let mut command = Command::new(program::beside(name)?);
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
                let log = fs::read_to_string(self.folder.log(trial)).unwrap_or_default();
                let said = log.lines().rev().find(|line| !line.trim().is_empty());
                Ok(Some(format!("{name}: {status}: {}", said.unwrap_or("it said nothing"))))
            }
        }
    }
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// The last whole line of a run's metrics.
fn last_line(path: &Path) -> Option<MetricsRecord> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rev().take(2).find_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_counts() {
        let place = tempfile::tempdir().expect("temporary folder");
        let path = place.path().join("metrics.jsonl");
        assert!(last_line(&path).is_none());
        let lines = "{\"wall_s\":1,\"frames\":1}\n{\"wall_s\":2,\"frames\":22}\n{\"fra";
        fs::write(&path, lines).expect("written");
        assert_eq!(last_line(&path).map(|line| line.frames), Some(22));
    }
}
