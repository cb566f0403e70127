//! `docs/configuration.md` against the code.

use std::collections::BTreeMap;

use clap::CommandFactory as _;
use impala_rl::config::defaults::{self, ALGORITHMS, ENVIRONMENTS, OPTIMIZERS, PRESETS, Row};
use impala_rl::config::{Args, Config, ranges, values};
use impala_rl::env::Registry;

use super::resolve;

const DOCS: &str = include_str!("../../../docs/configuration.md");

/// Cells of the rows of all tables below `heading`, up to the next heading of its level or above;
/// header and rule lines are left out.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let level = heading.chars().take_while(|&c| c == '#').count();
    let ends = |line: &str| {
        let hashes = line.chars().take_while(|&c| c == '#').count();
        (1..=level).contains(&hashes)
    };
    DOCS.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !ends(line))
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect()
}

/// The name in a first cell: `--actors N` and `actors` are both `actors`.
fn name(cell: &str) -> &str {
    let plain = cell.trim_matches('`').trim_start_matches("--");
    plain.split([' ', '`']).next().unwrap_or_default()
}

/// Documented settings: name to (default, range).
fn documented() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let rows = rows("## Settings");
    let count = rows.len();
    let map: BTreeMap<_, _> =
        rows.into_iter().map(|cells| (name(cells[0]), (cells[1], cells[2]))).collect();
    assert_eq!(map.len(), count, "a flag is documented twice");
    map
}

/// Equal as numbers, or as text.
fn same(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

#[test]
fn every_flag_is_documented_and_every_documented_flag_exists() {
    let command = Args::command();
    let mut flags: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    flags.sort_unstable();
    let documented: Vec<_> = documented().into_keys().collect();
    assert_eq!(documented, flags);
}

#[test]
fn documented_defaults_are_those_of_the_code() {
    let built_in: BTreeMap<_, _> = values(&defaults::built_in()).into_iter().collect();
    for (name, (default, _)) in documented() {
        match built_in.get(name).filter(|value| !value.is_empty()) {
            Some(value) => {
                assert!(same(value, default), "{name}: {value} here, {default} in the docs")
            }
            None => assert!(
                ["none", "by optimizer"].contains(&default) || default.starts_with("derived from "),
                "{name} has no default, but the docs say {default}"
            ),
        }
    }
}

#[test]
fn documented_ranges_are_those_of_the_code() {
    let documented = documented();
    let whole = ranges::WHOLE.iter().map(|row| (row.key, row.to_string()));
    let real = ranges::REAL.iter().map(|row| (row.key, row.to_string()));
    for (key, range) in whole.chain(real) {
        let told = documented[key].1;
        let bare = range.split(" (").next().unwrap_or_default();
        assert_eq!(told, bare, "{key}");
    }
    for arg in Args::command().get_arguments() {
        let names: Vec<_> =
            arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        let Some(flag) = arg.get_long().filter(|_| !names.is_empty()) else {
            continue;
        };
        assert_eq!(documented[flag].1, names.join(", "), "{flag}");
    }
}

#[test]
fn documented_tables_are_those_of_the_code() {
    for (heading, table) in [
        ("## Environments", ENVIRONMENTS),
        ("## Algorithms", ALGORITHMS),
        ("## Presets", PRESETS),
        ("## Optimizers", OPTIMIZERS),
    ] {
        let header = DOCS
            .lines()
            .skip_while(|line| *line != heading)
            .find(|line| line.starts_with("| Setting |"))
            .expect("a table below the heading");
        let told: Vec<_> =
            header.split('|').map(str::trim).skip(2).filter(|cell| !cell.is_empty()).collect();
        let names: Vec<_> = table.iter().map(|row| row.name).collect();
        assert_eq!(told, names, "{heading}");
        for (column, row) in table.iter().enumerate() {
            compare(heading, column + 1, row);
        }
    }
    let presets: Vec<_> = PRESETS.iter().map(|row| row.name).collect();
    assert_eq!(documented()["preset"].1, presets.join(", "));
}

fn compare(heading: &str, column: usize, row: &Row) {
    let mut coded: BTreeMap<_, _> = values(&(row.settings)()).into_iter().collect();
    for cells in rows(heading) {
        let (key, told) = (name(cells[0]), cells[column]);
        let value = coded.remove(key).unwrap_or_default();
        assert!(
            same(&value, told),
            "{} of {}: {value:?} here, {told:?} in the docs",
            key,
            row.name
        );
    }
    assert!(coded.is_empty(), "not in the docs for {}: {coded:?}", row.name);
}

/// Code blocks of one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let blocks = DOCS.split("```").skip(1).step_by(2);
    let found: Vec<_> = blocks.filter_map(|block| block.strip_prefix(language)).collect();
    assert!(!found.is_empty(), "no {language} in the docs");
    found
}

#[test]
fn examples_in_the_docs_are_valid() {
    for block in blocks("toml\n") {
        resolve(block).expect(block);
    }
    for line in blocks("sh\n").into_iter().flat_map(str::lines) {
        let args = Args::from_argv(line.split_whitespace()).expect(line);
        Config::resolve(&args.settings, &Registry::builtin()).expect(line);
    }
}

#[test]
fn who_comes_from_elsewhere_is_told_flags_that_exist() {
    let text = include_str!("../../../docs/migrating.md");
    let command = Args::command();
    let known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    // Of impala-play, impala-export and tensorboard.
    let others = ["gif", "onnx", "logdir"];
    let mut seen = 0;
    for ours in text.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once(" | ")) {
        for flag in ours.1.split("--").skip(1) {
            let end =
                flag.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(flag.len());
            let flag = &flag[..end];
            assert!(known.contains(&flag) || others.contains(&flag), "docs/migrating.md: --{flag}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} flags were found");
}
