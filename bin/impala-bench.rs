//! Measures the throughput of the pool and of its parts, the limits of the machine, and how well agents learn; see
//! `impala-bench --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    impala_bench::bench::main()
}
