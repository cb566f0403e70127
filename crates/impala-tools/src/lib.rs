//! Programs that look at runs from outside: [`report`] plots a run folder and names the bottleneck, once or live over
//! HTTP; [`top`] shows all runs on this machine. [`trials`] is for programs that start many runs: child processes,
//! folders, learning curves, statistics, tables.
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
