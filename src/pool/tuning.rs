//! Trials of a configuration with other sizes of the pool, each a short run started from this process: for `--auto` and
//! `impala-bench tune`.
//!
//! A trial is a run like any other, from the fork to the last death, but for its folder, which is temporary, and its end. So what it
//! measures is what a run would be, environments of any kind included.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::launcher;
use super::run::TrialClock;
use super::summary::Status;
use super::trainer::{Plan, Purpose, Run, Signals, TrainError, Trainer};
use super::tuned::TunedSummary;
use crate::build;
use crate::config::{ChaosSpec, Config, Engine, Exchange, Settings, StopConfig};
use crate::env::Registry;
use crate::learner::native_engine::NativeEngine;
use crate::metrics::MetricsRecord;
use crate::policy::act::ActInputs;
use crate::policy::frames::StackedFrames;
use crate::policy::init::initial_parameters;
use crate::policy::simd::Level;
use crate::policy::spec::{NetworkSpec, ParamSpec};
use crate::supervisor::{ExitKind, SupervisorError, one_thread};
use crate::tune::{
    Bench, Costs, Effort, Figures, Interrupted, Measured, Sizes, Space, Threads, TrialFailure,
    Tuning, Vary, search,
};

/// Time for which inference is measured with each number of environments, and the largest number.
const INFERENCE_TAKES: Duration = Duration::from_millis(5);
const MOST_ENVS: usize = 1024;
/// What is kept of the time of a trial for its end, and how short it may be.
const END_TAKES: Duration = Duration::from_millis(300);
const SHORTEST: Duration = Duration::from_millis(500);
/// A trial ends when its time is up, however many frames it has learnt from.
const FRAMES_WITHOUT_END: u64 = 1_000_000_000_000_000;

/// Why sizes of the pool cannot be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// A run that goes on has its sizes.
    #[error(
        "--auto is for a run that begins, and --resume goes on with the sizes of its folder; leave one of them out"
    )]
    Resume,
    /// Where actors and learner take turns, the sizes decide what is learnt from.
    #[error(
        "--auto does not go with --schedule lockstep, nor with the algorithms that set it (a2c, reinforce), where actors and learner take turns; leave it out"
    )]
    Lockstep,
    /// Ranks share machines, and are to be alike.
    #[error(
        "--auto does not go with several ranks (there are {size}); leave it out, and take the sizes of `impala-bench tune` on one machine"
    )]
    Ranks {
        /// How many.
        size: usize,
    },
    /// Somebody wants the program to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl TuneError {
    pub(super) const fn exit(&self) -> ExitKind {
        match self {
            Self::Resume | Self::Lockstep | Self::Ranks { .. } => ExitKind::Usage,
            // As a run that is interrupted.
            Self::Interrupted(_) => ExitKind::Finished,
        }
    }
}

impl Trainer {
    /// Tries sizes of the pool for this run, and chooses.
    ///
    /// What [`Trainer::run`] asks of a process and does to it holds for each trial. Callbacks are not called.
    ///
    /// # Errors
    /// [`TrainError`], if the settings are wrong or the run is one whose sizes cannot be chosen so.
    pub fn tune(&self, effort: &Effort) -> Result<Tuning, TrainError> {
        one_thread().map_err(SupervisorError::from)?;
        let _as_before = Signals::kept();
        let config = Config::resolve(self.settings(), self.environments())?;
        may_be_tuned(&config, self.resumes())?;
        tune(self.environments(), &config, self.settings(), effort)
    }

    /// The run of a command line that asked for sizes to be chosen, for which `budget` is the time. Signals stay blocked.
    pub(super) fn conduct_tuned(
        self,
        layers: Settings,
        chaos: Option<ChaosSpec>,
        budget: Duration,
        launched: Instant,
    ) -> Result<Run, TrainError> {
        let config = Config::resolve(&layers, self.environments())?;
        may_be_tuned(&config, false)?;
        let tuning = tune(self.environments(), &config, &layers, &Effort::within(budget))?;
        let config = config.resized(layers.blocks, triple(tuning.chosen))?;
        let purpose = Purpose::Learn(Some(TunedSummary::of(&tuning)));
        let started = Instant::now();
        self.follow(Plan { config, layers, resume: None, chaos, launched, started, purpose })
    }
}

