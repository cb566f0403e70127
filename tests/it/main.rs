//! The integration tests: one binary, one module a subject.

mod bench;
mod cli;
mod config;
mod crash;
#[cfg(feature = "torch")]
mod engines;
mod golden;
mod learning;
mod metrics;
mod params_torn;
mod parity;
mod pool;
mod program;
mod python;
mod ring_model;
mod ring_stress;
mod tensorboard;
mod tidy;
mod vtrace;
mod watch;
