//! `make install` into a prefix of one's own: programs, man pages, completions, and nothing beside them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 7] = ["supervisor", "play", "report", "top", "sweep", "export", "bench"];

/// All files below `folder`, by their paths in it.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("readable") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).expect("below it").to_owned());
            }
        }
    }
    found
}

#[test]
fn a_prefix_gets_programs_pages_and_completions() {
    let staged = tempfile::tempdir().expect("temporary folder");
    let built = Path::new(env!("CARGO_BIN_EXE_impala-play")).parent().expect("a folder");
    let done = Command::new("make")
        .args(["--no-print-directory", "install", "PREFIX=/opt/impala"])
        .arg(format!("PROGRAMS={}", built.display()))
        .arg(format!("DESTDIR={}", staged.path().display()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("make starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let expected = PROGRAMS.iter().flat_map(|name| {
        [
            format!("bin/impala-{name}"),
            format!("share/man/man1/impala-{name}.1"),
            format!("share/bash-completion/completions/impala-{name}"),
            format!("share/zsh/site-functions/_impala-{name}"),
            format!("share/fish/vendor_completions.d/impala-{name}.fish"),
        ]
    });
    let expected: BTreeSet<PathBuf> =
        expected.map(|path| Path::new("opt/impala").join(path)).collect();
    assert_eq!(files(staged.path()), expected);

    let prefix = staged.path().join("opt/impala");
    for name in PROGRAMS {
        let program = prefix.join(format!("bin/impala-{name}"));
        let mode = fs::metadata(&program).expect("installed").permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{name}");
        let version = Command::new(&program).arg("--version").output().expect("starts");
        assert!(version.status.success(), "{name}: {version:?}");
    }
    let read = |path: &str| fs::read_to_string(prefix.join(path)).expect("UTF-8");
    let page = read("share/man/man1/impala-supervisor.1");
    for part in [
        ".TH impala-supervisor 1",
        "learning\\-rate",
        "[default: 0.003",
        ".SH \"EXIT STATUS\"",
        "crash loop",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(read("share/zsh/site-functions/_impala-play").starts_with("#compdef impala-play"));
    let fish = read("share/fish/vendor_completions.d/impala-play.fish");
    assert!(fish.contains("-l greedy"), "{fish}");
}

/// What bash offers after `words`, by the completion of `program` that is generated.
fn offered(folder: &Path, program: &str, words: &[&str]) -> BTreeSet<String> {
    const ASK: &str = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        function_of=$(complete -p "$1" | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function_of" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let script = folder.join("share/bash-completion/completions").join(program);
    let mut command = Command::new("bash");
    command.args(["-c", ASK, "bash"]).arg(script).arg(program).args(words);
    let asked = command.output().expect("bash starts");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    String::from_utf8(asked.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_flags_and_values() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let manual = Path::new(env!("CARGO_BIN_EXE_impala-play")).with_file_name("impala-manual");
    let done = Command::new(manual).arg(folder.path()).output().expect("starts");
    assert!(done.status.success(), "{done:?}");
    let learning = offered(folder.path(), "impala-supervisor", &["--learning"]);
    assert!(learning.contains("--learning-rate"), "{learning:?}");
    let torsos = offered(folder.path(), "impala-supervisor", &["--torso", ""]);
    assert!(torsos.contains("impala-deep"), "{torsos:?}");
    let measured = offered(folder.path(), "impala-bench", &["tra"]);
    assert!(measured.contains("transport"), "{measured:?}");
}
