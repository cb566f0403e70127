//! The data that each transport carries: unrolls of the product's own layout, filled row by row as environments would.

use std::ffi::OsString;

use clap::ValueEnum as _;
use serde::Serialize;

use crate::bench::error::BenchError;
use crate::bench::setup::Setup;
use impala_rl::unroll::{BlockLayout, Field};

const CACHE_LINE_BYTES: usize = 64;

/// Which unrolls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LoadName {
    /// 64 environments, 32 steps, observations of 16 bytes; 256 columns in a batch
    Cartpole,
    /// 8 environments, 20 steps, frames of 84x84 bytes in stacks of 4; 32 columns in a batch
    Pixels,
}

/// A load: the configuration of a pool that would produce it.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) name: LoadName,
    pub(super) setup: Setup,
    /// What stands in every row, as far as the row goes.
    source: Aligned,
}

/// Bytes that start on a cache line, as the ring's do.
///
/// Copies between buffers that are a few bytes off each other within their pages are ten times slower on
/// some CPUs (`rep movsb`); without this, chance would decide between transports.
#[derive(Debug)]
pub(super) struct Aligned {
    buffer: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn new(len: usize) -> Self {
        let buffer = vec![0; len + CACHE_LINE_BYTES];
        let start = buffer.as_ptr().addr().wrapping_neg() % CACHE_LINE_BYTES;
        Self { buffer, start, len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.len]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

impl Load {
    pub(super) fn new(name: LoadName, actors: u16) -> Result<Self, BenchError> {
        let text = match name {
            LoadName::Cartpole => "--env CartPole-v1 --envs-per-actor 64 --unroll 32 --batch 256",
            LoadName::Pixels => {
                "--env Synthetic-v0 --env-arg shape=84x84 --env-arg stack=4 --env-arg dtype=u8 \
                 --torso mlp --envs-per-actor 8 --unroll 20 --batch 32"
            }
        };
        let flags: Vec<OsString> = text
            .split_whitespace()
            .map(OsString::from)
            .chain(["--actors".into(), actors.to_string().into()])
            .collect();
        let setup = Setup::from_flags(&flags)?;
        let layout = &setup.config.pool.layout;
        let widest = Field::ALL.map(|field| layout.group_range(field, 0, 0).len());
        let len = widest.into_iter().max().unwrap_or(0);
        // All but random, and the same in every process.
        let mut source = Aligned::new(len);
        for (byte, i) in source.bytes_mut().iter_mut().zip(0_u32..) {
            *byte = i.wrapping_mul(0x9E37_79B9).to_le_bytes()[3];
        }
        Ok(Self { name, setup, source })
    }

    /// The name as on the command line.
    pub(super) fn flag(name: LoadName) -> String {
        name.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(super) const fn layout(&self) -> &BlockLayout {
        &self.setup.config.pool.layout
    }

    /// Bytes of one unroll: one group of all fields.
    pub(super) fn unroll_bytes(&self) -> usize {
        self.rows().map(|(.., len)| len).sum()
    }

    /// Bytes of one batch.
    pub(super) fn batch_bytes(&self) -> usize {
        self.unroll_bytes() * self.layout().groups()
    }

    /// Fills one row.
    pub(super) fn write(&self, row: &mut [u8]) {
        row.copy_from_slice(&self.source.bytes()[..row.len()]);
    }

    /// Field, row and bytes of each row of a group.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Field, usize, usize)> + '_ {
        let layout = self.layout();
        Field::ALL.into_iter().flat_map(move |field| {
            (0..layout.rows(field))
                .map(move |row| (field, row, layout.group_range(field, row, 0).len()))
        })
    }

    /// Fills one unroll as a message: its rows one after the other.
    pub(super) fn fill(&self, message: &mut [u8]) {
        let mut rest = message;
        for (.., len) in self.rows() {
            let (row, after) = rest.split_at_mut(len);
            self.write(row);
            rest = after;
        }
    }

    /// Makes a message one group of a batch.
    pub(super) fn scatter(&self, message: &[u8], group: usize, block: &mut [u8]) {
        let mut rest = message;
        for (field, row, len) in self.rows() {
            let (bytes, after) = rest.split_at(len);
            block[self.layout().group_range(field, row, group)].copy_from_slice(bytes);
            rest = after;
        }
    }

    /// What [`checksum`] gives for a block that arrived whole.
    pub(super) fn expected(&self) -> u64 {
        let mut block = vec![0; self.layout().block_bytes()];
        let mut message = vec![0; self.unroll_bytes()];
        self.fill(&mut message);
        for group in 0..self.layout().groups() {
            self.scatter(&message, group, &mut block);
        }
        checksum(self.fields(&block))
    }

    /// The fields of a block.
    pub(super) fn fields<'a>(&self, block: &'a [u8]) -> [&'a [u8]; Field::ALL.len()] {
        Field::ALL.map(|field| &block[self.layout().field_range(field)])
    }
}

/// Reads every byte.
pub(super) fn checksum(fields: [&[u8]; Field::ALL.len()]) -> u64 {
    fields.into_iter().fold(0, |sum, field| {
        let (words, rest) = field.as_chunks::<8>();
        let of_words =
            words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
        let of_rest = rest.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        sum.wrapping_add(of_words).wrapping_add(of_rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_batch_is_sent() {
        for &name in LoadName::value_variants() {
            let load = Load::new(name, 2).expect("valid");
            let stored: usize = Field::ALL.map(|f| load.layout().field_range(f).len()).iter().sum();
            assert_eq!(load.batch_bytes(), stored);
            assert_ne!(load.expected(), 0);
            let mut message = vec![0; load.unroll_bytes()];
            load.fill(&mut message);
            let mut block = vec![0; load.layout().block_bytes()];
            load.scatter(&message, 0, &mut block);
            assert_ne!(checksum(load.fields(&block)), load.expected(), "one group only");
        }
    }
}
