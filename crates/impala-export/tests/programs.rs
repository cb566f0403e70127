//! The program of this package starts, explains itself, and refuses what it does not know with code 2.

use std::process::Command;

#[test]
fn the_program_explains_itself_and_refuses_unknown_flags() {
    let program = env!("CARGO_BIN_EXE_impala-export");
    let help = Command::new(program).arg("--help").output().expect("starts");
    assert!(help.status.success(), "{program}: {help:?}");
    assert!(String::from_utf8_lossy(&help.stdout).contains("Usage:"), "{program}: {help:?}");
    let wrong = Command::new(program).arg("--no-such-flag").output().expect("starts");
    assert_eq!(wrong.status.code(), Some(2), "{program}: {wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--no-such-flag"), "{wrong:?}");
}
