//! The learning loop: take a block, learn from it, release it, publish the new weights.

use std::time::{Duration, Instant};

use super::LearnerError;
use super::admission::Admission;
use super::check;
use super::checkpoint::LearnerState;
use super::collective::{RankFigures, Ranks};
use super::engine::Stopwatch;
use super::episodes::{Episode, EpisodeWindow};
use super::lockstep::Lockstep;
use super::observation_stats::ObservationStats;
use super::optimizer::decayed;
use super::replay::Replay;
use super::return_scale::ReturnScale;
use super::tasks::Tasks;
use super::update::{Outcome, Parted, UpdateStats, UpdateTimes, Updater};
use crate::env::EnvSpec;
use crate::kill_point;
use crate::metrics::{Histogram, LearnerCounter, LearnerCounters, Phase};
use crate::params::ParamPublisher;
use crate::ring::TakeError;
use crate::unroll::{BlockRef, Consumer, Field};

/// How long a take waits before the loop looks round again.
const TAKE_TIMEOUT: Duration = Duration::from_millis(100);
/// How often the control channel is read: it costs a system call.
const CONTROL_EVERY: Duration = Duration::from_millis(50);
/// Updates skipped in a row after which nothing will change any more: a batch now and then is a fault of its
/// data, a hundred are one of rewards or weights.
const SKIPPED_IN_A_ROW: u32 = 100;

/// The weight of the divergence where it starts if none is given, and its range.
const FIRST_KL_COST: f32 = 0.2;
const KL_COSTS: std::ops::RangeInclusive<f32> = 1e-4..=100.0;

/// When learning is over.
#[derive(Debug, Clone, PartialEq)]
pub struct StopCriteria {
    /// Frames to learn from.
    pub total_frames: Option<u64>,
    /// Mean return to reach over a full window of episodes, for each task.
    pub stop_at_return: Option<Vec<f64>>,
}

/// The learning rate and when the weights go out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateSchedule {
    /// Learning rate at the start.
    pub learning_rate: f32,
    /// Whether it falls to 0 over `total_frames`.
    pub linear_decay: bool,
    /// How often each batch is learnt from, whose frames count once all the same.
    pub passes: u64,
    /// Parts of a batch, with an update for each in every pass.
    pub minibatches: u64,
    /// Divergence from the policy that acted at which passes stop; may be infinite.
    pub stop_passes_at_kl: f32,
    /// Least weight of the divergence in the loss.
    pub kl_cost: f32,
    /// Divergence above which that weight grows; may be infinite.
    pub kl_target: f32,
    /// Updates from one published version to the next; `None` in lockstep, which publishes by blocks.
    pub publish_every: Option<u64>,
    /// Time between checkpoints; zero for only the last.
    pub checkpoint_every: Duration,
}

/// Why learning ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The target return was reached.
    Solved,
    /// All frames were learnt.
    AllFrames,
    /// The ring was closed or a stop was asked for.
    Stopped,
    /// Another rank has stopped.
    OtherRankStopped,
}

/// What the loop asks of its callbacks: the control channel and the files of the run.
pub trait LearnerCallbacks {
    /// Whether a stop was asked for.
    fn stop_requested(&mut self) -> bool;
    /// Whether a checkpoint was asked for since the last call.
    fn checkpoint_requested(&mut self) -> bool;
    /// A batch was taken, and is learnt from next.
    fn batch(&mut self, _block: &BlockRef<'_>) {}
    /// An episode of `task` ended in the block just learnt from, `frames` into the run.
    fn episode(&mut self, frames: u64, task: usize, episode: Episode);
    /// What is known of all ranks has changed; only where there are several.
    fn ranks(&mut self, _figures: &[RankFigures]) {}
    /// An update was skipped, because its loss or gradient is not finite.
    fn skipped(&mut self) {}
    /// The parameters moved.
    fn updated(&mut self, updater: &Updater);
    /// Saves everything. Returns whether it worked; failing to save is no reason to stop learning.
    fn save(&mut self, updater: &Updater, state: &LearnerState) -> bool;
}

/// A learner at work.
pub struct LearnLoop<'m> {
    /// Its end of the ring.
    pub consumer: Consumer<'m>,
    /// Which blocks the actors fill, and with which weights.
    pub pace: Pace,
    /// What is learnt from again, if anything is.
    pub replay: Option<Replay<'m>>,
    /// All that is not in a block.
    pub learning: Learning<'m>,
}

