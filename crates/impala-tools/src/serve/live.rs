//! The content of the live page in blocks, each with the version at which it last changed: a browser gets only the
//! blocks that are newer than the version it has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use maud::html;
use serde::Serialize;

use super::now::{RunNow, WatchedRun, card};
use crate::report::{Section, sections};

/// All that there is to show.
#[derive(Debug)]
pub(super) struct Live {
    /// When the runs were looked at.
    pub(super) at: Instant,
    version: u64,
    runs: Vec<RunNow>,
    sections: Vec<Outline>,
    blocks: HashMap<String, Drawn>,
}

/// A heading, whether the blocks stand side by side, and the id and HTML of each.
type DrawnSection = (Option<&'static str>, bool, Vec<(String, String)>);

/// A section without its content.
#[derive(Debug, Clone, Serialize)]
struct Outline {
    title: Option<&'static str>,
    is_grid: bool,
    blocks: Vec<String>,
}

/// The HTML of a block.
#[derive(Debug, Clone)]
struct Drawn {
    version: u64,
    html: Arc<str>,
}

/// What a browser is sent.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// Another server counts its versions anew.
    server: &'a str,
    version: u64,
    runs: &'a [RunNow],
    sections: &'a [Outline],
    /// The HTML of each block that is newer than what the browser has.
    changed: HashMap<&'a str, &'a str>,
}

impl Live {
    /// Draws the runs; blocks that are as they were `before` keep their version.
    pub(super) fn of(runs: &mut [WatchedRun], before: Option<&Self>) -> Self {
        let at = Instant::now();
        let (mut now, mut lent, mut lenders) = (Vec::new(), Vec::new(), Vec::new());
        for (index, run) in runs.iter_mut().enumerate() {
            let (of_run, data) = run.lend();
            now.push(of_run);
            if let Some(data) = data {
                lent.push(data);
                lenders.push(index);
            }
        }
        let cards = now.iter().map(|run| html! { (card(run)) }.into_string());
        let cards = cards.enumerate().map(|(index, html)| (format!("now-{index}"), html)).collect();
        let mut drawn = vec![(Some("Now"), false, cards)];
        if !lent.is_empty() {
            for Section { title, is_grid, blocks } in sections(&lent) {
                let blocks = blocks.into_iter().map(|block| (block.id, block.markup.into_string()));
                drawn.push((title, is_grid, blocks.collect::<Vec<_>>()));
            }
        }
        for (index, data) in lenders.into_iter().zip(lent) {
            runs[index].growing.give_back(data);
        }
        Self::from_parts(at, now, drawn, before)
    }

    fn from_parts(
        at: Instant,
        runs: Vec<RunNow>,
        drawn: Vec<DrawnSection>,
        before: Option<&Self>,
    ) -> Self {
        let version = before.map_or(0, |before| before.version) + 1;
        let (mut sections, mut all) = (Vec::new(), HashMap::new());
        for (title, is_grid, blocks) in drawn {
            let ids = blocks.iter().map(|(id, _)| id.clone()).collect();
            sections.push(Outline { title, is_grid, blocks: ids });
            for (id, html) in blocks {
                let same = before.and_then(|before| before.blocks.get(&id));
                let same = same.filter(|same| *same.html == *html).cloned();
                all.insert(id, same.unwrap_or_else(|| Drawn { version, html: html.into() }));
            }
        }
        Self { at, version, runs, sections, blocks: all }
    }

    /// JSON for a browser that has seen the version `since`.
    pub(super) fn answer(&self, server: &str, since: u64) -> Vec<u8> {
        let newer = self.blocks.iter().filter(|(_, block)| block.version > since);
        let answer = Answer {
            server,
            version: self.version,
            runs: &self.runs,
            sections: &self.sections,
            changed: newer.map(|(id, block)| (id.as_str(), &*block.html)).collect(),
        };
        // Text and numbers: those that are not finite become null.
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::GrowingRun;
    use serde_json::Value;
    use std::fs;
    use std::io::Write as _;

    fn answer(live: &Live, since: u64) -> Value {
        serde_json::from_slice(&live.answer("s", since)).expect("JSON")
    }

    #[test]
    fn only_what_changed_is_sent_again() {
        let drawn = |second: &str| {
            let block = |id: &str, html: &str| (id.to_owned(), html.to_owned());
            vec![(Some("T"), true, vec![block("a", "<p>1</p>"), block("b", second)])]
        };
        let live = |second: &str, before: Option<&Live>| {
            Live::from_parts(Instant::now(), vec![], drawn(second), before)
        };
        let first = live("<p>2</p>", None);
        let second = live("<p>3</p>", Some(&first));
        let third = live("<p>3</p>", Some(&second));
        let sent = |live: &Live, since| {
            let changed = answer(live, since)["changed"].as_object().expect("an object").clone();
            changed.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([sent(&first, 0), sent(&first, 1)], ["a b", ""]);
        assert_eq!([sent(&second, 0), sent(&second, 1), sent(&second, 2)], ["a b", "b", ""]);
        assert_eq!([sent(&third, 1), sent(&third, 2)], ["b", ""]);
        assert_eq!(answer(&third, 0)["sections"][0]["blocks"], serde_json::json!(["a", "b"]));
    }

    #[test]
    fn whatever_the_logs_hold_is_drawn_as_text() {
        const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>";
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut runs = Vec::new();
        for name in ["a", "<b onclick=alert(1)>"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("made");
            let config = format!("env = ['{EVIL}', 'Y']\n'{EVIL}' = '{EVIL}'\nstop-window = 3");
            fs::write(path.join("config.toml"), config).expect("written");
            let mut log = fs::File::create(path.join("metrics.jsonl")).expect("made");
            for line in [
                "{\"frames\":18446744073709551615,\"wall_s\":-1e308,\"tasks\":[{},{},{}]}",
                "{\"frames\":0,\"wall_s\":1e308,\"return_mean\":null,\"learner\":{\"updates\":9}}",
                "{\"frames\":3,\"wall_s\":null}",
                "{\"frames\":-3}",
                "[]",
                "{\"wall_s\":0,\"learner\":{\"updates\":1,\"entropy\":-1e300,\"lag_max\":18446744073709551615}}",
            ] {
                writeln!(log, "{line}").expect("written");
            }
            let episodes = "frames,seconds,return,length,task\nnan,inf,-inf,nan,0\n1,1,1e308,1e308,1\n\
                            2,-inf,-1e308,1,99999999999\n3,3,3,3,2\n";
            fs::write(path.join("episodes.csv"), episodes.repeat(9)).expect("written");
            fs::write(
                path.join("summary.json"),
                format!("{{\"status\":\"{EVIL}\",\"frames\":1e99}}"),
            )
            .expect("written");
            runs.push(WatchedRun::new(GrowingRun::open(&path).expect("a run folder")));
        }
        for count in [1, 2] {
            let runs = &mut runs[..count];
            runs.iter_mut().for_each(|run| assert!(!run.look()));
            let live = Live::of(runs, None);
            let answer = answer(&live, 0);
            let changed = answer["changed"].as_object().expect("an object");
            assert!(changed.len() > 20, "{answer}");
            let html: String = changed.values().filter_map(Value::as_str).collect();
            assert!(html.contains("&lt;img src=x"), "told as text");
            for part in ["<script", "<img", "<b onclick"] {
                assert!(!html.contains(part), "{part} in {html}");
            }
            assert_eq!(answer["runs"].as_array().map(Vec::len), Some(count));
        }
    }
}
