//! The page: facts, the bottleneck in words, plots, configuration.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::bottleneck::Bottleneck;
use super::frame::escape;
use super::plots::groups;
use super::run_data::RunData;
use super::scale::{bytes, si, time};
use super::style::{PAGE, PLOTS};
use super::totals::{ACTOR_STAGES, ActorStage, LEARNER_STAGES, Totals};

/// One HTML document that needs nothing else.
pub(super) fn html(runs: &[RunData]) -> String {
    let title = match runs {
        [run] => run.name.clone(),
        runs => format!("{} runs", runs.len()),
    };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{0} - impala</title><style>{PAGE}{PLOTS}</style></head><body><main><h1>{0}</h1>",
        escape(&title)
    );
    match runs {
        [run] => facts(&mut page, run),
        runs => comparison(&mut page, runs),
    }
    page.push_str("<h2>What held it back</h2>");
    for run in runs {
        bottleneck(&mut page, run, runs.len() > 1);
    }
    for group in groups(runs) {
        let _infallible = write!(page, "<h2>{}</h2><div class=\"grid\">", group.title);
        for plot in group.plots {
            let _infallible = write!(
                page,
                "<div class=\"card\" id=\"{}\"{}>{}</div>",
                plot.id,
                if plot.has_data { "" } else { " data-empty" },
                plot.svg
            );
        }
        page.push_str("</div>");
    }
    for run in runs {
        stages(&mut page, run, runs.len() > 1);
    }
    configuration(&mut page, runs);
    page.push_str("</main></body></html>\n");
    page
}

/// What a run came to: from the summary, or from the last line if there is none yet.
struct Came {
    status: String,
    frames: f64,
    wall_s: f64,
    frames_per_s: f64,
    return_mean: Option<f64>,
    to_target: Option<(f64, f64)>,
    restarts: f64,
    abandoned: f64,
    lag: f64,
}

impl Came {
    fn of(run: &RunData) -> Self {
        let last = run.last();
        let summary = run.summary.as_ref().filter(|summary| {
            // A summary of the run before this one was resumed is not this run's.
            summary["frames"].as_f64().is_some_and(|frames| frames >= last.frames as f64)
        });
        let key = |key: &str| summary.and_then(|summary| summary[key].as_f64());
        let (frames, wall_s) =
            (key("frames").unwrap_or(last.frames as f64), key("wall_s").unwrap_or(last.wall_s));
        Self {
            status: summary
                .and_then(|summary| summary["status"].as_str())
                .unwrap_or("still running, or killed")
                .replace('-', " "),
            frames,
            wall_s,
            frames_per_s: frames / wall_s.max(1e-9),
            return_mean: last.return_mean,
            to_target: key("frames_to_target").zip(key("seconds_to_target")),
            restarts: last.restarts as f64,
            abandoned: last.unrolls_abandoned as f64,
            lag: Totals::of(run).lag_mean(),
        }
    }

    fn cells(&self) -> Vec<(&'static str, String)> {
        let mut cells = vec![
            ("ended", self.status.clone()),
            ("return", self.return_mean.map_or_else(|| "-".into(), si)),
            ("frames", si(self.frames)),
            ("wall time", time(self.wall_s)),
            ("frames/s", si(self.frames_per_s)),
            ("policy lag", format!("{:.2}", self.lag)),
            ("restarts", si(self.restarts)),
            ("unrolls lost", si(self.abandoned)),
        ];
        if let Some((frames, seconds)) = self.to_target {
            cells.insert(2, ("solved after", format!("{}, {}", si(frames), time(seconds))));
        }
        cells
    }
}

fn facts(page: &mut String, run: &RunData) {
    let text = format!(
        "{} · {} actors × {} environments · {}",
        run.setting("env"),
        run.setting("actors"),
        run.setting("envs-per-actor"),
        run.path.display()
    );
    let _infallible = write!(page, "<p class=\"soft\">{}</p><div class=\"facts\">", escape(&text));
    for (name, value) in Came::of(run).cells() {
        let _infallible =
            write!(page, "<div><span class=\"soft\">{name}</span><b>{}</b></div>", escape(&value));
    }
    page.push_str("</div>");
}

