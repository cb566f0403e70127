//! The present state of a run: whether it runs, and the figures of `impala-top`.

use impala_metrics::human::bytes;
use maud::{Markup, html};
use serde::Serialize;

use crate::report::{GrowingRun, Look, RunData};
use crate::top::{Figures, Runs, actor_cells, head};

/// One of the runs that are watched.
#[derive(Debug)]
pub(super) struct WatchedRun {
    pub(super) growing: GrowingRun,
    status: Runs,
    look: Look,
}

/// What is said of a run besides its plots.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RunNow {
    pub(super) name: String,
    run_dir: String,
    /// One or two words.
    pub(super) state: String,
    /// Whether its supervisor is there.
    running: bool,
    /// What is wrong with its folder, or still to be read.
    note: Option<String>,
    figures: Option<Figures>,
    /// The lines of `impala-top` above its table, the first of them without a name.
    #[serde(skip)]
    lines: Vec<String>,
}

impl WatchedRun {
    pub(super) fn new(growing: GrowingRun) -> Self {
        let status = Runs::in_folder(growing.path());
        Self { growing, status, look: Look::Read }
    }

    /// Reads what is new; returns whether there is more to read at once.
    pub(super) fn look(&mut self) -> bool {
        self.status.refresh();
        self.look = self.growing.look();
        matches!(self.look, Look::Part { .. })
    }

    /// What it does, and its data to be drawn, if there is any; that is to be given back.
    pub(super) fn lend(&mut self) -> (RunNow, Option<RunData>) {
        let status = self.status.newest();
        let is_running = status.is_some_and(|run| !run.ended);
        let figures = status.and_then(|run| {
            let (newest, old) = run.readings()?;
            Some(Figures::of(newest, old))
        });
        let lines = status.zip(figures.as_ref()).map(|(run, figures)| head(run, figures));
        let is_stopping = figures.as_ref().is_some_and(|figures| figures.stopping);
        let mut data = self.growing.lend();
        let summary = data.as_ref().and_then(RunData::own_summary);
        let ended = summary.and_then(|s| s["status"].as_str()).map(|s| s.replace('-', " "));
        let state = match (&self.look, is_running, is_stopping) {
            (Look::Gone, _, _) => "deleted".to_owned(),
            (_, true, false) => "running".to_owned(),
            (_, true, true) => "stopping".to_owned(),
            // It was seen to run, and left no word.
            (_, false, _) if status.is_some() => ended.unwrap_or_else(|| "killed".to_owned()),
            (_, false, _) => ended.unwrap_or_else(|| "not running".to_owned()),
        };
        let note = match &self.look {
            Look::Part { left, all } => Some(format!(
                "Its logs are being read: {} of {} are left.",
                bytes(*left as f64),
                bytes(*all as f64)
            )),
            Look::Gone => Some(
                "Its folder is no longer there. What was read of it stands here until this program ends."
                    .to_owned(),
            ),
            Look::Unreadable(why) => Some(format!("What is new is missing here: {why}.")),
            Look::Read if data.is_none() => Some("It has logged no metrics yet.".to_owned()),
            Look::Read if state == "not running" => Some(
                "It has no summary, and no supervisor on this machine: it is about to start, was killed, or runs elsewhere."
                    .to_owned(),
            ),
            Look::Read => None,
        };
        if let Some(data) = &mut data {
            data.set_state(&state);
        }
        let now = RunNow {
            name: self.growing.name().to_owned(),
            run_dir: self.growing.path().display().to_string(),
            state,
            running: is_running,
            note,
            figures,
            lines: lines.unwrap_or_default(),
        };
        (now, data)
    }
}

/// The card of a run.
pub(super) fn card(now: &RunNow) -> Markup {
    let actors = now.figures.as_ref().map(|figures| actor_cells(&figures.actors));
    html! {
        div.card.say.scroll data-state=(now.state) {
            p { b { (now.name) } " " (now.state) " " span.soft { (now.run_dir) } }
            @if let Some(note) = &now.note { p { (note) } }
            @if let Some((first, rest)) = now.lines.split_first() {
                p.soft { (first) }
                table.figures {
                    @for (name, text) in rest.iter().filter_map(|line| line.split_once(':')) {
                        tr { th { (name) } td { (text.trim()) } }
                    }
                }
            }
            @if let Some((headings, rows)) = actors.filter(|(_, rows)| !rows.is_empty()) {
                table.small {
                    tr { @for heading in headings { th { (heading) } } }
                    @for row in rows { tr { @for cell in row { td { (cell) } } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_state_of_a_folder_is_said() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("<img src=x onerror=alert(1)>");
        assert!(GrowingRun::open(&path).is_err(), "it is not there");
        fs::create_dir(&path).expect("made");
        fs::write(path.join("config.toml"), "env = \"X\"").expect("written");
        let mut run = WatchedRun::new(GrowingRun::open(&path).expect("a run folder"));
        let mut said = || {
            assert!(!run.look());
            let (now, data) = run.lend();
            if let Some(data) = data {
                run.growing.give_back(data);
            }
            (now.state.clone(), now.note.clone().unwrap_or_default(), card(&now).into_string())
        };
        let (state, note, card) = said();
        assert!(state == "not running" && note.contains("no metrics yet"), "{state} {note}");
        assert!(card.contains("&lt;img src=x") && !card.contains("<img"), "{card}");
        fs::write(path.join("metrics.jsonl"), "{\"frames\":7,\"wall_s\":1}\n").expect("written");
        let (state, note, _) = said();
        assert!(state == "not running" && note.contains("killed"), "{state} {note}");
        let summary = "{\"status\":\"target-reached\",\"frames\":7}";
        fs::write(path.join("summary.json"), summary).expect("written");
        assert_eq!(said().0, "target reached");
        // Continued since: the summary is that of the run before.
        fs::write(path.join("metrics.jsonl"), "{\"frames\":8,\"wall_s\":1}\n").expect("written");
        assert_eq!(said().0, "not running");
        fs::remove_dir_all(&path).expect("removed");
        let (state, note, _) = said();
        assert!(state == "deleted" && note.contains("no longer there"), "{state} {note}");
    }
}
