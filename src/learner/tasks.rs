//! The learner's statistics of each task: frames, episodes, losses, and the size of returns.

use super::LearnerError;
use super::checkpoint::TaskState;
use super::collective::whole;
use super::episodes::{Episode, EpisodeWindow};
use super::loss::{TaskLoss, count_transitions};
use super::popart::PopArt;
use super::return_scale::ReturnScale;
use crate::env::flag;
use crate::metrics::{TaskCounter, TaskCounters};
use crate::unroll::{BlockRef, Field, GroupHeader};

/// One task.
#[derive(Debug)]
struct Task<'m> {
    counters: TaskCounters<'m>,
    episodes: EpisodeWindow,
    frames: u64,
    /// Frames of the block that is learnt from.
    fresh: u64,
}

/// All tasks, in their order.
#[derive(Debug)]
pub struct Tasks<'m>(Vec<Task<'m>>);

impl<'m> Tasks<'m> {
    /// Goes on from `states`, one for each task or none at first, with means over the last `window` episodes. Best and lowest means
    /// are those in the counters.
    #[must_use]
    pub fn new(
        counters: impl IntoIterator<Item = TaskCounters<'m>>,
        window: usize,
        states: &[TaskState],
    ) -> Self {
        let task = |(index, counters): (usize, TaskCounters<'m>)| {
            let state = states.get(index).cloned().unwrap_or_default();
            let means = [TaskCounter::ReturnBest, TaskCounter::ReturnLowest];
            let episodes = EpisodeWindow::resumed(
                window,
                (&state.recent_episodes, state.episodes),
                means.map(|gauge| counters.get_f64(gauge)),
            );
            Task { counters, episodes, frames: state.frames, fresh: 0 }
        };
        Self(counters.into_iter().enumerate().map(task).collect())
    }

    /// Looks through a block: which tasks its frames are of, and which episodes ended in it; `each` gets the number of their
    /// task. Gives the frames of all; [`Tasks::learnt`] counts them.
    ///
    /// # Panics
    /// If it is of a task that does not exist.
    pub(super) fn observe(
        &mut self,
        block: &BlockRef<'_>,
        mut each: impl FnMut(usize, Episode),
    ) -> u64 {
        let spec = block.layout().spec();
        let flags: &[u8] = block.field(Field::Flags);
        let returns: &[f32] = block.field(Field::EpisodeReturn);
        let lengths: &[u32] = block.field(Field::EpisodeLength);
        let headers = block.headers();
        // Observation 0 is the last of the unroll before, where its end was counted.
        let next = &flags[spec.batch..];
        self.0.iter_mut().for_each(|task| task.fresh = 0);
        if let [task] = &mut self.0[..] {
            task.fresh = count_transitions(next) as u64;
        } else {
            each_group(block, |task, count| self.0[task].fresh += count as u64);
        }
        for (at, _) in
            flags.iter().enumerate().skip(spec.batch).filter(|(_, flags)| *flags & flag::DONE != 0)
        {
            let task = headers[at % spec.batch / spec.envs].task as usize;
            let episode = Episode { episode_return: returns[at], length: lengths[at] };
            self.0[task].episodes.push(episode);
            each(task, episode);
        }
        self.0.iter().map(|task| task.fresh).sum()
    }

    /// Adds each task's frames in a block to `frames`.
    ///
    /// # Panics
    /// If it is of a task that does not exist.
    pub(super) fn count(block: &BlockRef<'_>, frames: &mut [f64]) {
        each_group(block, |task, count| frames[task] += count as f64);
    }

    /// Takes these for the frames of the block: those of all ranks. Gives their sum.
    pub(super) fn set_fresh(&mut self, frames: &[f64]) -> u64 {
        for (task, frames) in self.0.iter_mut().zip(frames) {
            task.fresh = whole(*frames);
        }
        self.0.iter().map(|task| task.fresh).sum()
    }

    /// The mean return of each task over a full window.
    pub(super) fn full_return_means(&self) -> impl Iterator<Item = Option<f64>> {
        self.0.iter().map(|task| task.episodes.full_return_mean())
    }

