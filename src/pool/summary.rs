//! `summary.json`: the results of a run. Scripts rely on its keys, so they do not change their meaning.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::chaos::ChaosTally;
use super::tuned::TunedSummary;
use crate::env::reference::Reference;
use crate::metrics::{PolicyCounter, PolicyCounters, RankRecord, TaskCounter, TaskCounters};
use crate::ring::SlotCounts;

/// How a run ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The target return was reached.
    Solved,
    /// All frames were learnt.
    Finished,
    /// The time was up.
    TimeLimit,
    /// A signal asked for the end.
    Interrupted,
    /// It could not go on.
    Failed,
}

/// The numbers of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The run folder. Not in the file: that lies in it.
    #[serde(skip)]
    pub run_dir: PathBuf,
    /// How it ended.
    pub status: Status,
    /// Why, in words.
    pub reason: String,
    /// The environment.
    pub env: String,
    /// Agent steps that the learner has trained on.
    pub frames: u64,
    /// Updates of the network.
    pub updates: u64,
    /// Episodes that ended in those frames.
    pub episodes: u64,
    /// Seconds from the start of the run to its end.
    pub wall_s: f64,
    /// `frames / wall_s`.
    pub frames_per_s: f64,
    /// Mean return of the last episodes (`--stop-window`, 100 by default).
    pub return_mean_100: Option<f64>,
    /// Frames learnt when the mean first reached the target.
    pub frames_to_target: Option<u64>,
    /// Seconds from the start until then.
    pub seconds_to_target: Option<f64>,
    /// Seconds from the start of the process to the first frame that was learnt; none if no frame was.
    pub start_to_first_frame_s: Option<f64>,
    /// Seconds from the last frame that was learnt until this was written: the report and the exit come after it.
    pub last_frame_to_summary_s: Option<f64>,
    /// Replaced actors.
    pub actor_restarts: u64,
    /// Replaced learners.
    pub learner_restarts: u64,
    /// Unrolls that actors committed.
    pub unrolls_produced: u64,
    /// Unrolls that the learner used.
    pub unrolls_consumed: u64,
    /// Unrolls that were committed and not used: still in the ring at the end.
    pub unrolls_in_ring: u64,
    /// Unrolls lost with a process that died: half-written ones of actors, poisonous ones of learners.
    pub unrolls_abandoned: u64,
    /// Unrolls that went back to the learner after its death, to be used once more.
    pub unrolls_requeued: u64,
    /// Of the abandoned ones, those whose batch killed the learner twice.
    pub unrolls_poisonous: u64,
    /// Unrolls that were overwritten because an environment failed; never committed.
    pub unrolls_overwritten: u64,
    /// Errors of environments, and rewards or observations that were not numbers.
    pub env_errors: u64,
    /// Panics of environments.
    pub env_panics: u64,
    /// Processes killed because they stood still.
    pub hang_kills: u64,
    /// Processes that SIGKILL did not end.
    pub unkillable: Vec<String>,
    /// What became of every slot that was filled.
    pub slot_counts: SlotCountsSummary,
    /// What `--chaos` did, if it was given.
    pub faults: Option<InjectedFaults>,
    /// What `--auto` chose and expected, if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuned: Option<TunedSummary>,
    /// Versions of the weights that were published.
    pub params_published: u64,
    /// Mean over all unrolls of the learner's version at use less the version that acted.
    pub policy_lag_mean: f64,
    /// The policy process, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference: Option<InferenceSummary>,
    /// Bytes that actors wrote into the ring for each frame that was learnt from.
    pub ring_bytes_per_frame: f64,
    /// Bytes of weights that actors, or the policy process, read for each of them.
    pub weight_bytes_per_frame: f64,
    /// SHA-256 of the last checkpoint's `weights.safetensors`.
    pub weights_sha256: Option<String>,
    /// Each rank, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<RankRecord>,
    /// The instructions that this project's own code computed with.
    pub vectors: &'static str,
    /// Whether the same settings give the same weights again, to the bit, as far as this program knows: with the
    /// same `vectors`.
    pub reproducible: bool,
    /// Why they need not, if they need not.
    pub because: Option<String>,
    /// Each task, in the order in which they were given.
    pub tasks: Vec<TaskSummary>,
    /// Mean of the scores of all tasks; none if one has no score.
    pub score_mean: Option<f64>,
    /// The same with no score counting more than 1.
    pub score_mean_capped: Option<f64>,
}

/// What one process came to that ran the network for all actors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InferenceSummary {
    /// Policy processes that were replaced.
    pub policy_restarts: u64,
    /// Batches that the network was run on.
    pub batches: u64,
    /// Observations in them.
    pub rows: u64,
    /// Observations of a batch on average.
    pub batch_rows_mean: f64,
    /// Part of the run's time that batches took.
    pub busy_fraction: f64,
    /// Part of the run's time in which nobody asked.
    pub wait_fraction: f64,
    /// Milliseconds since the weights of a batch were fetched, on average.
    pub weights_age_ms_mean: f64,
    /// Microseconds from a request to its answer, on average.
    pub answer_us_mean: f64,
}

