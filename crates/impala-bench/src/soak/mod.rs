//! Proof by injected faults: the product's own ring, actors, page, checkpoints and supervisor, with an
//! environment whose every byte is known and a learner that checks instead of learning.
//!
//! ```text
//!   pattern   what each byte must be                 check    recomputes all bytes of a block
//!   env       the environment and policy that act it record   what was seen, beyond any death
//!   roles     an actor's and a learner's writer        counts    the ring's sums, after each fault
//!   pool      one supervised pool, faults from pool::chaos, and what it came to
//!   campaign  several pools after another, the promises, and whether they were kept
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
