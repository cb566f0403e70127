//! What held a run back, from where its processes waited, and what to change.
//!
//! Either the learner waits for data, or the actors wait for room to put it: the side that waits less is
//! the one that limits. On that side, the stage with the most time is named. Apart from that, processes may
//! have been ready and without a core: then the machine is full, and only less work per frame helps.

use super::run_data::RunData;
use super::scale::{si, time};
use super::totals::{LEARNER_STAGES, Totals};
use super::verdict::Verdict;

/// If both sides wait longer than this, neither is the limit.
const BOTH_WAIT: f64 = 0.25;

/// A verdict and its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Bottleneck {
    /// What limits the run.
    pub verdict: Verdict,
    /// What was measured.
    pub because: String,
    /// What to change.
    pub advice: String,
}

/// Settings that advice speaks of, as text.
#[derive(Debug, Clone, Default)]
pub(super) struct Setting {
    pub(super) actors: String,
    pub(super) envs_per_actor: String,
    pub(super) unroll: String,
    pub(super) batch: String,
    pub(super) hidden: String,
    pub(super) publish_every: String,
    /// Environments are stepped by a Python worker.
    pub(super) has_workers: bool,
    pub(super) pinned: bool,
}

impl Setting {
    fn of(run: &RunData) -> Self {
        let [actors, envs_per_actor, unroll, batch] =
            ["actors", "envs-per-actor", "unroll", "batch"].map(|key| run.setting(key));
        let [hidden, publish_every] = ["hidden", "publish-every"].map(|key| run.setting(key));
        let (has_workers, pinned) =
            (run.config.contains_key("python"), run.setting("pin") == "true");
        Self { actors, envs_per_actor, unroll, batch, hidden, publish_every, has_workers, pinned }
    }
}

impl Bottleneck {
    /// Judges a run.
    #[must_use]
    pub fn of(run: &RunData) -> Self {
        Self::judge(&Totals::of(run), &Setting::of(run))
    }

    /// Judges what was measured.
    pub(super) fn judge(totals: &Totals, setting: &Setting) -> Self {
        if totals.updates < 1.0 || totals.wall_s <= 0.0 || totals.frames_acted < 1.0 {
            return Self {
                verdict: Verdict::Unknown,
                because: "There are not two lines of metrics with an update between them."
                    .to_owned(),
                advice: "Let it run longer, or set a shorter --log-interval.".to_owned(),
            };
        }
        let (wait, room) = (totals.learner_shares()[0], totals.actor_shares()[3]);
        let mut found = if wait.min(room) > BOTH_WAIT {
            both_wait(totals, setting, wait, room)
        } else if wait > room {
            actors_limit(totals, setting, wait, room)
        } else {
            learner_limits(totals, setting, wait, room)
        };
        if let Some(sentence) = full_machine(totals) {
            found.because.push(' ');
            found.because.push_str(&sentence);
        }
        found
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p < 0.05 => "0 %".to_owned(),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// Index of the largest.
fn largest(parts: &[f64]) -> usize {
    let best = parts.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index)
}

fn both_wait(totals: &Totals, setting: &Setting, wait: f64, room: f64) -> Bottleneck {
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
            setting.actors
        )
    } else {
        format!(
            "Give the ring more room (--blocks), or make batches smaller (--batch is {}), so that both sides can \
             work at once.",
            setting.batch
        )
    };
    Bottleneck { verdict: Verdict::Handover, because, advice }
}

fn learner_limits(totals: &Totals, setting: &Setting, wait: f64, room: f64) -> Bottleneck {
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
        time(busy / totals.updates),
        parts.join(", "),
        si(totals.frames_acted / totals.wall_s),
        si(totals.frames / totals.wall_s),
    );
    let (verdict, advice) = match order[0] {
        6 => (
            Verdict::Weights,
            format!(
                "Publish less often (--publish-every is {}), or use a smaller network (--hidden is {}).",
                setting.publish_every, setting.hidden
            ),
        ),
        7 => (Verdict::Checkpoints, "Raise --checkpoint-interval.".to_owned()),
        5 => (
            Verdict::Learner,
            format!(
                "The optimiser costs the same for every update: raise --batch (now {}) or --unroll (now {}) so \
                 that an update has more frames, or use a smaller network (--hidden is {}).",
                setting.batch, setting.unroll, setting.hidden
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
                setting.hidden,
                totals.lag_mean(),
                setting.actors
            ),
        ),
    };
    Bottleneck { verdict, because, advice }
}

