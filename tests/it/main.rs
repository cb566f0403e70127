//! The integration tests: one binary, one module a subject.

mod bench;
mod cli;
mod config;
mod crash;
mod damage;
#[cfg(feature = "torch")]
mod engines;
mod export;
mod golden;
mod learning;
mod metrics;
mod params_torn;
mod parity;
mod play;
mod pool;
mod program;
mod python;
mod report;
mod resume;
mod ring_model;
mod ring_stress;
mod tensorboard;
mod tidy;
mod top;
mod vtrace;
mod watch;
