//! What measures and what torments the pool of `impala-rl`: [`mod@bench`] is `impala-bench`, [`soak`] is `impala-soak`.
//!
//! Nothing in the product knows this crate, and it is not published.

pub mod bench;
pub mod soak;
