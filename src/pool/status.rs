//! Publishes the status segment, by which other programs find a run and read its figures.

use std::path::Path;

use super::console::Console;
use super::processes::MAX_ACTORS_SHOWN;
use super::run_dir::RunDir;
use crate::config::Config;
use crate::metrics::{
    ChildRecord, FaultsRecord, MetricsRecord, PoolRecord, RunId, StatusRecord, StatusSegment,
};
use crate::supervisor::{
    ChildState, ChildStatus, CleanupTarget, PoolStatus, Role, Supervisor, SupervisorError,
};

/// Where POSIX shared memory has its names on Linux.
const SHM_DIR: &str = "/dev/shm";

/// The status segment of this run. A machine that refuses one costs the view from outside, not the run.
#[derive(Debug)]
pub(super) struct Status {
    segment: Option<StatusSegment>,
}

impl Status {
    /// Removes segments of supervisors that were killed together with their janitors, then makes this
    /// run's, which the janitor is told of first.
    pub(super) fn create(
        supervisor: &mut Supervisor,
        run_dir: &RunDir,
        console: &Console,
    ) -> Result<Self, SupervisorError> {
        if let Ok(swept) = crate::metrics::sweep() {
            for name in swept {
                console.line(&format!("removed {name}, left by a run that was killed"));
            }
        }
        let Ok(id) = RunId::of_this_process() else {
            return Ok(Self { segment: None });
        };
        let name = id.to_string();
        supervisor.guard(CleanupTarget::Segment(Path::new(SHM_DIR).join(&name)))?;
        let segment = StatusSegment::create(&name, run_dir.path());
        if let Err(error) = &segment {
            console.warn(&format!("{error}; other programs cannot watch this run"));
        }
        Ok(Self { segment: segment.ok() })
    }

    /// Shows a sample to whoever looks.
    pub(super) fn publish(
        &mut self,
        metrics: MetricsRecord,
        status: &PoolStatus,
        config: &Config,
        faults: FaultsRecord,
    ) {
        let Some(segment) = &mut self.segment else {
            return;
        };
        let (shown, rest) =
            status.children.split_at(status.children.len().min(MAX_ACTORS_SHOWN + 1));
        let policy = rest.iter().filter(|child| child.role == Role::Policy);
        let pool = &config.pool;
        let record = StatusRecord {
            env: config.env.id.clone(),
            tasks: config.env.tasks.iter().map(|task| task.id.clone()).collect(),
            pool: PoolRecord {
                actors: pool.actors,
                envs_per_actor: pool.envs_per_actor,
                unroll: pool.unroll,
                batch: pool.batch,
                blocks: pool.blocks,
                slots: pool.blocks * pool.groups_per_block(),
            },
            stopping: status.stopping,
            total_frames: config.stop.total_frames,
            metrics,
            children: shown.iter().chain(policy).map(child).collect(),
            faults,
        };
        if let Ok(bytes) = serde_json::to_vec(&record) {
            // Too long for the segment: the view stays as it was.
            let _stale_view = segment.publish(&bytes);
        }
    }

    /// In a child: the segment is the supervisor's to remove.
    pub(super) fn disown(&mut self) {
        if let Some(segment) = &mut self.segment {
            segment.disown();
        }
    }
}

fn child(child: &ChildStatus) -> ChildRecord {
    let ChildStatus { role, state, pid, incarnation, restarts } = *child;
    let state = match state {
        ChildState::Starting => "starting",
        ChildState::Running => "running",
        ChildState::Waiting => "waiting",
        ChildState::Dying => "dying",
        ChildState::Unkillable => "unkillable",
        ChildState::Failed => "failed",
        ChildState::Gone => "gone",
    };
    ChildRecord { role: role.to_string(), state: state.to_owned(), pid, incarnation, restarts }
}
