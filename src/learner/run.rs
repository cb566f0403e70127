//! The learning loop: take a block, learn from it, give it back, publish.

use std::time::{Duration, Instant};

use super::LearnerError;
use super::admission::Admission;
use super::check;
use super::checkpoint::LearnerState;
use super::engine::Lap;
use super::episodes::{Episode, EpisodeWindow};
use super::optimiser::decayed;
use super::update::{Outcome, UpdateStats, UpdateTimes, Updater};
use crate::env::{EnvSpec, flag};
use crate::kill_point;
use crate::metrics::{Histogram, Learner, LearnerCounters, Phase};
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

/// When learning is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goals {
    /// Frames to learn from.
    pub total_frames: Option<u64>,
    /// Mean return to reach over a full window of episodes.
    pub stop_at_return: Option<f64>,
}

/// The learning rate and when the weights go out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Learning rate at the start.
    pub learning_rate: f32,
    /// Whether it falls to 0 over `total_frames`.
    pub linear_decay: bool,
    /// Updates with each batch, whose frames count once all the same.
    pub passes: u64,
    /// Updates from one published version to the next.
    pub publish_every: u64,
    /// Time between checkpoints; zero for only the last.
    pub checkpoint_every: Duration,
}

/// Why learning ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The target return was reached.
    Solved,
    /// All frames were learnt.
    AllFrames,
    /// The ring was closed or a stop was asked for.
    Stopped,
}

/// What the loop asks of its surroundings: the control channel and the files of the run.
pub trait Surroundings {
    /// Whether a stop was asked for.
    fn stop_requested(&mut self) -> bool;
    /// Whether a checkpoint was asked for since the last call.
    fn checkpoint_requested(&mut self) -> bool;
    /// A batch was taken, and is learnt from next.
    fn batch(&mut self, _block: &BlockRef<'_>) {}
    /// An episode ended in the block just learnt from, `frames` into the run.
    fn episode(&mut self, frames: u64, episode: Episode);
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
    /// How much data it lets the actors have in flight.
    pub admission: Admission,
    /// All that is not in a block.
    pub learning: Learning<'m>,
}

/// What learning moves and counts.
pub struct Learning<'m> {
    /// Its end of the parameter page.
    pub publisher: ParamPublisher<'m>,
    /// Its counters.
    pub counters: LearnerCounters<'m>,
    /// Policy lags of all unrolls.
    pub lags: Histogram<'m>,
    /// Network and optimiser.
    pub updater: Updater,
    /// Shapes of the environment.
    pub env: EnvSpec,
    /// When to stop.
    pub goals: Goals,
    /// How fast to go.
    pub pace: Pace,
    /// Updates skipped since the last one that was not.
    pub skipped_in_a_row: u32,
    /// Where it stands; continues from a checkpoint.
    pub state: LearnerState,
    /// Recent episodes.
    pub episodes: EpisodeWindow,
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
    pub fn run(&mut self, surroundings: &mut dyn Surroundings) -> Result<Ended, LearnerError> {
        self.learning.publish_first()?;
        self.limit_in_flight();
        let mut last_control = Instant::now();
        let mut last_checkpoint = Instant::now();
        loop {
            let mut lap = Lap::start();
            match self.learn_one(&mut lap, surroundings) {
                Ok(()) | Err(LearnerError::Take(TakeError::TimedOut)) => {}
                Err(LearnerError::Take(TakeError::Closed)) => return Ok(Ended::Stopped),
                Err(error) => return Err(error),
            }
            if let Some(ended) = self.learning.goal_reached() {
                return Ok(ended);
            }
            if last_control.elapsed() >= CONTROL_EVERY {
                last_control = Instant::now();
                if surroundings.stop_requested() {
                    return Ok(Ended::Stopped);
                }
                let due = !self.learning.pace.checkpoint_every.is_zero()
                    && last_checkpoint.elapsed() >= self.learning.pace.checkpoint_every;
                if due || surroundings.checkpoint_requested() {
                    last_checkpoint = Instant::now();
                    self.learning.save(surroundings);
                }
            }
        }
    }

    fn limit_in_flight(&mut self) {
        let slots = self.admission.slots();
        self.consumer.limit_in_flight(slots);
        self.learning.counters.set(Learner::InFlightLimit, slots as u64);
    }

