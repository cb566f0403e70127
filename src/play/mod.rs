//! `impala-play`: acts with the weights of a checkpoint, says how well, and shows it.
//!
//! `agent` is the same policy code that actors run, fed from a small stack of frames instead of the ring.
//! `evaluate` plays episodes, `canvas` is a small image, `draw` paints environments on it from what they
//! observe, `show` puts it on a terminal and into a GIF, `output` is the file of results, `args` is the command line.

mod agent;
mod args;
mod canvas;
mod draw;
mod evaluate;
mod output;
mod show;

pub use args::main;
