//! A traceback of Python is shown once, whatever number of actors and unrolls have it.

use std::borrow::Cow;
use std::collections::HashSet;

/// Tracebacks kept in mind; after so many different ones, repetition is the least problem.
const MOST: usize = 1000;

/// What was shown already.
#[derive(Debug, Default)]
pub(super) struct Tracebacks {
    shown: HashSet<String>,
}

impl Tracebacks {
    /// `text` as it is to be shown: its first line alone, and what it was, if the rest is a traceback that
    /// was there before.
    pub(super) fn once<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        let Some((head, traceback)) = text.split_once('\n') else {
            return text.into();
        };
        if !traceback.starts_with("Traceback") {
            return text.into();
        }
        if self.shown.contains(traceback) {
            let last = traceback.lines().last().unwrap_or_default();
            return format!("{head}: {last} (the traceback is above)").into();
        }
        if self.shown.len() < MOST {
            self.shown.insert(traceback.to_owned());
        }
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceback_comes_once_and_other_lines_always() {
        let mut tracebacks = Tracebacks::default();
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
}
