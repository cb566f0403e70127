//! A line of `metrics.jsonl` as a type: written by the supervisor, and read by every program that shows numbers of a
//! run.
//!
//! The structs of processes have a field for each word of [`super::table`]; the others are named here, with
//! what they mean. A number that a reader asks for is therefore one that the writer has.
//!
//! Reading is lenient, because folders outlive builds: an unknown name is passed over, and a missing number
//! is 0. A line without `wall_s` and `frames` is invalid. JSON has no word for a number that is not finite: it is
//! written as null, and read as NaN.

mod words;

pub use words::{ActorsRecord, LearnerRecord, PerActorRecord, PolicyRecord, TaskRecord};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::table::{Descriptor, Kind};

/// The type of a number of some kind.
macro_rules! number {
    (Counter) => { u64 };
    (Gauge) => { u64 };
    (Real) => { f64 };
    (Optional) => { Option<f64> };
}

macro_rules! kind {
    (Optional) => {
        Kind::Real
    };
    ($kind:ident) => {
        Kind::$kind
    };
}

use number;

/// What null stands for.
trait Number: DeserializeOwned {
    const NULL: Self;
}

impl Number for u64 {
    const NULL: Self = 0;
}

impl Number for f64 {
    const NULL: Self = Self::NAN;
}

impl Number for Option<f64> {
    const NULL: Self = None;
}

fn or_null<'de, N: Number, D: Deserializer<'de>>(deserializer: D) -> Result<N, D::Error> {
    Ok(Option::<N>::deserialize(deserializer)?.unwrap_or(N::NULL))
}

macro_rules! line {
    (
        $(#[$doc:meta])* $line:ident {
            $($must:ident [$must_unit:literal] $must_kind:ident: $must_meaning:literal)*
        } or 0 {
            $($name:ident [$unit:literal] $kind:ident: $meaning:literal)*
        } others {
            $($other:literal [$other_unit:literal] $other_kind:ident: $other_meaning:literal)*
        }
        $($(#[$part_doc:meta])* $part:ident: $record:ident {
            $($word:ident [$word_unit:literal] $word_kind:ident: $word_meaning:literal)*
        })*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        pub struct $line {
            $(#[doc = $must_meaning] pub $must: number!($must_kind),)*
            $(
                #[doc = $meaning]
                #[serde(default, deserialize_with = "or_null")]
                pub $name: number!($kind),
            )*
            $($(#[$part_doc])* #[serde(default)] pub $part: $record,)*
            /// The learner's words.
            #[serde(default)]
            pub learner: LearnerRecord,
            /// The learner's words of each task, in the order of the tasks.
            #[serde(default)]
            pub tasks: Vec<TaskRecord>,
            /// The words of the policy process, if there is one.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub policy: Option<PolicyRecord>,
            /// Sums of the actors' counters.
            #[serde(default)]
            pub actors: ActorsRecord,
            /// Some numbers of each actor.
            #[serde(default)]
            pub per_actor: PerActorRecord,
            /// Policy lags of all unrolls so far: smallest and largest of a bucket, and how many.
            #[serde(default)]
            pub lag_histogram: Vec<[u64; 3]>,
        }

        $(
            $(#[$part_doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
            #[serde(default)]
            pub struct $record {
                $(
                    #[doc = $word_meaning]
                    #[serde(deserialize_with = "or_null")]
                    pub $word: number!($word_kind),
                )*
            }
        )*

        /// The numbers of a line that are not words of a process's block; a dot stands for an object within.
        pub const LINE: &[Descriptor] = &[
            $(describe!(stringify!($must), $must_unit, $must_kind, $must_meaning),)*
            $(describe!(stringify!($name), $unit, $kind, $meaning),)*
            $($(describe!(
                concat!(stringify!($part), ".", stringify!($word)),
                $word_unit, $word_kind, $word_meaning
            ),)*)*
            $(describe!($other, $other_unit, $other_kind, $other_meaning),)*
        ];
    };
}

macro_rules! describe {
    ($name:expr, $unit:literal, $kind:ident, $meaning:literal) => {
        Descriptor { name: $name, unit: $unit, kind: kind!($kind), meaning: $meaning }
    };
}

line! {
    /// What is known of a run at one moment: a line of `metrics.jsonl`.
    MetricsRecord {
        wall_s ["s"] Real: "Wall time of the run, those that it continues included."
        frames ["frames"] Counter: "Agent steps that the learner has trained on."
    } or 0 {
        frames_per_s ["frames/s"] Real: "The same per second of wall time, over the interval."
        frames_acted_per_s ["frames/s"] Real: "Frames that the actors produced per second, over the interval."
        policy_lag_mean ["versions"] Real: "Mean policy lag over the interval."
        return_mean ["reward"] Optional: "Mean return of the last episodes; null before the first."
        restarts ["processes"] Counter: "Processes that died and were replaced."
        unrolls_abandoned ["unrolls"] Counter: "Unrolls lost with a process that died."
    } others {
        "per_actor.rss_bytes" ["bytes"] Gauge: "Resident memory of each actor and its worker, shared pages included."
        "per_actor.cpu_ns" ["ns"] Counter: "Time of each actor and its worker on cores."
        "lag_histogram" ["versions"] Counter: "Policy lags of all unrolls so far: smallest and largest of a bucket, and how many."
    }
    /// Slots of the ring by their state.
    ring: RingRecord {
        free ["slots"] Gauge: "Slots that no one uses."
        claimed ["slots"] Gauge: "Slots that an actor writes to."
        ready ["slots"] Gauge: "Slots that wait for the learner."
        held ["slots"] Gauge: "Slots that the learner reads."
    }
    /// Memory by who has it.
    memory: MemoryRecord {
        shared_bytes ["bytes"] Gauge: "Shared memory of the run; fixed from the start."
        supervisor_bytes ["bytes"] Gauge: "Resident memory of the supervisor."
        learner_bytes ["bytes"] Gauge: "Resident memory of the learner, shared pages included."
        policy_bytes ["bytes"] Gauge: "Resident memory of the policy process, shared pages included; 0 if there is none."
        actors_bytes ["bytes"] Gauge: "Memory that the actors and their workers have to themselves, all together."
    }
    /// Time on cores, and waiting for one.
    cpu: CpuRecord {
        cores ["cores"] Gauge: "Cores that the run may use."
        supervisor_ns ["ns"] Counter: "Time of the supervisor on a core."
        learner_ns ["ns"] Counter: "Time of the learner on cores, all its threads together."
        learner_core_wait_ns ["ns"] Counter: "Time that its threads were ready to run and all cores were busy."
        policy_ns ["ns"] Counter: "Time of the policy process on a core."
        policy_core_wait_ns ["ns"] Counter: "Time that it was ready to run and all cores were busy."
        actors_ns ["ns"] Counter: "Time of the actors and their workers on cores, all together."
        actors_core_wait_ns ["ns"] Counter: "Time that they were ready to run and all cores were busy."
    }
}

#[cfg(test)]
mod tests;
