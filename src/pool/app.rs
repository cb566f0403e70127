//! `impala-supervisor`: from the command line to the exit code.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::chaos::{CHAOS_TICK, Chaos};
use super::console::{Console, last_line, means};
use super::continued_logs::cut_back;
use super::launcher::{self, Rank};
use super::memory::{MemoryPlan, PageError, PoolMemory};
use super::roles::{OnBatch, RunContext};
use super::run::Run;
use super::run_dir::{CHECKPOINTS, CONFIG_FILE, RunDir, RunDirError, SUMMARY_FILE, folder_of_rank};
use super::status::Status as StatusBoard;
use super::summary::{Status, Summary};
use crate::build;
use crate::config::environment::{self, ENVIRONMENT_FILE};
use crate::config::{
    Args, Config, ConfigError, Distributed, Engine, Exchange, Schedule, TaskConfig, preflight,
    refusal,
};
use crate::env::Registry;
use crate::hint::with_hint;
use crate::learner::checkpoint::{Checkpoint, CheckpointError};
use crate::metrics::human::{clock, si};
use crate::metrics::{LearnerCounter, TaskCounter};
use crate::policy::spec::SpecError;
use crate::shm::ShmError;
use crate::supervisor::{CleanupTarget, ExitKind, Options, Supervisor, SupervisorError};

/// How often the supervisor looks at the counters: a run that is over in a second should leave curves.
const TICK: Duration = Duration::from_millis(25);

