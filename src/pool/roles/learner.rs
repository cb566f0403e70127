//! The learner process, from the fork to its exit code.

use std::fs::File;
use std::time::{Duration, Instant};

use super::{
    Ending, RunContext, both_ends, conclude, engine, internal, own_ring, pin, ranks, resources,
};
use crate::build;
use crate::config::{Decay, Schedule};
use crate::hint::with_hint;
use crate::learner::LearnerError;
use crate::learner::admission::Admission;
use crate::learner::checkpoint::{Checkpoint, LearnerState};
use crate::learner::collective::{Collective, RankFigures, Ranks};
use crate::learner::episodes::{Episode, EpisodeWindow};
use crate::learner::lockstep::Lockstep;
use crate::learner::observation_stats::ObservationStats;
use crate::learner::optimizer::Optimizer;
use crate::learner::popart::PopArt;
use crate::learner::replay::Replay;
use crate::learner::return_scale::ReturnScale;
use crate::learner::run::{
    LearnLoop, LearnerCallbacks, Learning, Pace, StopCriteria, StopReason, UpdateSchedule,
};
use crate::learner::tasks::Tasks;
use crate::learner::update::Updater;
use crate::metrics::{LearnerCounter, RANKS_FILE, RankRecord};
use crate::params::ParamPublisher;
use crate::policy::init::initial_parameters;
use crate::policy::normalize;
use crate::pool::line_log::LineLog;
use crate::pool::peers::learner_died;
use crate::pool::published::published;
use crate::ring::Owner;
use crate::rng::Rng;
use crate::shm::{Access, Inherit};
use crate::supervisor::{ChildControl, ExitKind, Level, ToChild};
use crate::unroll::{BlockRef, Consumer};

/// Stream of the run's seed that draws what is replayed.
const REPLAY_STREAM: u64 = 3 << 32;
/// File of finished episodes in the run folder.
pub(in crate::pool) const EPISODES_FILE: &str = "episodes.csv";
/// How often the optimizer's state is left for a successor.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(200);
/// How often buffered episodes reach the file.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How often what is known of all ranks reaches theirs.
const RANKS_EVERY: Duration = Duration::from_secs(2);

pub(in crate::pool) fn run_learner(
    pool: &RunContext,
    incarnation: u16,
    control: &mut ChildControl,
) -> ExitKind {
    pool.memory.learner().set(LearnerCounter::Incarnation, u64::from(incarnation));
    if let Some(rank) = pool.rank.filter(|_| incarnation > 1) {
        // MPI takes one process of each rank.
        control.log(Level::Error, &learner_died(rank));
        return ExitKind::RankLost;
    }
    let ending = learn(pool, incarnation, control);
    conclude(ending, control)
}

