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
mod work;

pub use args::{BenchArgs, BenchCommand, Common, Measured, ScalingArgs, TransportArgs};
pub use cpu::{cpu_time, median_ns};
pub use error::BenchError;
pub use learn::{LearnArgs, LearnError, Outcome, Score, run as run_learn};
pub use limit::{Limit, LimitSample};
pub use machine::Machine;
pub use parts::{ActorParts, LearnerParts, Parts, Sample, Totals};
pub use pool::{PoolSample, run as run_pool};
pub use pool_report::PoolReport;
pub use run::main;
pub use setup::{Described, Setup};
pub use stats::Spread;
pub use work::FrameWork;
