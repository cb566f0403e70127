//! The result of one transport.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::load::{Load, checksum};
use crate::bench::cpu::cpu_time;
use crate::bench::error::BenchError;
use crate::bench::stats::Spread;
use impala_rl::unroll::Field;

/// One repeat of one transport.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Batches that were read, per second of wall time.
    pub(super) blocks_per_s: f64,
    /// Bytes of these batches per second of wall time.
    pub(super) bytes_per_s: f64,
    /// ns from having all parts of a batch to having it as a batch.
    pub(super) batching_ns: f64,
    /// Bytes that writers wrote and sent per second of their CPU time.
    pub(super) writer_bytes_per_cpu_s: f64,
    /// Bytes that the reader received, batched and read per second of its CPU time.
    pub(super) reader_bytes_per_cpu_s: f64,
}

/// The reader's counts.
#[derive(Debug)]
pub(super) struct Reader {
    expected: u64,
    batch_bytes: usize,
    /// After the first batch, which finds everything cold.
    started: Option<(Instant, Duration)>,
    /// Wall and CPU time from then to the end.
    taken: (Duration, Duration),
    length: Duration,
    blocks: u64,
    batching_ns: Vec<f64>,
}

impl Reader {
    pub(super) fn new(load: &Load, seconds: f64) -> Self {
        Self {
            expected: load.expected(),
            batch_bytes: load.batch_bytes(),
            started: None,
            taken: (Duration::ZERO, Duration::ZERO),
            length: Duration::from_secs_f64(seconds),
            blocks: 0,
            batching_ns: Vec::new(),
        }
    }

    /// Reads a batch; `true` once the time is up.
    pub(super) fn read(
        &mut self,
        fields: [&[u8]; Field::ALL.len()],
        batching: Duration,
    ) -> Result<bool, BenchError> {
        let found = checksum(fields);
        if found != self.expected {
            let source = std::io::Error::other(format!("{found} instead of {}", self.expected));
            return Err(BenchError::io("checksum of a batch")(source));
        }
        match self.started {
            None => self.started = Some((Instant::now(), cpu_time())),
            Some((started, cpu)) => {
                self.blocks += 1;
                self.batching_ns.push(batching.as_nanos() as f64);
                let done = started.elapsed() >= self.length;
                if done {
                    self.taken = (started.elapsed(), cpu_time() - cpu);
                }
                return Ok(done);
            }
        }
        Ok(false)
    }

    /// The outcome, with the bytes and CPU time of the writers.
    pub(super) fn outcome(&self, writers: Writers) -> Outcome {
        let (wall, cpu) = self.taken;
        let (wall_s, cpu_s) = (wall.as_secs_f64().max(1e-9), cpu.as_secs_f64().max(1e-9));
        let bytes = self.blocks as f64 * self.batch_bytes as f64;
        Outcome {
            blocks_per_s: self.blocks as f64 / wall_s,
            bytes_per_s: bytes / wall_s,
            batching_ns: Spread::of(&self.batching_ns).median,
            writer_bytes_per_cpu_s: writers.bytes as f64 / writers.cpu_s.max(1e-9),
            reader_bytes_per_cpu_s: bytes / cpu_s,
        }
    }
}

/// What writers wrote, and the CPU time that it took them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Writers {
    pub(super) bytes: u64,
    pub(super) cpu_s: f64,
}

impl std::iter::Sum for Writers {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, one| Self {
            bytes: sum.bytes + one.bytes,
            cpu_s: sum.cpu_s + one.cpu_s,
        })
    }
}
