//! A run, as the supervisor drives it: what children inherit, what is reclaimed, what is logged.

use std::time::{Duration, Instant};

use super::console::{Console, Progress};
use super::line::compose;
use super::metrics_log::MetricsLog;
use super::processes::Processes;
use super::published::save_published;
use super::roles::{Inheritance, play_actor, play_learner};
use super::status::Status as StatusBoard;
use super::summary::{Status, Summary};
use super::tensorboard::TensorBoard;
use crate::metrics::{Actor, Learner};
use crate::ring::{CrashRecord, Owner};
use crate::supervisor::{
    ChildControl, ExitKind, Level, Outcome, Pool, PoolCorrupt, PoolStatus, Reclaimed, Role, Verdict,
};

/// How often the kernel is asked about the processes, and how often the status segment is renewed.
const PROCESSES_EVERY: Duration = Duration::from_millis(500);
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Lines of metrics come at every tenth more of wall time until the log interval is reached, so that a run
/// of a second has curves too.
const EARLY: f64 = 0.1;

/// The supervisor's side of a run.
pub(super) struct Run {
    pub(super) inheritance: Inheritance,
    console: Console,
    crashes: CrashRecord,
    metrics: MetricsLog,
    tensorboard: TensorBoard,
    board: StatusBoard,
    processes: Processes,
    began: Instant,
    /// Sample of the last line of metrics.
    last: Sample,
    /// Sample of the last line on the console.
    shown: Sample,
    /// When the kernel was last asked, and when the board was last written.
    sampled_at: Option<Instant>,
    published_at: Option<Instant>,
    /// Sample a little while ago, for the rate on a live terminal.
    recent: Sample,
    restarts: u64,
    time_is_up: bool,
}

/// Counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    frames: u64,
    frames_acted: u64,
    lag_sum: u64,
    unrolls: u64,
}

impl Run {
    pub(super) fn new(inheritance: Inheritance, console: Console, board: StatusBoard) -> Self {
        let shape = crate::ring::RingShape {
            blocks: inheritance.config.pool.blocks,
            groups: inheritance.config.pool.groups_per_block(),
        };
        let metrics = MetricsLog::open(&inheritance.run_dir, &console);
        let began = Instant::now();
        let frames = inheritance.memory.learner().get(Learner::Frames);
        let run = &inheritance.config.run;
        let (run_dir, actors) = (&inheritance.run_dir, inheritance.config.pool.actors);
        let tensorboard = TensorBoard::open(run.tensorboard, run_dir, actors, frames, &console);
        let now = Sample { at: began, frames, frames_acted: 0, lag_sum: 0, unrolls: 0 };
        Self {
            inheritance,
            console,
            crashes: CrashRecord::new(shape),
            metrics,
            tensorboard,
            board,
            processes: Processes::new(),
            began,
            last: now,
            shown: now,
            sampled_at: None,
            published_at: None,
            recent: now,
            restarts: 0,
            time_is_up: false,
        }
    }

    fn sample(&self) -> Sample {
        let memory = &self.inheritance.memory;
        let learner = memory.learner();
        let actors = (0..self.inheritance.config.pool.actors).map(|index| memory.actor(index));
        Sample {
            at: Instant::now(),
            frames: learner.get(Learner::Frames),
            frames_acted: actors.map(|actor| actor.get(Actor::FramesActed)).sum(),
            lag_sum: learner.get(Learner::LagSum),
            unrolls: learner.get(Learner::UnrollsConsumed),
        }
    }

    fn progress_since(&self, now: &Sample, before: &Sample) -> Progress {
        let config = &self.inheritance.config;
        let learner = self.inheritance.memory.learner();
        let seconds = (now.at - before.at).as_secs_f64().max(1e-6);
        let per_s = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Progress {
            frames: now.frames,
            frames_per_s: per_s(now.frames, before.frames),
            frames_acted_per_s: per_s(now.frames_acted, before.frames_acted),
            return_mean: self.return_mean(),
            loss: learner.get_f64(Learner::TotalLoss),
            entropy: learner.get_f64(Learner::Entropy),
            policy_lag: ratio(
                now.lag_sum.saturating_sub(before.lag_sum),
                now.unrolls.saturating_sub(before.unrolls),
            ),
            updates: learner.get(Learner::Updates),
            wall: self.inheritance.started.elapsed(),
            total_frames: Some(config.stop.total_frames),
            restarts: self.restarts,
        }
    }

    fn return_mean(&self) -> Option<f64> {
        let learner = self.inheritance.memory.learner();
        (learner.get(Learner::Episodes) > 0).then(|| learner.get_f64(Learner::ReturnMean100))
    }

    /// If the last learner died without saving, saves what it published.
    pub(super) fn save_what_is_left(&self, outcome: &mut Outcome) {
        if outcome.exit == ExitKind::Finished {
            return;
        }
        match save_published(&self.inheritance) {
            Ok(Some(path)) => {
                self.console.warn(&format!("saved the last published weights: {}", path.display()));
                if outcome.exit == ExitKind::CheckpointNotWritten {
                    outcome.exit = ExitKind::Finished;
                }
            }
            Ok(None) => {}
            Err(error) => self.console.warn(&format!("nothing more could be saved: {error}")),
        }
    }