/// Which blocks the actors fill, and with which weights.
#[derive(Debug)]
pub enum Pace {
    /// Any that are free, with the newest weights; so much data in flight.
    Free(Admission),
    /// One after the other, with weights of a given age.
    Lockstep(Lockstep),
}

/// What learning moves and counts.
pub struct Learning<'m> {
    /// Its end of the parameter page.
    pub publisher: ParamPublisher<'m>,
    /// Its counters.
    pub counters: LearnerCounters<'m>,
    /// Policy lags of all unrolls.
    pub lags: Histogram<'m>,
    /// Network and optimizer.
    pub updater: Updater,
    /// Shapes of the environment.
    pub env: EnvSpec,
    /// When to stop.
    pub stop_criteria: StopCriteria,
    /// How fast to go.
    pub schedule: UpdateSchedule,
    /// Updates skipped since the last one that was not.
    pub skipped_in_a_row: u32,
    /// Where it stands; continues from a checkpoint.
    pub state: LearnerState,
    /// Recent episodes of all tasks.
    pub episodes: EpisodeWindow,
    /// Each task.
    pub tasks: Tasks<'m>,
    /// What rewards are divided by, if they are.
    pub return_scale: Option<ReturnScale>,
    /// By what observations are normalised, if they are.
    pub observation_stats: Option<ObservationStats>,
    /// The learners of all ranks, if there are several.
    pub ranks: Option<Ranks>,
    /// Start of the run, less the time of the runs it continues.
    pub started: Instant,
}

