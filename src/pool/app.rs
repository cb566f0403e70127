//! Entry point of `impala-supervisor`: reads the command line, does what it asks for, and returns the exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::console::{last_line, means};
use super::run_dir::{CONFIG_FILE, RunDirError, SUMMARY_FILE};
use super::summary::{Status, Summary};
use super::trainer::{Run as Ended, TrainError, Trainer};
use super::tuning::TuneError;
use crate::build;
use crate::config::{Args, Config, refusal};
use crate::env::Registry;
use crate::metrics::RunId;
use crate::metrics::human::{clock, si};
use crate::policy::simd::Level;
use crate::supervisor::ExitKind;
use crate::unroll::BlockRef;

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}")]
    CommandLine(String),
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl CommandError {
    fn exit(&self) -> ExitKind {
        match self {
            Self::CommandLine(_) => ExitKind::Usage,
            Self::Train(error) => error.exit(),
        }
    }
}

/// The command line of `impala-supervisor`, for whoever documents or completes it.
#[must_use]
pub fn command() -> clap::Command {
    Args::described()
}

/// Runs the command line of this process with the environments in `registry`, and gives the exit code.
///
/// A program with environments of its own calls this with a registry that it has added them to; it then
/// takes all the flags of `impala-supervisor`.
#[must_use]
pub fn main(registry: Registry) -> ExitCode {
    Program::new(registry).run()
}

/// The program: environments to choose from, and what else a program of one's own may want.
#[derive(Debug)]
pub struct Program {
    trainer: Trainer,
}

impl Program {
    /// `impala-supervisor` with these environments.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { trainer: Trainer::of_program(registry) }
    }

    /// Has `look` see each batch before it is learnt from: see [`Trainer::on_batch`].
    #[must_use]
    pub fn on_batch(self, look: impl Fn(&BlockRef<'_>) + 'static) -> Self {
        Self { trainer: self.trainer.on_batch(look) }
    }

    /// Runs the command line of this process, and gives the exit code.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match try_main(self) {
            Ok(exit) => exit.into(),
            Err(error) => {
                let _closed_is_fine = writeln!(io::stderr(), "impala-supervisor: {error}");
                error.exit().into()
            }
        }
    }
}

fn try_main(program: Program) -> Result<ExitKind, CommandError> {
    let launched = launched();
    let trainer = program.trainer;
    let args = match Args::from_argv(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            return refusal(&error).map_or_else(
                || {
                    print(&error.render().to_string());
                    Ok(ExitKind::Finished)
                },
                |line| Err(CommandError::CommandLine(format!("{line}; --help lists the flags"))),
            );
        }
    };
    if args.list_envs {
        print(
            &trainer
                .environments()
                .ids()
                .map(|(id, about)| format!("{id:<20} {about}\n"))
                .collect::<String>(),
        );
        return Ok(ExitKind::Finished);
    }
    if args.resume.is_some() && args.settings.run_dir.is_some() {
        return Err(CommandError::CommandLine(
            "--resume continues in its own folder; leave --run-dir out".into(),
        ));
    }
    if let Some(folder) =
        args.resume.as_deref().filter(|folder| !folder.join(CONFIG_FILE).is_file())
    {
        return Err(TrainError::from(RunDirError::NoRun { path: folder.to_owned() }).into());
    }
    if args.auto.is_some() && args.resume.is_some() {
        return Err(TrainError::from(TuneError::Resume).into());
    }
    let layers = args.layers().map_err(TrainError::from)?;
    if args.print_config {
        let config = Config::resolve(&layers, trainer.environments()).map_err(TrainError::from)?;
        Level::choose(config.pool.vectors).map_err(TrainError::from)?;
        build::network(&config).map_err(TrainError::from)?;
        print(&config.to_toml());
        return Ok(ExitKind::Finished);
    }
    let ended = match args.auto {
        Some(budget_s) => {
            let budget = Duration::from_secs_f64(budget_s);
            trainer.conduct_tuned(layers, args.chaos, budget, launched)
        }
        None => trainer.conduct(layers, args.resume, args.chaos, launched),
    };
    let Ended { summary, is_other_rank, exit, .. } = ended?;
    if !is_other_rank {
        report(&summary);
    }
    Ok(exit)
}

/// When this process was started, or now where the kernel does not tell.
fn launched() -> Instant {
    let now = Instant::now();
    let age = RunId::of_this_process().ok().and_then(RunId::age);
    age.and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

/// The last line: shown even when quiet.
fn report(summary: &Summary) {
    let status = match summary.status {
        Status::Solved => "solved",
        Status::Finished => "finished",
        Status::TimeLimit => "time limit reached",
        Status::Interrupted => "interrupted",
        Status::Failed => "failed",
    };
    let mean = means(&summary.tasks.iter().map(|task| task.return_mean_100).collect::<Vec<_>>());
    let wall = clock(summary.wall_s);
    let line = format!(
        "{status} ({}): return {mean}, {} frames in {wall} ({} frames/s); {}",
        summary.reason,
        si(summary.frames as f64),
        si(summary.frames_per_s),
        summary.run_dir.join(SUMMARY_FILE).display()
    );
    last_line(&line);
    if let Some(faults) = &summary.faults {
        last_line(&format!("{faults}; {}", summary.slot_counts));
    }
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _closed_is_fine = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
