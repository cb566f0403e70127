//! Tries many settings and compares them; see `impala-sweep --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_sweep::main()
}
