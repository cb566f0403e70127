//! The counters of processes as fields of a record: all of the learner's, sums over the actors, and some for each
//! actor.

use serde::{Deserialize, Serialize};

use super::{number, or_null};
use crate::counters::Snapshot;
use crate::table::{
    ActorCounter, LearnerCounter, PolicyCounter, TaskCounter, actor_words, learner_words,
    policy_words, task_words,
};

macro_rules! value {
    ($snapshot:ident, $word:expr, Real) => {
        $snapshot.get_f64($word)
    };
    ($snapshot:ident, $word:expr, $kind:ident) => {
        $snapshot.get($word)
    };
}

macro_rules! all {
    ($record:ident, $(#[$doc:meta])* $table:ident {
        $($word:ident = $name:ident [$unit:literal] $kind:ident: $meaning:literal)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $record {
            $(
                #[doc = $meaning]
                #[serde(deserialize_with = "or_null")]
                pub $name: number!($kind),
            )*
        }

        impl $record {
            /// The words as numbers.
            #[must_use]
            pub fn of(snapshot: &Snapshot<$table>) -> Self {
                Self { $($name: value!(snapshot, $table::$word, $kind)),* }
            }
        }
    };
}

macro_rules! of_learner {
    ($($words:tt)*) => { all! { LearnerRecord, $($words)* } };
}

macro_rules! of_task {
    ($($words:tt)*) => { all! { TaskRecord, $($words)* } };
}

macro_rules! of_policy {
    ($($words:tt)*) => { all! { PolicyRecord, $($words)* } };
}

learner_words!(of_learner);
policy_words!(of_policy);
task_words!(of_task);

/// Takes the counters out of the words, one after the other.
macro_rules! sums {
    ($(#[$doc:meta])* ActorCounter { $($words:tt)* }) => {
        sums! { @ [] $($words)* }
    };
    (@ [$($kept:tt)*] $word:ident = $name:ident [$unit:literal] Counter $($each:ident)?: $meaning:literal $($rest:tt)*) => {
        sums! { @ [$($kept)* $word $name $meaning,] $($rest)* }
    };
    (@ [$($kept:tt)*] $word:ident = $name:ident [$unit:literal] $kind:ident $($each:ident)?: $meaning:literal $($rest:tt)*) => {
        sums! { @ [$($kept)*] $($rest)* }
    };
    (@ [$($word:ident $name:ident $meaning:literal,)*]) => {
        /// Sums of the actors' counters; gauges of single actors have no sum.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct ActorsRecord {
            $(
                #[doc = $meaning]
                #[serde(deserialize_with = "or_null")]
                pub $name: u64,
            )*
        }

        impl ActorsRecord {
            /// The sums over some actors; wrap.
            #[must_use]
            pub fn sum(actors: &[Snapshot<ActorCounter>]) -> Self {
                let sum = |word: ActorCounter| {
                    actors.iter().fold(0, |sum: u64, actor| sum.wrapping_add(actor.get(word)))
                };
                Self { $($name: sum(ActorCounter::$word)),* }
            }
        }
    };
}

actor_words!(sums);

/// Takes the words out that a line has for each actor.
macro_rules! lists {
    ($(#[$doc:meta])* ActorCounter { $($words:tt)* }) => {
        lists! { @ [] $($words)* }
    };
    (@ [$($kept:tt)*] $word:ident = $name:ident [$unit:literal] $kind:ident each: $meaning:literal $($rest:tt)*) => {
        lists! { @ [$($kept)* $word $name $meaning,] $($rest)* }
    };
    (@ [$($kept:tt)*] $word:ident = $name:ident [$unit:literal] $kind:ident: $meaning:literal $($rest:tt)*) => {
        lists! { @ [$($kept)*] $($rest)* }
    };
    (@ [$($word:ident $name:ident $meaning:literal,)*]) => {
        /// One list for each number, with an entry for each actor: shorter than an object for each of them.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct PerActorRecord {
            $(#[doc = $meaning] pub $name: Vec<u64>,)*
            /// Resident memory of each actor and its worker, shared pages included.
            pub rss_bytes: Vec<u64>,
            /// Time of each actor and its worker on cores.
            pub cpu_ns: Vec<u64>,
        }

        impl PerActorRecord {
            /// The words of some actors, and what the kernel says of each.
            #[must_use]
            pub fn of(actors: &[Snapshot<ActorCounter>], rss_bytes: Vec<u64>, cpu_ns: Vec<u64>) -> Self {
                let list = |word: ActorCounter| actors.iter().map(|actor| actor.get(word)).collect();
                Self { $($name: list(ActorCounter::$word),)* rss_bytes, cpu_ns }
            }
        }
    };
}

actor_words!(lists);

impl PerActorRecord {
    /// How many actors there are.
    #[must_use]
    pub const fn actors(&self) -> usize {
        self.phase.len()
    }
}
