//! The report's sentence on sizes that `--auto` chose: the speed that was expected and the one that was reached.

use impala_metrics::human::si;
use serde_json::Value as Json;

use super::run_data::RunData;
use super::totals::Totals;

/// A sentence about a run whose sizes were chosen by trials; nothing of another.
pub(super) fn sentence(run: &RunData) -> Option<String> {
    of(&run.own_summary()?["tuned"], &Totals::of(run))
}

fn of(tuned: &Json, totals: &Totals) -> Option<String> {
    let number = |key: &str| tuned[key].as_f64();
    let sizes = format!(
        "{} actors x {} environments, {} threads of the learner",
        number("actors")?,
        number("envs_per_actor")?,
        number("learner_threads")?
    );
    let choice = match tuned["keeps_defaults"].as_bool() {
        Some(true) => "kept the defaults",
        _ => "chose",
    };
    let because = tuned["because"].as_str().unwrap_or_default();
    let mut text = format!("--auto {choice} ({sizes}): {because}.");
    let Some(expected) = number("expected_frames_per_s").filter(|&rate| rate > 0.0) else {
        return Some(text);
    };
    let lag = number("expected_policy_lag").unwrap_or_default();
    text.push_str(&format!(" It expected {} frames/s at a lag of {lag:.1}", si(expected)));
    if totals.frames < 1.0 || totals.wall_s <= 0.0 {
        text.push('.');
        return Some(text);
    }
    let had = totals.frames / totals.wall_s;
    text.push_str(&format!(
        "; the run had {} ({:.0} %) at {:.1}.",
        si(had),
        had / expected * 100.0,
        totals.lag_mean()
    ));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectation_and_result_stand_side_by_side() {
        let mut tuned = serde_json::json!({
            "actors": 2, "envs_per_actor": 8, "learner_threads": 1, "keeps_defaults": false,
            "because": "ahead in each of 3 turns", "expected_frames_per_s": 1e6, "expected_policy_lag": 2.0,
        });
        let totals = Totals { frames: 9e6, wall_s: 10.0, lag: (21.0, 10.0), ..Totals::default() };
        let text = of(&tuned, &totals).expect("tuned");
        assert_eq!(
            text,
            "--auto chose (2 actors x 8 environments, 1 threads of the learner): ahead in each of 3 turns. \
             It expected 1M frames/s at a lag of 2.0; the run had 900k (90 %) at 2.1."
        );
        assert!(of(&tuned, &Totals::default()).expect("tuned").ends_with("a lag of 2.0."));
        tuned["expected_frames_per_s"] = Json::Null;
        tuned["keeps_defaults"] = true.into();
        let text = of(&tuned, &totals).expect("tuned");
        assert!(text.starts_with("--auto kept the defaults"), "{text}");
        assert!(!text.contains("expected"), "{text}");
        assert_eq!(of(&Json::Null, &totals), None);
    }
}
