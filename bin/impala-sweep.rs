//! Trains with many combinations of settings and compares the results; see `impala-sweep --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_sweep::main()
}