impl InferenceSummary {
    pub(super) fn of(
        policy: &PolicyCounters<'_>,
        (policy_restarts, answer_wait_ns, wall_s): (u64, u64, f64),
    ) -> Self {
        let get = |counter| policy.get(counter) as f64;
        let per = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        let (batches, requests) = (get(PolicyCounter::Batches), get(PolicyCounter::Requests));
        Self {
            policy_restarts,
            batches: policy.get(PolicyCounter::Batches),
            rows: policy.get(PolicyCounter::Rows),
            batch_rows_mean: per(get(PolicyCounter::Rows), batches),
            busy_fraction: per(get(PolicyCounter::BusyNs) / 1e9, wall_s),
            wait_fraction: per(get(PolicyCounter::WaitNs) / 1e9, wall_s),
            weights_age_ms_mean: per(get(PolicyCounter::WeightsAgeNs) / 1e6, batches),
            answer_us_mean: per(answer_wait_ns as f64 / 1e3, requests),
        }
    }
}

/// What was learnt of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TaskSummary {
    /// The environment.
    pub env: String,
    /// Agent steps of it that the learner has trained on.
    pub frames: u64,
    /// Episodes that ended in those frames.
    pub episodes: u64,
    /// Mean return of its last episodes.
    pub return_mean_100: Option<f64>,
    /// The same on a scale on which random play is 0 and the reference 1, where one is known.
    pub score: Option<f64>,
}

impl TaskSummary {
    pub(super) fn of(env: &str, counters: &TaskCounters<'_>) -> Self {
        let episodes = counters.get(TaskCounter::Episodes);
        let mean = (episodes > 0).then(|| counters.get_f64(TaskCounter::ReturnMean100));
        Self {
            env: env.to_owned(),
            frames: counters.get(TaskCounter::Frames),
            episodes,
            return_mean_100: mean,
            score: Reference::of(env).zip(mean).map(|(reference, mean)| reference.score(mean)),
        }
    }
}

/// The ring's counts at the end of a run, in slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SlotCountsSummary {
    /// Sum of the generations of all slots, modulo 2^32: how often a slot became free again.
    pub generations: u32,
    /// Freed by the learner after use.
    pub consumed: u64,
    /// Freed by the supervisor: in flight at an actor that died.
    pub reclaimed: u64,
    /// Freed by the supervisor: killed their reader twice.
    pub dropped: u64,
    /// Given to a second learner after the first had died with them.
    pub requeued: u64,
    /// Whether `generations = consumed + reclaimed + dropped`.
    pub conserved: bool,
}

impl SlotCountsSummary {
    pub(super) const fn new(counts: SlotCounts) -> Self {
        let conserved = counts.holds();
        let SlotCounts { generations, consumed, reclaimed, dropped, requeued } = counts;
        Self { generations, consumed, reclaimed, dropped, requeued, conserved }
    }
}

impl fmt::Display for SlotCountsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generations, consumed, reclaimed, dropped, conserved, .. } = self;
        let sign = if *conserved { "=" } else { "IS NOT" };
        write!(
            f,
            "slots: {generations} generations {sign} {consumed} consumed + {reclaimed} reclaimed + {dropped} dropped"
        )
    }
}

/// Faults that a run injected into itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InjectedFaults {
    /// All of them.
    pub injected: u64,
    /// By kind, and what became of them.
    #[serde(flatten)]
    pub tally: ChaosTally,
    /// Unrolls that were lost with whoever held them.
    pub unrolls_abandoned: u64,
}

impl InjectedFaults {
    pub(super) const fn new(tally: ChaosTally, unrolls_abandoned: u64) -> Self {
        Self { injected: tally.faults(), tally, unrolls_abandoned }
    }
}

impl fmt::Display for InjectedFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { injected, tally, unrolls_abandoned } = self;
        write!(
            f,
            "chaos: {injected} faults ({} actors and {} learners killed, {} actors stopped{}), \
             {} recovered, {} overtaken by another, {} open at the end; {unrolls_abandoned} unrolls abandoned",
            tally.actors_killed,
            tally.learners_killed,
            tally.actors_stopped,
            match (tally.policies_killed, tally.policies_stopped) {
                (0, 0) => String::new(),
                (killed, stopped) =>
                    format!(", {killed} policy processes killed and {stopped} stopped"),
            },
            tally.recovered,
            tally.overtaken,
            tally.open_at_end
        )
    }
}

impl Summary {
    /// The file's text.
    #[must_use]
    pub(super) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .unwrap_or_else(|e| format!("{{\"error\": \"{e}\"}}"));
        text.push('\n');
        text
    }
}
