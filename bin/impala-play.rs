//! Plays episodes with a trained policy; see `impala-play --help`.

use std::process::ExitCode;

use impala::gym;

fn main() -> ExitCode {
    impala::play::main(&gym::registry())
}
