//! Records a run while it goes on: lines of metrics, the console, the status segment.

use std::time::{Duration, Instant};

use super::{Run, ratio};
use crate::metrics::{ActorCounter, LearnerCounter, TaskCounter, TaskCounters};
use crate::pool::console::Progress;
use crate::pool::line::compose;
use crate::supervisor::PoolStatus;

/// How often the kernel is asked about the processes, and how often the status segment is renewed.
const PROCESSES_EVERY: Duration = Duration::from_millis(500);
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Lines of metrics come at every tenth more of wall time until the log interval is reached, so that a run
/// of a second has curves too.
const EARLY: f64 = 0.1;

/// Counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) frames: u64,
    pub(super) frames_acted: u64,
    pub(super) lag_sum: u64,
    pub(super) unrolls: u64,
}

impl Run {
    pub(super) fn sample(&self) -> Sample {
        let memory = &self.run_context.memory;
        let learner = memory.learner();
        let actors = (0..self.run_context.config.pool.actors).map(|index| memory.actor(index));
        Sample {
            at: Instant::now(),
            frames: learner.get(LearnerCounter::Frames),
            frames_acted: actors.map(|actor| actor.get(ActorCounter::FramesActed)).sum(),
            lag_sum: learner.get(LearnerCounter::LagSum),
            unrolls: learner.get(LearnerCounter::UnrollsConsumed),
        }
    }

    pub(super) fn progress_since(&self, now: &Sample, before: &Sample) -> Progress {
        let config = &self.run_context.config;
        let learner = self.run_context.memory.learner();
        let seconds = (now.at - before.at).as_secs_f64().max(1e-6);
        let per_s = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Progress {
            frames: now.frames,
            frames_per_s: per_s(now.frames, before.frames),
            frames_acted_per_s: per_s(now.frames_acted, before.frames_acted),
            return_mean: self.return_mean(),
            task_means: self.task_means(),
            loss: learner.get_f64(LearnerCounter::TotalLoss),
            entropy: learner.get_f64(LearnerCounter::Entropy),
            policy_lag: ratio(
                now.lag_sum.saturating_sub(before.lag_sum),
                now.unrolls.saturating_sub(before.unrolls),
            ),
            updates: learner.get(LearnerCounter::Updates),
            wall: self.run_context.started.elapsed(),
            total_frames: Some(config.stop.total_frames),
            restarts: self.restarts,
        }
    }

    pub(super) fn return_mean(&self) -> Option<f64> {
        let learner = self.run_context.memory.learner();
        (learner.get(LearnerCounter::Episodes) > 0)
            .then(|| learner.get_f64(LearnerCounter::ReturnMean100))
    }

    fn task_means(&self) -> Vec<Option<f64>> {
        let memory = &self.run_context.memory;
        let tasks = (0..self.run_context.config.pool.tasks).map(|task| memory.task(task));
        let mean = |task: TaskCounters<'_>| {
            let any = task.get(TaskCounter::Episodes) > 0;
            any.then(|| task.get_f64(TaskCounter::ReturnMean100))
        };
        tasks.map(mean).collect()
    }

    /// Writes what is due: to the log, the console, and the status segment.
    pub(super) fn record(&mut self, now: &Sample, status: &PoolStatus) {
        let due = |last: Option<Instant>, every| last.is_none_or(|last| now.at - last >= every);
        let interval = Duration::from_secs_f64(self.run_context.config.run.log_interval_s);
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
            let line = compose(&progress, &self.run_context, &self.processes);
            self.board.publish(line, status, &self.run_context.config, self.faults);
            self.published_at = Some(now.at);
        }
    }

    pub(super) fn write(&mut self, progress: &Progress) {
        let line = compose(progress, &self.run_context, &self.processes);
        self.metrics.write(&line, &self.console);
        let lags = self.run_context.memory.lags().snapshot();
        self.tensorboard.write(&line, &lags, &self.console);
        if let Some(look) = &mut self.on_metrics {
            look.0(&line);
        }
    }
}
