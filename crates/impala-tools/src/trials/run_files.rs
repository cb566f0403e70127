//! Reads what a run left: its files, and the last line of its log.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use impala_metrics::MetricsRecord;
use serde_json::Value;

/// Bytes at the end of `metrics.jsonl` that hold its last line.
const TAIL_BYTES: u64 = 1 << 17;

/// A file of JSON, if it is there and sound.
#[must_use]
pub fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// The last whole line of a run's metrics.
#[must_use]
pub fn last_metrics(run_dir: &Path) -> Option<MetricsRecord> {
    let mut file = File::open(run_dir.join("metrics.jsonl")).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rev().take(2).find_map(|line| serde_json::from_str(line).ok())
}

/// The last line that is not empty of a log.
#[must_use]
pub fn last_words(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let said = text.lines().rev().find(|line| !line.trim().is_empty());
    said.unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_counts() {
        let place = tempfile::tempdir().expect("temporary folder");
        let path = place.path().join("metrics.jsonl");
        assert!(last_metrics(place.path()).is_none());
        let lines = "{\"wall_s\":1,\"frames\":1}\n{\"wall_s\":2,\"frames\":22}\n{\"fra";
        fs::write(&path, lines).expect("written");
        assert_eq!(last_metrics(place.path()).map(|line| line.frames), Some(22));
    }

    #[test]
    fn last_words_are_not_an_empty_line() {
        let place = tempfile::tempdir().expect("temporary folder");
        let log = place.path().join("a.log");
        assert_eq!(last_words(&log), "it said nothing");
        fs::write(&log, "first\nsecond\n  \n").expect("written");
        assert_eq!(last_words(&log), "second");
    }
}