fn comparison(page: &mut String, runs: &[RunData]) {
    page.push_str("<div class=\"card scroll\"><table><tr><th></th>");
    for run in runs {
        let _infallible = write!(page, "<th>{}</th>", escape(&run.name));
    }
    page.push_str("</tr>");
    let columns: Vec<Vec<(&str, String)>> = runs
        .iter()
        .map(|run| {
            let mut cells = vec![("environment", run.setting("env"))];
            // "solved after" is not in every column.
            cells.extend(
                Came::of(run).cells().into_iter().filter(|(name, _)| *name != "solved after"),
            );
            cells.push(("bottleneck", Bottleneck::of(run).verdict.name().to_owned()));
            cells
        })
        .collect();
    for (row, (name, _)) in columns[0].iter().enumerate() {
        let _infallible = write!(page, "<tr><th>{name}</th>");
        for column in &columns {
            let _infallible = write!(page, "<td>{}</td>", escape(&column[row].1));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}

fn bottleneck(page: &mut String, run: &RunData, named: bool) {
    let found = Bottleneck::of(run);
    let name = if named { format!("{}: ", run.name) } else { String::new() };
    let _infallible = write!(
        page,
        "<div class=\"card say\" data-verdict=\"{2}\"><p><b>{0}{1}.</b> {3}</p><p><b>What to change:</b> {4}</p></div>",
        escape(&name),
        if named { found.verdict.name().to_owned() } else { capitalised(found.verdict.name()) },
        found.verdict.name(),
        escape(&found.because),
        escape(&found.advice)
    );
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Times per frame and update, in numbers.
fn stages(page: &mut String, run: &RunData, named: bool) {
    let totals = Totals::of(run);
    let name = if named { format!(": {}", run.name) } else { String::new() };
    let _infallible = write!(
        page,
        "<h2>Times in numbers{}</h2><div class=\"grid\"><div class=\"card scroll\"><table>\
         <tr><th>learner</th><th>share of wall time</th><th>per update</th></tr>",
        escape(&name)
    );
    let shares = totals.learner_shares();
    for (index, (stage, _)) in LEARNER_STAGES.iter().enumerate() {
        let _infallible = write!(
            page,
            "<tr><td>{stage}</td><td class=\"n\">{:.1} %</td><td class=\"n\">{}</td></tr>",
            shares[index] * 100.0,
            time(totals.learner_s[index] / totals.updates.max(1.0))
        );
    }
    page.push_str(
        "</table></div><div class=\"card scroll\"><table><tr><th>actors</th>\
         <th>share of wall time</th><th>per frame</th></tr>",
    );
    let shares = totals.actor_shares();
    for (index, ActorStage { name: stage, .. }) in ACTOR_STAGES.iter().enumerate() {
        let _infallible = write!(
            page,
            "<tr><td>{stage}</td><td class=\"n\">{:.1} %</td><td class=\"n\">{}</td></tr>",
            shares[index] * 100.0,
            time(totals.actors_s[index] / totals.frames_acted.max(1.0))
        );
    }
    let shared = run.last().memory.shared_bytes as f64;
    let _infallible = write!(
        page,
        "</table><p class=\"soft\">Shared memory of the run: {}.</p></div></div>",
        bytes(shared)
    );
}

fn configuration(page: &mut String, runs: &[RunData]) {
    page.push_str("<h2>Configuration</h2><div class=\"card columns\"><table>");
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.config.keys()).collect();
    for key in keys {
        let values: Vec<String> = runs.iter().map(|run| run.setting(key)).collect();
        let differ = values.iter().any(|value| *value != values[0]);
        let _infallible = write!(page, "<tr><th>{}</th>", escape(key));
        for value in values {
            let value = escape(&value);
            let value = if differ { format!("<b>{value}</b>") } else { value };
            let _infallible = write!(page, "<td>{value}</td>");
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}
