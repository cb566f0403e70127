//! Composes the page of a report: facts, the bottleneck in words, plots, configuration.

use std::collections::BTreeSet;

use impala_metrics::human::{bytes, duration, percent, si};
use maud::{Markup, PreEscaped, html};

use super::bottleneck::Bottleneck;
use super::document::document;
use super::inference;
use super::plots::{Plot, groups};
use super::ranks;
use super::run_data::RunData;
use super::totals::{ACTOR_STAGES, LEARNER_STAGES, Totals};
use super::tuned;
use super::window_means::Fall;

/// A part of the page, by itself: it can be drawn anew without the others.
#[derive(Debug)]
pub(crate) struct Block {
    /// Names it among all blocks of the page.
    pub(crate) id: String,
    /// One or more elements.
    pub(crate) markup: Markup,
}

/// Blocks below a heading.
#[derive(Debug)]
pub(crate) struct Section {
    /// The heading.
    pub(crate) title: Option<&'static str>,
    /// Whether the blocks stand side by side.
    pub(crate) is_grid: bool,
    /// What is in it.
    pub(crate) blocks: Vec<Block>,
}

/// One HTML document that needs nothing else.
pub(super) fn html(runs: &[RunData]) -> String {
    let content = html! {
        @for Section { title, is_grid, blocks } in sections(runs) {
            @if let Some(title) = title { h2 { (title) } }
            @if is_grid {
                div.grid { @for block in blocks { (block.markup) } }
            } @else {
                @for block in blocks { (block.markup) }
            }
        }
    };
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    document(&title(&names), &content)
}

/// What a page of these runs is called.
pub(crate) fn title(names: &[&str]) -> String {
    match names {
        [name] => (*name).to_owned(),
        names => format!("{} runs", names.len()),
    }
}

/// All that a page says of some runs, from top to bottom.
pub(crate) fn sections(runs: &[RunData]) -> Vec<Section> {
    let several = runs.len() > 1;
    let each = |name: &str, of: &dyn Fn(&RunData) -> Markup| -> Vec<Block> {
        let block = |(at, run)| Block { id: format!("{name}-of-run-{at}"), markup: of(run) };
        runs.iter().enumerate().map(block).collect()
    };
    let section = |title, blocks| Section { title, is_grid: false, blocks };
    let block = |id: &str, markup| vec![Block { id: id.to_owned(), markup }];
    let came_to = if let [run] = runs { facts(run) } else { comparison(runs) };
    let mut sections = vec![
        section(None, block("facts", came_to)),
        section(Some("What held it back"), each("verdict", &|run| bottleneck(run, several))),
        section(None, each("ranks", &|run| ranks::table(run, several))),
    ];
    for group in groups(runs) {
        let card = |plot: Plot| Block {
            markup: html! {
                div.card id=(plot.id) data-empty[!plot.has_data] { (PreEscaped(plot.svg)) }
            },
            id: format!("plot-{}", plot.id),
        };
        let blocks = group.plots.into_iter().map(card).collect();
        sections.push(Section { title: Some(group.title), is_grid: true, blocks });
    }
    sections.push(section(None, each("stages", &|run| stages(run, several))));
    sections.push(section(None, block("configuration", configuration(runs))));
    sections
}

/// What a run came to: from the summary, or from the last line if there is none yet.
struct RunOutcome {
    status: String,
    frames: f64,
    wall_s: f64,
    frames_per_s: f64,
    return_mean: Option<f64>,
    to_target: Option<(f64, f64)>,
    /// From the start to the first frame, and from the last one to the summary.
    edges_s: [Option<f64>; 2],
    restarts: f64,
    abandoned: f64,
    lag: f64,
}

impl RunOutcome {
    fn of(run: &RunData) -> Self {
        let last = run.last();
        let summary = run.own_summary();
        let key = |key: &str| summary.and_then(|summary| summary[key].as_f64());
        let (frames, wall_s) =
            (key("frames").unwrap_or(last.frames as f64), key("wall_s").unwrap_or(last.wall_s));
        Self {
            status: run.state.clone().unwrap_or_else(|| {
                let ended = summary.and_then(|summary| summary["status"].as_str());
                ended.unwrap_or("still running, or killed").replace('-', " ")
            }),
            frames,
            wall_s,
            frames_per_s: frames / wall_s.max(1e-9),
            return_mean: last.return_mean,
            to_target: key("frames_to_target").zip(key("seconds_to_target")),
            edges_s: ["start_to_first_frame_s", "last_frame_to_summary_s"].map(key),
            restarts: last.restarts as f64,
            abandoned: last.unrolls_abandoned as f64,
            lag: Totals::of(run).lag_mean(),
        }
    }

