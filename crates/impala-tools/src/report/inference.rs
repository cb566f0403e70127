//! The report's paragraph on inference: where the network ran for the actors, what it cost, and whether the other way
//! would be cheaper.

use impala_metrics::human::{duration, percent, si};

use super::run_data::RunData;
use super::totals::Totals;

/// Below this many requests in a batch, central inference shares nothing.
const ALONE_BELOW: f64 = 1.2;
/// A policy process that is busy for a larger share than this is what the actors wait for.
const BUSY_ABOVE: f64 = 0.9;
/// A network that takes longer for a frame than this, with few rows at a time, gains from batches of several actors' rows.
const LARGE_NETWORK_S: f64 = 200e-6;
/// Actors that spend a smaller share than this in the network have nothing to gain.
const WORTH_A_CHANGE: f64 = 0.3;
/// Actors with more environments than this have batches of their own.
const FEW_ENVIRONMENTS: f64 = 2.0;

/// Settings that the judgement rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    envs_per_actor: f64,
    /// Whether actors could be served by one process at all.
    could_be_central: bool,
}

impl Setting {
    fn of(run: &RunData) -> Self {
        let is = |key: &str, value: &str| run.setting(key) == value;
        Self {
            envs_per_actor: run.setting("envs-per-actor").parse().unwrap_or(1.0),
            could_be_central: !is("schedule", "lockstep") && !is("exchange", "gradients"),
        }
    }
}

/// A sentence or two on a run; none if there is nothing to say.
pub(super) fn said_of(run: &RunData) -> Option<String> {
    said(&Totals::of(run), Setting::of(run))
}

fn said(totals: &Totals, setting: Setting) -> Option<String> {
    let policy = &totals.policy;
    if policy.batches > 0.0 {
        let (busy, together) = (policy.busy_s / totals.wall_s, policy.requests / policy.batches);
        let mut text = format!(
            "The policy process answered {} requests in batches of {:.1} rows on average; it was busy {} of the time, and an \
             answer took {}. ",
            si(policy.requests),
            policy.rows / policy.batches,
            percent(busy.min(1.0)),
            duration(policy.answer_s / policy.requests.max(1.0)),
        );
        text.push_str(if together < ALONE_BELOW {
            "Hardly two actors ever asked together, so nothing was shared: --inference local would be cheaper."
        } else if busy > BUSY_ABOVE {
            "It is one thread, and the actors waited for it: --inference local uses as many cores as there are actors, if \
             there are so many."
        } else {
            "It had time to spare, so it is not what held the run back."
        });
        return Some(text);
    }
    let share = totals.actor_shares()[1];
    let each = totals.actors_s[1] / totals.frames_acted.max(1.0);
    let gains = setting.could_be_central
        && setting.envs_per_actor <= FEW_ENVIRONMENTS
        && totals.actors >= 2.0
        && share > WORTH_A_CHANGE
        && each > LARGE_NETWORK_S;
    gains.then(|| {
        format!(
            "Each actor ran the network by itself for {} environments at a time, {} of its time at {} per frame: \
             --inference central would run it for all actors together, in batches.",
            setting.envs_per_actor,
            percent(share),
            duration(each)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::totals::PolicyTotals;
    use super::*;

    const FEW: Setting = Setting { envs_per_actor: 1.0, could_be_central: true };

    fn totals(infer_s: f64, policy: PolicyTotals) -> Totals {
        let mut actors_s = [0.0; 7];
        actors_s[1] = infer_s;
        let (wall_s, actors, frames_acted) = (10.0, 4.0, 20_000.0);
        Totals { wall_s, actors, frames_acted, actors_s, policy, ..Totals::default() }
    }

    fn central(batches: f64, busy_s: f64) -> Option<String> {
        let (requests, rows, answer_s) = (20_000.0, 20_000.0, 20.0);
        let policy = PolicyTotals { batches, requests, rows, busy_s, answer_s };
        said(&totals(20.0, policy), FEW)
    }

    #[test]
    fn batches_of_one_request_are_called_what_they_are() {
        let alone = central(20_000.0, 5.0).expect("a sentence");
        for part in ["1.0 rows", "50 %", "took 1 ms", "--inference local would be cheaper"] {
            assert!(alone.contains(part), "{part} in {alone}");
        }
        let busy = central(6_000.0, 9.9).expect("a sentence");
        assert!(busy.contains("3.3 rows") && busy.contains("one thread"), "{busy}");
        let idle = central(6_000.0, 3.0).expect("a sentence");
        assert!(idle.contains("time to spare"), "{idle}");
    }

    #[test]
    fn large_networks_with_few_environments_would_gain() {
        let local = |infer_s, setting| said(&totals(infer_s, PolicyTotals::default()), setting);
        let gains = local(30.0, FEW).expect("a sentence");
        for part in ["1 environments", "75 %", "1.5 ms per frame", "--inference central"] {
            assert!(gains.contains(part), "{part} in {gains}");
        }
        assert_eq!(local(2.0, FEW), None, "little of the time");
        assert_eq!(local(30.0, Setting { envs_per_actor: 8.0, ..FEW }), None);
        assert_eq!(local(30.0, Setting { could_be_central: false, ..FEW }), None);
        let small = Totals { frames_acted: 1e6, ..totals(30.0, PolicyTotals::default()) };
        assert_eq!(said(&small, FEW), None, "30 us a frame");
    }
}
