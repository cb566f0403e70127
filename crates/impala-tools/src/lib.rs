//! What looks at runs of `impala-supervisor` from outside: [`report`] turns a run's folder into a page of plots and a
//! verdict on what held it back, or serves that page while the run goes on, [`top`] shows all runs of this machine live. [`trials`] is for programs that start many
//! runs: children, folders, learning curves, statistics, tables.
//!
//! They read only what a run writes, through the types of `impala-metrics`; a run does not notice them.

pub mod report;
mod serve;
pub mod top;
pub mod trials;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
