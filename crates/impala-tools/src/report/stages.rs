//! Plots how learner and actors spent their time, as stacked bars.

use super::bars::StackedBars;
use super::run_data::RunData;
use super::totals::{ACTOR_STAGES, ActorStage, LEARNER_STAGES, Totals, added};
use impala_metrics::MetricsRecord;

/// Bars over time.
const TIME_BINS: usize = 40;
/// What stands below an axis of wall time.
pub(super) const SECONDS_LABEL: &str = "seconds";

/// The lines of a run in bins of about equal wall time, at least `least_s` each: start, end, and what was added
/// in between.
fn binned(run: &RunData, least_s: f64) -> Vec<(f64, f64, Totals)> {
    let at = |index: usize| run.lines[index].wall_s;
    let last = run.lines.len() - 1;
    let width = ((at(last) - at(0)) / TIME_BINS as f64).max(least_s);
    let mut bins = Vec::new();
    let mut from = 0;
    for to in 1..=last {
        if at(to) - at(from) >= width || to == last {
            bins.push((at(from), at(to), Totals::between(&run.lines[from..=to])));
            from = to;
        }
    }
    bins
}

fn learner_names() -> impl Iterator<Item = &'static str> {
    LEARNER_STAGES.iter().map(|(name, _)| *name)
}

pub(super) fn learner_stages(run: &RunData, title: String) -> StackedBars {
    let bars = binned(run, 1e-9).into_iter().map(|(from, to, t)| (from, to, t.learner_shares()));
    StackedBars {
        title,
        x_label: SECONDS_LABEL.to_owned(),
        parts: learner_names().chain(["other"]).collect(),
        bars: bars.collect(),
        percent: true,
        names: vec![],
    }
}

pub(super) fn update_stages(run: &RunData, title: String) -> StackedBars {
    let bars =
        binned(run, 1e-9).into_iter().filter(|(_, _, t)| t.updates >= 1.0).map(|(from, to, t)| {
            let mut ms = t.learner_s.map(|s| s * 1e3 / t.updates);
            // Waiting is no work; its place keeps the colours those of the plot beside this one.
            ms[0] = 0.0;
            (from, to, ms.to_vec())
        });
    StackedBars {
        title,
        x_label: SECONDS_LABEL.to_owned(),
        parts: learner_names().collect(),
        bars: bars.collect(),
        percent: false,
        names: vec![],
    }
}

pub(super) fn actor_stages(run: &RunData, title: String) -> StackedBars {
    let count = run.last().per_actor.actors();
    let wall = Totals::of(run).wall_s;
    let of = |stage: &ActorStage, index: usize| {
        let ns = |line: &MetricsRecord| (stage.each)(&line.per_actor).get(index).copied();
        added(&run.lines, |line| ns(line).unwrap_or(0) as f64) / 1e9
    };
    let bars = (0..count.min(32)).map(|index| {
        let times: Vec<f64> = ACTOR_STAGES.iter().map(|stage| of(stage, index)).collect();
        let whole = wall.max(times.iter().sum()).max(1e-9);
        let rest = (whole - times.iter().sum::<f64>()).max(0.0);
        let parts = times.iter().chain([&rest]).map(|time| time / whole).collect();
        (index as f64, index as f64 + 1.0, parts)
    });
    StackedBars {
        title,
        x_label: if count > 32 { "the first 32 actors" } else { "actors" }.to_owned(),
        parts: ACTOR_STAGES.iter().map(|stage| stage.name).chain(["other"]).collect(),
        bars: bars.collect(),
        percent: true,
        names: (0..count.min(32)).map(|index| format!("{index}")).collect(),
    }
}

pub(super) fn cores(run: &RunData, title: String) -> StackedBars {
    // The kernel is asked twice a second: shorter bins would be empty, or too full.
    let bars = binned(run, 1.0).into_iter().map(|(from, to, t)| {
        let wall = t.wall_s.max(1e-9);
        let waits = t.core_wait_s.0 + t.core_wait_s.1;
        (from, to, vec![t.cpu_s.0 / wall, t.cpu_s.1 / wall, waits / wall])
    });
    StackedBars {
        title,
        x_label: SECONDS_LABEL.to_owned(),
        parts: vec!["learner on a core", "actors on cores", "ready, waiting for a core"],
        bars: bars.collect(),
        percent: false,
        names: vec![],
    }
}
