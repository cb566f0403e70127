//! A histogram in shared memory, with one writer: four buckets for each power of two.
//!
//! Values below 8 have a bucket each; above, a bucket is at most a quarter of its lower bound wide, so a
//! percentile is at most 25 % above the true one.

use impala_shm::sync::{AtomicU64, Ordering};

const SUB_BITS: u32 = 2;
const SUB_BUCKETS: usize = 1 << SUB_BITS;

/// Buckets: four below 4, then four for each power of two from 4 to 2^63.
pub const BUCKETS: usize = SUB_BUCKETS * 63;

const SUM_WORD: usize = BUCKETS;
const MAX_WORD: usize = BUCKETS + 1;

/// Words of a histogram: 2 KiB.
pub const HISTOGRAM_WORDS: usize = 256;

const _: () = assert!(MAX_WORD < HISTOGRAM_WORDS);

/// The bucket of a value.
#[must_use]
pub(crate) const fn bucket_of(value: u64) -> usize {
    if value < SUB_BUCKETS as u64 {
        return value as usize;
    }
    let exponent = value.ilog2();
    let sub = (value >> (exponent - SUB_BITS)) as usize % SUB_BUCKETS;
    (exponent - SUB_BITS + 1) as usize * SUB_BUCKETS + sub
}

/// The smallest and the largest value of a bucket.
///
/// # Panics
/// If there is no such bucket.
#[must_use]
pub(crate) const fn bucket_range(bucket: usize) -> (u64, u64) {
    assert!(bucket < BUCKETS, "no such bucket");
    let (octave, sub) = (bucket / SUB_BUCKETS, (bucket % SUB_BUCKETS) as u64);
    if octave == 0 {
        return (sub, sub);
    }
    let shift = octave - 1;
    let low = (SUB_BUCKETS as u64 + sub) << shift;
    (low, low + ((1 << shift) - 1))
}

/// A histogram over [`HISTOGRAM_WORDS`] words. One thread of one process records; others take
/// snapshots.
#[derive(Debug)]
pub struct Histogram<'m> {
    words: &'m [AtomicU64],
}

impl<'m> Histogram<'m> {
    /// The histogram at the start of `words`. Zeroed words are an empty one.
    ///
    /// # Panics
    /// If there are fewer than [`HISTOGRAM_WORDS`].
    #[must_use]
    pub fn new(words: &'m [AtomicU64]) -> Self {
        Self { words: &words[..HISTOGRAM_WORDS] }
    }

    /// Counts a value.
    #[inline]
    pub fn record(&self, value: u64) {
        // One writer, so a load and a store do; a fetch_add would lock the line.
        let add = |word: usize, n: u64| {
            let word = &self.words[word];
            word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        };
        add(bucket_of(value), 1);
        add(SUM_WORD, value);
        if value > self.words[MAX_WORD].load(Ordering::Relaxed) {
            self.words[MAX_WORD].store(value, Ordering::Relaxed);
        }
    }

    /// The counts as they are now, word by word.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let load = |word: usize| self.words[word].load(Ordering::Relaxed);
        HistogramSnapshot {
            buckets: Box::new(std::array::from_fn(load)),
            sum: load(SUM_WORD),
            max: load(MAX_WORD),
        }
    }
}

/// The counts of a [`Histogram`] at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    buckets: Box<[u64; BUCKETS]>,
    sum: u64,
    max: u64,
}

impl Default for HistogramSnapshot {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), sum: 0, max: 0 }
    }
}

impl HistogramSnapshot {
    /// Values counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, &n| sum.wrapping_add(n))
    }

    /// Sum of the values; wraps.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Largest value ever recorded.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Exact mean; `None` if nothing was counted.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean to 53 bits is exact enough")]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// The value that a fraction `q` (0 to 1) of the values do not exceed, rounded up to the end of its
    /// bucket and at most [`max`](Self::max); `None` if nothing was counted.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank between 1 and the count"
    )]
    pub fn percentile(&self, q: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0_u64;
        let found = self.buckets.iter().position(|&n| {
            seen = seen.saturating_add(n);
            seen >= rank
        })?;
        Some(bucket_range(found).1.min(self.max))
    }

    /// What was counted since `earlier`; [`max`](Self::max) stays that of all time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets.clone();
        for (now, before) in buckets.iter_mut().zip(earlier.buckets.iter()) {
            *now = now.wrapping_sub(*before);
        }
        Self { buckets, sum: self.sum.wrapping_sub(earlier.sum), max: self.max }
    }

    /// Buckets that are not empty: smallest value, largest value, count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.buckets.iter().enumerate().filter(|&(_, &n)| n > 0).map(|(bucket, &n)| {
            let (low, high) = bucket_range(bucket);
            (low, high, n)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zeroed() -> Vec<AtomicU64> {
        (0..HISTOGRAM_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn buckets_tile_all_values() {
        let mut next = 0_u64;
        for bucket in 0..BUCKETS {
            let (low, high) = bucket_range(bucket);
            assert_eq!(low, next, "bucket {bucket}");
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            assert!(high - low <= low / 4);
            next = high.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last bucket ends at u64::MAX");
    }

    #[test]
    fn an_empty_histogram_has_no_percentile() {
        let words = zeroed();
        let snapshot = Histogram::new(&words).snapshot();
        assert_eq!(snapshot, HistogramSnapshot::default());
        assert_eq!((snapshot.count(), snapshot.mean(), snapshot.percentile(0.5)), (0, None, None));
    }

    #[test]
    fn small_values_are_exact_and_intervals_subtract() {
        let words = zeroed();
        let histogram = Histogram::new(&words);
        [1, 1, 2, 6].into_iter().for_each(|value| histogram.record(value));
        let first = histogram.snapshot();
        assert_eq!(first.percentile(0.5), Some(1));
        assert_eq!(first.percentile(0.75), Some(2));
        assert_eq!(first.percentile(1.0), Some(6));
        assert_eq!(first.mean(), Some(2.5));
        histogram.record(3);
        let interval = histogram.snapshot().since(&first);
        assert_eq!((interval.count(), interval.sum(), interval.max()), (1, 3, 6));
        assert_eq!(interval.buckets().collect::<Vec<_>>(), [(3, 3, 1)]);
    }

    proptest! {
        #[test]
        fn percentiles_are_within_a_quarter(
            mut values in proptest::collection::vec(0..1_u64 << 40, 1..200),
            q in 0.0..=1.0_f64,
        ) {
            let words = zeroed();
            let histogram = Histogram::new(&words);
            values.iter().for_each(|&value| histogram.record(value));
            let snapshot = histogram.snapshot();
            values.sort_unstable();
            let rank = (1..=values.len()).find(|&rank| {
                rank as f64 >= q * values.len() as f64
            });
            let exact = values[rank.expect("q is at most 1") - 1];
            let estimate = snapshot.percentile(q).expect("not empty");
            prop_assert!(exact <= estimate && estimate - exact <= exact / 4);
            prop_assert_eq!(snapshot.max(), values[values.len() - 1]);
            prop_assert_eq!(snapshot.sum(), values.iter().sum::<u64>());
            prop_assert_eq!(snapshot.count(), values.len() as u64);
        }
    }
}
