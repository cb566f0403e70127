//! A run as a library call: settings, environments and callbacks in, a summary out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;

use super::chaos::{CHAOS_TICK, Chaos};
use super::console::Console;
use super::continued_logs::cut_back;
use super::launcher::{self, Rank};
use super::memory::{MemoryPlan, PageError, PoolMemory};
use super::roles::{OnBatch, RunContext};
use super::run::{OnMetrics, Run as Pool, TrialClock};
use super::run_dir::{CHECKPOINTS, CONFIG_FILE, RunDir, RunDirError, SUMMARY_FILE, folder_of_rank};
use super::status::Status as StatusBoard;
use super::summary::Summary;
use super::tuned::TunedSummary;
use super::tuning::TuneError;
use crate::build;
use crate::config::environment::{self, ENVIRONMENT_FILE};
use crate::config::{
    ChaosSpec, Config, ConfigError, Distributed, Engine, Exchange, Inference, Schedule, Settings,
    TaskConfig, file, preflight,
};
use crate::env::Registry;
use crate::hint::with_hint;
use crate::learner::checkpoint::{Checkpoint, CheckpointError};
use crate::metrics::human::si;
use crate::metrics::{LearnerCounter, MetricsRecord, TaskCounter};
use crate::policy::simd::{Level, NoSuchVectors};
use crate::policy::spec::SpecError;
use crate::shm::ShmError;
use crate::supervisor::{
    CleanupTarget, ExitKind, Options, Supervisor, SupervisorError, one_thread,
};
use crate::unroll::BlockRef;

/// How often the supervisor looks at the counters: a run that is over in a second should leave curves.
const TICK: Duration = Duration::from_millis(25);
/// The same in a trial, whose ends are where an update ends.
const TRIAL_TICK: Duration = Duration::from_millis(5);

