//! Composes one line of `metrics.jsonl`: all that is known of the run at this moment.

use super::console::Progress;
use super::processes::{MAX_ACTORS_SHOWN, Processes, Usage};
use super::roles::RunContext;
use crate::metrics::{
    ActorCounter, ActorsRecord, CpuRecord, LearnerRecord, MemoryRecord, MetricsRecord,
    PerActorRecord, PolicyRecord, RingRecord, Snapshot, TaskRecord,
};
use crate::supervisor::Role;

pub(super) fn compose(
    progress: &Progress,
    pool: &RunContext,
    processes: &Processes,
) -> MetricsRecord {
    let memory = &pool.memory;
    let ring = memory.ring();
    let occupancy = ring.as_ref().map(|ring| ring.occupancy().unwrap_or_default());
    let occupancy = occupancy.unwrap_or_default();
    let abandoned = ring.map_or(0, |ring| {
        let counts = ring.slot_counts();
        counts.reclaimed + counts.dropped
    });
    let actors: Vec<Snapshot<ActorCounter>> =
        (0..pool.config.pool.actors).map(|index| memory.actor(index).snapshot()).collect();
    let (learner, acting) = (processes.of(Role::Learner), processes.actors());
    let policy = processes.of(Role::Policy);
    MetricsRecord {
        wall_s: progress.wall.as_secs_f64(),
        frames: progress.frames,
        frames_per_s: progress.frames_per_s,
        frames_acted_per_s: progress.frames_acted_per_s,
        policy_lag_mean: progress.policy_lag,
        return_mean: progress.return_mean,
        restarts: progress.restarts,
        unrolls_abandoned: abandoned,
        ring: RingRecord {
            free: occupancy.free as u64,
            claimed: occupancy.claimed as u64,
            ready: occupancy.ready as u64,
            held: occupancy.held as u64,
        },
        memory: MemoryRecord {
            shared_bytes: memory.shared_bytes() as u64,
            supervisor_bytes: processes.supervisor().rss_bytes,
            learner_bytes: learner.rss_bytes,
            policy_bytes: policy.rss_bytes,
            actors_bytes: acting.private_bytes,
        },
        cpu: CpuRecord {
            cores: processes.cores() as u64,
            supervisor_ns: processes.supervisor().cpu_ns,
            learner_ns: learner.cpu_ns,
            learner_core_wait_ns: learner.core_wait_ns,
            policy_ns: policy.cpu_ns,
            policy_core_wait_ns: policy.core_wait_ns,
            actors_ns: acting.cpu_ns,
            actors_core_wait_ns: acting.core_wait_ns,
        },
        learner: LearnerRecord::of(&memory.learner().snapshot()),
        tasks: (0..pool.config.pool.tasks)
            .map(|task| TaskRecord::of(&memory.task(task).snapshot()))
            .collect(),
        policy: memory.board().map(|_| PolicyRecord::of(&memory.policy().snapshot())),
        actors: ActorsRecord::sum(&actors),
        per_actor: each(&actors, processes),
        lag_histogram: memory
            .lags()
            .snapshot()
            .buckets()
            .map(|(low, high, n)| [low, high, n])
            .collect(),
    }
}

fn each(actors: &[Snapshot<ActorCounter>], processes: &Processes) -> PerActorRecord {
    let actors = &actors[..actors.len().min(MAX_ACTORS_SHOWN)];
    let usages: Vec<Usage> = (0..actors.len())
        .map(|index| processes.of(Role::Actor(u16::try_from(index).unwrap_or(u16::MAX))))
        .collect();
    let column = |of: fn(&Usage) -> u64| usages.iter().map(of).collect();
    PerActorRecord::of(actors, column(|usage| usage.rss_bytes), column(|usage| usage.cpu_ns))
}
