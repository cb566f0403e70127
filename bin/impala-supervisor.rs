//! Trains an agent with a pool of processes; see `impala-supervisor --help`.

use std::process::ExitCode;

use impala::gym;

fn main() -> ExitCode {
    impala::pool::main(gym::registry())
}