/// Refuses runs whose sizes cannot be chosen by trials.
pub(super) fn may_be_tuned(config: &Config, resumes: bool) -> Result<(), TuneError> {
    if resumes {
        return Err(TuneError::Resume);
    }
    if config.pool.schedule.is_lockstep() {
        return Err(TuneError::Lockstep);
    }
    match launcher::rank() {
        Some(rank) if rank.size > 1 => Err(TuneError::Ranks { size: rank.size }),
        _ => Ok(()),
    }
}

/// Chooses sizes for a configuration that `layers` led to.
fn tune(
    registry: &Registry,
    config: &Config,
    layers: &Settings,
    effort: &Effort,
) -> Result<Tuning, TrainError> {
    Level::choose(config.pool.vectors)?;
    let (network, parameters) = build::network(config)?;
    let space = space(config, layers, &network);
    let mut trials = Trials {
        registry,
        config,
        blocks: layers.blocks,
        measured: effort.trial,
        network,
        parameters,
        began: Instant::now(),
    };
    Ok(search(&space, effort, &mut trials).map_err(TuneError::from)?)
}

const fn triple(sizes: Sizes) -> (usize, usize, usize) {
    (sizes.actors, sizes.envs_per_actor, sizes.learner_threads)
}

fn space(config: &Config, layers: &Settings, network: &NetworkSpec) -> Space {
    let pool = &config.pool;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let given = config.learner.threads;
    let rows = (pool.unroll + 1) * pool.batch;
    let used = |given: usize| match pool.engine {
        Engine::Native => NativeEngine::threads_for(network, rows, given).unwrap_or(1),
        Engine::Libtorch => given,
    };
    let mut threads: Vec<Threads> = Vec::new();
    for given in [given, cores.saturating_sub(1), 1] {
        let used = used(given);
        // Threads that have nothing to do make no difference.
        if given > 0 && threads.iter().all(|other| other.used != used) {
            threads.push(Threads { given, used });
        }
    }
    let exchanges_gradients = pool.exchange() == Exchange::Gradients;
    Space {
        default: Sizes {
            actors: pool.actors,
            envs_per_actor: pool.envs_per_actor,
            learner_threads: given,
        },
        vary: Vary {
            actors: layers.actors.is_none(),
            // A gradient is of the environments of one actor.
            envs_per_actor: layers.envs_per_actor.is_none() && !exchanges_gradients,
            learner_threads: layers.learner_threads.is_none() && !exchanges_gradients,
        },
        batch: pool.batch,
        splits: pool.splits,
        tasks: pool.tasks,
        batches_in_flight: pool.blocks_in_flight() + 1,
        threads,
        cores,
    }
}

/// Trials of one configuration.
struct Trials<'a> {
    registry: &'a Registry,
    config: &'a Config,
    blocks: Option<usize>,
    measured: Duration,
    network: NetworkSpec,
    parameters: ParamSpec,
    began: Instant,
}

