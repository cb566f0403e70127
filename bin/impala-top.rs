//! Shows live figures of the runs on this machine; see `impala-top --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_rl::top::main()
}
