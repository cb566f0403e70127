//! Measurements: the whole pool, its parts, what the machine could give, and other transports.
//!
//! `impala-bench` prints them; `docs/throughput.md` says what each figure means. Nothing in the product
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
