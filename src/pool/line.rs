//! What one line of `metrics.jsonl` says, and what each of its numbers means.

use serde_json::{Map, Value as Json, json};

use super::console::Progress;
use super::processes::{MAX_ACTORS_SHOWN, Processes};
use super::roles::Inheritance;
use crate::metrics::{Actor, ActorCounters, Descriptor, Kind, Snapshot, Table, Value};
use crate::supervisor::Role;

macro_rules! words {
    ($($name:literal [$unit:literal] $kind:ident: $meaning:literal)*) => {
        &[$(Descriptor { name: $name, unit: $unit, kind: Kind::$kind, meaning: $meaning }),*]
    };
}

/// The numbers of a line that are not words of a process's block; a dot stands for an object within.
pub const LINE: &[Descriptor] = words! {
    "wall_s" ["s"] Real: "Wall time of the run, those that it continues included."
    "frames" ["frames"] Counter: "Agent steps that the learner has trained on."
    "frames_per_s" ["frames/s"] Real: "The same per second of wall time, over the interval."
    "frames_acted_per_s" ["frames/s"] Real: "Frames that the actors produced per second, over the interval."
    "policy_lag_mean" ["versions"] Real: "Mean policy lag over the interval."
    "return_mean" ["reward"] Real: "Mean return of the last episodes; null before the first."
    "restarts" ["processes"] Counter: "Processes that died and were replaced."
    "unrolls_abandoned" ["unrolls"] Counter: "Unrolls lost with a process that died."
    "ring.free" ["slots"] Gauge: "Slots that no one uses."
    "ring.claimed" ["slots"] Gauge: "Slots that an actor writes to."
    "ring.ready" ["slots"] Gauge: "Slots that wait for the learner."
    "ring.held" ["slots"] Gauge: "Slots that the learner reads."
    "memory.shared_bytes" ["bytes"] Gauge: "Shared memory of the run; fixed from the start."
    "memory.supervisor_bytes" ["bytes"] Gauge: "Resident memory of the supervisor."
    "memory.learner_bytes" ["bytes"] Gauge: "Resident memory of the learner, shared pages included."
    "memory.actors_bytes" ["bytes"] Gauge: "Memory that the actors and their workers have to themselves, all together."
    "cpu.cores" ["cores"] Gauge: "Cores that the run may use."
    "cpu.supervisor_ns" ["ns"] Counter: "Time of the supervisor on a core."
    "cpu.learner_ns" ["ns"] Counter: "Time of the learner on cores, all its threads together."
    "cpu.learner_core_wait_ns" ["ns"] Counter: "Time that its threads were ready to run and all cores were busy."
    "cpu.actors_ns" ["ns"] Counter: "Time of the actors and their workers on cores, all together."
    "cpu.actors_core_wait_ns" ["ns"] Counter: "Time that they were ready to run and all cores were busy."
    "per_actor.rss_bytes" ["bytes"] Gauge: "Resident memory of each actor and its worker, shared pages included."
    "per_actor.cpu_ns" ["ns"] Counter: "Time of each actor and its worker on cores."
    "lag_histogram" ["versions"] Counter: "Policy lags of all unrolls so far: smallest and largest of a bucket, and how many."
};

/// Words of an actor's block that a line has for each actor.
const PER_ACTOR: &[Actor] = &[
    Actor::Phase,
    Actor::Incarnation,
    Actor::FramesActed,
    Actor::UnrollsCommitted,
    Actor::Episodes,
    Actor::EnvNs,
    Actor::InferNs,
    Actor::RefreshNs,
    Actor::SlotWaitNs,
    Actor::AdmissionWaitNs,
    Actor::CommitNs,
    Actor::ParamRefreshes,
    Actor::ParamVersion,
];

