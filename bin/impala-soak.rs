//! `impala-soak`: injects faults into pools of known bytes, and says which promises were kept.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_bench::soak::main()
}
