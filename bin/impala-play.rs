//! Plays episodes with a trained policy; see `impala-play --help`.

use std::process::ExitCode;

use impala::env::Registry;

fn main() -> ExitCode {
    impala::play::main(&Registry::builtin())
}
