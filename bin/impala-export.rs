//! Writes a trained policy as a file for other runtimes; see `impala-export --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_export::main()
}
