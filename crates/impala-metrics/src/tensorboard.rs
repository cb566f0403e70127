//! Writes TensorBoard event files: TFRecords that hold `tensorflow.Event` messages.
//!
//! ```text
//! record   u64 length | u32 masked CRC-32C of the length | bytes | u32 masked CRC-32C of the bytes
//! Event    1 wall_time f64   2 step i64   3 file_version string   5 summary   7 session_log
//! Summary  1 value*          Value  1 tag string   2 simple_value f32   5 histo
//! histo    1 min 2 max 3 num 4 sum 5 sum_squares, all f64   6 bucket_limit f64*   7 bucket f64*
//! ```
//!
//! (`tensorflow/core/util/event.proto`, `framework/summary.proto`, `lib/io/record_writer.h`.) So few
//! messages need no library.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::histogram::HistogramSnapshot;

/// Wire types of protocol buffers.
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;
/// `SessionLog.SessionStatus.START`: forget what earlier files say of this step and later ones.
const SESSION_START: u64 = 1;

/// An event file that is being written.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

impl EventWriter {
    /// Starts a new file in `folder`. A run that continues at `first_step` replaces what earlier files
    /// of the folder say from there on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(folder: &Path, first_step: u64) -> io::Result<Self> {
        let seconds = now_s();
        let name = format!("events.out.tfevents.{seconds:.0}.impala.{}", std::process::id());
        let path = folder.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut writer = Self { file, path };
        writer.event(0, |event| event.bytes(3, b"brain.Event:2"))?;
        if first_step > 0 {
            let mut log = Message::default();
            log.varint(1, SESSION_START);
            // What was logged at this very step stays.
            writer.event(first_step + 1, |event| event.bytes(7, &log.0))?;
        }
        Ok(writer)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes numbers at a step, with one system call.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(
        &mut self,
        step: u64,
        scalars: &[(String, f64)],
        histograms: &[(&str, &HistogramSnapshot)],
    ) -> io::Result<()> {
        let mut summary = Message::default();
        for (tag, value) in scalars {
            let mut message = Message::default();
            message.bytes(1, tag.as_bytes());
            message.float(2, *value as f32);
            summary.bytes(1, &message.0);
        }
        for (tag, histogram) in histograms {
            let mut message = Message::default();
            message.bytes(1, tag.as_bytes());
            message.bytes(5, &histo(histogram).0);
            summary.bytes(1, &message.0);
        }
        self.event(step, |event| event.bytes(5, &summary.0))
    }

    fn event(&mut self, step: u64, fill: impl FnOnce(&mut Message)) -> io::Result<()> {
        let mut event = Message::default();
        event.double(1, now_s());
        event.varint(2, step);
        fill(&mut event);
        self.file.write_all(&record(&event.0))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stamp of a log, which TensorBoard shows as a date"
)]
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "counts and values for a plot")]
fn histo(histogram: &HistogramSnapshot) -> Message {
    let mut message = Message::default();
    let buckets: Vec<_> = histogram.buckets().collect();
    let middle = |low: u64, high: u64| (low as f64 + high as f64) / 2.0;
    let squares = buckets.iter().map(|&(low, high, n)| middle(low, high).powi(2) * n as f64).sum();
    message.double(1, buckets.first().map_or(0.0, |b| b.0 as f64));
    message.double(2, histogram.max() as f64);
    message.double(3, histogram.count() as f64);
    message.double(4, histogram.sum() as f64);
    message.double(5, squares);
    // A bucket begins where the one before ends: gaps are empty buckets of their own.
    let (mut limits, mut counts) = (Vec::new(), Vec::new());
    let mut end = 0;
    for &(low, high, n) in &buckets {
        if low > end {
            limits.push(low as f64);
            counts.push(0.0);
        }
        limits.push(high.saturating_add(1) as f64);
        counts.push(n as f64);
        end = high.saturating_add(1);
    }
    message.doubles(6, &limits);
    message.doubles(7, &counts);
    message
}

/// A protocol buffer that is being written.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.raw_varint(field << 3 | wire_type);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, FIXED32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, BYTES);
        self.raw_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Packed, as proto3 has it.
    fn doubles(&mut self, field: u64, values: &[f64]) {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &packed);
    }
}

fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked(crc32c(&length)).to_le_bytes());
    record.extend_from_slice(bytes);
    record.extend_from_slice(&masked(crc32c(bytes)).to_le_bytes());
    record
}

/// A CRC of bytes that hold CRCs is weak; TFRecords therefore turn it and add a constant.
const fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli), reflected, one table.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    !bytes
        .iter()
        .fold(!0_u32, |crc, &byte| crc >> 8 ^ TABLE[((crc ^ u32::from(byte)) & 0xFF) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        // The mask turns by 15 bits and adds a constant.
        assert_eq!(masked(0), 0xA282_EAD8);
        assert_eq!(masked(1 << 15), 0xA282_EAD9);
    }

    #[test]
    fn messages_are_encoded_as_protobuf_says() {
        let mut message = Message::default();
        message.varint(1, 150);
        message.bytes(2, b"testing");
        message.float(3, 1.0);
        assert_eq!(message.0[..3], [0x08, 0x96, 0x01]);
        assert_eq!(message.0[3..12], *b"\x12\x07testing");
        assert_eq!(message.0[12..], [0x1D, 0, 0, 0x80, 0x3F]);
    }
}
