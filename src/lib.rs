//! IMPALA (Espeholt et al. 2018) on one Linux machine.
//!
//! A supervisor forks actors and a learner. Actors step environments and write unrolls *in place* into
//! a ring in shared memory; the learner builds its tensors over that memory, corrects for policy lag
//! with V-trace, and publishes weights on a page that every actor reads. Nobody waits for an update.
//!
//! ```text
//!        +-----------------------------------------------------------+
//!        |                                                           v
//!      params  <--  learner  <--  ring  <--  unroll  <--  actor  <--  env
//!        (seqlock)   (V-trace)   (slots)    (layout)    (policy)
//!
//!      supervisor: forks, reaps, reclaims          metrics: counted in shared words
//! ```
//!
//! The modules stand in the order of that flow. Dependencies point one way: `pool` -> {`supervisor`,
//! `actor`, `inference`, `learner`} -> {`ring`, `params`, `policy`, `env`, `unroll`, `metrics`} -> `shm`.
//! Without the feature `torch` nothing here knows libtorch; networks learn all the same.

pub use impala_env as env;
pub use impala_env::rng;
pub use impala_grpc as grpc;
pub use impala_gym as gym;
pub use impala_metrics as metrics;
pub use impala_nn as policy;
pub use impala_ring as ring;
pub use impala_shm as shm;
pub use impala_shm::{kill_point, sync};
pub use impala_supervise as supervisor;
pub use impala_tools::{report, top, trials};

pub mod actor;
pub mod build;
pub mod config;
pub mod hint;
pub mod inference;
pub mod learner;
pub mod params;
pub mod play;
pub mod pool;
pub mod tune;
pub mod unroll;
