//! The Python with the packages that tests read our files with: `make test-python` installs it.

use std::path::PathBuf;
use std::process::Command;

/// Runs `script` with arguments and gives its standard output; `None`, with a word on standard error, if
/// there is no such Python here.
pub(crate) fn run_python(test: &str, script: &str, arguments: &[&str]) -> Option<String> {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-python/bin/python");
    let python = std::env::var_os("IMPALA_TEST_PYTHON").map_or(installed, PathBuf::from);
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