    fn cells(&self) -> Vec<(&'static str, String)> {
        let or_dash = |time: Option<f64>| time.map_or_else(|| "-".into(), duration);
        let mut cells = vec![
            ("state", self.status.clone()),
            ("return", self.return_mean.map_or_else(|| "-".into(), si)),
            ("frames", si(self.frames)),
            ("wall time", duration(self.wall_s)),
            ("frames/s", si(self.frames_per_s)),
            ("policy lag", format!("{:.2}", self.lag)),
            ("restarts", si(self.restarts)),
            ("unrolls lost", si(self.abandoned)),
            ("start to first frame", or_dash(self.edges_s[0])),
            ("last frame to summary", or_dash(self.edges_s[1])),
        ];
        if let Some((frames, seconds)) = self.to_target {
            cells.insert(2, ("solved after", format!("{}, {}", si(frames), duration(seconds))));
        }
        cells
    }
}

fn facts(run: &RunData) -> Markup {
    html! {
        p.soft {
            (run.setting("env")) " · " (run.setting("actors")) " actors × " (run.setting("envs-per-actor"))
            " environments · " (run.path.display())
        }
        div.facts {
            @for (name, value) in RunOutcome::of(run).cells() {
                div { span.soft { (name) } b { (value) } }
            }
        }
    }
}

fn comparison(runs: &[RunData]) -> Markup {
    let columns: Vec<Vec<(&str, String)>> = runs
        .iter()
        .map(|run| {
            let mut cells = vec![("environment", run.setting("env"))];
            // "solved after" is not in every column.
            cells.extend(
                RunOutcome::of(run).cells().into_iter().filter(|(name, _)| *name != "solved after"),
            );
            cells.push(("bottleneck", Bottleneck::of(run).verdict.name().to_owned()));
            cells
        })
        .collect();
    html! {
        div.card.scroll {
            table {
                tr { th {} @for run in runs { th { (run.name) } } }
                @for (row, (name, _)) in columns[0].iter().enumerate() {
                    tr { th { (name) } @for column in &columns { td { (column[row].1) } } }
                }
            }
        }
    }
}

fn bottleneck(run: &RunData, named: bool) -> Markup {
    let found = Bottleneck::of(run);
    let verdict = found.verdict.name();
    html! {
        div.card.say data-verdict=(verdict) {
            p {
                b { @if named { (run.name) ": " (verdict) } @else { (capitalised(verdict)) } "." }
                " " (found.because)
            }
            p { b { "What to change:" } " " (found.advice) }
            @if let Some(sentences) = inference::said_of(run) {
                p { b { "Inference:" } " " (sentences) }
            }
            @if let Some(sentence) = tuned::sentence(run) {
                p { b { "What was expected:" } " " (sentence) }
            }
            @if let Some(fall) = Fall::of(run) {
                p { b { "What was lost:" } " " (fall.sentence()) }
            }
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Times per frame and update, in numbers.
fn stages(run: &RunData, named: bool) -> Markup {
    let totals = Totals::of(run);
    let learner = LEARNER_STAGES.iter().map(|(name, _)| *name);
    let learner = learner.zip(totals.learner_shares()).zip(totals.learner_s);
    let actors = ACTOR_STAGES.iter().map(|stage| stage.name);
    let actors = actors.zip(totals.actor_shares()).zip(totals.actors_s);
    let row = |stage: &str, share: f64, each: f64| {
        html! {
            tr { td { (stage) } td.n { (percent(share)) } td.n { (duration(each)) } }
        }
    };
    html! {
        h2 { "Times in numbers" @if named { ": " (run.name) } }
        div.grid {
            div.card.scroll {
                table {
                    tr { th { "learner" } th { "share of wall time" } th { "per update" } }
                    @for ((stage, share), s) in learner { (row(stage, share, s / totals.updates.max(1.0))) }
                }
            }
            div.card.scroll {
                table {
                    tr { th { "actors" } th { "share of wall time" } th { "per frame" } }
                    @for ((stage, share), s) in actors { (row(stage, share, s / totals.frames_acted.max(1.0))) }
                }
                p.soft { "Shared memory of the run: " (bytes(run.last().memory.shared_bytes as f64)) "." }
            }
        }
    }
}

fn configuration(runs: &[RunData]) -> Markup {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.config.keys()).collect();
    let rows = keys.into_iter().map(|key| {
        let values: Vec<String> = runs.iter().map(|run| run.setting(key)).collect();
        let differ = values.iter().any(|value| *value != values[0]);
        (key, values, differ)
    });
    html! {
        h2 { "Configuration" }
        div.card.columns {
            table {
                @for (key, values, differ) in rows {
                    tr {
                        th { (key) }
                        @for value in values {
                            td { @if differ { b { (value) } } @else { (value) } }
                        }
                    }
                }
            }
        }
    }
}
