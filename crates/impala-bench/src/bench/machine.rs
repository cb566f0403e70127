//! Measures the peak rates of the machine: multiply-adds in registers, and copies of memory.

use std::hint::black_box;
use std::time::Duration;

use serde::Serialize;

use super::cpu::median_ns;
use impala_rl::policy::simd::{LANES, Level, peak_multiply_adds, run_peak};

/// What a copy is measured on: larger than any cache together.
const FAR_BYTES: usize = 64 << 20;
/// The same within the second-level cache.
const NEAR_BYTES: usize = 128 << 10;
const PAGE_BYTES: usize = 4096;

/// The machine, for the head of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// What the CPU calls itself.
    pub(crate) cpu: String,
    /// Instructions that kernels use.
    pub(crate) instructions: &'static str,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub(crate) fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, name)| name.trim());
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu: cpu.to_owned(),
            instructions: Level::active().name(),
        }
    }
}

/// Floating-point operations per second of one core in f32 (a multiply-add is two).
#[must_use]
pub(super) fn peak_flops(effort: Duration) -> f64 {
    const ROUNDS: usize = 20_000;
    let level = Level::active();
    let ns = median_ns(effort, || {
        black_box(run_peak(level, ROUNDS, black_box(&[0.5; LANES])));
    });
    (peak_multiply_adds(ROUNDS) * 2) as f64 / ns * 1e9
}

/// The same on all cores at once: less than `cores` times one core where cores share what computes.
#[must_use]
pub(super) fn peak_flops_together(cores: usize, effort: Duration) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| peak_flops(effort))).collect();
        let each = threads.into_iter().map(|thread| thread.join().unwrap_or(0.0));
        each.sum()
    })
}

/// Bytes per second that one core copies from memory to memory.
#[must_use]
pub(super) fn copy_bytes_per_s(effort: Duration) -> f64 {
    copy(FAR_BYTES, effort)
}

/// Bytes per second that one core copies within its caches.
#[must_use]
pub(super) fn cached_copy_bytes_per_s(effort: Duration) -> f64 {
    copy(NEAR_BYTES, effort)
}

fn copy(bytes: usize, effort: Duration) -> f64 {
    let source = vec![1_u8; bytes];
    let mut target = vec![2_u8; bytes + PAGE_BYTES];
    // Half a page apart within their pages: on some CPUs a `rep movsb` to an address that is a few bytes
    // above its source, pages aside, is ten times slower.
    let source_at = source.as_ptr().addr() + PAGE_BYTES / 2;
    let start = source_at.wrapping_sub(target.as_ptr().addr()) % PAGE_BYTES;
    let target = &mut target[start..start + bytes];
    let ns = median_ns(effort, || {
        target.copy_from_slice(black_box(&source));
        black_box(&mut *target);
    });
    bytes as f64 / ns * 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_does_something() {
        let machine = Machine::here();
        assert!(machine.cores > 0 && !machine.cpu.is_empty());
        let effort = Duration::from_millis(1);
        for rate in
            [peak_flops(effort), peak_flops_together(2, effort), cached_copy_bytes_per_s(effort)]
        {
            assert!(rate.is_finite() && rate > 1e6, "{rate}");
        }
    }
}
