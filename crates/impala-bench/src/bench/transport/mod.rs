//! Compares transports under the same load: the ring, ipc-channel, a Unix socket, and a copy within one process.
//!
//! A load is filled row by row, as environments fill it, and read to the last byte, whose sum is
//! checked. What differs is only the way in between.

pub(super) mod load;
mod outcome;
pub(super) mod ring;
mod rivals;
pub(super) mod sender;

use std::fmt;

use clap::ValueEnum as _;
use serde::Serialize;

use super::args::TransportArgs;
use super::error::BenchError;
use super::stats::Spread;
use impala_rl::metrics::human::si;
use load::{Load, LoadName};
use outcome::Outcome;

/// All loads over all transports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) loads: Vec<LoadReport>,
}

/// One load over all transports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct LoadReport {
    name: LoadName,
    unroll_bytes: usize,
    batch_bytes: usize,
    ring: Figures,
    ipc_channel: Figures,
    socket_pair: Figures,
    memcpy: Figures,
    /// What the ring's writers write per second of CPU time, over what the plain copy does.
    write_fraction: Spread,
}

/// One transport over the repeats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Figures {
    bytes_per_s: Spread,
    blocks_per_s: Spread,
    batching_ns: Spread,
    writer_bytes_per_cpu_s: Spread,
    reader_bytes_per_cpu_s: Spread,
}

impl Figures {
    fn of(outcomes: &[Outcome]) -> Self {
        Self {
            bytes_per_s: Spread::over(outcomes, |o| o.bytes_per_s),
            blocks_per_s: Spread::over(outcomes, |o| o.blocks_per_s),
            batching_ns: Spread::over(outcomes, |o| o.batching_ns),
            writer_bytes_per_cpu_s: Spread::over(outcomes, |o| o.writer_bytes_per_cpu_s),
            reader_bytes_per_cpu_s: Spread::over(outcomes, |o| o.reader_bytes_per_cpu_s),
        }
    }
}

/// Measures all transports in turn, as often as asked.
pub(super) fn measure(args: &TransportArgs) -> Result<Report, BenchError> {
    let names = match args.load {
        Some(name) => vec![name],
        None => LoadName::value_variants().to_vec(),
    };
    let loads = names.into_iter().map(|name| one(name, args));
    Ok(Report { loads: loads.collect::<Result<_, _>>()? })
}

fn one(name: LoadName, args: &TransportArgs) -> Result<LoadReport, BenchError> {
    let load = Load::new(name, args.actors)?;
    let seconds = args.common.seconds;
    let mut outcomes: [Vec<Outcome>; 4] = Default::default();
    for _ in 0..args.common.repeats {
        let repeat = [
            ring::measure(&load, args)?,
            rivals::ipc_channel(&load, args.actors, seconds)?,
            rivals::socket_pair(&load, args.actors, seconds)?,
            rivals::memcpy(&load, seconds)?,
        ];
        for (all, outcome) in outcomes.iter_mut().zip(repeat) {
            all.push(outcome);
        }
    }
    let fractions: Vec<f64> = outcomes[0]
        .iter()
        .zip(&outcomes[3])
        .map(|(ring, copy)| ring.writer_bytes_per_cpu_s / copy.writer_bytes_per_cpu_s)
        .collect();
    let [ring, ipc_channel, socket_pair, memcpy] = outcomes.map(|outcomes| Figures::of(&outcomes));
    Ok(LoadReport {
        name,
        unroll_bytes: load.unroll_bytes(),
        batch_bytes: load.batch_bytes(),
        ring,
        ipc_channel,
        socket_pair,
        memcpy,
        write_fraction: Spread::of(&fractions),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.loads.iter().try_for_each(|load| write!(f, "{load}"))
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: unrolls of {} bytes, batches of {} bytes",
            Load::flag(self.name),
            si(self.unroll_bytes as f64),
            si(self.batch_bytes as f64)
        )?;
        for (name, figures) in [
            ("ring", &self.ring),
            ("ipc-channel", &self.ipc_channel),
            ("socket pair", &self.socket_pair),
            ("memcpy", &self.memcpy),
        ] {
            writeln!(f, "  {name}")?;
            for (name, spread, unit) in [
                ("moved and read", figures.bytes_per_s, "bytes/s"),
                ("", figures.blocks_per_s, "blocks/s"),
                ("batching", figures.batching_ns, "ns per block"),
                ("writers", figures.writer_bytes_per_cpu_s, "bytes per CPU second"),
                ("reader", figures.reader_bytes_per_cpu_s, "bytes per CPU second"),
            ] {
                writeln!(f, "    {name:<16}{spread} {unit}")?;
            }
        }
        writeln!(f, "  the ring's writers reach {} of the plain copy", self.write_fraction)
    }
}