/// Why a run could not be started, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network that they describe cannot be built.
    #[error("{}", with_hint(.0))]
    Network(#[from] SpecError),
    /// The CPU lacks the vectors that they ask for.
    #[error("--vectors {vectors}: {0}; leave it out", vectors = .0.vectors)]
    Vectors(#[from] NoSuchVectors),
    /// Several ranks cannot learn together in this way.
    #[error("this is rank {rank} of {size}: {remedy}")]
    Rank {
        /// Which, from 0.
        rank: usize,
        /// Of how many.
        size: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// Sizes of the pool cannot be tried for such a run.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// The machine has not what they ask for.
    #[error(transparent)]
    Preflight(#[from] preflight::PreflightError),
    /// The run folder cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The checkpoint to continue from cannot be loaded.
    #[error("{}", with_hint(.0))]
    Checkpoint(#[from] CheckpointError),
    /// There is no shared memory for it.
    #[error("{}", with_hint(.0))]
    Memory(#[from] ShmError),
    /// The parameter page cannot be laid out.
    #[error(transparent)]
    Page(#[from] PageError),
    /// This process cannot be a supervisor: among others, because it has several threads.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// It ran and failed. What could be saved is saved.
    #[error("{}", .summary.reason)]
    Failed {
        /// What a program would end with.
        exit: ExitKind,
        /// What it came to until then.
        summary: Box<Summary>,
    },
}

impl TrainError {
    /// The exit code of a program that ends with it.
    #[must_use]
    pub fn exit(&self) -> ExitKind {
        match self {
            Self::Config(_) | Self::Network(_) | Self::Vectors(_) | Self::Rank { .. } => {
                ExitKind::Usage
            }
            Self::Tune(error) => error.exit(),
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
            Self::Failed { exit, .. } => *exit,
        }
    }
}

/// Trains an agent from within a program: what `impala-supervisor` does, without a command line.
///
/// ```standalone_crate,no_run
/// use impala_rl::config::Settings;
/// use impala_rl::pool::Trainer;
///
/// # fn main() -> Result<(), impala_rl::pool::TrainError> {
/// let settings = Settings {
///     env: Some(vec!["CartPole-v1".into()]),
///     actors: Some(4),
///     stop_at_return: Some(vec![475.0]),
///     ..Settings::default()
/// };
/// let summary = Trainer::new(settings)
///     .on_metrics(|line| println!("{} frames, return {:?}", line.frames, line.return_mean))
///     .run()?;
/// println!("{:?} after {} frames", summary.status, summary.frames);
/// # Ok(())
/// # }
/// ```
///
/// # Processes, threads and signals
/// [`Trainer::run`] makes the calling process the supervisor of the run for as long as that lasts: it forks a learner, actors and a janitor, and
/// waits for them. So the process must have one thread ([`TrainError::Supervisor`] otherwise, before anything is made), and callbacks
/// must start none. Children are copies of the process without its other state being run down: they call nothing of the program
/// but the environments and [`Trainer::on_batch`], and leave without running destructors.
///
/// While it lasts, SIGINT, SIGTERM, SIGHUP and SIGQUIT end the run in order, twice without its actors, thrice at once; the run is then one that was
/// interrupted, and no error. All other signals are held back. Afterwards signals do what they did before. If the process is killed, so are its children.
/// At its end it also kills what other children the process has: start none before that are to outlive the run.
/// One run after the other is fine; two at a time need two processes.
pub struct Trainer {
    settings: Settings,
    registry: Registry,
    resume: Option<PathBuf>,
    on_batch: Option<OnBatch>,
    on_metrics: Option<OnMetrics>,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What a run is for.
pub(super) enum Purpose {
    /// To learn, with sizes that were set or that were chosen.
    Learn(Option<TunedSummary>),
    /// To be measured.
    Trial(Box<TrialClock>),
}

/// A run that is to begin.
pub(super) struct Plan {
    pub(super) config: Config,
    /// What was set, of which the configuration follows.
    pub(super) layers: Settings,
    pub(super) resume: Option<PathBuf>,
    pub(super) chaos: Option<ChaosSpec>,
    /// The start of the program, or of the call.
    pub(super) launched: Instant,
    pub(super) started: Instant,
    pub(super) purpose: Purpose,
}

/// A run that has ended.
pub(super) struct Run {
    pub(super) summary: Summary,
    /// What was measured, if it was for that.
    pub(super) trial: Option<TrialClock>,
    /// Whether another rank tells what it came to.
    pub(super) is_other_rank: bool,
    pub(super) exit: ExitKind,
}

impl Trainer {
    /// Trains with these settings, in the built-in environments and those of Gymnasium and EnvPool. What is left open has its default, but for one: nothing is
    /// printed unless `quiet` is `Some(false)`. Warnings go to standard error.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let settings = Settings { quiet: settings.quiet.or(Some(true)), ..settings };
        Self { settings, ..Self::of_program(crate::gym::registry()) }
    }

    /// Continues the run in `folder`, with its settings unless `settings` has others.
    ///
    /// # Errors
    /// [`TrainError::RunDir`] if it holds no run, [`TrainError::Config`] if its settings cannot be read.
    pub fn resume(folder: &Path, settings: Settings) -> Result<Self, TrainError> {
        let config = folder.join(CONFIG_FILE);
        if !config.is_file() {
            return Err(RunDirError::NoRun { path: folder.to_owned() }.into());
        }
        let trainer = Self::new(settings);
        let settings = Settings { run_dir: None, ..trainer.settings.or(file::read(&config)?) };
        Ok(Self { settings, resume: Some(folder.to_owned()), ..trainer })
    }

    /// For a command line that is still to be read.
    pub(super) fn of_program(registry: Registry) -> Self {
        let settings = Settings::default();
        Self { settings, registry, resume: None, on_batch: None, on_metrics: None }
    }

    /// Trains in the environments of `registry`, in place of those it would know.
    #[must_use]
    pub fn registry(self, registry: Registry) -> Self {
        Self { registry, ..self }
    }

    /// Has `look` see each batch before it is learnt from.
    ///
    /// It is called in the learner's process, which is forked from this one: it sees what the program has captured, as it was at the start of the
    /// run, and what it changes there this process does not see. A learner that is replaced begins with a fresh copy. It delays learning by
    /// what it takes.
    #[must_use]
    pub fn on_batch(self, look: impl Fn(&BlockRef<'_>) + 'static) -> Self {
        Self { on_batch: Some(OnBatch::new(look)), ..self }
    }

    /// Has `look` see each line of metrics, as `metrics.jsonl` has it, in this process.
    ///
    /// It must start no thread, for then no dead child can be replaced, and be quick: while it works nobody sees a death or a signal. A panic ends
    /// the run as a crash of the supervisor does.
    #[must_use]
    pub fn on_metrics(self, look: impl FnMut(&MetricsRecord) + 'static) -> Self {
        Self { on_metrics: Some(OnMetrics::new(look)), ..self }
    }

    /// What was set.
    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it continues a run.
    pub(super) const fn resumes(&self) -> bool {
        self.resume.is_some()
    }

    /// The environments that there are.
    pub(super) const fn environments(&self) -> &Registry {
        &self.registry
    }

    /// Trains until the end: that of the settings, or a signal.
    ///
    /// # Errors
    /// [`TrainError`]. Wrong settings are found before anything is forked or written.
    pub fn run(mut self) -> Result<Summary, TrainError> {
        one_thread().map_err(SupervisorError::from)?;
        let (settings, resume) = (std::mem::take(&mut self.settings), self.resume.take());
        let _as_before = Signals::kept();
        let Run { summary, exit, .. } = self.conduct(settings, resume, None, Instant::now())?;
        match exit {
            ExitKind::Finished => Ok(summary),
            exit => Err(TrainError::Failed { exit, summary: Box::new(summary) }),
        }
    }

    /// The run from explicit settings to its summary. Signals stay blocked. `launched` as in [`Plan`].
    pub(super) fn conduct(
        self,
        layers: Settings,
        resume: Option<PathBuf>,
        chaos: Option<ChaosSpec>,
        launched: Instant,
    ) -> Result<Run, TrainError> {
        let started = Instant::now();
        let config = Config::resolve(&layers, &self.registry)?;
        let purpose = Purpose::Learn(None);
        self.follow(Plan { config, layers, resume, chaos, launched, started, purpose })
    }

    /// The run from a configuration to its summary. Signals stay blocked.
    pub(super) fn follow(self, plan: Plan) -> Result<Run, TrainError> {
        let Self { registry, on_batch, on_metrics, .. } = self;
        let Plan { config, layers, resume, chaos, launched, started, purpose } = plan;
        let (tuned, trial) = match purpose {
            Purpose::Learn(tuned) => (tuned, None),
            Purpose::Trial(clock) => (None, Some(*clock)),
        };
        // Before anything is built: children inherit it.
        let level = Level::choose(config.pool.vectors)?;
        let (network, parameters) = build::network(&config)?;
        let rank = rank_of(&config, resume.is_some())?;
        let config = for_rank(config, rank);
        preflight::check(&config, &preflight::Machine::read())?;
        let console = match trial {
            Some(_) => Console::Silent,
            None => Console::new(config.run.quiet, rank.map(|rank| rank.rank)),
        };
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
        let run_dir = match (&resume, rank) {
            (Some(folder), Some(Rank { rank: other @ 1.., .. })) => RunDir::of_rank(folder, other)?,
            (Some(folder), _) => RunDir::resume(folder)?,
            (None, _) => RunDir::create(config.run.run_dir.as_deref(), &config.env.id)?,
        };
        let mut checkpoint = None;
        if let Some(folder) = &resume {
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
        let tick = match (&trial, &chaos) {
            (Some(_), _) => TRIAL_TICK,
            (_, Some(_)) => CHAOS_TICK,
            _ => TICK,
        };
        let mut supervisor = Supervisor::new(Options {
            policy_process: config.pool.inference.is_central(),
            seed: config.run.seed,
            tick,
            ..Options::new(actors)
        })?;
        if trial.is_some() {
            supervisor.guard(CleanupTarget::Folder(run_dir.path().to_owned()))?;
        }
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
        if let Some(tuned) = &tuned {
            console.line(&tuned.to_string());
        }
        console.line(&headline(&config, (level, rank), parameters.len(), run_dir.path()));

        let started = started.checked_sub(before).unwrap_or(started);
        let run_context = RunContext {
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
            launched,
        };
        let central = run_context.config.pool.inference.is_central();
        let chaos = chaos.map(|spec| Chaos::new(spec, actors, central));
        let mut run = Pool::new(run_context, console, board, chaos, on_metrics);
        run.trial = trial;
        let mut outcome = supervisor.run(&mut run);
        run.name_the_cause(&mut outcome);
        run.save_what_is_left(&mut outcome);
        let summary = Summary { tuned, ..run.finish(&outcome) };
        if let Err(error) = run.run_context.run_dir.write(SUMMARY_FILE, &summary.to_json()) {
            run.console().warn(&error.to_string());
        }
        if run.run_context.config.run.report
            && let Err(error) = crate::report::write_into(run.run_context.run_dir.path())
        {
            run.console().warn(&error.to_string());
        }
        let is_other_rank = run.run_context.is_other_rank();
        Ok(Run { summary, trial: run.trial.take(), is_other_rank, exit: outcome.exit })
    }
}

/// The signals of this thread, and whether orphans come to it, as they were: given back at the end.
pub(super) struct Signals {
    mask: Option<SigSet>,
    adopts: bool,
}

impl Signals {
    pub(super) fn kept() -> Self {
        let adopts = nix::sys::prctl::get_child_subreaper().unwrap_or(true);
        Self { mask: SigSet::thread_get_mask().ok(), adopts }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Neither can fail: both were so before.
        if !self.adopts {
            let _as_before = nix::sys::prctl::set_child_subreaper(false);
        }
        if let Some(mask) = &self.mask {
            let _as_before = mask.thread_set_mask();
        }
    }
}

/// Which of several ranks this process is, if it is to learn together with others.
fn rank_of(config: &Config, resumes: bool) -> Result<Option<Rank>, TrainError> {
    if config.run.distributed == Distributed::Off {
        return Ok(None);
    }
    let Some(rank) = launcher::rank().filter(|rank| rank.size > 1) else { return Ok(None) };
    let refused = |remedy| {
        let Rank { rank, size, .. } = rank;
        Err(TrainError::Rank { rank, size, remedy })
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

fn headline(
    config: &Config,
    (level, rank): (Level, Option<Rank>),
    parameters: usize,
    run_dir: &Path,
) -> String {
    let pool = &config.pool;
    format!(
        "{}: {}{}{}{} actors x {} environments{}, unroll {}, batch {}, {} blocks, {} engine, {} vectors, {} parameters -> {}",
        config.env.id,
        rank.map_or_else(String::new, |rank| format!("{} ranks, each ", rank.size)),
        match pool.schedule {
            Schedule::Async => String::new(),
            Schedule::Lockstep { lag } => format!("lockstep with lag {lag}, "),
        },
        match (pool.exchange(), pool.inference) {
            (Exchange::Trajectories, Inference::Central { batch, .. }) => {
                format!("central inference of {batch} rows at most, ")
            }
            (Exchange::Trajectories, Inference::Local) => String::new(),
            (Exchange::Gradients, _) =>
                format!("{} gradients per update, ", pool.groups_per_block()),
        },
        pool.actors,
        pool.envs_per_group() * pool.groups_per_actor(),
        if pool.splits > 1 { format!(" in {} splits", pool.splits) } else { String::new() },
        pool.unroll,
        pool.batch,
        pool.blocks,
        match pool.engine {
            Engine::Native => "native",
            Engine::Libtorch => "libtorch",
        },
        level.name(),
        parameters,
        run_dir.display()
    )
}