/// Why a run did not come about.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0}")]
    CommandLine(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}", with_hint(.0))]
    Network(#[from] SpecError),
    #[error(transparent)]
    Preflight(#[from] preflight::PreflightError),
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    #[error("{}", with_hint(.0))]
    Checkpoint(#[from] CheckpointError),
    #[error("{}", with_hint(.0))]
    Memory(#[from] ShmError),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

impl StartError {
    fn exit(&self) -> ExitKind {
        match self {
            Self::CommandLine(_) | Self::Config(_) | Self::Network(_) => ExitKind::Usage,
            // More was asked for than a machine has, and everything else fits.
            Self::Preflight(error)
                if matches!(error.remedy(), preflight::Remedy::FewerReplayed { .. }) =>
            {
                ExitKind::Usage
            }
            Self::Preflight(_) | Self::Memory(_) | Self::Page(_) => ExitKind::Resources,
            Self::RunDir(RunDirError::InUse { .. }) => ExitKind::RunFolderInUse,
            Self::RunDir(_) => ExitKind::RunFolder,
            Self::Checkpoint(_) => ExitKind::CheckpointUnusable,
            Self::Supervisor(error) => error.exit(),
        }
    }
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
    registry: Registry,
    on_batch: Option<OnBatch>,
}

impl Program {
    /// `impala-supervisor` with these environments.
    #[must_use]
    pub const fn new(registry: Registry) -> Self {
        Self { registry, on_batch: None }
    }

    /// Has `look` see each batch, in the learner's process, before it is learnt from.
    #[must_use]
    pub const fn on_batch(mut self, look: OnBatch) -> Self {
        self.on_batch = Some(look);
        self
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

fn try_main(program: Program) -> Result<ExitKind, StartError> {
    let Program { registry, on_batch } = program;
    let started = Instant::now();
    let args = match Args::from_argv(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            return refusal(&error).map_or_else(
                || {
                    print(&error.render().to_string());
                    Ok(ExitKind::Finished)
                },
                |line| Err(StartError::CommandLine(format!("{line}; --help lists the flags"))),
            );
        }
    };
    if args.list_envs {
        print(&registry.ids().map(|(id, about)| format!("{id:<20} {about}\n")).collect::<String>());
        return Ok(ExitKind::Finished);
    }
    if args.resume.is_some() && args.settings.run_dir.is_some() {
        return Err(StartError::CommandLine(
            "--resume continues in its own folder; leave --run-dir out".into(),
        ));
    }
    if let Some(folder) =
        args.resume.as_deref().filter(|folder| !folder.join(CONFIG_FILE).is_file())
    {
        return Err(RunDirError::NoRun { path: folder.to_owned() }.into());
    }
    let layers = args.layers()?;
    let config = Config::resolve(&layers, &registry)?;
    let (network, parameters) = build::network(&config)?;
    if args.print_config {
        print(&config.to_toml());
        return Ok(ExitKind::Finished);
    }
    let rank = rank_of(&config, args.resume.is_some())?;
    let config = for_rank(config, rank);
    preflight::check(&config, &preflight::Machine::read())?;
    let console = Console::new(config.run.quiet, rank.map(|rank| rank.rank));
    for (given, TaskConfig { id, .. }) in layers.env.iter().flatten().zip(&config.env.tasks) {
        if given != id {
            let found = crate::gym::Source::of(id).map_or(id.as_str(), |(_, name)| name);
            console.line(&format!("{given} is {found}"));
        }
    }
    for line in config.advice(&layers) {
        console.warn(&line);
    }

    // The run folder is locked before the janitor is told what to clean in it.
    let run_dir = match (&args.resume, rank) {
        (Some(folder), Some(Rank { rank: other @ 1.., .. })) => RunDir::of_rank(folder, other)?,
        (Some(folder), _) => RunDir::resume(folder)?,
        (None, _) => RunDir::create(config.run.run_dir.as_deref(), &config.env.id)?,
    };
    let mut checkpoint = None;
    if let Some(folder) = &args.resume {
        // Those of rank 0, whichever this is.
        let checkpoints = folder.join(CHECKPOINTS);
        let (loaded, problems) = Checkpoint::load_newest(&checkpoints, &parameters)?;
        for problem in problems {
            console.warn(&format!("{problem}; continuing from the one before"));
        }
        console.line(&format!(
            "continuing {} at {} frames",
            run_dir.path().display(),
            si(loaded.state.frames as f64)
        ));
        cut_back(&run_dir, loaded.state.frames, loaded.state.wall_ms as f64 / 1e3)?;
        checkpoint = Some(loaded);
    }
    let before =
        checkpoint.as_ref().map_or(Duration::ZERO, |c| Duration::from_millis(c.state.wall_ms));

    let actors = u16::try_from(config.pool.actors).unwrap_or(u16::MAX);
    let tick = if args.chaos.is_some() { CHAOS_TICK } else { TICK };
    let mut supervisor =
        Supervisor::new(Options { seed: config.run.seed, tick, ..Options::new(actors) })?;
    for folder in [run_dir.path().to_owned(), run_dir.checkpoints()] {
        supervisor.guard(CleanupTarget::TempFiles(folder))?;
    }
    let board = StatusBoard::create(&mut supervisor, &run_dir, &console)?;
    let memory = PoolMemory::create(MemoryPlan::new(&config, parameters.len()))?;
    memory.lay_out_page(&parameters)?;
    run_dir.write(ENVIRONMENT_FILE, &environment::to_json(&config.env.spec))?;
    run_dir.write(CONFIG_FILE, &config.to_toml())?;
    if let Some(checkpoint) = &checkpoint {
        let learner = memory.learner();
        learner.set(LearnerCounter::Frames, checkpoint.state.frames);
        learner.set(LearnerCounter::Episodes, checkpoint.state.episodes);
        learner.set(LearnerCounter::Updates, checkpoint.state.version.saturating_sub(1));
        for (index, task) in checkpoint.state.tasks.iter().take(config.pool.tasks).enumerate() {
            memory.task(index).set(TaskCounter::Frames, task.frames);
            memory.task(index).set(TaskCounter::Episodes, task.episodes);
        }
    }
    console.line(&headline(&config, rank, parameters.len(), run_dir.path()));

    let started = started.checked_sub(before).unwrap_or(started);
    let inheritance = RunContext {
        config,
        rank,
        cores: launcher::cores(rank),
        registry,
        on_batch,
        memory,
        network,
        parameters,
        run_dir,
        checkpoint,
        started,
    };
    let chaos = args.chaos.map(|spec| Chaos::new(spec, actors));
    let mut run = Run::new(inheritance, console, board, chaos);
    let mut outcome = supervisor.run(&mut run);
    run.name_the_cause(&mut outcome);
    run.save_what_is_left(&mut outcome);
    let summary = run.finish(&outcome);
    if let Err(error) = run.inheritance.run_dir.write(SUMMARY_FILE, &summary.to_json()) {
        run.console().warn(&error.to_string());
    }
    if run.inheritance.config.run.report
        && let Err(error) = crate::report::write_into(run.inheritance.run_dir.path())
    {
        run.console().warn(&error.to_string());
    }
    if rank.is_none_or(|rank| rank.rank == 0) {
        report(&summary, run.inheritance.run_dir.path());
    }
    Ok(outcome.exit)
}

/// Which of several ranks this process is, if it is to learn together with others.
fn rank_of(config: &Config, resumes: bool) -> Result<Option<Rank>, StartError> {
    if config.run.distributed == Distributed::Off {
        return Ok(None);
    }
    let Some(rank) = launcher::rank().filter(|rank| rank.size > 1) else { return Ok(None) };
    let refused = |remedy: &str| {
        let Rank { rank, size, .. } = rank;
        Err(StartError::CommandLine(format!("this is rank {rank} of {size}: {remedy}")))
    };
    if !cfg!(feature = "mpi") {
        return refused(
            "this build has no MPI; build it with --features mpi, or give --distributed off for runs of their own",
        );
    }
    if config.run.run_dir.is_none() && !resumes {
        return refused("give the ranks one folder with --run-dir");
    }
    Ok(Some(rank))
}

/// What is rank 0's alone is left out elsewhere; the folder of another rank lies in its.
fn for_rank(mut config: Config, rank: Option<Rank>) -> Config {
    if let Some(Rank { rank: other @ 1.., .. }) = rank {
        config.run.run_dir = config.run.run_dir.map(|folder| folder_of_rank(&folder, other));
        (config.run.tensorboard, config.run.report) = (false, false);
    }
    config
}

fn headline(config: &Config, rank: Option<Rank>, parameters: usize, run_dir: &Path) -> String {
    let pool = &config.pool;
    format!(
        "{}: {}{}{}{} actors x {} environments, unroll {}, batch {}, {} blocks, {} engine, {} parameters -> {}",
        config.env.id,
        rank.map_or_else(String::new, |rank| format!("{} ranks, each ", rank.size)),
        match pool.schedule {
            Schedule::Async => String::new(),
            Schedule::Lockstep { lag } => format!("lockstep with lag {lag}, "),
        },
        match pool.exchange() {
            Exchange::Trajectories => String::new(),
            Exchange::Gradients => format!("{} gradients per update, ", pool.groups_per_block()),
        },
        pool.actors,
        pool.envs_per_actor * pool.groups_per_actor(),
        pool.unroll,
        pool.batch,
        pool.blocks,
        match pool.engine {
            Engine::Native => "native",
            Engine::Libtorch => "libtorch",
        },
        parameters,
        run_dir.display()
    )
}

/// The last line: shown even when quiet.
fn report(summary: &Summary, run_dir: &Path) {
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
        run_dir.join(SUMMARY_FILE).display()
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
