//! The program of this package starts, writes for every shell, and refuses what it does not know with code 2.

use std::process::Command;

#[test]
fn the_program_writes_pages_and_completions_and_refuses_unknown_flags() {
    let program = env!("CARGO_BIN_EXE_impala-manual");
    let prefix = tempfile::tempdir().expect("a folder");
    let done = Command::new(program).arg(prefix.path()).output().expect("starts");
    assert!(done.status.success(), "{program}: {done:?}");
    for file in [
        "share/man/man1/impala-supervisor.1",
        "share/bash-completion/completions/impala-play",
        "share/zsh/site-functions/_impala-top",
        "share/fish/vendor_completions.d/impala-report.fish",
    ] {
        let path = prefix.path().join(file);
        assert!(std::fs::metadata(&path).is_ok_and(|file| file.len() > 0), "{}", path.display());
    }
    let wrong = Command::new(program).arg("--no-such-flag").output().expect("starts");
    assert_eq!(wrong.status.code(), Some(2), "{program}: {wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--no-such-flag"), "{wrong:?}");
}
