//! Reads back the weights and the optimizer state that a learner last published: its successor starts there, and they
//! are saved if the run ends without a learner.

use std::path::PathBuf;

use super::roles::RunContext;
use crate::build;
use crate::hint::with_hint;
use crate::learner::checkpoint::{Checkpoint, LearnerState, TaskState};
use crate::learner::optimizer::Optimizer;
use crate::learner::popart::ValueMoments;
use crate::learner::return_scale::Moments;
use crate::metrics::{LearnerCounter, TaskCounter, TaskCounters};
use crate::params::{PageMismatch, ParamReader, Refresh};
use crate::shm::{Access, Inherit, Memory};

/// Why what was published cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishedError {
    #[error("{}", with_hint(.0))]
    Memory(#[from] crate::shm::ShmError),
    #[error(transparent)]
    Page(#[from] PageMismatch),
    #[error("the parameter page cannot be read; resume from the last checkpoint")]
    Torn,
    #[error("{}", with_hint(.0))]
    Checkpoint(#[from] crate::learner::checkpoint::CheckpointError),
}

/// The newest published weights, with the optimizer's state of at most a moment before, and the
/// counters, which outlive every learner. `None` before the first publication. No learner may run.
pub(super) fn published(pool: &RunContext) -> Result<Option<Checkpoint>, PublishedError> {
    let len = pool.parameters.len();
    let mut parameters = vec![0.0; len];
    let version = newest(&pool.memory.parameters, pool, &mut parameters)?;
    if version == 0 {
        return Ok(None);
    }
    // The moments may be some updates older than the weights: they are averages.
    let mut moments = vec![0.0; 2 * len];
    let mut optimizer_steps = newest(&pool.memory.optimizer, pool, &mut moments)?;
    let optimizer = if let Some(before) = pool.checkpoint.as_ref().filter(|_| optimizer_steps == 0)
    {
        // No learner of this run has lived long enough to leave any.
        optimizer_steps = before.state.optimizer_steps;
        before.optimizer.clone()
    } else if optimizer_steps == 0 {
        let fresh = Optimizer::new(build::optimizer(pool.config.learner.optimizer), len);
        [fresh.state().0.to_vec(), fresh.state().1.to_vec()]
    } else {
        [moments[..len].to_vec(), moments[len..].to_vec()]
    };
    let counters = pool.memory.learner();
    let state = LearnerState {
        // With --publish-every above 1 the dead learner was some updates further: numbers never repeat.
        version: version.max(counters.get(LearnerCounter::Version)),
        frames: counters.get(LearnerCounter::Frames),
        episodes: counters.get(LearnerCounter::Episodes),
        wall_ms: u64::try_from(pool.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        resumes: pool.resumes(),
        optimizer_steps,
        tasks: (0..pool.config.pool.tasks).map(|task| of_task(&pool.memory.task(task))).collect(),
        kl_cost: counters.get_f64(LearnerCounter::KlCost),
        observations_seen: counters.get_f64(LearnerCounter::ObservationsSeen),
        ..LearnerState::default()
    };
    Ok(Some(Checkpoint { parameters, optimizer, state }))
}

/// Recent episodes die with the learner that saw them.
fn of_task(counters: &TaskCounters<'_>) -> TaskState {
    TaskState {
        frames: counters.get(TaskCounter::Frames),
        episodes: counters.get(TaskCounter::Episodes),
        returns: Moments {
            count: counters.get_f64(TaskCounter::ReturnsSeen),
            mean: counters.get_f64(TaskCounter::ReturnsMean),
            squares: counters.get_f64(TaskCounter::ReturnsSquares),
        },
        values: match counters.get_f64(TaskCounter::ValueUpdates) {
            updates if updates > 0.0 => ValueMoments {
                updates,
                mean: counters.get_f64(TaskCounter::ValueMean),
                square: counters.get_f64(TaskCounter::ValueSquare),
            },
            _ => ValueMoments::default(),
        },
        ..TaskState::default()
    }
}

/// Saves what was published, if the last learner died without saving. `None` if there is nothing, or a checkpoint
/// that is as new: a learner that saved in order left more than was published.
pub(super) fn save_published(pool: &RunContext) -> Result<Option<PathBuf>, PublishedError> {
    let Some(checkpoint) = published(pool)? else { return Ok(None) };
    let keep = pool.config.run.keep_checkpoints;
    let saved = Checkpoint::load_newest(&pool.run_dir.checkpoints(), &pool.parameters);
    if let Ok((saved, _)) = saved
        && (saved.state.frames, saved.state.version)
            >= (checkpoint.state.frames, checkpoint.state.version)
    {
        return Ok(None);
    }
    Ok(Some(checkpoint.save(&pool.run_dir.checkpoints(), &pool.parameters, keep)?))
}

/// Reads the newest version of a page into `values`; 0 if there is none.
fn newest(memory: &Memory, pool: &RunContext, values: &mut [f32]) -> Result<u64, PublishedError> {
    let page = memory.map(Access::ReadOnly, Inherit::No)?;
    let fingerprint = pool.parameters.fingerprint();
    let mut reader = match ParamReader::new(page.all_read_words(), values.len(), fingerprint) {
        Err(PageMismatch::NotLaidOut) => return Ok(0),
        other => other?,
    };
    match reader.refresh(0, values) {
        Refresh::New(version) => Ok(version),
        Refresh::Unchanged => Ok(0),
        Refresh::Busy => Err(PublishedError::Torn),
    }
}