    /// Counts the frames of the block that [`Tasks::observe`] looked through.
    pub(super) fn learnt(&mut self) {
        for task in &mut self.0 {
            task.frames += task.fresh;
            task.counters.set(TaskCounter::Frames, task.frames);
        }
    }

    /// Shows what the latest update found.
    pub(super) fn report_losses(&self, losses: &[TaskLoss]) {
        for (task, loss) in self.0.iter().zip(losses).filter(|(_, loss)| loss.transitions > 0) {
            let count = loss.transitions as f64;
            task.counters.set_f64(TaskCounter::PolicyLoss, loss.policy / count);
            task.counters.set_f64(TaskCounter::BaselineLoss, loss.baseline / count);
        }
    }

    /// Shows how large returns are. The counters keep it for a successor.
    pub(super) fn report_scale(&self, scale: &ReturnScale) {
        for (index, (task, moments)) in self.0.iter().zip(scale.moments()).enumerate() {
            for (gauge, value) in [
                (TaskCounter::RewardFactor, scale.factor(index)),
                (TaskCounter::ReturnsSeen, moments.count),
                (TaskCounter::ReturnsMean, moments.mean),
                (TaskCounter::ReturnsSquares, moments.squares),
            ] {
                task.counters.set_f64(gauge, value);
            }
        }
    }

    /// Shows what values are made of. The counters keep it for a successor.
    pub(super) fn report_values(&self, popart: Option<&PopArt>) {
        let (Some(popart), [task]) = (popart, &self.0[..]) else { return };
        let (moments, scale) = (popart.moments(), popart.scale());
        for (gauge, value) in [
            (TaskCounter::ValueMean, moments.mean),
            (TaskCounter::ValueSquare, moments.square),
            (TaskCounter::ValueUpdates, moments.updates),
            (TaskCounter::ValueDeviation, f64::from(scale.deviation)),
        ] {
            task.counters.set_f64(gauge, value);
        }
    }

    pub(super) fn report_episodes(&self) {
        for task in &self.0 {
            task.counters.set(TaskCounter::Episodes, task.episodes.finished());
            for (gauge, mean) in [
                (TaskCounter::ReturnMean100, task.episodes.return_mean()),
                (TaskCounter::LengthMean100, task.episodes.length_mean()),
                (TaskCounter::ReturnBest, task.episodes.best_return_mean()),
                (TaskCounter::ReturnLowest, task.episodes.lowest_return_mean()),
            ] {
                if let Some(mean) = mean {
                    task.counters.set_f64(gauge, mean);
                }
            }
        }
    }

    /// Whether the mean of every task over a full window is at least its target.
    pub(super) fn have_reached(&self, targets: &[f64]) -> bool {
        self.full_return_means()
            .zip(targets)
            .all(|(mean, target)| mean.is_some_and(|mean| mean >= *target))
    }

    /// For a checkpoint.
    pub(super) fn states(
        &self,
        scale: Option<&ReturnScale>,
        popart: Option<&PopArt>,
    ) -> Vec<TaskState> {
        let state = |(index, task): (usize, &Task<'_>)| TaskState {
            frames: task.frames,
            episodes: task.episodes.finished(),
            recent_episodes: task.episodes.recent().map(|e| (e.episode_return, e.length)).collect(),
            returns: scale.map(|scale| scale.moments()[index]).unwrap_or_default(),
            values: popart.map(PopArt::moments).unwrap_or_default(),
        };
        self.0.iter().enumerate().map(state).collect()
    }

    /// Checks that what other processes wrote is of tasks that exist.
    ///
    /// # Errors
    /// [`LearnerError::BadTask`]
    pub(super) fn check(&self, headers: &[GroupHeader]) -> Result<(), LearnerError> {
        let tasks = self.0.len();
        match headers.iter().find(|header| header.task as usize >= tasks) {
            Some(header) => Err(LearnerError::BadTask { task: header.task, tasks }),
            None => Ok(()),
        }
    }
}

