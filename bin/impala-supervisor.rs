//! Trains an agent with a pool of processes; see `impala-supervisor --help`.

use std::process::ExitCode;

use impala_rl::build;

fn main() -> ExitCode {
    impala_rl::pool::main(build::registry())
}
