//! A process that fills unrolls and sends them as messages until its reader closes the channel.

use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcSender};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::load::{Aligned, Load, LoadName};
use super::outcome::Writers;
use crate::bench::cpu::cpu_time;
use crate::bench::error::BenchError;

/// What a sender is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SenderArgs {
    /// What to send
    #[arg(long, value_enum)]
    pub(crate) load: LoadName,
    /// Name of the server that waits for an ipc-channel; without it, standard input is a Unix socket
    #[arg(long)]
    pub(crate) server: Option<String>,
}

/// Sends until the other end is closed, then prints what was sent.
pub(crate) fn send(args: &SenderArgs) -> Result<(), BenchError> {
    let load = Load::new(args.load, 1)?;
    let writers = match &args.server {
        Some(server) => over_ipc_channel(&load, server)?,
        None => over_socket(&load)?,
    };
    let source = |source| BenchError::Json { what: "a sender's result", source };
    let text = serde_json::to_string(&writers).map_err(source)?;
    writeln!(io::stdout(), "{text}").map_err(BenchError::io("print a sender's result"))
}

/// Fills messages and hands each to `hand_over` until it says that nobody listens.
fn until_closed(load: &Load, mut hand_over: impl FnMut(&[u8]) -> bool) -> Writers {
    let mut message = Aligned::new(load.unroll_bytes());
    let (started, mut bytes) = (cpu_time(), 0);
    loop {
        load.fill(message.bytes_mut());
        if !hand_over(message.bytes()) {
            break;
        }
        bytes += load.unroll_bytes() as u64;
    }
    Writers { bytes, cpu_s: (cpu_time() - started).as_secs_f64() }
}

fn over_ipc_channel(load: &Load, server: &str) -> Result<Writers, BenchError> {
    let failed = BenchError::io("connect an ipc-channel");
    let (tx, rx) = ipc::bytes_channel().map_err(failed)?;
    let connected = IpcSender::<IpcBytesReceiver>::connect(server.to_owned())
        .map_err(BenchError::io("connect an ipc-channel"))?;
    let introduced = connected.send(rx).map_err(io::Error::other);
    introduced.map_err(BenchError::io("introduce an ipc-channel"))?;
    let stdin = io::stdin();
    Ok(until_closed(load, |message| {
        // Nobody writes to it: when it can be read, it was closed.
        let mut stop = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let go_on = poll(&mut stop, PollTimeout::ZERO) == Ok(0);
        go_on && tx.send(message).is_ok()
    }))
}

fn over_socket(load: &Load) -> Result<Writers, BenchError> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let mut socket = UnixStream::from(stdin.map_err(BenchError::io("take the socket"))?);
    Ok(until_closed(load, |message| socket.write_all(message).is_ok()))
}
