//! The repository keeps its own rules.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that may hold `unsafe`. Each opens with the invariants that its blocks cite.
const UNSAFE_FILES: &[&str] = &[
    "crates/impala-nn/src/simd/dispatch.rs",
    "crates/impala-nn/src/torch/blob.rs",
    "crates/impala-ring/src/heap.rs",
    "crates/impala-ring/src/slab.rs",
    "crates/impala-ring/src/tests/mod.rs",
    "crates/impala-shm/src/region.rs",
    "crates/impala-shm/src/sync/read_word.rs",
    "crates/impala-metrics/src/status.rs",
    "src/pool/memory/seat.rs",
    "crates/impala-supervise/src/fork.rs",
    "tests/it/ring_model.rs",
    "tests/it/ring_stress.rs",
];
/// Files that declare an `unsafe fn` with a safe body: what they ask of callers, others promise.
const ASKING_FILES: &[&str] = &["crates/impala-ring/src/waiting.rs"];
/// Files that a repository is expected to have.
const PROJECT_FILES: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CITATION.cff",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];
/// Longest source file, tests included.
const MAX_LINES: usize = 800;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("readable folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = vec![root().join("build.rs")];
    for folder in ["src", "crates", "bin", "benches", "tests", "examples"] {
        if root().join(folder).is_dir() {
            walk(&root().join(folder), &mut paths);
        }
    }
    let name =
        |path: &Path| path.strip_prefix(root()).expect("below the root").display().to_string();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).expect("UTF-8"))).collect()
}

/// Whether it is a part of the product, and no test, example or benchmark beside it.
fn is_product(name: &str) -> bool {
    name.starts_with("src/") || name.contains("/src/")
}

/// Code without comments and doc comments, line by line, with line numbers from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
}

#[test]
fn files_stay_small() {
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{name} has {lines} lines; split it (limit {MAX_LINES})");
    }
}

#[test]
fn unsafe_stays_where_it_belongs() {
    for (name, text) in rust_files() {
        let allowed = UNSAFE_FILES.contains(&name.as_str());
        let opens = text.contains("#![allow(unsafe_code)]");
        let here = name == "tests/it/tidy.rs";
        assert!(allowed || !opens || here, "{name} allows unsafe code");
        if !allowed && !here {
            let asks = code(&text).any(|(_, line)| line.contains("(unsafe_code"));
            let does = code(&text).any(|(_, line)| line.contains("unsafe {"));
            assert!(!asks || ASKING_FILES.contains(&name.as_str()), "{name} allows unsafe code");
            assert!(!does, "{name} has an unsafe block");
        }
        if allowed {
            assert!(
                opens && text.to_lowercase().contains("invariant"),
                "{name} must open with its invariants"
            );
        }
    }
}

#[test]
fn atomics_come_from_one_file() {
    let banned = [
        ["std::sync::", "atomic"].concat(),
        ["core::sync::", "atomic"].concat(),
        ["loom::", "sync"].concat(),
    ];
    for (name, text) in rust_files() {
        if name == "crates/impala-shm/src/sync.rs" {
            continue;
        }
        for (at, line) in code(&text) {
            for path in &banned {
                assert!(!line.contains(path), "{name}:{at} names {path}; use impala_shm::sync");
            }
        }
    }
}

#[test]
fn every_release_names_its_acquire() {
    for (name, text) in rust_files().iter().filter(|(name, _)| is_product(name)) {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in code(text) {
            let releases =
                ["Ordering::Release", "Ordering::AcqRel"].iter().any(|order| line.contains(order));
            if releases {
                let above = lines[at.saturating_sub(8)..at].join(" ");
                assert!(
                    above.contains("pairs with"),
                    "{name}:{at}: say what this release pairs with"
                );
            }
        }
    }
}

#[test]
fn libtorch_stays_behind_its_feature() {
    for (name, text) in rust_files().iter().filter(|(name, _)| is_product(name)) {
        let torch_file = name.starts_with("crates/impala-nn/src/torch/")
            || name.starts_with("src/learner/torch_engine/")
            || name.ends_with("torch_engine.rs");
        for (at, line) in code(text) {
            assert!(
                torch_file
                    || !line
                        .split(|c: char| !c.is_alphanumeric() && c != '_')
                        .any(|word| word == "tch"),
                "{name}:{at} names tch"
            );
        }
    }
}

#[test]
fn modules_depend_one_way() {
    // What a module of the library must not know; `docs/architecture.md` says why. Between crates, cargo sees to it.
    let rules: &[(&str, &[&str])] = &[
        (
            "src/params/",
            &[
                "gym",
                "ring",
                "env",
                "policy",
                "actor",
                "learner",
                "supervisor",
                "pool",
                "config",
                "metrics",
            ],
        ),
        (
            "src/unroll/",
            &[
                "gym",
                "params",
                "policy",
                "actor",
                "learner",
                "supervisor",
                "pool",
                "config",
                "metrics",
            ],
        ),
        ("src/actor/", &["gym", "learner", "supervisor", "pool", "config"]),
        ("src/learner/", &["gym", "actor", "supervisor", "pool", "config"]),
        ("src/inference/", &["gym", "actor", "learner", "supervisor", "pool", "config"]),
        ("src/play/", &["ring", "params", "shm", "actor"]),
        (
            "src/tune/",
            &[
                "gym",
                "ring",
                "env",
                "params",
                "policy",
                "actor",
                "learner",
                "supervisor",
                "pool",
                "config",
            ],
        ),
        (
            "src/config/",
            &[
                "gym",
                "ring",
                "params",
                "shm",
                "actor",
                "inference",
                "supervisor",
                "pool",
                "metrics",
            ],
        ),
    ];
    for (name, text) in rust_files() {
        for (folder, banned) in rules.iter().filter(|(folder, _)| name.starts_with(folder)) {
            for (at, line) in code(&text) {
                for module in *banned {
                    let path = format!("crate::{module}::");
                    assert!(!line.contains(&path), "{name}:{at}: {folder} must not know {module}");
                }
            }
        }
    }
}