impl std::fmt::Debug for LearnLoop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LearnLoop").field("learning", &self.learning).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Learning<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learning")
            .field("updater", &self.updater)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl LearnLoop<'_> {
    /// Publishes what it starts from and learns until a goal is reached or a stop is asked for.
    ///
    /// # Errors
    /// If the ring is corrupt, the engine fails, the weights stop being finite, or losses do for long.
    pub fn run(
        &mut self,
        callbacks: &mut dyn LearnerCallbacks,
    ) -> Result<StopReason, LearnerError> {
        if self.learning.ranks.is_some() {
            self.learning.updater.leave_undivided();
        }
        self.learning.publish_first()?;
        match self.pace {
            Pace::Free(_) => self.limit_in_flight(),
            Pace::Lockstep(_) => self.consumer.open_next(),
        }
        let mut last_control = Instant::now();
        let mut last_checkpoint = Instant::now();
        loop {
            let mut watch = Stopwatch::start();
            match self.learn_one(&mut watch, callbacks) {
                Ok(()) | Err(LearnerError::Take(TakeError::TimedOut)) => {}
                Err(LearnerError::Take(TakeError::Closed)) => return Ok(self.learning.leave()),
                Err(LearnerError::Left) => return Ok(StopReason::OtherRankStopped),
                Err(error) => return Err(error),
            }
            if let Some(ended) = self.learning.goal_reached() {
                return Ok(ended);
            }
            if last_control.elapsed() >= CONTROL_EVERY {
                last_control = Instant::now();
                if callbacks.stop_requested() {
                    return Ok(self.learning.leave());
                }
                let due = !self.learning.schedule.checkpoint_every.is_zero()
                    && last_checkpoint.elapsed() >= self.learning.schedule.checkpoint_every;
                if due || callbacks.checkpoint_requested() {
                    last_checkpoint = Instant::now();
                    self.learning.save(callbacks);
                }
            }
        }
    }

    fn limit_in_flight(&mut self) {
        let Pace::Free(admission) = &self.pace else { return };
        let slots = admission.slots();
        self.consumer.limit_in_flight(slots);
        self.learning.counters.set(LearnerCounter::InFlightLimit, slots as u64);
    }

    fn learn_one(
        &mut self,
        watch: &mut Stopwatch,
        callbacks: &mut dyn LearnerCallbacks,
    ) -> Result<(), LearnerError> {
        self.learning.counters.set_phase(Phase::Wait);
        let block = match self.pace {
            Pace::Free(_) => self.consumer.take(TAKE_TIMEOUT),
            Pace::Lockstep(_) => self.consumer.take_in_turn(TAKE_TIMEOUT),
        };
        self.learning.counters.set_phase(Phase::Learn);
        let waited = watch.restart();
        self.learning.counters.add_time(LearnerCounter::WaitNs, waited);
        if let Pace::Free(admission) = &mut self.pace
            && admission.waited(waited, block.is_ok(), || self.consumer.ring().has_waiting_actors())
        {
            self.limit_in_flight();
        }
        let learning = &mut self.learning;
        let held = block?;
        kill_point!("learner.after_take");
        let block = BlockRef::new(held.block());
        learning.tasks.check(block.headers())?;
        // Before the next block is opened: actors that compute gradients scale by what they find then.
        if learning.ranks.is_none() {
            learning.scale_rewards(&block);
        }
        if let Pace::Lockstep(lockstep) = &mut self.pace
            && lockstep.overlaps()
        {
            learning.publish_behind(lockstep)?;
            self.consumer.open_next();
        }
        check::actions(&learning.env.action, block.field(Field::Action))?;
        callbacks.batch(&block);
        let statistics_moved = match learning.ranks {
            Some(_) => learning.describe(&block, waited),
            None => learning.observe(&block),
        };
        // In lockstep the weights that a block is met with are those that some block is filled with, statistics and all:
        // they move when it was learnt from. So it is where other ranks have a part in them.
        let normalize_at_end = learning.ranks.is_some() || matches!(self.pace, Pace::Lockstep(_));
        if statistics_moved && !normalize_at_end {
            learning.normalize_observations();
        }
        let mut times = UpdateTimes::default();
        let mut learnt = false;
        let replayed = match &mut self.replay {
            Some(replay) => replay.draw()?,
            None => None,
        };
        let again = replayed.as_ref().map(|held| BlockRef::new(held.block()));
        let parts = learning.schedule.minibatches;
        let updates = learning.schedule.passes * parts;
        let first = learning.gradient(&block, again.as_ref(), (0, parts), &mut times)?;
        learning.follow_ranks(statistics_moved);
        let mut outcome = Some(first);
        for update in 1..updates {
            if let Some(outcome) = outcome.take() {
                learnt |= learning.apply(outcome, &mut times, callbacks)?;
            }
            let part = (update % parts, parts);
            let next = learning.gradient(&block, again.as_ref(), part, &mut times)?;
            if learning.has_moved_far(&next) {
                let left = (updates - update).div_ceil(parts);
                learning.counters.add(LearnerCounter::PassesStopped, left);
                break;
            }
            outcome = Some(next);
        }
        let Learning { state, counters, lags, episodes, tasks, .. } = learning;
        measure_lag(&block, state.version, counters, lags);
        let unrolls = block.headers().len() as u64;
        // What is replayed was counted when it was fresh.
        let mut fresh = tasks.observe(&block, |task, episode| {
            episodes.push(episode);
            callbacks.episode(state.frames, task, episode);
        });
        if let Some(ranks) = &learning.ranks {
            fresh = tasks.set_fresh(ranks.frames());
            callbacks.ranks(ranks.figures());
        }
        if let Some(replay) = &mut self.replay {
            if let Some(again) = &again {
                measure_replay(again, state.version, counters);
            }
            replay.push(&block);
            counters.set(
                LearnerCounter::ReplayUnrolls,
                (replay.len() * block.layout().spec().envs) as u64,
            );
        }
        if let Some(held) = replayed {
            held.release().map_err(TakeError::from)?;
        }
        kill_point!("learner.before_release");
        // Before the last step, which needs nothing of the block.
        held.release().map_err(TakeError::from)?;
        kill_point!("learner.after_release");

        counters.add(LearnerCounter::UnrollsConsumed, unrolls);
        counters.add(LearnerCounter::Blocks, 1);
        counters.add(LearnerCounter::Progress, 1);
        if let Some(outcome) = outcome {
            learnt |= learning.apply(outcome, &mut times, callbacks)?;
        }
        learning.adapt_kl_cost();
        if statistics_moved && normalize_at_end {
            learning.normalize_observations();
        }
        if let Pace::Lockstep(lockstep) = &self.pace
            && !lockstep.overlaps()
        {
            learning.publish_newer()?;
            self.consumer.open_next();
        }
        if learnt {
            learning.state.frames += fresh;
            learning.tasks.learnt();
            learning.counters.set(LearnerCounter::Frames, learning.state.frames);
            learning.report_moment();
        }
        learning.report_times(&times);
        learning.report_episodes();
        Ok(())
    }
}

