//! Plays episodes with a trained policy; see `impala-play --help`.

use std::process::ExitCode;

use impala_rl::build;

fn main() -> ExitCode {
    impala_rl::play::main(&build::registry())
}
