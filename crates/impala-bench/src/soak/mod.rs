//! `impala-soak`: injects faults into pools of the product's own processes and memory, with an environment whose every
//! byte is known and a learner that checks instead of learning.
//!
//! ```text
//!   pattern   what each byte must be                      check    compares all bytes of a block
//!   env       the environment and the policy that act it  record   which unrolls were read, in shared memory
//!   roles     the child processes                         counts   the ring's slot counts, after each fault
//!   pool      one supervised pool with faults from pool::chaos, and the report on it
//!   campaign  several pools one after the other, and which promises were kept
//! ```
//!
//! Nothing in the product knows this module. `docs/reliability.md` has the figures.

mod args;
mod campaign;
mod check;
mod counts;
mod env;
mod error;
mod killed;
pub(crate) mod pattern;
mod pool;
mod promises;
mod record;
mod report;
mod roles;
mod vitals;

pub use campaign::{command, main};
pub use report::{Percentiles, PoolReport};