fn learn(pool: &RunContext, incarnation: u16, control: &mut ChildControl) -> Ending {
    let config = &pool.config;
    pool.memory.learner().set_phase(crate::metrics::Phase::Init);
    pin(pool, 0);
    let mut seat = pool.memory.seat(Access::ReadOnly).map_err(resources)?;
    let page = pool.memory.parameters.map(Access::ReadWrite, Inherit::No).map_err(resources)?;
    let left = pool.memory.optimizer.map(Access::ReadWrite, Inherit::No).map_err(resources)?;
    let slab = seat.slab().map_err(internal)?;
    let fingerprint = pool.parameters.fingerprint();
    let publisher = ParamPublisher::new(page.all_words(), pool.parameters.len(), fingerprint)
        .map_err(internal)?;

    let mut start = Start::find(pool)?;
    let link = match pool.rank {
        Some(rank) => {
            // The others may be long in coming.
            pool.memory.learner().set_phase(crate::metrics::Phase::Exchange);
            let mut link = ranks::connect(rank)?;
            ranks::agree(link.as_mut(), config)?;
            start.share(link.as_mut())?;
            pool.memory.learner().set_phase(crate::metrics::Phase::Init);
            Some(link)
        }
        None => None,
    };
    let means = [LearnerCounter::ReturnBest, LearnerCounter::ReturnLowest];
    let episodes = EpisodeWindow::resumed(
        config.stop.stop_window,
        (&start.state.recent_episodes, start.state.episodes),
        means.map(|gauge| pool.memory.learner().get_f64(gauge)),
    );
    let counters = (0..config.pool.tasks).map(|task| pool.memory.task(task));
    let tasks = Tasks::new(counters, config.stop.stop_window, &start.state.tasks);
    let mut updater = Updater::new(
        engine::of_learner(pool)?,
        build::loss(config),
        config.learner.max_grad_norm as f32,
        start.optimizer,
        start.parameters,
    )
    .with_popart(config.learner.popart.then(|| {
        let moments = start.state.tasks.first().map(|task| task.values);
        PopArt::new(&pool.parameters, moments.unwrap_or_default())
    }));
    if start.state.kl_cost > 0.0 {
        updater.set_kl_cost(start.state.kl_cost as f32);
    }
    pool.memory.learner().set_f64(LearnerCounter::KlCost, f64::from(updater.kl_cost()));
    control.log(
        Level::Debug,
        &format!(
            "learning with the {} engine, {} parameters",
            updater.engine_name(),
            pool.parameters.len()
        ),
    );

    let mut returns: Vec<_> = start.state.tasks.iter().map(|task| task.returns).collect();
    returns.resize_with(config.pool.tasks, Default::default);
    let observation_stats = normalize::range(&pool.parameters).map(|range| {
        ObservationStats::new(start.state.observations_seen, updater.parameters(), range)
    });
    let return_scale = config
        .learner
        .normalize_rewards
        .then(|| ReturnScale::new(config.learner.discount, returns));
    let ranks = link.map(|link| {
        let returns = return_scale.as_ref().map_or(0, ReturnScale::sums_len);
        let observations = observation_stats.as_ref().map_or(0, ObservationStats::sums_len);
        Ranks::new(link, config.pool.tasks, returns, observations)
    });
    let learning = Learning {
        publisher,
        counters: pool.memory.learner(),
        lags: pool.memory.lags(),
        updater,
        env: config.env.spec.clone(),
        stop_criteria: StopCriteria {
            total_frames: Some(config.stop.total_frames),
            stop_at_return: config.stop.stop_at_return.clone(),
        },
        schedule: UpdateSchedule {
            learning_rate: config.learner.learning_rate as f32,
            linear_decay: config.learner.learning_rate_decay == Decay::Linear,
            passes: config.learner.passes,
            minibatches: config.learner.minibatches,
            stop_passes_at_kl: config.learner.stop_passes_at_kl as f32,
            kl_cost: config.learner.kl_cost as f32,
            kl_target: config.learner.kl_target as f32,
            publish_every: match config.pool.schedule {
                Schedule::Async => Some(config.learner.publish_every),
                Schedule::Lockstep { .. } => None,
            },
            checkpoint_every: config
                .run
                .checkpoint_interval_s
                .map_or(Duration::ZERO, Duration::from_secs_f64),
        },
        skipped_in_a_row: 0,
        state: start.state,
        episodes,
        tasks,
        return_scale,
        observation_stats,
        ranks,
        started: pool.started,
    };
    let (groups, slots) = (config.pool.groups_per_block(), config.pool.slots());
    let pace = match config.pool.schedule {
        Schedule::Async => {
            Pace::Free(Admission::new(config.pool.blocks_in_flight(), groups, slots))
        }
        Schedule::Lockstep { lag } => Pace::Lockstep(Lockstep::new(lag)),
    };
    let kept = config.learner.replay.as_ref();
    let mut drawn = own_ring(kept.map(|replay| &replay.layout))?;
    let replay = match kept.zip(drawn.as_mut()) {
        Some((kept, ring)) => {
            let ends = both_ends(ring, Owner::new(0, incarnation).map_err(internal)?)?;
            let draws = Rng::new(pool.replay_seed(), REPLAY_STREAM | u64::from(incarnation));
            Some(Replay::new(&config.pool.layout, kept.kept_groups, ends, draws))
        }
        None => None,
    };
    let mut learner = LearnLoop { consumer: Consumer::new(slab), pace, replay, learning };
    let snapshot = ParamPublisher::new(left.all_words(), 2 * pool.parameters.len(), fingerprint)
        .map_err(internal)?;
    let mut callbacks = RunCallbacks::new(pool, control, snapshot);
    callbacks.control.ready();
    let ended = learner.run(&mut callbacks);
    if ended.is_err() {
        // The end of MPI would wait for ranks that wait for this one.
        std::mem::forget(learner.learning.ranks.take());
    }
    let ended = ended.map_err(|error| {
        let exit = match &error {
            LearnerError::Take(_)
            | LearnerError::Replay(_)
            | LearnerError::BadAction { .. }
            | LearnerError::BadTask { .. }
            | LearnerError::ActionOutOfBounds { .. } => ExitKind::Corrupt,
            LearnerError::Diverged { .. } => ExitKind::Diverged,
            LearnerError::Drifted { .. } => ExitKind::RanksDiffer,
            LearnerError::Left => ExitKind::Internal,
            LearnerError::Engine(_) => ExitKind::Resources,
            LearnerError::Publish(_) => ExitKind::Internal,
        };
        (exit, with_hint(&error))
    })?;
    match ended {
        StopReason::Solved => callbacks.control.finished("the target return was reached"),
        StopReason::AllFrames => callbacks.control.finished("all frames were learnt"),
        StopReason::OtherRankStopped => callbacks.control.finished("another rank stopped"),
        StopReason::Stopped => {}
    }
    let saved = learner.learning.save(&mut callbacks);
    callbacks.flush();
    if let Some(ranks) = learner.learning.ranks.as_ref().filter(|_| !pool.is_other_rank()) {
        callbacks.write_ranks(ranks.figures());
    }
    // The end of MPI waits for the other ranks.
    pool.memory.learner().set_phase(crate::metrics::Phase::Exchange);
    drop(learner);
    Ok(if saved { ExitKind::Finished } else { ExitKind::CheckpointNotWritten })
}

