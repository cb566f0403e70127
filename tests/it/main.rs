//! The integration tests: one binary, one module a subject.

mod cli;
mod config;
mod crash;
mod golden;
mod learning;
mod parity;
mod pool;
mod program;
mod tidy;
mod vtrace;
mod watch;