    fn learn_one(
        &mut self,
        lap: &mut Lap,
        surroundings: &mut dyn Surroundings,
    ) -> Result<(), LearnerError> {
        self.learning.counters.set_phase(Phase::Wait);
        let block = self.consumer.take(TAKE_TIMEOUT);
        self.learning.counters.set_phase(Phase::Learn);
        let waited = lap.lap();
        self.learning.counters.add_time(Learner::WaitNs, waited);
        if self
            .admission
            .waited(waited, block.is_ok(), || self.consumer.ring().has_waiting_actors())
        {
            self.limit_in_flight();
        }
        let learning = &mut self.learning;
        let held = block?;
        kill_point!("learner.after_take");
        let block = BlockRef::new(held.block());
        check::actions(&learning.env.action, block.field(Field::Action))?;
        surroundings.batch(&block);
        let mut times = UpdateTimes::default();
        let mut learnt = None;
        for _ in 1..learning.pace.passes {
            let outcome = learning.updater.gradient(&block, &learning.env, &mut times)?;
            learnt = learning.apply(outcome, &mut times, surroundings)?.or(learnt);
        }
        let outcome = learning.updater.gradient(&block, &learning.env, &mut times)?;
        let Learning { state, counters, lags, episodes, .. } = learning;
        measure_lag(&block, state.version, counters, lags);
        let unrolls = block.headers().len() as u64;
        collect_episodes(&block, episodes, |episode| surroundings.episode(state.frames, episode));
        kill_point!("learner.before_release");
        // Before the last step, which needs nothing of the block.
        held.release().map_err(TakeError::from)?;
        kill_point!("learner.after_release");

        counters.add(Learner::UnrollsConsumed, unrolls);
        counters.add(Learner::Blocks, 1);
        counters.add(Learner::Progress, 1);
        learnt = learning.apply(outcome, &mut times, surroundings)?.or(learnt);
        if let Some(transitions) = learnt {
            learning.state.frames += transitions as u64;
            learning.counters.set(Learner::Frames, learning.state.frames);
        }
        learning.report_times(&times);
        learning.report_episodes();
        Ok(())
    }
}

