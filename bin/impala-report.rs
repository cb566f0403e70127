//! Plots a run and names its bottleneck; see `impala-report --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_rl::report::main()
}
