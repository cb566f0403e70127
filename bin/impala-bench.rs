//! Measures the pool, its parts, and what the machine could give; see `impala-bench --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_bench::bench::main()
}
