//! Shows what the runs of this machine are doing; see `impala-top --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_rl::top::main()
}