fn actors_limit(totals: &Totals, setting: &Setting, wait: f64, room: f64) -> Bottleneck {
    let [env, infer, refresh, _, _] = totals.actors_s;
    let shares = totals.actor_shares();
    let frames = totals.frames_acted;
    let because = format!(
        "The learner waited for data {} of the time, the actors only {} of theirs for a free slot. They spent \
         {} in environments ({} per frame), {} in the network ({} per frame), and {} in fetching weights \
         ({} each time, {} times).",
        percent(wait),
        percent(room),
        percent(shares[0]),
        time(env / frames),
        percent(shares[1]),
        time(infer / frames),
        percent(shares[2]),
        time(refresh / totals.refreshes.max(1.0)),
        si(totals.refreshes),
    );
    // A machine whose cores are all taken gains nothing from more processes.
    let full = totals.cores_busy().is_some_and(|busy| busy > 0.9);
    let more = if full {
        "More actors would not help on these cores; more cores would".to_owned()
    } else {
        format!("Use more actors (--actors is {})", setting.actors)
    };
    // An actor and the worker that steps its environments take turns: on two cores they wake each other.
    let vector_step_s = env / frames * setting.envs_per_actor.parse().unwrap_or(1.0);
    let apart = setting.has_workers && !setting.pinned && !full;
    let pin = if apart && vector_step_s < 1e-3 {
        " Bind each actor to a core with its Python worker (--pin): steps as short as these cost less than \
         waking another core."
    } else {
        ""
    };
    let spare = percent(wait);
    let (verdict, advice) = match largest(&[env, infer, refresh]) {
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
                setting.envs_per_actor, setting.hidden
            ),
        ),
        _ => (
            Verdict::Weights,
            format!(
                "Publish less often (--publish-every is {}), or let an unroll have more frames (--unroll is {}, \
                 --envs-per-actor is {}): weights are fetched once before each. A smaller network (--hidden is \
                 {}) has less to fetch.",
                setting.publish_every, setting.unroll, setting.envs_per_actor, setting.hidden
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
mod tests {
    use super::*;

    /// Ten seconds of a run of four actors.
    fn totals(learner_s: [f64; 8], each_actor_s: [f64; 5]) -> Totals {
        Totals {
            wall_s: 10.0,
            actors: 4.0,
            cores: 8.0,
            frames: 1e6,
            frames_acted: 1.01e6,
            updates: 1000.0,
            unrolls: 32_000.0,
            refreshes: 4000.0,
            lag: (64_000.0, 32_000.0),
            learner_s,
            actors_s: each_actor_s.map(|s| s * 4.0),
            cpu_s: (9.0, 20.0),
            core_wait_s: (0.1, 0.2),
        }
    }

    fn judge(totals: &Totals) -> Bottleneck {
        let setting = Setting {
            hidden: "[64, 64]".into(),
            actors: "4".into(),
            envs_per_actor: "8".into(),
            ..Setting::default()
        };
        Bottleneck::judge(totals, &setting)
    }

    #[test]
    fn a_busy_learner_and_waiting_actors_are_learner_bound() {
        let found =
            judge(&totals([0.2, 0.1, 3.0, 0.5, 6.0, 0.1, 0.1, 0.0], [1.0, 1.0, 0.1, 7.0, 0.1]));
        assert_eq!(found.verdict, Verdict::Learner);
        for part in ["2.0 %", "70 %", "backward 61 %", "9.8 ms", "101k"] {
            assert!(found.because.contains(part), "{part} in {}", found.because);
        }
        assert!(found.advice.contains("[64, 64]") && found.advice.contains("2.0 updates"));
        assert!(!found.because.contains("full"));
    }

    #[test]
    fn the_optimiser_of_small_batches_has_advice_of_its_own() {
        let found =
            judge(&totals([0.2, 0.1, 1.0, 0.5, 1.0, 7.0, 0.1, 0.0], [1.0, 1.0, 0.1, 7.0, 0.1]));
        assert_eq!(found.verdict, Verdict::Learner);
        assert!(found.advice.contains("--batch"), "{}", found.advice);
    }

    #[test]
    fn costly_environments_are_environment_bound() {
        let measured = totals([8.0, 0.1, 0.5, 0.1, 1.0, 0.1, 0.1, 0.0], [9.0, 0.5, 0.1, 0.0, 0.1]);
        let found = judge(&measured);
        assert_eq!(found.verdict, Verdict::Environment);
        for part in ["80 %", "90 %", "35.6 µs"] {
            assert!(found.because.contains(part), "{part} in {}", found.because);
        }
        assert!(found.advice.contains("more actors (--actors is 4)"), "{}", found.advice);
        assert!(!found.advice.contains("--pin"), "{}", found.advice);
        let python =
            Setting { has_workers: true, envs_per_actor: "8".into(), ..Setting::default() };
        let advice = |setting: &Setting| Bottleneck::judge(&measured, setting).advice;
        assert!(advice(&python).contains("--pin"), "{}", advice(&python));
        let (pinned, slow) = (
            Setting { pinned: true, ..python.clone() },
            Setting { envs_per_actor: "64".into(), ..python },
        );
        assert!(!advice(&pinned).contains("--pin") && !advice(&slow).contains("--pin"));
        // The same on a machine without a free core.
        let full = judge(&Totals { cores: 3.0, core_wait_s: (2.0, 10.0), ..measured });
        assert!(full.because.contains("The machine was full"), "{}", full.because);
        assert!(full.advice.contains("would not help"), "{}", full.advice);
    }

    #[test]
    fn costly_networks_of_actors_are_inference_bound() {
        let found =
            judge(&totals([8.0, 0.1, 0.5, 0.1, 1.0, 0.1, 0.1, 0.0], [0.5, 9.0, 0.1, 0.0, 0.1]));
        assert_eq!(found.verdict, Verdict::Inference);
        assert!(found.advice.contains("--envs-per-actor is 8"), "{}", found.advice);
    }

    #[test]
    fn weights_may_bind_on_either_side() {
        let fetching =
            judge(&totals([8.0, 0.1, 0.5, 0.1, 1.0, 0.1, 0.1, 0.0], [0.5, 1.0, 8.0, 0.0, 0.1]));
        assert_eq!(fetching.verdict, Verdict::Weights);
        assert!(fetching.because.contains("8 ms each time"), "{}", fetching.because);
        let publishing =
            judge(&totals([0.1, 0.1, 0.5, 0.1, 1.0, 0.1, 8.0, 0.0], [0.5, 1.0, 1.0, 7.0, 0.1]));
        assert_eq!(publishing.verdict, Verdict::Weights);
    }

    #[test]
    fn sides_that_wait_for_each_other_are_told_so() {
        let measured = totals([4.0, 0.1, 2.0, 0.5, 3.0, 0.1, 0.1, 0.0], [1.0, 1.0, 1.0, 6.0, 0.1]);
        let found = judge(&measured);
        assert_eq!(found.verdict, Verdict::Handover);
        assert!(found.advice.contains("--blocks"), "{}", found.advice);
        let full = judge(&Totals { core_wait_s: (2.0, 10.0), ..measured });
        assert!(full.advice.contains("fewer actors"), "{}", full.advice);
    }

    #[test]
    fn nothing_is_said_of_a_run_without_updates() {
        assert_eq!(judge(&Totals::default()).verdict, Verdict::Unknown);
    }
}
