//! The integration tests: one binary, one module a subject.

mod bench;
mod chaos;
mod cli;
mod config;
mod crash;
#[cfg(feature = "torch")]
mod engines;
mod faults;
mod golden;
mod hangs;
#[cfg(feature = "kill-points")]
mod kill_points;
mod learning;
mod params_torn;
mod parity;
mod pool;
mod program;
mod promises;
mod resources;
mod ring_model;
mod ring_stress;
mod soak;
mod tidy;
mod vtrace;
mod watch;
