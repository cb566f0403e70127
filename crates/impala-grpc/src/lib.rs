//! Environments on a gRPC server, which may be on another machine: those whose names begin with `grpc://`, or with `grpcs://`
//! if the connection is encrypted and the server shows a certificate.
//!
//! Each group of environments of an actor has a stream of its own, over which whole vector steps travel: actions there,
//! observations back. `proto/impala_env.proto` is the protocol; `python -m impala_env.serve` serves whatever a Python worker
//! steps, and a server in another language needs nothing but that file.
//!
//! A stream has a runtime of one thread, the caller's: nothing here starts a thread, so a process that has looked at an
//! environment may still fork. Names of hosts are resolved by the C library, on the caller's thread.
//!
//! Invariants:
//! - **S1** Nothing that a server sends is taken before its length, its number and its kind are what was asked for.
//! - **S2** Whatever is waited for has a deadline: a connection, the start of the environments, an answer.
//! - **S3** After an answer that came too late, or was invalid, its stream is closed, so nothing of it is read later.
//! - **S4** With `grpcs://` nothing is sent, the token least of all, before the certificate of the server is one to be believed.

mod address;
mod backoff;
mod env;
mod error;
mod link;
mod messages;
mod observed;
mod provider;
mod spec;
mod tls;

use impala_env::Registry;

use env::RemoteEnv;

/// What the names of these environments begin with, if nothing is encrypted.
pub const PREFIX: &str = "grpc://";
/// The same with TLS.
pub const TLS_PREFIX: &str = "grpcs://";

/// Whether environments of this name are those of a server.
#[must_use]
pub fn is_remote(id: &str) -> bool {
    id.starts_with(PREFIX) || id.starts_with(TLS_PREFIX)
}

/// Adds the environments of servers.
pub fn register(registry: &mut Registry) {
    for (prefix, description) in [
        (
            PREFIX,
            "the environment of a server on this or another machine; several servers of one: grpc://HOST:PORT,HOST:PORT",
        ),
        (TLS_PREFIX, "the same over TLS"),
    ] {
        registry.add_family(
            prefix,
            format!("{prefix}HOST:PORT"),
            description,
            |id, options, envs, seed| Ok(Box::new(RemoteEnv::new(id, options, envs, seed)?)),
        );
    }
}

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
