//! Central inference: one process, the policy process, runs the network for all actors.
//!
//! ```text
//!   actor                        request board                      policy process
//!   observation in its slot ──▶  slot, step, flags, core state ──▶  reads the observations in the ring,
//!   waits, acts             ◀──  logits, core state, version   ◀──  runs the network on a batch of them
//! ```
//!
//! Each actor has a [`Desk`]: a request ([`crate::shm::request`]) with the question and the answer. An actor asks with
//! the policy that it is given in place of a network ([`CentralPolicy`]); the policy process takes what it finds
//! ([`PolicyLoop`]), as many rows as there are, at most N, and waits for no particular actor: one that is dead or slow
//! stops nobody.
//!
//! The core's state is part of the question and of the answer, and stays with the actor: a policy process that
//! dies takes nothing with it. Its successor finds the questions where they were.
//!
//! **Invariant: what the policy process reads may be torn, and then nobody looks at what follows from it.** It reads desks and
//! payload as words that are loaded one by one, so a write beside it is no race. While an actor waits it writes neither
//! to its desk nor to its slot. If it dies its successor, or the next holder of its slot, may write there while the policy
//! process reads; but then the question is one whose asker is dead, and its answer is taken by nobody (`shm::request`, case 1).

mod batch;
mod board;
mod client;
mod server;

pub use board::{Board, BoardPlan, Desk, Place};
pub use client::CentralPolicy;
pub use server::{PolicyError, PolicyLoop, PolicyParts};

#[cfg(all(test, not(loom)))]
mod tests;
