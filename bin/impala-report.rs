//! Plots a run and says what held it back; see `impala-report --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_rl::report::main()
}
