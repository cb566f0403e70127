//! Counters in shared memory: each block of words has one writer and any number of readers, and all accesses are
//! Relaxed.
//!
//! [`super::table`] names the words. A block survives its writer: a restarted actor goes on counting where the last one stopped.
//! Words are sampled one by one, so two counters of a snapshot may be some nanoseconds apart.

use super::table::{ActorCounter, Kind, LearnerCounter, Phase, PolicyCounter, Table, TaskCounter};
use impala_shm::sync::{AtomicU64, Ordering};
use std::marker::PhantomData;
use std::time::Duration;

/// Blocks start on multiples of this: two cache lines, because x86 prefetches lines in pairs.
const BLOCK_ALIGN_WORDS: usize = 16;

/// A block of shared words, read and written by the names of a [`Table`].
///
/// One thread of one process writes a block; everyone else only calls [`get`](Self::get),
/// [`get_f64`](Self::get_f64) and [`snapshot`](Self::snapshot).
#[derive(Debug)]
pub struct Counters<'m, T> {
    words: &'m [AtomicU64],
    table: PhantomData<T>,
}

/// An actor's block.
pub type ActorCounters<'m> = Counters<'m, ActorCounter>;
/// The block that the learner has for a task.
pub type TaskCounters<'m> = Counters<'m, TaskCounter>;
/// The policy process's block.
pub type PolicyCounters<'m> = Counters<'m, PolicyCounter>;
/// The learner's block.
pub type LearnerCounters<'m> = Counters<'m, LearnerCounter>;

impl<'m, T: Table> Counters<'m, T> {
    /// Words of a block, padded to whole pairs of cache lines.
    pub const WORDS: usize = T::DESCRIPTORS.len().next_multiple_of(BLOCK_ALIGN_WORDS);

    /// The block at the start of `words`. Zeroed words are zero counters.
    ///
    /// # Panics
    /// If there are fewer than [`WORDS`](Self::WORDS).
    #[must_use]
    pub fn new(words: &'m [AtomicU64]) -> Self {
        Self { words: &words[..Self::WORDS], table: PhantomData }
    }

    /// Block `index` of an array of blocks.
    ///
    /// # Panics
    /// If `words` ends before it does.
    #[must_use]
    pub fn nth(words: &'m [AtomicU64], index: usize) -> Self {
        Self::new(&words[index * Self::WORDS..])
    }

    /// Adds to a counter; wraps.
    #[inline]
    pub fn add(&self, counter: T, n: u64) {
        let word = &self.words[counter.index()];
        // One writer, so a load and a store do; a fetch_add would lock the line.
        word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds a time in nanoseconds.
    #[inline]
    pub fn add_time(&self, counter: T, time: Duration) {
        self.add(counter, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Sets a counter or a gauge.
    #[inline]
    pub fn set(&self, gauge: T, value: u64) {
        self.words[gauge.index()].store(value, Ordering::Relaxed);
    }

    /// The value of a counter or a gauge.
    #[inline]
    #[must_use]
    pub fn get(&self, counter: T) -> u64 {
        self.words[counter.index()].load(Ordering::Relaxed)
    }

    /// Sets a gauge of kind [`Kind::Real`].
    #[inline]
    pub fn set_f64(&self, gauge: T, value: f64) {
        debug_assert_eq!(T::DESCRIPTORS[gauge.index()].kind, Kind::Real, "{gauge:?}");
        self.set(gauge, value.to_bits());
    }

    /// The value of a gauge of kind [`Kind::Real`].
    #[inline]
    #[must_use]
    pub fn get_f64(&self, gauge: T) -> f64 {
        debug_assert_eq!(T::DESCRIPTORS[gauge.index()].kind, Kind::Real, "{gauge:?}");
        f64::from_bits(self.get(gauge))
    }

    /// All words as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<T> {
        let mut words = T::ZERO;
        for (value, word) in words.as_mut().iter_mut().zip(self.words) {
            *value = word.load(Ordering::Relaxed);
        }
        Snapshot(words)
    }
}

impl Counters<'_, ActorCounter> {
    /// Says what the actor is about to do.
    #[inline]
    pub fn set_phase(&self, phase: Phase) {
        self.set(ActorCounter::Phase, phase as u64);
    }

    /// What the actor is doing; `None` if the word holds no phase.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        Phase::from_code(self.get(ActorCounter::Phase))
    }
}

