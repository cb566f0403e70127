//! Benchmarks and fault injection for `impala-rl`: [`mod@bench`] is the program `impala-bench`, [`soak`] is
//! `impala-soak`.
//!
//! Nothing in the product knows this crate, and it is not published.

pub mod bench;
pub mod soak;