impl Bench for Trials<'_> {
    fn trial(&mut self, sizes: Sizes, limit: Option<Duration>) -> Result<Measured, TrialFailure> {
        let failed = |error: &dyn std::fmt::Display| TrialFailure::Failed(error.to_string());
        let began = Instant::now();
        let folder = tempfile::Builder::new().prefix("impala-trial-").tempdir();
        let folder = folder.map_err(|error| failed(&error))?;
        let limit = limit.map(|limit| limit.saturating_sub(END_TAKES).max(SHORTEST));
        let mut config = self.config.resized(self.blocks, triple(sizes)).map_err(|e| failed(&e))?;
        config.stop = StopConfig {
            total_frames: FRAMES_WITHOUT_END,
            stop_at_return: None,
            time_limit_s: limit.map(|limit| limit.as_secs_f64()),
            ..config.stop
        };
        let run = &mut config.run;
        run.run_dir = Some(folder.path().to_owned());
        (run.tensorboard, run.report, run.quiet) = (false, false, true);
        (run.log_interval_s, run.checkpoint_interval_s) = (3600.0, None);
        let plan = Plan {
            config,
            layers: Settings::default(),
            resume: None,
            chaos: None,
            launched: began,
            started: began,
            purpose: Purpose::Trial(Box::new(TrialClock::new(self.measured))),
        };
        let trainer = Trainer::of_program(self.registry.clone());
        let Run { summary, trial, exit, .. } = trainer.follow(plan).map_err(|e| failed(&e))?;
        if let Some(ends) = trial.as_ref().and_then(TrialClock::ends) {
            return Ok(measured(ends, began.elapsed()));
        }
        Err(match (exit, summary.status) {
            (ExitKind::Finished, Status::Interrupted) => TrialFailure::Interrupted,
            (ExitKind::Finished, _) => {
                let limit = limit.unwrap_or_default().as_secs_f64();
                TrialFailure::Failed(format!("too few updates in {limit:.1} s"))
            }
            _ => TrialFailure::Failed(summary.reason),
        })
    }

    fn inference_ns(&mut self, envs: usize) -> Option<f64> {
        // libtorch starts threads, and the supervisor has one for ever.
        if self.config.pool.engine != Engine::Native || envs > MOST_ENVS {
            return None;
        }
        inference_ns(&self.network, &self.parameters, envs, self.config.env.spec.action.words())
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// What a trial came to, from the counters at its ends.
fn measured([first, last]: [&MetricsRecord; 2], wall: Duration) -> Measured {
    let since = |of: fn(&MetricsRecord) -> u64| of(last).saturating_sub(of(first)) as f64;
    let measured_s = (last.wall_s - first.wall_s).max(1e-9);
    let frames = since(|line| line.frames).max(1.0);
    let acted = since(|line| line.actors.frames_acted).max(1.0);
    let inference = since(|line| line.actors.infer_ns);
    let at_work = inference
        + since(|line| line.actors.env_ns)
        + since(|line| line.actors.gradient_ns)
        + since(|line| line.actors.refresh_ns)
        + since(|line| line.actors.commit_ns);
    // What actors are at for a second is so long on a core, waits for one, or waits for an environment.
    let on_core = since(|line| line.cpu.actors_ns);
    let ready = since(|line| line.cpu.actors_core_wait_ns);
    let share = on_core / (on_core + ready).max(1.0);
    let inference_ns = (inference * share).min(on_core) / acted;
    Measured {
        figures: Figures {
            frames_per_s: frames / measured_s,
            policy_lag: since(|line| line.learner.lag_sum)
                / since(|line| line.learner.unrolls_consumed).max(1.0),
        },
        costs: Costs {
            acting_ns: (on_core / acted - inference_ns).max(1.0),
            inference_ns,
            waiting_ns: (at_work - on_core - ready).max(0.0) / acted,
            learning_ns: (since(|line| line.cpu.learner_ns) / frames).max(1.0),
        },
        wall_s: wall.as_secs_f64(),
        measured_s,
    }
}

/// Time of the network in Rust for a frame, in ns, if `envs` environments are acted for at once.
fn inference_ns(
    network: &NetworkSpec,
    parameters: &ParamSpec,
    envs: usize,
    action_words: usize,
) -> Option<f64> {
    let mut policy = build::policy(Engine::Native, network, parameters, envs).ok()?;
    policy.load(&initial_parameters(parameters, 1));
    let spec = &network.observation;
    let row_bytes = envs * spec.frame_bytes();
    // In words, so that f32 frames are aligned.
    let row = vec![0_u32; row_bytes.div_ceil(size_of::<u32>())];
    let row = &bytemuck::cast_slice::<u32, u8>(&row)[..row_bytes];
    let rows = vec![row; spec.frame_stack];
    let valid = vec![u8::try_from(spec.frame_stack).unwrap_or(u8::MAX); envs];
    let (flags, rewards) = (vec![0; envs], vec![0.0; envs]);
    let actions = vec![0; envs * action_words];
    let inputs = ActInputs {
        observations: StackedFrames::of_step(spec, &rows, &valid),
        flags: &flags,
        last_actions: &actions,
        last_rewards: &rewards,
    };
    let mut logits = vec![0.0; envs * network.logits()];
    let mut fastest = Duration::MAX;
    let began = Instant::now();
    // The fastest call is the one that nobody disturbed.
    while began.elapsed() < INFERENCE_TAKES {
        let call = Instant::now();
        policy.logits(&inputs, &mut logits).ok()?;
        black_box(&logits);
        fastest = fastest.min(call.elapsed());
    }
    Some(fastest.as_nanos() as f64 / envs as f64)
}