impl Learning<'_> {
    /// The gradient of a block of unrolls, or that which a block holds.
    fn gradient(
        &mut self,
        block: &BlockRef<'_>,
        replayed: Option<&BlockRef<'_>>,
        part: (u64, u64),
        times: &mut UpdateTimes,
    ) -> Result<Outcome, LearnerError> {
        let Some(ranks) = &mut self.ranks else {
            if block.layout().spec().holds_gradients() {
                return Ok(self.updater.add_up(block, times));
            }
            return Ok(self.updater.gradient(block, replayed, part, &self.env, times)?);
        };
        let own = self.updater.own_part(block, replayed, part, &self.env, times)?;
        self.counters.set_phase(Phase::Exchange);
        let outcome = self.updater.together(&own, ranks, times);
        self.counters.set_phase(Phase::Learn);
        outcome.map_err(|parted| match parted {
            Parted::Leaving => LearnerError::Left,
            Parted::Drifted { rank } => {
                LearnerError::Drifted { rank, updates: self.state.version - 1 }
            }
        })
    }

    /// Begins a block that is learnt from together with those of other ranks: what it is like travels with its first
    /// gradient. Gives whether what observations are like will change.
    fn describe(&mut self, block: &BlockRef<'_>, waited: Duration) -> bool {
        let Some(ranks) = &mut self.ranks else { return false };
        ranks.begin(self.updater.parameters(), waited);
        Tasks::count(block, ranks.frames_mut());
        for (task, mean) in self.tasks.full_return_means().enumerate() {
            ranks.set_window(task, mean);
        }
        if let Some(scale) = &mut self.return_scale {
            scale.measure(block, ranks.returns_mut());
        }
        let stats = self.observation_stats.as_mut();
        stats.is_some_and(|stats| stats.measure(block, ranks.observations_mut()))
    }

    /// Follows what the blocks of all ranks are like, as it came with their first gradient.
    fn follow_ranks(&mut self, observations: bool) {
        let Some(ranks) = &mut self.ranks else { return };
        if let Some(scale) = &mut self.return_scale {
            scale.fold(ranks.returns_mut());
        }
        if let Some(stats) = &mut self.observation_stats
            && observations
        {
            stats.fold(ranks.observations_mut());
        }
        self.use_scale();
    }

    /// Stops, and has the other ranks do so, if there are any.
    fn leave(&mut self) -> StopReason {
        if let Some(ranks) = &mut self.ranks {
            self.counters.set_phase(Phase::Exchange);
            ranks.leave();
        }
        StopReason::Stopped
    }

    /// Follows the size of returns. The counters keep it for a successor.
    fn scale_rewards(&mut self, block: &BlockRef<'_>) {
        if let Some(scale) = &mut self.return_scale {
            scale.observe(block);
        }
        self.use_scale();
    }

    fn use_scale(&mut self) {
        let Some(scale) = &self.return_scale else { return };
        for task in 0..scale.moments().len() {
            self.updater.scale_rewards(task, scale.factor(task) as f32);
        }
        self.tasks.report_scale(scale);
    }

    /// Follows what observations are like; gives whether that has changed.
    fn observe(&mut self, block: &BlockRef<'_>) -> bool {
        self.observation_stats.as_mut().is_some_and(|stats| stats.observe(block))
    }

    /// Lets the network see observations by what they are like.
    fn normalize_observations(&mut self) {
        let Some(stats) = &self.observation_stats else { return };
        self.updater.normalize_observations(stats);
        self.counters.set_f64(LearnerCounter::ObservationsSeen, stats.count());
    }

    /// Whether the policy has gone as far from the one that acted as passes may take it.
    fn has_moved_far(&mut self, outcome: &Outcome) -> bool {
        let Outcome::Applied(stats) = outcome else { return false };
        stats.loss.kl_mean > self.schedule.stop_passes_at_kl
    }

    /// Keeps the divergence near its target (Schulman et al. 2017, section 4), or below it: where there is nothing left to
    /// learn, a weight that went on falling would let the policy follow noise.
    fn adapt_kl_cost(&mut self) {
        let target = self.schedule.kl_target;
        if !target.is_finite() {
            return;
        }
        let kl = self.counters.get_f64(LearnerCounter::KlMean) as f32;
        let cost = self.updater.kl_cost();
        let adapted = if cost == 0.0 {
            FIRST_KL_COST
        } else if kl > 1.5 * target {
            2.0 * cost
        } else if kl < target / 1.5 {
            0.5 * cost
        } else {
            cost
        };
        let least = self.schedule.kl_cost.max(*KL_COSTS.start());
        self.updater.set_kl_cost(adapted.clamp(least, KL_COSTS.end().max(least)));
        self.state.kl_cost = f64::from(self.updater.kl_cost());
        self.counters.set_f64(LearnerCounter::KlCost, self.state.kl_cost);
    }

    fn publish_first(&mut self) -> Result<(), LearnerError> {
        // Version 0 on the page means that there is none: fresh weights are version 1.
        self.state.version = self.state.version.max(1);
        self.publish_newer()
    }

    /// Publishes the parameters, unless an update was skipped and they are on the page already.
    fn publish_newer(&mut self) -> Result<(), LearnerError> {
        if self.publisher.latest_version() < self.state.version {
            self.publish()?;
        }
        Ok(())
    }

    /// Publishes what the next block is filled with, while the present one is learnt from.
    fn publish_behind(&mut self, lockstep: &mut Lockstep) -> Result<(), LearnerError> {
        let Self { publisher, counters, updater, state, .. } = self;
        lockstep.taken(state.version, updater.parameters(), |version, parameters| {
            if publisher.latest_version() < version {
                publisher.publish(version, parameters)?;
                counters.add(LearnerCounter::ParamsPublished, 1);
            }
            Ok::<_, LearnerError>(())
        })
    }

    /// Moves the parameters; false if the update is skipped.
    fn apply(
        &mut self,
        outcome: Outcome,
        times: &mut UpdateTimes,
        callbacks: &mut dyn LearnerCallbacks,
    ) -> Result<bool, LearnerError> {
        let Outcome::Applied(stats) = outcome else {
            self.counters.add(LearnerCounter::UpdatesSkippedNonfinite, 1);
            self.skipped_in_a_row += 1;
            callbacks.skipped();
            return match self.skipped_in_a_row {
                updates @ SKIPPED_IN_A_ROW.. => Err(LearnerError::Diverged { updates }),
                _ => Ok(false),
            };
        };
        self.skipped_in_a_row = 0;
        let rate = if self.schedule.linear_decay {
            decayed(self.schedule.learning_rate, self.state.frames, self.stop_criteria.total_frames)
        } else {
            self.schedule.learning_rate
        };
        self.updater.apply(&stats, rate, times);
        self.updater.follow_targets(&stats);
        self.tasks.report_values(self.updater.popart());
        self.state.version += 1;
        kill_point!("learner.updated");
        let publishing = Instant::now();
        let every = self.schedule.publish_every;
        if every.is_some_and(|every| self.state.version.is_multiple_of(every)) {
            self.publish()?;
        }
        self.counters.add_time(LearnerCounter::PublishNs, publishing.elapsed());
        callbacks.updated(&self.updater);
        self.report(&stats, rate);
        Ok(true)
    }

    /// Saves the present state; returns whether that worked.
    pub(crate) fn save(&mut self, callbacks: &mut dyn LearnerCallbacks) -> bool {
        self.counters.set_phase(Phase::Save);
        self.counters.add(LearnerCounter::Progress, 1);
        self.state.wall_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state.episodes = self.episodes.finished();
        self.state.recent_episodes =
            self.episodes.recent().map(|e| (e.episode_return, e.length)).collect();
        self.state.return_mean = self.episodes.full_return_mean();
        self.state.optimizer_steps = self.updater.optimizer().steps();
        self.state.tasks = self.tasks.states(self.return_scale.as_ref(), self.updater.popart());
        if let Some(stats) = &self.observation_stats {
            self.state.observations_seen = stats.count();
        }
        let mut watch = Stopwatch::start();
        let saved = callbacks.save(&self.updater, &self.state);
        self.counters.add_time(LearnerCounter::CheckpointNs, watch.restart());
        saved
    }

    fn publish(&mut self) -> Result<(), LearnerError> {
        self.publisher.publish(self.state.version, self.updater.parameters())?;
        self.counters.add(LearnerCounter::ParamsPublished, 1);
        Ok(())
    }

    /// Compares with the stop criteria; when the target was reached goes to the counters, which outlive this
    /// process.
    fn goal_reached(&self) -> Option<StopReason> {
        let targets = self.stop_criteria.stop_at_return.as_deref();
        let reached = |targets| match &self.ranks {
            Some(ranks) => ranks.have_reached(targets),
            None => self.tasks.have_reached(targets),
        };
        if targets.is_some_and(reached) {
            self.counters.set(LearnerCounter::FramesToTarget, self.state.frames);
            self.counters
                .set_f64(LearnerCounter::SecondsToTarget, self.started.elapsed().as_secs_f64());
            self.counters.set(LearnerCounter::TargetReached, 1);
            return Some(StopReason::Solved);
        }
        self.stop_criteria
            .total_frames
            .filter(|&total| self.state.frames >= total)
            .map(|_| StopReason::AllFrames)
    }

    /// When frames were learnt. The first moment outlives this process: a learner that replaces another keeps it.
    fn report_moment(&self) {
        let now = self.started.elapsed().as_secs_f64();
        if self.counters.get_f64(LearnerCounter::FirstFrameS) == 0.0 {
            self.counters.set_f64(LearnerCounter::FirstFrameS, now);
        }
        self.counters.set_f64(LearnerCounter::LastFrameS, now);
    }

    fn report(&self, stats: &UpdateStats, rate: f32) {
        let counters = &self.counters;
        self.tasks.report_losses(self.updater.task_losses());
        counters.set(LearnerCounter::Updates, self.state.version - 1);
        counters.set(LearnerCounter::Version, self.state.version);
        for (gauge, value) in [
            (LearnerCounter::PolicyLoss, stats.loss.policy_loss),
            (LearnerCounter::BaselineLoss, stats.loss.baseline_loss),
            (LearnerCounter::Entropy, stats.loss.entropy),
            (LearnerCounter::TotalLoss, self.updater.total_loss(&stats.loss)),
            (LearnerCounter::GradNorm, stats.gradient_norm),
            (LearnerCounter::LearningRate, rate),
            (LearnerCounter::RhoMean, stats.loss.rho_mean),
            (LearnerCounter::RhoMin, stats.loss.rho_min),
            (LearnerCounter::RhoMax, stats.loss.rho_max),
            (LearnerCounter::CMean, stats.loss.c_mean),
            (LearnerCounter::CMin, stats.loss.c_min),
            (LearnerCounter::CMax, stats.loss.c_max),
            (LearnerCounter::RhoClippedFraction, stats.loss.rho_clipped),
            (LearnerCounter::CClippedFraction, stats.loss.c_clipped),
            (LearnerCounter::KlMean, stats.loss.kl_mean),
            (LearnerCounter::SurrogateClippedFraction, stats.loss.surrogate_clipped),
        ] {
            counters.set_f64(gauge, f64::from(value));
        }
    }

    fn report_times(&mut self, times: &UpdateTimes) {
        for (counter, time) in [
            (LearnerCounter::BatchingNs, times.stages.batching),
            (LearnerCounter::ForwardNs, times.stages.forward),
            (LearnerCounter::VtraceNs, times.stages.loss),
            (LearnerCounter::BackwardNs, times.stages.backward),
            (LearnerCounter::OptimizerNs, times.optimizer),
        ] {
            self.counters.add_time(counter, time);
        }
        if let Some(ranks) = &mut self.ranks {
            let times = ranks.take_times();
            self.counters.add_time(LearnerCounter::ExchangeWaitNs, times.wait);
            self.counters.add_time(LearnerCounter::ExchangeNs, times.transfer);
        }
    }

    fn report_episodes(&self) {
        self.tasks.report_episodes();
        self.counters.set(LearnerCounter::Episodes, self.episodes.finished());
        if let Some(mean) = self.episodes.return_mean() {
            self.counters.set_f64(LearnerCounter::ReturnMean100, mean);
        }
        if let Some(mean) = self.episodes.length_mean() {
            self.counters.set_f64(LearnerCounter::LengthMean100, mean);
        }
        if let Some(best) = self.episodes.best_return_mean() {
            self.counters.set_f64(LearnerCounter::ReturnBest, best);
        }
        if let Some(lowest) = self.episodes.lowest_return_mean() {
            self.counters.set_f64(LearnerCounter::ReturnLowest, lowest);
        }
    }
}

/// Policy lag: the learner's version at use (the last, if there are several passes) less the version that
/// acted.
fn measure_lag(
    block: &BlockRef<'_>,
    version: u64,
    counters: &LearnerCounters<'_>,
    histogram: &Histogram<'_>,
) {
    let lags = block.headers().iter().map(|header| version.saturating_sub(header.policy_version));
    let (mut sum, mut min, mut max) = (0, u64::MAX, 0);
    for lag in lags {
        histogram.record(lag);
        sum += lag;
        min = min.min(lag);
        max = max.max(lag);
    }
    counters.add(LearnerCounter::LagSum, sum);
    counters.set(LearnerCounter::LagMin, min);
    counters.set(LearnerCounter::LagMax, max);
    counters.set_f64(LearnerCounter::LagMean, sum as f64 / block.headers().len() as f64);
}

/// How old what is replayed is; it has no part in the lag of what is fresh.
fn measure_replay(block: &BlockRef<'_>, version: u64, counters: &LearnerCounters<'_>) {
    let ages = block.headers().iter().map(|header| version.saturating_sub(header.policy_version));
    counters.add(LearnerCounter::ReplayLagSum, ages.sum());
    counters.add(LearnerCounter::UnrollsReplayed, block.headers().len() as u64);
}