#[test]
fn low_layers_name_no_flags() {
    // Whoever shows an error to a person adds the flag (`src/hint.rs`).
    let programs = [
        "crates/impala-tools/",
        "crates/impala-sweep/",
        "crates/impala-export/",
        "crates/impala-bench/",
    ];
    // Flags of cargo, for whoever builds.
    let cargo = "crates/impala-shm/src/kill_point.rs";
    for (name, text) in rust_files().iter().filter(|(name, _)| is_product(name)) {
        let low = name.starts_with("crates/") || name.starts_with("src/learner/");
        if !low || name == cargo || programs.iter().any(|program| name.starts_with(program)) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let comment = line.trim_start().starts_with("//");
            let flag = line.match_indices("--").any(|(at, _)| {
                let mut around = line[..at].chars().rev().take(1).chain(line[at + 2..].chars());
                around.next().is_some_and(|before| " `\"(".contains(before))
                    && around.next().is_some_and(|after| after.is_ascii_lowercase())
            });
            assert!(comment || !flag, "{name}:{}: names a flag", at + 1);
        }
    }
}

#[test]
fn the_python_layer_names_no_flags_of_other_programs() {
    let folder = root().join("python/src/impala_env");
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("entry").path();
        let program = path.ends_with("check.py") || path.ends_with("serve.py");
        if path.extension().is_none_or(|e| e != "py") || program {
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8");
        for (at, line) in text.lines().enumerate() {
            // That of `impala_env.check`, whose command line one message gives.
            let own = line.contains("arguments += [");
            let flag =
                ["--env", "--python", "--observation-keys", "--seed", "--reward", "--actors"];
            let flag = flag.iter().find(|&&flag| line.contains(flag));
            assert!(own || flag.is_none(), "{}:{}: names {flag:?}", path.display(), at + 1);
        }
    }
}

#[test]
fn tests_do_not_sleep() {
    let sleep = ["thread::", "sleep("].concat();
    for (name, text) in rust_files().iter().filter(|(name, _)| name.starts_with("tests/")) {
        for (at, line) in code(text) {
            let polling = name.ends_with("watch.rs") || name == "tests/supervised/run.rs";
            assert!(
                polling || !line.contains(&sleep),
                "{name}:{at}: poll with a deadline (tests/it/watch.rs)"
            );
        }
    }
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let banned = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()];
    let mut texts = rust_files();
    for name in ["README.md", "Makefile", "CHANGELOG.md", "Cargo.toml", ".ci/run"] {
        texts.extend(fs::read_to_string(root().join(name)).map(|text| (name.to_owned(), text)));
    }
    for entry in fs::read_dir(root().join("docs")).into_iter().flatten().flatten() {
        texts.extend(
            fs::read_to_string(entry.path()).map(|text| (entry.path().display().to_string(), text)),
        );
    }
    for (name, text) in texts {
        for place in &banned {
            assert!(!text.contains(place), "{name} names {place}");
        }
    }
}

#[test]
fn time_is_monotonic() {
    let banned =
        [["System", "Time"].concat(), ["CLOCK_", "REALTIME"].concat(), ["UNIX_", "EPOCH"].concat()];
    // TensorBoard wants the time of day beside each number; nothing is decided by it.
    let stamps = "crates/impala-metrics/src/tensorboard.rs";
    let files = rust_files();
    let ours = files.iter().filter(|(name, _)| is_product(name) && name != stamps);
    for (name, text) in ours {
        for (at, line) in code(text) {
            for clock in &banned {
                assert!(!line.contains(clock), "{name}:{at} names {clock}, which a user may set");
            }
        }
    }
}

#[test]
fn published_crates_say_what_they_are() {
    let manifests = fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("entry").path());
    let mut published = 0;
    for folder in manifests.chain([root()]) {
        let text = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = toml::from_str(&text).expect("TOML");
        let package = manifest["package"].as_table().expect("a package");
        if package.get("publish").is_some() {
            continue;
        }
        published += 1;
        let name = package["name"].as_str().expect("a name");
        for key in ["description", "readme", "license", "documentation", "keywords", "categories"] {
            assert!(package.contains_key(key), "{name} says no {key}");
        }
        let keywords = package["keywords"].as_array().expect("a list");
        let short = |word: &toml::Value| word.as_str().is_some_and(|word| word.len() <= 20);
        assert!(
            keywords.len() <= 5 && keywords.iter().all(short),
            "{name}: crates.io takes 5 keywords of 20 letters"
        );
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(folder.join(file).is_file(), "{name} has no {file}");
        }
    }
    assert!(published > 5, "{published} packages were looked at");
}

#[test]
fn the_project_files_are_there() {
    for name in PROJECT_FILES {
        let text = fs::read_to_string(root().join(name)).unwrap_or_default();
        assert!(text.lines().count() > 10, "{name} is missing or empty");
    }
    let citation = fs::read_to_string(root().join("CITATION.cff")).expect("there");
    let version = format!("version: {}\n", env!("CARGO_PKG_VERSION"));
    assert!(citation.contains(&version), "CITATION.cff does not say {version}");
}
