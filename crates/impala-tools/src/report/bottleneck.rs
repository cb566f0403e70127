//! Finds the bottleneck of a run from where its processes waited, and suggests what to change.
//!
//! Either the learner waits for data, or the actors wait for room to put it: the side that waits less is
//! the one that limits. On that side, the stage with the most time is named. Apart from that, processes may
//! have been ready and without a core: then the machine is full, and only less work per frame helps.

use impala_metrics::human::{duration, percent, si};

use super::run_data::RunData;
use super::totals::{LEARNER_STAGES, Totals};
use super::verdict::Verdict;

/// If both sides wait longer than this, neither is the limit.
const BOTH_WAIT: f64 = 0.25;

/// A learner that waits for a smaller share is busy, whatever the actors wait for.
const NEVER_WAITS: f64 = 0.05;

/// Actors that are held back for a larger share of their time than this are worth a sentence.
const WORTH_A_WORD: f64 = 0.1;

/// A run that uses a smaller share of its cores than this has some to spare.
const IDLE_BELOW: f64 = 0.75;

/// A verdict and its reasons.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bottleneck {
    /// What limits the run.
    pub(crate) verdict: Verdict,
    /// What was measured.
    pub(crate) because: String,
    /// What to change.
    pub(crate) advice: String,
}

/// Settings that advice speaks of, as text.
#[derive(Debug, Clone, Default)]
pub(super) struct RunSettings {
    pub(super) actors: String,
    pub(super) envs_per_actor: String,
    /// Parts of these that step by themselves.
    pub(super) splits: f64,
    pub(super) unroll: String,
    pub(super) batch: String,
    pub(super) hidden: String,
    pub(super) publish_every: String,
    pub(super) max_lag: String,
    /// Environments are stepped by a Python worker.
    pub(super) has_workers: bool,
    pub(super) pinned: bool,
}

impl RunSettings {
    fn of(run: &RunData) -> Self {
        let [actors, envs_per_actor, unroll, batch] =
            ["actors", "envs-per-actor", "unroll", "batch"].map(|key| run.setting(key));
        let [hidden, publish_every, max_lag] =
            ["hidden", "publish-every", "max-lag"].map(|key| run.setting(key));
        let (has_workers, pinned) =
            (run.config.contains_key("python"), run.setting("pin") == "true");
        Self {
            actors,
            envs_per_actor,
            splits: run.setting("splits").parse().unwrap_or(1.0),
            unroll,
            batch,
            hidden,
            publish_every,
            max_lag,
            has_workers,
            pinned,
        }
    }
}

impl Bottleneck {
    /// Judges a run.
    #[must_use]
    pub(crate) fn of(run: &RunData) -> Self {
        Self::judge(&Totals::of(run), &RunSettings::of(run))
    }

    /// Judges what was measured.
    pub(super) fn judge(totals: &Totals, settings: &RunSettings) -> Self {
        if totals.updates < 1.0 || totals.wall_s <= 0.0 || totals.frames_acted < 1.0 {
            return Self {
                verdict: Verdict::Unknown,
                because: "There are not two lines of metrics with an update between them."
                    .to_owned(),
                advice: "Let it run longer, or set a shorter --log-interval.".to_owned(),
            };
        }
        let wait = totals.learner_shares()[0];
        // Actors that are held back are as good as not there: what counts is what the others waited for.
        let room =
            totals.actors_s[3] / (totals.wall_s * totals.actors - totals.held_back_s()).max(1e-9);
        let idle = totals.cores_busy().is_some_and(|busy| busy < IDLE_BELOW);
        let mut found = if wait.min(totals.held_back()) > BOTH_WAIT && idle {
            lag_bounds(totals, settings, wait)
        } else if wait.min(room) > BOTH_WAIT {
            both_wait(totals, settings, wait, room)
        } else if wait > room && (wait > NEVER_WAITS || totals.held_back() < wait) {
            actors_limit(totals, settings, wait, room)
        } else {
            learner_limits(totals, settings, wait, room)
        };
        if totals.held_back() > WORTH_A_WORD && found.verdict != Verdict::LagBound {
            let sentence = format!(
                " As much data was in flight as --max-lag {} allows for {} of the actors' time, in which they slept: \
                 {:.0} of {} actors would have done.",
                settings.max_lag,
                percent(totals.held_back()),
                (totals.actors * (1.0 - totals.held_back())).ceil().max(1.0),
                totals.actors
            );
            found.because.push_str(&sentence);
        }
        if let Some(sentence) = full_machine(totals) {
            found.because.push(' ');
            found.because.push_str(&sentence);
        }
        found
    }
}

