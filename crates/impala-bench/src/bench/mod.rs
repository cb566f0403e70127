//! Benchmarks: the whole pool, its parts, the limits of the machine, other transports than the ring, and learning.
//!
//! `impala-bench` runs them; `docs/throughput.md` says what each figure means. Nothing in the product
//! knows this module.

mod args;
mod cpu;
mod environments;
mod error;
mod learn;
mod limit;
mod machine;
mod parts;
mod pool;
mod pool_report;
mod ranks;
mod run;
mod setup;
mod stats;
#[cfg(feature = "torch")]
mod torch_engine;
mod transport;
mod tune;
mod work;

pub use error::BenchError;
pub use learn::LearnError;
pub(crate) use machine::Machine;
pub use run::{command, main};
pub use setup::Setup;
