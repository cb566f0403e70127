//! Measures the transports that could replace the ring, under the same load: ipc-channel, Unix sockets, and a plain
//! copy.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipc_channel::ipc::{IpcBytesReceiver, IpcOneShotServer};

use super::load::{Aligned, Load};
use super::outcome::{Outcome, Reader, Writers};
use crate::bench::cpu::cpu_time;
use crate::bench::error::BenchError;

/// Unrolls as messages of ipc-channel, stacked into batches by the reader.
pub(super) fn ipc_channel(load: &Load, actors: u16, seconds: f64) -> Result<Outcome, BenchError> {
    let mut senders = Vec::new();
    let mut channels = Vec::new();
    for _ in 0..actors {
        let (server, name) = IpcOneShotServer::<IpcBytesReceiver>::new()
            .map_err(BenchError::io("make an ipc-channel server"))?;
        senders.push(sender(load, Stdio::piped(), &["--server", &name])?);
        let accepted = server.accept().map_err(std::io::Error::other);
        channels.push(accepted.map_err(BenchError::io("accept an ipc-channel"))?.1);
    }
    let receive = |actor: usize, message: &mut Vec<u8>| {
        *message = channels[actor].recv().map_err(std::io::Error::other)?;
        Ok(())
    };
    let reader = messages(load, actors, seconds, receive)?;
    // A sender in the middle of a large message holds both ends of a channel and would wait for ever:
    // it is told to stop, and what it has sent is taken.
    senders.iter_mut().for_each(|sender| drop(sender.stdin.take()));
    for channel in channels {
        while channel.recv().is_ok() {}
    }
    Ok(reader.outcome(finish(senders)?))
}

/// Unrolls through a pair of Unix sockets for each sender, stacked into batches by the reader.
pub(super) fn socket_pair(load: &Load, actors: u16, seconds: f64) -> Result<Outcome, BenchError> {
    let (mut senders, mut sockets) = (Vec::new(), Vec::new());
    for _ in 0..actors {
        let (ours, theirs) =
            UnixStream::pair().map_err(BenchError::io("make a pair of sockets"))?;
        senders.push(sender(load, OwnedFd::from(theirs).into(), &[])?);
        sockets.push(ours);
    }
    let receive = |actor: usize, message: &mut Vec<u8>| (&sockets[actor]).read_exact(message);
    let reader = messages(load, actors, seconds, receive)?;
    drop(sockets);
    Ok(reader.outcome(finish(senders)?))
}

/// One process that fills the rows of a batch and then reads them: no transport at all.
pub(super) fn memcpy(load: &Load, seconds: f64) -> Result<Outcome, BenchError> {
    let layout = load.layout();
    // As many blocks as the ring has, so that the caches are as cold.
    let count = load.setup.config.pool.blocks;
    let mut blocks: Vec<_> = (0..count).map(|_| Aligned::new(layout.block_bytes())).collect();
    let (mut reader, mut writers) = (Reader::new(load, seconds), Writers::default());
    for turn in 0.. {
        let block = blocks[turn % count].bytes_mut();
        let before = cpu_time();
        for group in 0..layout.groups() {
            for (field, row, _) in load.rows() {
                load.write(&mut block[layout.group_range(field, row, group)]);
            }
        }
        writers.cpu_s += (cpu_time() - before).as_secs_f64();
        writers.bytes += load.batch_bytes() as u64;
        let ready = Instant::now();
        let fields = load.fields(block);
        if reader.read(fields, ready.elapsed())? {
            break;
        }
    }
    let whole = reader.outcome(writers);
    // The reader's clock ran while it wrote as well.
    let bytes = writers.bytes as f64;
    let reading_s = bytes / whole.reader_bytes_per_cpu_s - writers.cpu_s;
    Ok(Outcome { reader_bytes_per_cpu_s: bytes / reading_s.max(1e-9), ..whole })
}

/// Receives from the senders in turn, and stacks what came into batches.
fn messages(
    load: &Load,
    actors: u16,
    seconds: f64,
    mut receive: impl FnMut(usize, &mut Vec<u8>) -> std::io::Result<()>,
) -> Result<Reader, BenchError> {
    let groups = load.layout().groups();
    let mut batch = Aligned::new(load.layout().block_bytes());
    let mut received = vec![vec![0; load.unroll_bytes()]; groups];
    let mut reader = Reader::new(load, seconds);
    let mut turns = (0..usize::from(actors)).cycle();
    loop {
        for (message, actor) in received.iter_mut().zip(&mut turns) {
            receive(actor, message).map_err(BenchError::io("receive an unroll"))?;
        }
        let ready = Instant::now();
        for (group, message) in received.iter().enumerate() {
            load.scatter(message, group, batch.bytes_mut());
        }
        let fields = load.fields(batch.bytes());
        let batching = ready.elapsed();
        if reader.read(fields, batching)? {
            return Ok(reader);
        }
    }
}

/// This program again, as a sender. It ends when its channel does.
fn sender(load: &Load, stdin: Stdio, more: &[&str]) -> Result<Child, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
    Command::new(program)
        .args(["transport-sender", "--load", &Load::flag(load.name)])
        .args(more)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(BenchError::io("start a sender"))
}

/// Waits for the senders, whose channels are closed, and sums up what they say of themselves.
fn finish(senders: Vec<Child>) -> Result<Writers, BenchError> {
    senders
        .into_iter()
        .map(|sender| {
            let output = sender.wait_with_output().map_err(BenchError::io("wait for a sender"))?;
            serde_json::from_slice::<Writers>(&output.stdout)
                .map_err(|source| BenchError::Json { what: "a sender's result", source })
        })
        .sum()
}

/// How long nothing may arrive before a transport counts as stuck.
pub(super) const STUCK: Duration = Duration::from_secs(30);