/// Index of the largest.
fn largest(parts: &[f64]) -> usize {
    let best = parts.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index)
}

fn both_wait(totals: &Totals, settings: &RunSettings, wait: f64, room: f64) -> Bottleneck {
    let because = format!(
        "The learner waited for data {} of the time and the actors waited {} of theirs for a free slot: each \
         waited for the other.",
        percent(wait),
        percent(room)
    );
    let advice = if full_machine(totals).is_some() {
        format!(
            "What they waited for was mostly a core for the other side: use fewer actors (--actors is {}), stop other \
             programs, or use a machine with more cores.",
            settings.actors
        )
    } else {
        format!(
            "Give the ring more room (--blocks), or make batches smaller (--batch is {}), so that both sides can \
             work at once.",
            settings.batch
        )
    };
    Bottleneck { verdict: Verdict::Handover, because, advice }
}

fn lag_bounds(totals: &Totals, settings: &RunSettings, wait: f64) -> Bottleneck {
    let because = format!(
        "The learner waited for data {} of the time, while actors slept {} of theirs because as much was in flight \
         as --max-lag {} allows, and cores were idle. The policy lag was {:.1} updates.",
        percent(wait),
        percent(totals.held_back()),
        settings.max_lag,
        totals.lag_mean()
    );
    let advice = format!(
        "Raise --max-lag (now {}): more actors then work at once, on older weights. Or let each do more: \
         --envs-per-actor is {}.",
        settings.max_lag, settings.envs_per_actor
    );
    Bottleneck { verdict: Verdict::LagBound, because, advice }
}

fn learner_limits(totals: &Totals, settings: &RunSettings, wait: f64, room: f64) -> Bottleneck {
    let stages = &totals.learner_s;
    let busy: f64 = stages[1..].iter().sum();
    let mut order: Vec<usize> = (1..stages.len()).collect();
    order.sort_by(|&a, &b| stages[b].total_cmp(&stages[a]));
    let part = |index: usize| {
        format!("{} {}", LEARNER_STAGES[index].0, percent(stages[index] / busy.max(1e-12)))
    };
    let parts: Vec<String> = order.iter().take(3).map(|&index| part(index)).collect();
    let because = format!(
        "The learner waited for data {} of the time, while the actors waited {} of theirs for a free slot. \
         Of the {} that an update took, {}. Actors produced {} frames/s where the learner \
         used {}.",
        percent(wait),
        percent(room),
        duration(busy / totals.updates),
        parts.join(", "),
        si(totals.frames_acted / totals.wall_s),
        si(totals.frames / totals.wall_s),
    );
    let (verdict, advice) = match order[0] {
        6 => (
            Verdict::Weights,
            format!(
                "Publish less often (--publish-every is {}), or use a smaller network (--hidden is {}).",
                settings.publish_every, settings.hidden
            ),
        ),
        7 => (Verdict::Checkpoints, "Raise --checkpoint-interval.".to_owned()),
        5 => (
            Verdict::Learner,
            format!(
                "The optimizer costs the same for every update: raise --batch (now {}) or --unroll (now {}) so \
                 that an update has more frames, or use a smaller network (--hidden is {}).",
                settings.batch, settings.unroll, settings.hidden
            ),
        ),
        1 => (
            Verdict::Learner,
            "Most of it goes into the network's input: give the learner more threads \
             (--learner-threads), or make observations smaller."
                .to_owned(),
        ),
        _ => (
            Verdict::Learner,
            format!(
                "Use a smaller network (--hidden is {}), give the learner more threads (--learner-threads) \
                 if there are free cores, or a GPU (--device cuda). More actors would only make the data older: \
                 the policy lag is {:.1} updates. Fewer actors than {} would do.",
                settings.hidden,
                totals.lag_mean(),
                settings.actors
            ),
        ),
    };
    Bottleneck { verdict, because, advice }
}

