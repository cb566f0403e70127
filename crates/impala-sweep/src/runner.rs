//! Runs the trials of a sweep, several at a time.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::process::{Command, ExitStatus, Stdio};

use impala_rl::trials::{
    Folder, FolderError, Running, SUPERVISOR, Watch, beside, last_metrics, last_words,
};

use super::error::SweepError;
use super::outcome::Outcome;
use super::plan::{Plan, Trial};

/// Folder of the settings of each trial.
pub(crate) const TRIALS: &str = "trials";

/// A run that is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) trial: &'a Trial,
    pub(crate) seed: u32,
    pub(crate) rung: usize,
    /// Frames of the run, those of earlier rungs included, if its settings do not say.
    pub(crate) frames: Option<u64>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) job: Job<'a>,
    pub(crate) frames: u64,
}

/// What happens while runs go on.
pub(crate) trait Watcher {
    /// A few times a second.
    fn tick(&mut self, running: &[Stage<'_>]);
    /// A run has ended.
    fn finished(&mut self, job: Job<'_>, outcome: &Outcome) -> Result<(), SweepError>;
}

/// Runs trials in a folder.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) folder: &'a Folder,
    pub(crate) watch: &'a Watch,
    /// Runs at a time.
    pub(crate) at_once: usize,
}

impl Job<'_> {
    /// Name of what it came to.
    pub(crate) fn name(&self, plan: &Plan) -> String {
        let rung =
            if plan.halving.is_some() { format!("-rung-{}", self.rung + 1) } else { String::new() };
        format!("{}-seed-{}{rung}", self.trial.name, self.seed)
    }

    /// Name of the folder of the run: one for all rungs, unless each begins anew.
    fn run(&self, plan: &Plan) -> String {
        if plan.halving.is_some_and(|halving| halving.restart) {
            return self.name(plan);
        }
        format!("{}-seed-{}", self.trial.name, self.seed)
    }
}

impl<'a> Runner<'a> {
    /// What a run came to, if it is done and did not fail.
    pub(crate) fn earlier(&self, job: Job<'_>) -> Result<Option<Outcome>, SweepError> {
        let kept: Option<Outcome> = self.folder.kept(&job.name(self.plan))?;
        Ok(kept.filter(|outcome| outcome.failure.is_none()))
    }

    /// Runs all of them. A run that fails is an outcome; an error is for what ends the sweep.
    pub(crate) fn run(
        &self,
        jobs: &[Job<'a>],
        watcher: &mut dyn Watcher,
    ) -> Result<(), SweepError> {
        let mut waiting: VecDeque<Job<'a>> = jobs.iter().copied().collect();
        let mut running: Vec<(Job<'a>, Running)> = Vec::new();
        let mut asked = None;
        loop {
            if let Some(signal) = self.watch.asked() {
                // The second one is passed on as well: a supervisor then waits for nobody.
                running.iter().for_each(|(_, run)| run.send(signal));
                asked = Some(signal);
            }
            while asked.is_none() && running.len() < self.at_once {
                let Some(job) = waiting.pop_front() else { break };
                running.push((job, self.start(job)?));
            }
            let mut at = 0;
            while at < running.len() {
                let Some(status) = running[at].1.status()? else {
                    at += 1;
                    continue;
                };
                let (job, _) = running.swap_remove(at);
                let outcome = self.outcome(job, status)?;
                // What was asked to end has not failed; it goes on the next time.
                if asked.is_none() || outcome.failure.is_none() {
                    self.folder.keep(&job.name(self.plan), &outcome)?;
                    watcher.finished(job, &outcome)?;
                }
            }
            if let Some(signal) = asked.filter(|_| running.is_empty()) {
                let path = self.folder.path().to_owned();
                return Err(SweepError::Interrupted { signal: signal as i32, path });
            }
            if running.is_empty() && waiting.is_empty() {
                return Ok(());
            }
            if running.len() == self.at_once || waiting.is_empty() || asked.is_some() {
                self.watch.wait();
            }
            let stage = |(job, _): &(Job<'a>, Running)| {
                let last = last_metrics(&self.folder.run_dir(&job.run(self.plan)));
                Stage { job: *job, frames: last.map_or(0, |line| line.frames) }
            };
            watcher.tick(&running.iter().map(stage).collect::<Vec<_>>());
        }
    }

    /// Starts a run, or lets one go on that was interrupted or has come to the next rung.
    fn start(&self, job: Job<'_>) -> Result<Running, SweepError> {
        let run = job.run(self.plan);
        let (run_dir, log) = (self.folder.run_dir(&run), self.folder.log(&run));
        let goes_on = self.can_go_on(job)?;
        let mut command = Command::new(beside(SUPERVISOR)?);
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        if goes_on {
            self.folder.is_free(&run)?;
            command.arg("--resume").arg(&run_dir);
        } else {
            self.folder.clear(&run)?;
            let _none_yet = fs::remove_file(&log);
            let config = self.folder.path().join(TRIALS).join(format!("{}.toml", job.trial.name));
            command.arg("--config").arg(config).arg("--run-dir").arg(&run_dir);
            command.args(["--seed", &job.seed.to_string()]);
        }
        if let Some(frames) = job.frames {
            command.args(["--total-frames", &frames.to_string()]);
        }
        let file = options.open(&log).and_then(|file: File| Ok([file.try_clone()?, file]));
        let [out, err] = file.map_err(FolderError::file(&log, "write"))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Ok(Running::start(&mut command)?)
    }

    /// Whether a run has a checkpoint to go on from, and nothing has failed in it.
    fn can_go_on(&self, job: Job<'_>) -> Result<bool, SweepError> {
        for rung in 0..=job.rung {
            let kept: Option<Outcome> = self.folder.kept(&Job { rung, ..job }.name(self.plan))?;
            let another =
                self.plan.halving.is_some_and(|halving| halving.restart) && rung < job.rung;
            if !another && kept.is_some_and(|outcome| outcome.failure.is_some()) {
                return Ok(false);
            }
        }
        let checkpoints = self.folder.run_dir(&job.run(self.plan)).join("checkpoints");
        let mut found = fs::read_dir(checkpoints).into_iter().flatten().flatten();
        Ok(found.any(|entry| entry.path().is_dir()))
    }

    fn outcome(&self, job: Job<'_>, status: ExitStatus) -> Result<Outcome, SweepError> {
        let run = job.run(self.plan);
        let failure = (!status.success())
            .then(|| format!("{SUPERVISOR}: {status}: {}", last_words(&self.folder.log(&run))));
        let outcome = Outcome::new(&job.trial.name, job.seed, job.rung);
        Ok(outcome.read(&self.folder.run_dir(&run), failure)?)
    }
}
