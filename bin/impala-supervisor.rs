//! Trains an agent with a pool of processes; see `impala-supervisor --help`.

use std::process::ExitCode;

use impala_rl::gym;

fn main() -> ExitCode {
    impala_rl::pool::main(gym::registry())
}
