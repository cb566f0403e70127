//! Environments of Gymnasium and EnvPool, in a Python worker process of each actor: those whose names begin with `gym:`
//! or `envpool:`.
//!
//! An actor starts one worker, which steps all of the actor's environments (or one for each split of them). Between the two go messages of
//! a fixed size through two pipes, one in each direction for a vector step; the arrays never travel. The
//! worker maps the memory of the ring and reads actions and writes observations and rewards where they
//! belong. `docs/environment-abi.md` describes all of it for workers in other languages.
//!
//! Invariants:
//! - **G1** A worker writes to the ring only while its actor waits in `worker::Worker::call` for the answer to the
//!   command that told it where. Until then the actor holds those bytes as `&mut`, and after it again: it
//!   lends them for the time of a call that the compiler cannot see through. Their address goes with the
//!   command as an exposed one, so it counts as known to whoever is behind the call. A step that goes on while the actor does something else
//!   (`start_step`) has addresses of the scratch memory alone, which is never mapped here.
//! - **G2** A worker that fails to answer is killed and reaped before its actor goes on, as a process that
//!   is only slow could still write.
//! - **G3** A worker dies with its actor: the kernel kills it, and the supervisor waits until it is gone
//!   before it gives the actor's slots to somebody else.

mod env;
mod launch;
mod messages;
mod source;
mod wire;
mod worker;

use impala_env::Registry;

use env::GymEnv;
pub use launch::{one_thread_each, python_of};
pub use source::Source;

/// The built-in environments, and those of Gymnasium and EnvPool.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::builtin();
    register(&mut registry);
    registry
}

/// Adds the environments of Gymnasium and EnvPool.
pub fn register(registry: &mut Registry) {
    for source in Source::ALL {
        registry.add_family(
            source.prefix(),
            format!("{}ID", source.prefix()),
            source.about(),
            |id, options, envs, seed| Ok(Box::new(GymEnv::new(id, options, envs, seed)?)),
        );
    }
}

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