/// What a learner begins with.
struct Start {
    parameters: Vec<f32>,
    optimizer: Optimizer,
    state: LearnerState,
}

impl Start {
    /// The newest safe source: what a learner of this run published, else the checkpoint that the run
    /// continues, else fresh weights.
    fn find(pool: &RunContext) -> Result<Self, (ExitKind, String)> {
        let len = pool.parameters.len();
        let kind = build::optimizer(pool.config.learner.optimizer);
        let before = published(pool).map_err(internal)?.or_else(|| pool.checkpoint.clone());
        if let Some(Checkpoint { parameters, optimizer: [first, second], mut state }) = before {
            state.resumes = pool.resumes();
            let optimizer = Optimizer::restore(kind, first, second, state.optimizer_steps)
                .ok_or_else(|| internal("moments of different lengths"))?;
            return Ok(Self { parameters, optimizer, state });
        }
        Ok(Self {
            parameters: initial_parameters(&pool.parameters, pool.config.run.seed),
            optimizer: Optimizer::new(kind, len),
            state: LearnerState::default(),
        })
    }
}

impl Start {
    /// Takes over what rank 0 begins with: a rank whose disk is its own may have found nothing.
    fn share(&mut self, link: &mut dyn Collective) -> Result<(), (ExitKind, String)> {
        link.copy_from_first(bytemuck::cast_slice_mut(&mut self.parameters));
        let (first, second) = self.optimizer.state_mut();
        link.copy_from_first(bytemuck::cast_slice_mut(first));
        link.copy_from_first(bytemuck::cast_slice_mut(second));
        let mut state = self.state.to_bytes();
        let mut len = (state.len() as u64).to_le_bytes();
        link.copy_from_first(&mut len);
        state.resize(usize::try_from(u64::from_le_bytes(len)).map_err(internal)?, 0);
        link.copy_from_first(&mut state);
        self.state = LearnerState::from_bytes(&state).map_err(internal)?;
        self.optimizer.set_steps(self.state.optimizer_steps);
        Ok(())
    }
}

/// The learning loop's callbacks in a run: control channel, run folder, and the successor's memory.
struct RunCallbacks<'a> {
    pool: &'a RunContext,
    control: &'a mut ChildControl,
    snapshot: ParamPublisher<'a>,
    moments: Vec<f32>,
    last_snapshot: Option<Instant>,
    episodes: Option<LineLog<File>>,
    last_flush: Instant,
    began: Instant,
    last_ranks: Instant,
    checkpoint_requested: bool,
    told_of_skips: bool,
}

impl<'a> RunCallbacks<'a> {
    fn new(
        pool: &'a RunContext,
        control: &'a mut ChildControl,
        snapshot: ParamPublisher<'a>,
    ) -> Self {
        let episodes = match pool.run_dir.append(EPISODES_FILE) {
            Ok(file) => {
                let fresh = file.metadata().is_ok_and(|m| m.len() == 0);
                let mut log = LineLog::new(EPISODES_FILE, file);
                if fresh {
                    let task = if pool.config.pool.tasks > 1 { ",task" } else { "" };
                    log.push(&format!("frames,seconds,return,length{task}"));
                }
                Some(log)
            }
            Err(error) => {
                control.log(Level::Warn, &error.to_string());
                None
            }
        };
        let now = Instant::now();
        Self {
            pool,
            control,
            snapshot,
            moments: Vec::new(),
            last_snapshot: None,
            episodes,
            last_flush: now,
            began: now,
            last_ranks: now,
            checkpoint_requested: false,
            told_of_skips: false,
        }
    }