impl Counters<'_, PolicyCounter> {
    /// Says what the policy process is about to do.
    pub fn set_phase(&self, phase: Phase) {
        self.set(PolicyCounter::Phase, phase as u64);
    }

    /// What the policy process is doing; `None` if the word holds no phase.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        Phase::from_code(self.get(PolicyCounter::Phase))
    }
}

impl Counters<'_, LearnerCounter> {
    /// Says what the learner is about to do.
    pub fn set_phase(&self, phase: Phase) {
        self.set(LearnerCounter::Phase, phase as u64);
    }

    /// What the learner is doing; `None` if the word holds no phase.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        Phase::from_code(self.get(LearnerCounter::Phase))
    }
}

/// The words of a block at one time (`[u64; N]` in the order of the table).
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<T: Table>(T::Words);

impl<T: Table> Default for Snapshot<T> {
    fn default() -> Self {
        Self(T::ZERO)
    }
}

impl<T: Table> Snapshot<T> {
    /// The raw words.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        self.0.as_ref()
    }

    /// The value of a counter or a gauge.
    #[must_use]
    pub fn get(&self, counter: T) -> u64 {
        self.words()[counter.index()]
    }

    /// The value of a gauge of kind [`Kind::Real`].
    #[must_use]
    pub fn get_f64(&self, gauge: T) -> f64 {
        f64::from_bits(self.get(gauge))
    }

    /// Counters as what was added since `earlier`, gauges as they are.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut words = self.0;
        let pairs = words.as_mut().iter_mut().zip(earlier.words());
        for ((now, before), descriptor) in pairs.zip(T::DESCRIPTORS) {
            if descriptor.kind == Kind::Counter {
                *now = now.wrapping_sub(*before);
            }
        }
        Self(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeroed(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn blocks_of_an_array_do_not_touch() {
        let words = zeroed(3 * ActorCounters::WORDS);
        assert_eq!(ActorCounters::WORDS % BLOCK_ALIGN_WORDS, 0);
        let actors: Vec<_> = (0..3).map(|actor| ActorCounters::nth(&words, actor)).collect();
        for &word in ActorCounter::ALL {
            actors[1].add(word, 1);
            actors[1].add(word, 2);
        }
        assert!(actors[1].snapshot().words().iter().all(|&value| value == 3));
        for actor in [0, 2] {
            assert!(actors[actor].snapshot().words().iter().all(|&value| value == 0));
        }
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn a_block_beyond_the_words_is_refused() {
        let words = zeroed(2 * LearnerCounters::WORDS - 1);
        let _ = LearnerCounters::nth(&words, 1);
    }

    #[test]
    fn kinds_are_kept_apart() {
        let words = zeroed(LearnerCounters::WORDS);
        let learner = LearnerCounters::new(&words);
        learner.add(LearnerCounter::Frames, u64::MAX);
        learner.set_f64(LearnerCounter::Entropy, -0.25);
        learner.set(LearnerCounter::LagMax, 7);
        let earlier = learner.snapshot();
        learner.add(LearnerCounter::Frames, 11);
        let now = learner.snapshot();
        assert_eq!(now.get(LearnerCounter::Frames), 10, "wraps");
        let interval = now.since(&earlier);
        assert_eq!(interval.get(LearnerCounter::Frames), 11);
        assert_eq!(interval.get(LearnerCounter::LagMax), 7);
        assert_eq!(interval.get_f64(LearnerCounter::Entropy).to_bits(), (-0.25_f64).to_bits());
    }

    #[test]
    fn phases_are_codes() {
        let words = zeroed(ActorCounters::WORDS);
        let actor = ActorCounters::new(&words);
        assert_eq!(actor.phase(), Some(Phase::Init));
        for phase in Phase::ALL {
            actor.set_phase(phase);
            assert_eq!(actor.phase(), Some(phase));
        }
        actor.set(ActorCounter::Phase, Phase::ALL.len() as u64);
        assert_eq!(actor.phase(), None);
    }
}
