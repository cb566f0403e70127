//! `impala-bench learn`: trains on each environment with several seeds, each in a run of the real supervisor, and
//! evaluates the final policies on fresh episodes.
//!
//! `suite` reads what to run and `plan` checks it; `trial` runs one after the other; `report` sums up, and `tables` and
//! `page` show it. Folder, children, curves and statistics are those of [`trials`].

mod args;
mod error;
mod outcome;
mod page;
mod plan;
mod progress;
mod report;
mod suite;
mod tables;
mod trial;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use args::LearnArgs;
pub use error::LearnError;
pub(crate) use outcome::Outcome;

use impala_rl::trials::{self, Folder, Watch, json};

use self::plan::Plan;
use self::progress::Progress;
use self::report::LearnReport;
use self::trial::Runner;

/// What the output folder holds, for messages.
const KIND: &str = "benchmark of learning";

/// Runs what is not done yet, and prints and writes what all of it came to.
///
/// # Errors
/// [`LearnError`]; some runs that failed are one as well, after everything is written.
pub(crate) fn run(args: &LearnArgs) -> Result<(), LearnError> {
    let mut plan = Plan::of(args)?;
    plan.check()?;
    plan.program = trials::fingerprint(trials::SUPERVISOR)?;
    let path = args.output.clone();
    let path = path.unwrap_or_else(|| PathBuf::from(format!("runs/learn-{}", plan.suite)));
    let folder = Folder::open(&path, &plan, KIND)?;
    let watch = Watch::new()?;
    let runner = Runner {
        folder: &folder,
        watch: &watch,
        eval_episodes: args.eval_episodes,
        eval_limit: Duration::from_secs(args.eval_time_limit),
    };
    let outcomes = run_all(&runner, &plan)?;
    let report = LearnReport::of(&plan, &outcomes);
    write_files(&folder, &report)?;
    print(args.json, &report, &path);
    match outcomes.iter().filter(|outcome| outcome.failure.is_some()).count() {
        0 => Ok(()),
        failed => Err(LearnError::SomeFailed { failed, runs: outcomes.len(), path }),
    }
}

/// The outcomes of all trials, in the order of the plan. After each of them the files of the folder hold what is known.
fn run_all(runner: &Runner<'_>, plan: &Plan) -> Result<Vec<Outcome>, LearnError> {
    let mut progress = Progress::new(plan);
    let mut outcomes = Vec::new();
    for trial in plan.trials() {
        let earlier = runner.finished(trial)?;
        let known = earlier.is_some();
        let outcome = match earlier {
            Some(outcome) => outcome,
            None => {
                let found = runner.run(trial, &mut |stage| progress.tick(trial, stage))?;
                runner.folder.keep(&trial.name(), &found)?;
                found
            }
        };
        progress.finished(trial, &outcome, known);
        outcomes.push(outcome);
        if !known {
            write_files(runner.folder, &LearnReport::of(plan, &outcomes))?;
        }
    }
    Ok(outcomes)
}

fn write_files(folder: &Folder, report: &LearnReport) -> Result<(), LearnError> {
    folder.write("learn.json", &json(report))?;
    folder.write("learn.md", &tables::markdown(report))?;
    folder.write("learn.html", &page::html(report))?;
    Ok(())
}

fn print(as_json: bool, report: &LearnReport, path: &Path) {
    let text = if as_json {
        serde_json::to_string(report).map_or_else(|error| error.to_string(), |text| text + "\n")
    } else {
        format!("{}\n{}\n", tables::markdown(report), path.join("learn.html").display())
    };
    let mut out = io::stdout().lock();
    let _closed_is_fine = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