    /// Takes the live line away and sums the run up.
    pub(super) fn finish(&mut self, outcome: &Outcome) -> Summary {
        let now = self.sample();
        let progress = self.progress_since(&now, &self.last);
        self.write(&progress);
        self.console.finish();
        let memory = &self.inheritance.memory;
        let config = &self.inheritance.config;
        let learner = memory.learner();
        let reached = learner.get(Learner::TargetReached) != 0;
        let frames = now.frames;
        let wall_s = self.inheritance.started.elapsed().as_secs_f64();
        let books = memory.ring().map(|ring| ring.identity());
        let status = match outcome.exit {
            ExitKind::Finished if reached => Status::Solved,
            ExitKind::Finished if frames >= config.stop.total_frames => Status::Finished,
            ExitKind::Finished if self.time_is_up => Status::TimeLimit,
            ExitKind::Finished => Status::Interrupted,
            _ => Status::Failed,
        };
        Summary {
            status,
            reason: outcome.reason.clone(),
            env: config.env.id.clone(),
            frames,
            updates: learner.get(Learner::Updates),
            episodes: learner.get(Learner::Episodes),
            wall_s,
            frames_per_s: frames as f64 / wall_s,
            return_mean_100: self.return_mean(),
            frames_to_target: reached.then(|| learner.get(Learner::FramesToTarget)),
            seconds_to_target: reached.then(|| learner.get_f64(Learner::SecondsToTarget)),
            actor_restarts: outcome.actor_restarts.iter().map(|&n| u64::from(n)).sum(),
            learner_restarts: u64::from(outcome.learner_restarts),
            unrolls_produced: (0..config.pool.actors)
                .map(|index| memory.actor(index).get(Actor::UnrollsCommitted))
                .sum(),
            unrolls_consumed: learner.get(Learner::UnrollsConsumed),
            unrolls_abandoned: books.map_or(0, |books| books.reclaimed + books.dropped),
            params_published: learner.get(Learner::ParamsPublished),
            policy_lag_mean: ratio(now.lag_sum, now.unrolls),
        }
    }

    /// Writes what is due: to the log, the console, and the status segment.
    fn record(&mut self, now: &Sample, status: &PoolStatus) {
        let due = |last: Option<Instant>, every| last.is_none_or(|last| now.at - last >= every);
        let interval = Duration::from_secs_f64(self.inheritance.config.run.log_interval_s);
        let line_due = now.at - self.last.at >= interval.min((now.at - self.began).mul_f64(EARLY));
        if line_due || due(self.sampled_at, PROCESSES_EVERY) || status.stopping {
            self.processes.sample(status);
            self.sampled_at = Some(now.at);
        }
        if line_due {
            let progress = self.progress_since(now, &self.last);
            self.write(&progress);
            self.last = *now;
        }
        if now.at - self.shown.at >= interval {
            self.console.interval(&self.progress_since(now, &self.shown));
            self.shown = *now;
        }
        if due(self.published_at, PUBLISH_EVERY) {
            let progress = self.progress_since(now, &self.recent);
            let line = compose(&progress, &self.inheritance, &self.processes);
            self.board.publish(&line, status, &self.inheritance.config);
            self.published_at = Some(now.at);
        }
    }

    fn write(&mut self, progress: &Progress) {
        let line = compose(progress, &self.inheritance, &self.processes);
        self.metrics.write(&line, &self.console);
        let lags = self.inheritance.memory.lags().snapshot();
        self.tensorboard.write(&line, &lags, &self.console);
    }

    pub(super) const fn console(&self) -> &Console {
        &self.console
    }
}

impl Pool for Run {
    fn run_child(&mut self, role: Role, incarnation: u16, mut control: ChildControl) -> ExitKind {
        self.board.disown();
        match role {
            Role::Learner => play_learner(&self.inheritance, &mut control),
            Role::Actor(index) => play_actor(&self.inheritance, index, incarnation, &control),
        }
    }

    fn request_stop(&mut self) {
        if let Ok(ring) = self.inheritance.memory.ring() {
            ring.close();
        }
    }

    fn reclaim(&mut self, role: Role, incarnation: u16) -> Result<Reclaimed, PoolCorrupt> {
        let corrupt = |error: crate::ring::RingError| PoolCorrupt { what: error.to_string() };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let ring = self.inheritance.memory.ring().map_err(corrupt)?;
        match role {
            Role::Actor(index) => {
                let owner = Owner::new(index, incarnation).map_err(corrupt)?;
                let freed = ring.reclaim(owner).map_err(corrupt)?;
                Ok(Reclaimed { freed: count(freed), ..Reclaimed::default() })
            }
            Role::Learner => {
                let loss = ring.learner_died(&mut self.crashes).map_err(corrupt)?;
                Ok(Reclaimed {
                    requeued: count(loss.requeued),
                    dropped: count(loss.dropped),
                    ..Reclaimed::default()
                })
            }
        }
    }

    fn progress(&self, role: Role) -> u64 {
        match role {
            Role::Learner => self.inheritance.memory.learner().get(Learner::Updates),
            Role::Actor(index) => {
                self.inheritance.memory.actor(usize::from(index)).get(Actor::UnrollsCommitted)
            }
        }
    }

    fn tick(&mut self, status: &PoolStatus) -> Verdict {
        self.restarts = status.children.iter().map(|child| u64::from(child.restarts)).sum();
        let now = self.sample();
        self.console.tick(&self.progress_since(&now, &self.recent));
        if now.at - self.recent.at > Duration::from_secs(1) {
            self.recent = now;
        }
        self.record(&now, status);
        let limit = self.inheritance.config.stop.time_limit_s;
        if !status.stopping && limit.is_some_and(|limit| status.uptime.as_secs_f64() >= limit) {
            self.time_is_up = true;
            return Verdict::Stop {
                exit: ExitKind::Finished,
                reason: "the time limit was reached".into(),
            };
        }
        Verdict::Continue
    }

    fn log(&mut self, level: Level, line: &str) {
        match level {
            Level::Debug => {}
            Level::Info => self.console.line(line),
            Level::Warn | Level::Error => self.console.warn(line),
        }
    }
}

fn ratio(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}
