//! Links between the pages of the documentation lead somewhere, and the book has every page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files below `folder`.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines of a page that are no code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence && !line.starts_with("    ")).then_some((number, line))
    })
}

/// What a heading is called in a link, as GitHub and mdBook have it: small letters and digits, hyphens for spaces, no other signs.
fn anchor(heading: &str) -> String {
    let shown = heading.trim().to_lowercase();
    let kept = shown.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| anchor(line.trim_start_matches('#'))).collect()
}

/// The targets of `[..](target)` in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// What is wrong with a link of `page`, if anything is.
fn problem(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, section) = target.split_once('#').unwrap_or((target, ""));
    let file = match file {
        "" => page.to_owned(),
        file => page.parent().expect("in a folder").join(file),
    };
    if !file.exists() {
        return Some("there is no such file".to_owned());
    }
    let is_page = file.extension().is_some_and(|extension| extension == "md");
    if section.is_empty() || !is_page {
        return None;
    }
    let text = fs::read_to_string(&file).expect("UTF-8");
    (!anchors(&text).contains(section)).then(|| "no heading is called so".to_owned())
}

#[test]
fn links_lead_somewhere() {
    let mut all: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
        .map(|name| root().join(name))
        .into();
    for folder in ["docs", "crates", "examples", "python", "benches"] {
        pages(&root().join(folder), &mut all);
    }
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in &all {
        let text = fs::read_to_string(page).expect("UTF-8");
        for (line, content) in prose(&text) {
            for target in targets(content) {
                seen += 1;
                if let Some(problem) = problem(page, target) {
                    wrong.push(format!("{}:{line}: ({target}): {problem}", page.display()));
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_leads_nowhere_is_found() {
    let page = root().join("docs/python.md");
    assert_eq!(targets("a [b](c.md#d) and [e](f)").collect::<Vec<_>>(), ["c.md#d", "f"]);
    assert_eq!(
        anchor(" Loss (section 4.2, `src/learner/loss.rs`)"),
        "loss-section-42-srclearnerlossrs"
    );
    assert!(problem(&page, "nowhere.md").is_some_and(|why| why.contains("file")));
    assert!(problem(&page, "configuration.md#nothing").is_some_and(|why| why.contains("heading")));
    assert!(problem(&page, "configuration.md#algorithms").is_none());
}

#[test]
fn the_book_has_every_page() {
    let docs = root().join("docs");
    let mut found = Vec::new();
    pages(&docs, &mut found);
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).expect("the book's contents");
    let listed: BTreeSet<PathBuf> =
        summary.lines().flat_map(targets).map(|target| docs.join(target)).collect();
    let missing: Vec<_> = found
        .iter()
        .filter(|page| !listed.contains(*page) && !page.ends_with("SUMMARY.md"))
        .collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}
