//! Where the time of a run went: sums of its counters, and what they are per frame and per update.

use serde_json::Value as Json;

use super::run_data::{RunData, number};

/// Stages of an update, in their order: name, word of the learner.
pub(super) const LEARNER_STAGES: &[(&str, &str)] = &[
    ("wait for data", "/learner/wait_ns"),
    ("batching", "/learner/batching_ns"),
    ("forward", "/learner/forward_ns"),
    ("V-trace and loss", "/learner/vtrace_ns"),
    ("backward", "/learner/backward_ns"),
    ("optimiser", "/learner/optimiser_ns"),
    ("publish", "/learner/publish_ns"),
    ("checkpoint", "/learner/checkpoint_ns"),
];

/// Stages of an actor, in their order: name, word of the actor.
pub(super) const ACTOR_STAGES: &[(&str, &str)] = &[
    ("environment", "env_ns"),
    ("inference", "infer_ns"),
    ("weight refresh", "refresh_ns"),
    ("slot wait", "slot_wait_ns"),
    ("commit", "commit_ns"),
    ("held back", "admission_wait_ns"),
];

/// What a run came to between two of its lines. Times in seconds; those of actors are sums over them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Wall time.
    pub wall_s: f64,
    /// Actors.
    pub actors: f64,
    /// Cores that the run may use; 0 if not known.
    pub cores: f64,
    /// Frames learnt.
    pub frames: f64,
    /// Frames produced.
    pub frames_acted: f64,
    /// Updates.
    pub updates: f64,
    /// Unrolls produced.
    pub unrolls: f64,
    /// Versions of the weights that actors fetched.
    pub refreshes: f64,
    /// Policy lags of all unrolls, and the unrolls: sum and count.
    pub lag: (f64, f64),
    /// Wait, batching, forward, loss, backward, optimiser, publish, checkpoint.
    pub learner_s: [f64; 8],
    /// Environment, inference, weight refresh, slot wait, commit, held back.
    pub actors_s: [f64; 6],
    /// Time on cores: learner, actors.
    pub cpu_s: (f64, f64),
    /// Time ready to run without a core: learner, actors.
    pub core_wait_s: (f64, f64),
}

impl Totals {
    /// Sums over the whole run. The time before the first line, when processes start, is left out.
    #[must_use]
    pub fn of(run: &RunData) -> Self {
        Self::between(&run.lines, run.lines[run.lines.len() - 1..].first())
    }

    /// Sums over some lines in a row; `last` tells how many actors there were.
    pub(super) fn between(lines: &[Json], last: Option<&Json>) -> Self {
        let sum = |place: &str| added(lines, place);
        let seconds = |place: &str| sum(place) / 1e9;
        let actor = |word: &str| sum(&format!("/actors/{word}")) / 1e9;
        let mut learner_s = [0.0; LEARNER_STAGES.len()];
        learner_s.iter_mut().zip(LEARNER_STAGES).for_each(|(s, (_, place))| *s = seconds(place));
        let mut actors_s = [0.0; ACTOR_STAGES.len()];
        actors_s.iter_mut().zip(ACTOR_STAGES).for_each(|(s, (_, word))| *s = actor(word));
        let actors = last.and_then(|line| line.pointer("/per_actor/phase")?.as_array());
        Self {
            wall_s: sum("/wall_s"),
            actors: actors.map_or(1.0, |actors| actors.len().max(1) as f64),
            cores: last.and_then(|line| number(line, "/cpu/cores")).unwrap_or(0.0),
            frames: sum("/frames"),
            frames_acted: sum("/actors/frames_acted"),
            updates: sum("/learner/updates"),
            unrolls: sum("/actors/unrolls_committed"),
            refreshes: sum("/actors/param_refreshes"),
            lag: (sum("/learner/lag_sum"), sum("/learner/unrolls_consumed")),
            learner_s,
            actors_s,
            cpu_s: (seconds("/cpu/learner_ns"), seconds("/cpu/actors_ns")),
            core_wait_s: (
                seconds("/cpu/learner_core_wait_ns"),
                seconds("/cpu/actors_core_wait_ns"),
            ),
        }
    }

    /// Shares of the wall time that the learner spent in its stages, and in none of them.
    #[must_use]
    pub fn learner_shares(&self) -> Vec<f64> {
        shares(&self.learner_s, self.wall_s)
    }

    /// Shares of the wall time that the actors spent in their stages, and in none of them.
    #[must_use]
    pub fn actor_shares(&self) -> Vec<f64> {
        shares(&self.actors_s, self.wall_s * self.actors)
    }

    /// Time that actors slept because enough data was in flight.
    #[must_use]
    pub const fn held_back_s(&self) -> f64 {
        self.actors_s[5]
    }

    /// The same as a share of their time.
    #[must_use]
    pub fn held_back(&self) -> f64 {
        self.actor_shares()[5]
    }

    /// Mean policy lag.
    #[must_use]
    pub fn lag_mean(&self) -> f64 {
        self.lag.0 / self.lag.1.max(1.0)
    }

    /// Share of all cores that the run used; `None` if not known.
    #[must_use]
    pub fn cores_busy(&self) -> Option<f64> {
        let used = self.cpu_s.0 + self.cpu_s.1;
        (self.cores > 0.0 && self.wall_s > 0.0 && used > 0.0)
            .then(|| used / (self.cores * self.wall_s))
    }
}

/// Shares of `whole`, then what is left of it. Sampled times may add up to a little more than all of it.
fn shares(parts: &[f64], whole: f64) -> Vec<f64> {
    let whole = whole.max(parts.iter().sum()).max(1e-9);
    let rest = 1.0 - parts.iter().sum::<f64>() / whole;
    parts.iter().map(|part| part / whole).chain([rest.max(0.0)]).collect()
}

/// What was added to a counter from the first line to the last. One that went back was started anew by a
/// resumed run, and counts from 0.
pub(super) fn added(lines: &[Json], place: &str) -> f64 {
    let values = lines.iter().map(|line| number(line, place).unwrap_or(0.0));
    let mut sum = 0.0;
    let mut before = None;
    for value in values {
        if let Some(before) = before {
            sum += if value >= before { value - before } else { value };
        }
        before = Some(value);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counters_that_start_anew_are_added_up() {
        let lines: Vec<Json> = [5, 7, 2, 3].iter().map(|n| json!({"learner": {"n": n}})).collect();
        assert_eq!(added(&lines, "/learner/n"), 2.0 + 2.0 + 1.0);
        assert_eq!(added(&lines, "/nowhere"), 0.0);
    }

    #[test]
    fn shares_are_of_the_whole_and_never_more() {
        assert_eq!(shares(&[1.0, 2.0], 4.0), [0.25, 0.5, 0.25]);
        assert_eq!(shares(&[3.0, 3.0], 4.0), [0.5, 0.5, 0.0]);
    }
}
