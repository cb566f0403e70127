//! Copies f32 numbers into atomic words and back, and computes their checksum.
//!
//! The compiler does not vectorise atomic accesses, so the loops move 8 bytes at a time and are
//! unrolled by [`LANES`] to keep the loop's own cost and the checksum's latency out of the way.

use crate::sync::{AtomicU64, Ordering, ReadWord};

const LANES: usize = 8;

/// One hash a lane (rotate, xor, multiply, as in `FxHash`), so that changed and displaced words show.
/// Without the rotation the highest bit, a sign, would never reach the others, and -x and x could
/// change places. Not made to resist intent.
type Lanes = [u64; LANES];

const START: Lanes = [1; LANES];

#[inline(always)]
const fn mix(sum: u64, word: u64) -> u64 {
    // Odd, so that no information is lost in the product.
    (sum.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The sum of all lanes, after the words that fill no whole group.
fn finish(lanes: Lanes, tail: impl Iterator<Item = u64>) -> u64 {
    tail.chain(lanes).fold(0, mix)
}

fn word_of(pair: [f32; 2]) -> u64 {
    bytemuck::cast(pair)
}

fn pair_of(word: u64) -> [f32; 2] {
    bytemuck::cast(word)
}

/// Stores `values` two to a word, and returns the checksum of the words.
pub(super) fn store(values: &[f32], words: &[AtomicU64]) -> u64 {
    assert_eq!(words.len(), values.len().div_ceil(2), "words for the values");
    let (pairs, last) = values.as_chunks::<2>();
    let (pair_groups, pairs_left) = pairs.as_chunks::<LANES>();
    let (words, words_left) = words.split_at(pair_groups.len() * LANES);
    let (word_groups, _) = words.as_chunks::<LANES>();
    let mut lanes = START;
    for (group, words) in pair_groups.iter().zip(word_groups) {
        for lane in 0..LANES {
            let word = word_of(group[lane]);
            words[lane].store(word, Ordering::Relaxed);
            lanes[lane] = mix(lanes[lane], word);
        }
    }
    let padded = last.first().map(|&value| [value, 0.0]);
    let tail = pairs_left.iter().copied().chain(padded).zip(words_left).map(|(pair, word)| {
        word.store(word_of(pair), Ordering::Relaxed);
        word_of(pair)
    });
    finish(lanes, tail)
}

/// Loads `values` from words, and returns the checksum of the words.
pub(super) fn load(words: &[ReadWord], values: &mut [f32]) -> u64 {
    assert_eq!(words.len(), values.len().div_ceil(2), "words for the values");
    let (pairs, last) = values.as_chunks_mut::<2>();
    let (pair_groups, pairs_left) = pairs.as_chunks_mut::<LANES>();
    let (words, words_left) = words.split_at(pair_groups.len() * LANES);
    let (word_groups, _) = words.as_chunks::<LANES>();
    let mut lanes = START;
    for (group, words) in pair_groups.iter_mut().zip(word_groups) {
        for lane in 0..LANES {
            let word = words[lane].load();
            group[lane] = pair_of(word);
            lanes[lane] = mix(lanes[lane], word);
        }
    }
    let mut padded = [0.0; 2];
    let pairs_left = pairs_left.iter_mut().chain(last.first().map(|_| &mut padded));
    let tail = pairs_left.zip(words_left).map(|(pair, word)| {
        let word = word.load();
        *pair = pair_of(word);
        word
    });
    let checksum = finish(lanes, tail);
    if let [value] = last {
        *value = padded[0];
    }
    checksum
}

/// Where the first value that is NaN or infinite stands.
pub(super) fn first_non_finite(values: &[f32]) -> Option<usize> {
    /// Values looked at before the question whether one was bad; within, the loop vectorises.
    const CHUNK: usize = 1024;
    const EXPONENT: u32 = f32::INFINITY.to_bits();
    let bad = |value: &f32| value.to_bits() & EXPONENT == EXPONENT;
    for (nth, chunk) in values.chunks(CHUNK).enumerate() {
        if chunk.iter().fold(false, |any, value| any | bad(value)) {
            return chunk.iter().position(bad).map(|index| nth * CHUNK + index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words_for(values: &[f32]) -> Vec<AtomicU64> {
        (0..values.len().div_ceil(2)).map(|_| AtomicU64::new(!0)).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn what_is_stored_is_loaded(values in proptest::collection::vec(any::<f32>(), 0..70)) {
            let words = words_for(&values);
            let stored = store(&values, &words);
            let mut loaded = vec![f32::NAN; values.len()];
            prop_assert_eq!(load(ReadWord::of(&words), &mut loaded), stored);
            prop_assert_eq!(bits(&loaded), bits(&values));
        }

        #[test]
        fn a_flipped_bit_or_a_swap_changes_the_checksum(
            values in proptest::collection::vec(any::<f32>(), 3..70),
            at in any::<prop::sample::Index>(),
            other in any::<prop::sample::Index>(),
            bit in 0..64_u32,
        ) {
            let words = words_for(&values);
            let stored = store(&values, &words);
            let (a, b) = (at.index(words.len()), other.index(words.len()));
            let mut loaded = values.clone();
            words[a].fetch_xor(1 << bit, Ordering::Relaxed);
            prop_assert_ne!(load(ReadWord::of(&words), &mut loaded), stored);
            words[a].fetch_xor(1 << bit, Ordering::Relaxed);
            let [at_a, at_b] = [a, b].map(|i| words[i].load(Ordering::Relaxed));
            words[a].store(at_b, Ordering::Relaxed);
            words[b].store(at_a, Ordering::Relaxed);
            prop_assert_eq!(load(ReadWord::of(&words), &mut loaded) == stored, at_a == at_b);
        }

        #[test]
        fn the_first_non_finite_is_found(
            len in 1..5_000_usize,
            at in any::<prop::sample::Index>(),
            bad in prop::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        ) {
            let mut values = vec![f32::MAX; len];
            prop_assert_eq!(first_non_finite(&values), None);
            let index = at.index(len);
            values[index] = bad;
            values[len - 1] = if index == len - 1 { bad } else { f32::NAN };
            prop_assert_eq!(first_non_finite(&values), Some(index));
        }
    }

    #[test]
    fn signs_that_change_places_change_the_checksum() {
        let mut values = [0.0; 4 * LANES];
        values[2 * LANES + 1] = -0.0;
        let words = words_for(&values);
        let stored = store(&values, &words);
        values.swap(1, 2 * LANES + 1);
        assert_ne!(store(&values, &words), stored);
    }

    #[test]
    fn finite_extremes_pass() {
        let values = [0.0, -0.0, f32::MIN, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)];
        assert_eq!(first_non_finite(&values), None);
        assert_eq!(first_non_finite(&[]), None);
    }
}
