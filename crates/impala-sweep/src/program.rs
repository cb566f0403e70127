//! Entry point of `impala-sweep`: reads the command line, does what it asks for, and returns the exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::Parser as _;
use impala_rl::config::refusal;
use impala_rl::supervisor::ExitKind;
use impala_rl::trials::{Folder, SUPERVISOR, Watch, fingerprint, json};
use signal_hook::low_level::emulate_default_handler;

use super::args::SweepArgs;
use super::error::SweepError;
use super::outcome::Outcome;
use super::plan::Plan;
use super::progress::Progress;
use super::report::{SweepReport, who_goes_on};
use super::runner::{Job, Runner, Stage, TRIALS, Watcher};
use super::score::Score;
use super::{page, tables};

/// What the output folder holds, for messages.
const KIND: &str = "sweep";

/// The command line of `impala-sweep`, for whoever documents or completes it.
#[must_use]
pub fn command() -> clap::Command {
    <SweepArgs as clap::CommandFactory>::command()
}

/// Runs the command line of this process, and gives the exit code; `--help` lists them.
#[must_use]
pub fn main() -> ExitCode {
    let args = match SweepArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let Some(line) = refusal(&error) else {
                let _closed_is_fine = error.print();
                return ExitKind::Finished.into();
            };
            let _closed_is_fine = writeln!(io::stderr(), "impala-sweep: {line}");
            return ExitKind::Usage.into();
        }
    };
    let Err(error) = run(&args) else { return ExitKind::Finished.into() };
    let _closed_is_fine = writeln!(io::stderr(), "impala-sweep: {error}");
    if let SweepError::Interrupted { signal, .. } = error {
        // The parent should see what it was; the code is for a signal that does not end a process.
        let _ends = emulate_default_handler(signal);
    }
    error.exit_code()
}

fn run(args: &SweepArgs) -> Result<(), SweepError> {
    let mut plan = Plan::of(args)?;
    plan.program = fingerprint(SUPERVISOR)?;
    let path = plan.output(args.output.as_ref());
    let folder = Folder::open(&path, &plan, KIND)?;
    folder.make(TRIALS)?;
    for trial in &plan.trials {
        folder.write(&format!("{TRIALS}/{}.toml", trial.name), &trial.toml)?;
    }
    let watch = Watch::new()?;
    let cores = available_parallelism().map_or(1, usize::from);
    let asked = args.jobs.and_then(|jobs| usize::try_from(jobs).ok());
    let at_once = asked.unwrap_or(cores / plan.cores).max(1);
    let runner = Runner { plan: &plan, folder: &folder, watch: &watch, at_once };
    let mut sweep = Sweep::new(&runner);
    sweep.run_all()?;
    let Sweep { outcomes, .. } = sweep;
    let report = SweepReport::of(&plan, &outcomes, at_once);
    write_files(&folder, &report)?;
    print(args.json, &report, &folder);
    match report.failed {
        0 => Ok(()),
        failed => Err(SweepError::SomeFailed { failed, runs: outcomes.len(), path }),
    }
}

/// A sweep on its way. After each run the files of the folder hold what is known.
struct Sweep<'a> {
    runner: &'a Runner<'a>,
    progress: Progress,
    outcomes: Vec<Outcome>,
}

impl<'a> Sweep<'a> {
    fn new(runner: &'a Runner<'a>) -> Self {
        let plan = runner.plan;
        let trials: usize = plan.rungs.iter().map(|rung| rung.trials).sum();
        let runs = trials * usize::try_from(plan.seeds).unwrap_or(usize::MAX);
        Self { runner, progress: Progress::new(runs, plan.metric), outcomes: Vec::new() }
    }

    /// Rung after rung; without halving there is one.
    fn run_all(&mut self) -> Result<(), SweepError> {
        let plan = self.runner.plan;
        let mut trials: Vec<usize> = (0..plan.trials.len()).collect();
        for (at, rung) in plan.rungs.iter().enumerate() {
            if at > 0 {
                let scores: Vec<_> =
                    trials.iter().map(|&trial| self.score(trial, at - 1)).collect();
                trials = who_goes_on(plan.metric, &trials, &scores, rung.trials);
            }
            let seeds = |&trial: &usize| (1..=plan.seeds).map(move |seed| (trial, seed));
            let jobs = trials.iter().flat_map(seeds).map(|(trial, seed)| Job {
                trial: &plan.trials[trial],
                seed,
                rung: at,
                frames: rung.frames,
            });
            let mut waiting = Vec::new();
            for job in jobs {
                match self.runner.earlier(job)? {
                    Some(outcome) => {
                        self.progress.finished(job, &outcome, true);
                        self.outcomes.push(outcome);
                    }
                    None => waiting.push(job),
                }
            }
            let runner = self.runner;
            runner.run(&waiting, self)?;
            // In the order of the plan, whoever was first.
            self.outcomes
                .sort_by(|a, b| (a.rung, &a.trial, a.seed).cmp(&(b.rung, &b.trial, b.seed)));
        }
        Ok(())
    }

    fn score(&self, trial: usize, rung: usize) -> Score {
        let plan = self.runner.plan;
        let name = &plan.trials[trial].name;
        let runs = self.outcomes.iter().filter(|run| run.rung == rung && run.trial == *name);
        Score::of(plan.metric, &runs.collect::<Vec<_>>())
    }
}

impl Watcher for Sweep<'_> {
    fn tick(&mut self, running: &[Stage<'_>]) {
        self.progress.tick(running);
    }

    fn finished(&mut self, job: Job<'_>, outcome: &Outcome) -> Result<(), SweepError> {
        self.progress.finished(job, outcome, false);
        self.outcomes.push(outcome.clone());
        let Runner { plan, folder, at_once, .. } = *self.runner;
        write_files(folder, &SweepReport::of(plan, &self.outcomes, at_once))
    }
}

fn write_files(folder: &Folder, report: &SweepReport) -> Result<(), SweepError> {
    folder.write("sweep.json", &json(report))?;
    folder.write("sweep.md", &tables::markdown(report))?;
    folder.write("sweep.html", &page::html(report))?;
    if let Some(best) = report.best_config() {
        folder.write("best.toml", &best)?;
    }
    Ok(())
}

fn print(as_json: bool, report: &SweepReport, folder: &Folder) {
    let text = if as_json {
        json(report)
    } else {
        let files = ["sweep.html", "best.toml"].map(|name| folder.path().join(name));
        let files = files.iter().filter(|path| path.exists());
        let files: String = files.map(|path| format!("{}\n", path.display())).collect();
        format!("{}\n{files}", tables::markdown(report))
    };
    let mut out = io::stdout().lock();
    let _closed_is_fine = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
