//! Shortens Python tracebacks on the console: each is shown once, however many actors raise it, and of a long one only
//! the end. The worker's log has all of it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Tracebacks kept in mind; after so many different ones, repetition is the least problem.
const MOST: usize = 1000;

/// Longest traceback that is shown as it is, in lines, and how many of the last lines of longer ones are.
const LONGEST: usize = 24;
const LAST: usize = 12;

/// Longest line of an exception that is shown beside a headline, in characters.
const LONGEST_LINE: usize = 300;

/// What was shown already.
#[derive(Debug)]
pub(super) struct Tracebacks {
    shown: HashSet<String>,
    /// Whether the last line is enough.
    quiet: bool,
    /// Where the logs of workers are.
    folder: PathBuf,
}

impl Tracebacks {
    pub(super) fn new(quiet: bool, folder: &Path) -> Self {
        Self { shown: HashSet::new(), quiet, folder: folder.to_owned() }
    }

    /// `text` as it is to be shown: its first line alone, and what it was, if the rest is a traceback that
    /// was there before.
    pub(super) fn once<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        let Some((head, traceback)) = text.split_once('\n') else {
            return text.into();
        };
        if !traceback.starts_with("Traceback") {
            return text.into();
        }
        let lines: Vec<&str> = traceback.lines().collect();
        let last: String = lines.last().unwrap_or(&"").chars().take(LONGEST_LINE).collect();
        let again = self.shown.contains(traceback);
        if !again && self.shown.len() < MOST {
            self.shown.insert(traceback.to_owned());
        }
        let log = self.log_of(head);
        match (self.quiet, again) {
            (true, true) => format!("{head}: {last}").into(),
            (true, false) => format!("{head}: {last} (the traceback is in {log})").into(),
            (false, true) => format!("{head}: {last} (the traceback is above)").into(),
            (false, false) if lines.len() > LONGEST => {
                let end = lines[lines.len() - LAST..].join("\n");
                format!("{head}\n{}\n  [... all of it is in {log}]\n{end}", lines[0]).into()
            }
            (false, false) => text.into(),
        }
    }

    /// The log of the actor's worker that a headline begins with.
    fn log_of(&self, head: &str) -> String {
        let actor = head.strip_prefix("actor-").and_then(|rest| rest.split(':').next());
        let name = actor.map_or_else(|| "worker-N.log".into(), |n| format!("worker-{n}.log"));
        self.folder.join(name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceback_comes_once_and_other_lines_always() {
        let mut tracebacks = Tracebacks::new(false, Path::new("runs/1"));
        let first = "actor-0: step 7 failed\nTraceback (most recent call last):\n  ...\nE: no";
        let again = "actor-1: step 9 failed\nTraceback (most recent call last):\n  ...\nE: no";
        let other = "actor-1: step 9 failed\nTraceback (most recent call last):\n  ...\nE: yes";
        assert_eq!(tracebacks.once(first), first);
        let short = "actor-1: step 9 failed: E: no (the traceback is above)";
        assert_eq!(tracebacks.once(again), short);
        assert_eq!(tracebacks.once(other), other);
        for plain in ["a line", "two\nlines"] {
            assert_eq!(tracebacks.once(plain), plain);
            assert_eq!(tracebacks.once(plain), plain);
        }
    }

    #[test]
    fn of_a_long_traceback_the_end_is_shown_and_where_the_rest_is() {
        let frames = "  File \"a.py\", line 1\n".repeat(150);
        let text = format!("actor-3: failed\nTraceback (most recent call last):\n{frames}E: no");
        let mut tracebacks = Tracebacks::new(false, Path::new("runs/1"));
        let shown = tracebacks.once(&text).into_owned();
        assert_eq!(shown.lines().count(), LAST + 3, "{shown}");
        assert!(shown.contains("runs/1/worker-3.log") && shown.ends_with("E: no"), "{shown}");
        let mut quiet = Tracebacks::new(true, Path::new("runs/1"));
        let shown = quiet.once(&text).into_owned();
        assert_eq!(shown, "actor-3: failed: E: no (the traceback is in runs/1/worker-3.log)");
        assert_eq!(quiet.once(&text), "actor-3: failed: E: no");
    }
}
