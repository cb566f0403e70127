//! Trains an agent with a pool of processes; see `impala-supervisor --help`.

use std::process::ExitCode;

use impala::env::Registry;

fn main() -> ExitCode {
    impala::pool::main(Registry::builtin())
}