impl Learning<'_> {
    fn publish_first(&mut self) -> Result<(), LearnerError> {
        // Version 0 on the page means that there is none: fresh weights are version 1.
        self.state.version = self.state.version.max(1);
        if self.publisher.latest_version() < self.state.version {
            self.publish()?;
        }
        Ok(())
    }

    /// Moves the parameters, and gives the transitions that moved them.
    fn apply(
        &mut self,
        outcome: Outcome,
        times: &mut UpdateTimes,
        surroundings: &mut dyn Surroundings,
    ) -> Result<Option<usize>, LearnerError> {
        let Outcome::Applied(stats) = outcome else {
            self.counters.add(Learner::UpdatesSkippedNonfinite, 1);
            self.skipped_in_a_row += 1;
            surroundings.skipped();
            return match self.skipped_in_a_row {
                updates @ SKIPPED_IN_A_ROW.. => Err(LearnerError::Diverged { updates }),
                _ => Ok(None),
            };
        };
        self.skipped_in_a_row = 0;
        let rate = if self.pace.linear_decay {
            decayed(self.pace.learning_rate, self.state.frames, self.goals.total_frames)
        } else {
            self.pace.learning_rate
        };
        self.updater.apply(&stats, rate, times);
        self.state.version += 1;
        kill_point!("learner.updated");
        let publishing = Instant::now();
        if self.state.version.is_multiple_of(self.pace.publish_every) {
            self.publish()?;
        }
        self.counters.add_time(Learner::PublishNs, publishing.elapsed());
        surroundings.updated(&self.updater);
        self.report(&stats, rate);
        Ok(Some(stats.loss.transitions))
    }

    /// Saves the present state; returns whether that worked.
    pub fn save(&mut self, surroundings: &mut dyn Surroundings) -> bool {
        self.counters.set_phase(Phase::Save);
        self.counters.add(Learner::Progress, 1);
        self.state.wall_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state.episodes = self.episodes.finished();
        self.state.recent_episodes =
            self.episodes.recent().map(|e| (e.episode_return, e.length)).collect();
        self.state.return_mean = self.episodes.full_return_mean();
        self.state.optimiser_steps = self.updater.optimiser().steps();
        let mut lap = Lap::start();
        let saved = surroundings.save(&self.updater, &self.state);
        self.counters.add_time(Learner::CheckpointNs, lap.lap());
        saved
    }

    fn publish(&mut self) -> Result<(), LearnerError> {
        self.publisher.publish(self.state.version, self.updater.parameters())?;
        self.counters.add(Learner::ParamsPublished, 1);
        Ok(())
    }

    /// Compares with the goals; when the target was reached goes to the counters, which outlive this
    /// process.
    fn goal_reached(&self) -> Option<Ended> {
        let mean = self.episodes.full_return_mean();
        if mean.zip(self.goals.stop_at_return).is_some_and(|(mean, target)| mean >= target) {
            self.counters.set(Learner::FramesToTarget, self.state.frames);
            self.counters.set_f64(Learner::SecondsToTarget, self.started.elapsed().as_secs_f64());
            self.counters.set(Learner::TargetReached, 1);
            return Some(Ended::Solved);
        }
        self.goals
            .total_frames
            .filter(|&total| self.state.frames >= total)
            .map(|_| Ended::AllFrames)
    }

    fn report(&self, stats: &UpdateStats, rate: f32) {
        let counters = &self.counters;
        counters.set(Learner::Updates, self.state.version - 1);
        counters.set(Learner::Version, self.state.version);
        for (gauge, value) in [
            (Learner::PolicyLoss, stats.loss.policy_loss),
            (Learner::BaselineLoss, stats.loss.baseline_loss),
            (Learner::Entropy, stats.loss.entropy),
            (Learner::TotalLoss, self.updater.total_loss(&stats.loss)),
            (Learner::GradNorm, stats.gradient_norm),
            (Learner::LearningRate, rate),
            (Learner::RhoMean, stats.loss.rho_mean),
            (Learner::RhoMin, stats.loss.rho_min),
            (Learner::RhoMax, stats.loss.rho_max),
            (Learner::CMean, stats.loss.c_mean),
            (Learner::CMin, stats.loss.c_min),
            (Learner::CMax, stats.loss.c_max),
            (Learner::RhoClippedFraction, stats.loss.rho_clipped),
            (Learner::CClippedFraction, stats.loss.c_clipped),
        ] {
            counters.set_f64(gauge, f64::from(value));
        }
    }

    fn report_times(&self, times: &UpdateTimes) {
        for (counter, time) in [
            (Learner::BatchingNs, times.stages.batching),
            (Learner::ForwardNs, times.stages.forward),
            (Learner::VtraceNs, times.stages.loss),
            (Learner::BackwardNs, times.stages.backward),
            (Learner::OptimiserNs, times.optimiser),
        ] {
            self.counters.add_time(counter, time);
        }
    }

    fn report_episodes(&self) {
        self.counters.set(Learner::Episodes, self.episodes.finished());
        if let Some(mean) = self.episodes.return_mean() {
            self.counters.set_f64(Learner::ReturnMean100, mean);
        }
        if let Some(mean) = self.episodes.length_mean() {
            self.counters.set_f64(Learner::LengthMean100, mean);
        }
        if let Some(best) = self.episodes.best_return_mean() {
            self.counters.set_f64(Learner::ReturnBest, best);
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
    counters.add(Learner::LagSum, sum);
    counters.set(Learner::LagMin, min);
    counters.set(Learner::LagMax, max);
    counters.set_f64(Learner::LagMean, sum as f64 / block.headers().len() as f64);
}

/// Observation 0 is the last of the unroll before, where its end was counted.
fn collect_episodes(
    block: &BlockRef<'_>,
    window: &mut EpisodeWindow,
    mut each: impl FnMut(Episode),
) {
    let flags: &[u8] = block.field(Field::Flags);
    let returns: &[f32] = block.field(Field::EpisodeReturn);
    let lengths: &[u32] = block.field(Field::EpisodeLength);
    for (at, _) in flags
        .iter()
        .enumerate()
        .skip(block.layout().spec().batch)
        .filter(|(_, flags)| *flags & flag::DONE != 0)
    {
        let episode = Episode { episode_return: returns[at], length: lengths[at] };
        window.push(episode);
        each(episode);
    }
}
