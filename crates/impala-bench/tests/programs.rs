//! The programs of this package start, explain themselves, and refuse what they do not know with code 2.

use std::process::Command;

#[test]
fn programs_explain_themselves_and_refuse_unknown_flags() {
    for program in [env!("CARGO_BIN_EXE_impala-bench"), env!("CARGO_BIN_EXE_impala-soak")] {
        let help = Command::new(program).arg("--help").output().expect("starts");
        assert!(help.status.success(), "{program}: {help:?}");
        assert!(String::from_utf8_lossy(&help.stdout).contains("Usage:"), "{program}: {help:?}");
        let wrong = Command::new(program).arg("--no-such-flag").output().expect("starts");
        assert_eq!(wrong.status.code(), Some(2), "{program}: {wrong:?}");
        assert!(String::from_utf8_lossy(&wrong.stderr).contains("--no-such-flag"), "{wrong:?}");
    }
}
