//! `docs/reliability.md` against the sources.

use std::fs;
use std::path::{Path, PathBuf};

const DOCS: &str = include_str!("../../docs/reliability.md");

fn sources() -> String {
    fn walk(folder: PathBuf, text: &mut String) {
        for entry in fs::read_dir(folder).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).expect("UTF-8"));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in ["src", "crates", "tests"] {
        walk(root.join(folder), &mut text);
    }
    text
}

/// The cells of each promise: number, failure, promise, test.
fn rows() -> Vec<Vec<&'static str>> {
    let promises = DOCS.split("\n## Promises\n").nth(1).expect("a section");
    let promises = promises.split("\n## ").next().expect("itself");
    let lines = promises.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    lines.map(|line| line.trim_matches('|').split(" |").map(str::trim).collect()).collect()
}

#[test]
fn every_row_names_a_test_that_exists() {
    let sources = sources();
    let mut named = 0;
    for row in rows() {
        let [number, failure, promise, test] = row[..] else { panic!("{row:?}") };
        assert!(!failure.is_empty() && !promise.is_empty(), "{row:?}");
        for name in test.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')) {
            // A case of tests/supervised goes by its module and name.
            let function = format!("fn {}(", name.rsplit("::").next().unwrap_or(name));
            assert!(sources.contains(&function), "row {number}: there is no test {name}");
            named += 1;
        }
        let says = test.contains('`') || test.contains("untested");
        let unpromised =
            promise.starts_with("nothing is promised") || promise.starts_with("cannot be");
        assert!(says || unpromised, "row {number} names no test and does not say untested");
    }
    assert!(named > 50, "{named}");
}

#[test]
fn all_failures_have_a_row() {
    let numbers: Vec<&str> = rows().iter().map(|row| row[0]).collect();
    for number in 1..=56 {
        assert!(numbers.contains(&number.to_string().as_str()), "no row {number}");
    }
}