/// Tells the task of each group at each step of a block, and how many of its transitions count.
fn each_group(block: &BlockRef<'_>, mut tell: impl FnMut(usize, usize)) {
    let spec = block.layout().spec();
    let flags: &[u8] = block.field(Field::Flags);
    // Observation 0 is the last of the unroll before.
    for row in flags[spec.batch..].chunks_exact(spec.batch) {
        for (group, header) in row.chunks_exact(spec.envs).zip(block.headers()) {
            tell(header.task as usize, count_transitions(group));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ring::Owner;
    use crate::sync::AtomicU64;
    use crate::unroll::{BlockLayout, GroupMut, HeapRing, UnrollSpec};

    /// A block of two groups with two environments each over two steps, of tasks 1 and 0.
    fn observed(tasks: &mut Tasks<'_>, episode_returns: [f32; 4]) -> Vec<(usize, f32)> {
        let spec = UnrollSpec {
            unroll: 2,
            batch: 4,
            envs: 2,
            frame_bytes: 4,
            frame_stack: 1,
            ..UnrollSpec::PLAIN
        };
        let layout = BlockLayout::new(spec).expect("valid");
        let mut memory = HeapRing::new(1, layout).expect("small");
        let mut seats = memory.seats().expect("fits");
        let mut actor = seats.producer(Owner::new(0, 1).expect("small")).expect("the first");
        let mut learner = seats.consumer();
        for (task, returns) in [1, 0].into_iter().zip(episode_returns.chunks(2)) {
            let mut grant = actor.claim(Duration::ZERO).expect("free");
            let mut group = GroupMut::new(grant.slot_mut());
            group.header_mut().task = task;
            for t in 1..=2 {
                group.flags_mut(t).fill(if t == 1 { flag::FIRST } else { flag::TERMINATED });
                group.row_mut(Field::EpisodeReturn, t).copy_from_slice(returns);
                group.row_mut(Field::EpisodeLength, t).copy_from_slice(&[3_u32, 3]);
            }
            if task == 1 {
                group.flags_mut(1).fill(0);
            }
            grant.commit().expect("not fenced");
        }
        let held = learner.take(Duration::ZERO).expect("complete");
        let block = BlockRef::new(held.block());
        tasks.check(block.headers()).expect("both exist");
        let mut seen = Vec::new();
        tasks.observe(&block, |task, episode| seen.push((task, episode.episode_return)));
        seen
    }

    #[test]
    fn each_task_has_its_own_frames_and_episodes() {
        let words: Vec<_> = (0..2 * TaskCounters::WORDS).map(|_| AtomicU64::new(0)).collect();
        let counters = || (0..2).map(|task| TaskCounters::nth(&words, task));
        let mut tasks = Tasks::new(counters(), 2, &[]);
        let seen = observed(&mut tasks, [10.0, 20.0, -1.0, -3.0]);
        assert_eq!(seen, [(1, 10.0), (1, 20.0), (0, -1.0), (0, -3.0)]);
        tasks.learnt();
        tasks.report_episodes();
        let of = |task: usize| TaskCounters::nth(&words, task);
        // A step over a reset is no transition.
        assert_eq!((of(0).get(TaskCounter::Frames), of(1).get(TaskCounter::Frames)), (2, 4));
        assert_eq!(of(0).get_f64(TaskCounter::ReturnMean100), -2.0);
        assert_eq!(of(1).get_f64(TaskCounter::ReturnMean100), 15.0);
        assert!(tasks.have_reached(&[-2.0, 15.0]));
        assert!(!tasks.have_reached(&[-1.0, 15.0]) && !tasks.have_reached(&[-2.0, 16.0]));
        let resumed = Tasks::new(counters(), 2, &tasks.states(None, None));
        assert!(resumed.have_reached(&[-2.0, 15.0]));
        assert_eq!(resumed.0[1].frames, 4);
    }

    #[test]
    fn a_task_that_does_not_exist_is_refused() {
        let words: Vec<_> = (0..TaskCounters::WORDS).map(|_| AtomicU64::new(0)).collect();
        let tasks = Tasks::new([TaskCounters::new(&words)], 2, &[]);
        let headers = [GroupHeader::default(), GroupHeader { task: 1, ..GroupHeader::default() }];
        let refused = tasks.check(&headers).expect_err("there is one");
        assert!(matches!(refused, LearnerError::BadTask { task: 1, tasks: 1 }), "{refused}");
    }
}
