//! `impala-soak`: injects faults into pools in which every byte is known in advance, and prints which promises of
//! reliability were kept.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_bench::soak::main()
}
