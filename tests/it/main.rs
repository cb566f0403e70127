//! The integration tests: one binary, one module a subject.

mod actions;
mod bench;
mod chaos;
mod cli;
mod config;
mod cores;
mod crash;
mod damage;
// It builds without libtorch, so the suite without it is the place.
#[cfg(not(feature = "torch"))]
mod dependent;
#[cfg(feature = "torch")]
mod engines;
mod export;
mod faults;
mod golden;
mod gradients;
mod gym;
mod hangs;
mod inference;
mod install;
#[cfg(kill_points)]
mod kill_points;
mod learn_bench;
mod learning;
mod links;
mod lockstep;
mod metrics;
mod metrics_written;
mod onnx;
mod params_torn;
mod parity;
mod play;
mod pool;
mod popart;
mod program;
mod promises;
mod python;
mod ranks;
mod remembering;
mod remote;
mod replay;
mod report;
mod resources;
mod resume;
mod ring_model;
mod ring_stress;
mod soak;
mod sweep;
mod tasks;
mod tensorboard;
mod tidy;
mod top;
mod vtrace;
mod watch;