    /// Tells of all ranks in the run folder.
    fn write_ranks(&mut self, figures: &[RankFigures]) {
        self.last_ranks = Instant::now();
        let seconds = self.began.elapsed().as_secs_f64();
        let mut records: Vec<RankRecord> = (0..)
            .zip(figures)
            .map(|(rank, figures)| RankRecord {
                rank,
                frames: figures.frames,
                frames_per_s: figures.frames as f64 / seconds,
                exchange_wait_s: figures.exchange_wait_s,
                block_wait_s: figures.block_wait_s,
                straggler: false,
            })
            .collect();
        RankRecord::mark_straggler(&mut records);
        let text = serde_json::to_string_pretty(&records).unwrap_or_default();
        if let Err(error) = self.pool.run_dir.write(RANKS_FILE, &(text + "\n")) {
            self.control.log(Level::Warn, &error.to_string());
        }
    }

    fn flush(&mut self) {
        self.last_flush = Instant::now();
        if let Some(news) = self.episodes.as_mut().and_then(LineLog::flush) {
            self.control.log(Level::Warn, &news);
        }
    }
}

impl LearnerCallbacks for RunCallbacks<'_> {
    fn stop_requested(&mut self) -> bool {
        if self.last_flush.elapsed() >= FLUSH_EVERY {
            self.flush();
        }
        match self.control.poll() {
            Some(ToChild::Stop) => true,
            Some(ToChild::Checkpoint) => {
                self.checkpoint_requested = true;
                false
            }
            None => false,
        }
    }

    fn checkpoint_requested(&mut self) -> bool {
        std::mem::take(&mut self.checkpoint_requested)
    }

    fn batch(&mut self, block: &BlockRef<'_>) {
        if let Some(look) = &self.pool.on_batch {
            look.0(block);
        }
    }

    fn episode(&mut self, frames: u64, task: usize, episode: Episode) {
        if let Some(log) = &mut self.episodes {
            let seconds = self.pool.started.elapsed().as_secs_f64();
            let Episode { episode_return, length } = episode;
            // A run of one task needs no column for it.
            let of =
                if self.pool.config.pool.tasks > 1 { format!(",{task}") } else { String::new() };
            log.push(&format!("{frames},{seconds:.3},{episode_return},{length}{of}"));
        }
    }

    fn skipped(&mut self) {
        if !std::mem::replace(&mut self.told_of_skips, true) {
            let text = "the loss or gradient of an update is not finite: it is skipped, as others will be \
                        (`updates_skipped_nonfinite` in the metrics counts them)";
            self.control.log(Level::Warn, text);
        }
    }

    fn updated(&mut self, updater: &Updater) {
        // The first at once: a learner that is killed soon leaves its moments all the same.
        if self.last_snapshot.is_some_and(|last| last.elapsed() < SNAPSHOT_EVERY) {
            return;
        }
        self.last_snapshot = Some(Instant::now());
        let (first, second) = updater.optimizer().state();
        self.moments.clear();
        self.moments.extend_from_slice(first);
        self.moments.extend_from_slice(second);
        // Moments that are not finite are not worth keeping, and show in the weights at once.
        let _kept_as_before = self.snapshot.publish(updater.optimizer().steps(), &self.moments);
    }

    fn ranks(&mut self, figures: &[RankFigures]) {
        if !self.pool.is_other_rank() && self.last_ranks.elapsed() >= RANKS_EVERY {
            self.write_ranks(figures);
        }
    }

    fn save(&mut self, updater: &Updater, state: &LearnerState) -> bool {
        if self.pool.is_other_rank() {
            return true;
        }
        let (first, second) = updater.optimizer().state();
        let checkpoint = Checkpoint {
            parameters: updater.parameters().to_vec(),
            optimizer: [first.to_vec(), second.to_vec()],
            state: state.clone(),
        };
        let saved = checkpoint.save(
            &self.pool.run_dir.checkpoints(),
            &self.pool.parameters,
            self.pool.config.run.keep_checkpoints,
        );
        if let Err(error) = &saved {
            self.control.log(Level::Error, &format!("{error}; free some space, the run goes on"));
        }
        saved.is_ok()
    }
}
