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
//! `actor`, `learner`} -> {`ring`, `params`, `policy`, `env`, `unroll`, `metrics`} -> `shm` -> `sync`.
//! Without the feature `torch` nothing here knows libtorch; MLPs learn all the same.

#[macro_use]
pub mod kill_point;

#[cfg(not(loom))]
pub mod env;

#[cfg(not(loom))]
pub mod gym;

#[cfg(not(loom))]
pub mod actor;

#[cfg(not(loom))]
pub mod unroll;

pub mod ring;

#[cfg(not(loom))]
pub mod learner;

pub mod params;

#[cfg(not(loom))]
pub mod policy;

#[cfg(not(loom))]
pub mod supervisor;

#[cfg(not(loom))]
pub mod pool;

#[cfg(not(loom))]
pub mod bench;

#[cfg(not(loom))]
pub mod proof;

#[cfg(not(loom))]
pub mod report;

#[cfg(not(loom))]
pub mod top;

#[cfg(not(loom))]
pub mod play;

#[cfg(not(loom))]
pub mod config;

#[cfg(not(loom))]
pub mod metrics;

#[cfg(not(loom))]
pub mod shm;

#[cfg(not(loom))]
pub mod rng;

pub mod sync;