fn actors_limit(totals: &Totals, settings: &RunSettings, wait: f64, room: f64) -> Bottleneck {
    let [env, infer, refresh, _, _, _, gradient] = totals.actors_s;
    let shares = totals.actor_shares();
    let frames = totals.frames_acted;
    let mut because = format!(
        "The learner waited for data {} of the time, the actors only {} of theirs for a free slot. They spent \
         {} in environments ({} per frame), {} in the network ({} per frame), and {} in fetching weights \
         ({} each time, {} times).",
        percent(wait),
        percent(room),
        percent(shares[0]),
        duration(env / frames),
        percent(shares[1]),
        duration(infer / frames),
        percent(shares[2]),
        duration(refresh / totals.refreshes.max(1.0)),
        si(totals.refreshes),
    );
    if gradient > 0.0 {
        let sentence = format!(
            " {} of it went into gradients ({} per frame).",
            percent(shares[6]),
            duration(gradient / frames)
        );
        because.push_str(&sentence);
    }
    // A machine whose cores are all taken gains nothing from more processes.
    let full = totals.cores_busy().is_some_and(|busy| busy > 0.9);
    let more = if full {
        "More actors would not help on these cores; more cores would".to_owned()
    } else {
        format!("Use more actors (--actors is {})", settings.actors)
    };
    // An actor and the worker that steps its environments take turns: on two cores they wake each other.
    let together = settings.envs_per_actor.parse().unwrap_or(1.0) / settings.splits.max(1.0);
    let vector_step_s = env / frames * together;
    let apart = settings.has_workers && !settings.pinned && !full;
    let pin = if apart && vector_step_s < 1e-3 {
        " Bind each actor to a core with its Python worker (--pin): steps as short as these cost less than \
         waking another core."
    } else {
        ""
    };
    let spare = percent(wait);
    let (verdict, advice) = match largest(&[env, infer, refresh, gradient]) {
        0 => (
            Verdict::Environment,
            format!(
                "{more}.{pin} Or make the environment cheaper. The learner has {spare} of its time to spare: a larger \
                 network or a smaller batch would cost nothing."
            ),
        ),
        1 => (
            Verdict::Inference,
            format!(
                "Let each actor step more environments at once (--envs-per-actor is {}): the cost per frame \
                 falls with the batch. Or use a smaller network (--hidden is {}). {more}.",
                settings.envs_per_actor, settings.hidden
            ),
        ),
        3 => (
            Verdict::Gradients,
            format!(
                "{more}. Or use a smaller network (--hidden is {}). With --exchange trajectories the learner computes \
                 gradients instead, of larger batches at a time.",
                settings.hidden
            ),
        ),
        _ => (
            Verdict::Weights,
            format!(
                "Publish less often (--publish-every is {}), or let an unroll have more frames (--unroll is {}, \
                 --envs-per-actor is {}): weights are fetched once before each. A smaller network (--hidden is \
                 {}) has less to fetch.",
                settings.publish_every, settings.unroll, settings.envs_per_actor, settings.hidden
            ),
        ),
    };
    Bottleneck { verdict, because, advice }
}

/// Says so if processes had to queue for cores.
fn full_machine(totals: &Totals) -> Option<String> {
    let queued = totals.core_wait_s.0 + totals.core_wait_s.1;
    let used = totals.cpu_s.0 + totals.cpu_s.1;
    let busy = totals.cores_busy()?;
    let waited = queued / (queued + used).max(1e-9);
    if waited < 0.15 {
        return None;
    }
    Some(format!(
        "The machine was full: processes that were ready to run waited {} of that time for a core (the run used \
         {} of its {} cores), and the times of all stages include such waits.",
        percent(waited),
        percent(busy.min(1.0)),
        totals.cores
    ))
}

#[cfg(test)]
mod tests;
