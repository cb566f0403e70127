//! The Python with the packages that tests read our files with: `make test-python` installs it.

use std::path::PathBuf;
use std::process::Command;

/// The Python for tests, if it has `package`; else nothing, and a word on standard error.
pub(crate) fn python_with(test: &str, package: &str) -> Option<PathBuf> {
    let python = path();
    let found = Command::new(&python).args(["-c", &format!("import {package}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let python = python.display();
    eprintln!("{test} is skipped: {python} has no {package}; `make test-python` installs it");
    None
}

fn path() -> PathBuf {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-python/bin/python");
    std::env::var_os("IMPALA_TEST_PYTHON").map_or(installed, PathBuf::from)
}

/// Runs `script` with arguments and gives its standard output; `None`, with a word on standard error, if
/// there is no such Python here.
pub(crate) fn run_python(test: &str, script: &str, arguments: &[&str]) -> Option<String> {
    let python = path();
    if !python.is_file() {
        eprintln!("{test} is skipped: no {}; `make test-python` installs it", python.display());
        return None;
    }
    let mut command = Command::new(python);
    command.arg("-c").arg(script).args(arguments);
    let output = command.output().expect("python starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}: {error}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}
