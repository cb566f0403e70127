//! `impala-export`: writes a trained policy as an ONNX model or as safetensors, with a model card.
//!
//! ```text
//! run folder -> impala_rl::play::Policy -> model (network, actions) -> graph -> proto -> FILE.onnx
//!                                       -> weights by name          -> FILE.safetensors
//!                                       -> card                     -> FILE.md
//! ```
//!
//! `proto` are the messages of ONNX as structs, `graph` puts a graph of them together, `network` is the network of a policy
//! as one, `memory` what it remembers, `actions` what follows its outputs, `card` the page beside it, `args` the command line.

mod actions;
mod args;
mod card;
mod error;
mod graph;
mod memory;
mod network;
mod proto;
mod weights;

pub use args::{command, main};
pub use error::ExportError;
pub use network::onnx;