/// Everything that is known of the run at this moment.
pub(super) fn compose(progress: &Progress, pool: &Inheritance, processes: &Processes) -> Json {
    let memory = &pool.memory;
    let ring = memory.ring();
    let occupancy = ring.as_ref().map(|ring| ring.occupancy().unwrap_or_default());
    let occupancy = occupancy.unwrap_or_default();
    let abandoned = ring.map_or(0, |ring| {
        let books = ring.identity();
        books.reclaimed + books.dropped
    });
    let actors: Vec<Snapshot<Actor>> =
        (0..pool.config.pool.actors).map(|index| memory.actor(index).snapshot()).collect();
    let (learner, acting) = (processes.of(Role::Learner), processes.actors());
    let lags: Vec<[u64; 3]> =
        memory.lags().snapshot().buckets().map(|(low, high, n)| [low, high, n]).collect();
    json!({
        "wall_s": progress.wall.as_secs_f64(),
        "frames": progress.frames,
        "frames_per_s": progress.frames_per_s,
        "frames_acted_per_s": progress.frames_acted_per_s,
        "policy_lag_mean": progress.policy_lag,
        "return_mean": progress.return_mean,
        "restarts": progress.restarts,
        "unrolls_abandoned": abandoned,
        "ring": {
            "free": occupancy.free,
            "claimed": occupancy.claimed,
            "ready": occupancy.ready,
            "held": occupancy.held,
        },
        "memory": {
            "shared_bytes": memory.shared_bytes(),
            "supervisor_bytes": processes.supervisor().rss_bytes,
            "learner_bytes": learner.rss_bytes,
            "actors_bytes": acting.private_bytes,
        },
        "cpu": {
            "cores": processes.cores(),
            "supervisor_ns": processes.supervisor().cpu_ns,
            "learner_ns": learner.cpu_ns,
            "learner_core_wait_ns": learner.core_wait_ns,
            "actors_ns": acting.cpu_ns,
            "actors_core_wait_ns": acting.core_wait_ns,
        },
        "learner": to_json(&memory.learner().snapshot()),
        "actors": sum(&actors),
        "per_actor": each(&actors, processes),
        "lag_histogram": lags,
    })
}

fn to_json<T: Table>(snapshot: &Snapshot<T>) -> Map<String, Json> {
    let number = |value| match value {
        Value::Count(count) => json!(count),
        Value::Real(real) => json!(real),
    };
    snapshot.iter().map(|(descriptor, value)| (descriptor.name.to_owned(), number(value))).collect()
}

/// Sums of the counters; gauges of single actors have no sum.
fn sum(actors: &[Snapshot<Actor>]) -> Map<String, Json> {
    let mut totals = vec![0_u64; ActorCounters::descriptors().len()];
    for actor in actors {
        totals
            .iter_mut()
            .zip(actor.words())
            .for_each(|(total, word)| *total = total.wrapping_add(*word));
    }
    let named = ActorCounters::descriptors().iter().zip(totals);
    named
        .filter(|(d, _)| d.kind == Kind::Counter)
        .map(|(d, total)| (d.name.to_owned(), json!(total)))
        .collect()
}

/// One list for each word: shorter than an object for each actor.
fn each(actors: &[Snapshot<Actor>], processes: &Processes) -> Map<String, Json> {
    let actors = &actors[..actors.len().min(MAX_ACTORS_SHOWN)];
    let mut lists: Map<String, Json> = PER_ACTOR
        .iter()
        .map(|&word| {
            let values: Vec<u64> = actors.iter().map(|actor| actor.get(word)).collect();
            (Actor::DESCRIPTORS[word.index()].name.to_owned(), json!(values))
        })
        .collect();
    let usages: Vec<_> = (0..actors.len())
        .map(|index| processes.of(Role::Actor(u16::try_from(index).unwrap_or(u16::MAX))))
        .collect();
    let column = |of: fn(&super::processes::Usage) -> u64| {
        json!(usages.iter().map(of).collect::<Vec<u64>>())
    };
    lists.insert("rss_bytes".to_owned(), column(|usage| usage.rss_bytes));
    lists.insert("cpu_ns".to_owned(), column(|usage| usage.cpu_ns));
    lists
}
