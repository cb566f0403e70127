//! Errors of a ring: why it cannot be set up, or must not be used further.

use super::RingShape;

/// Why a ring cannot be set up, or must not be used further. Small and `Copy`: it is made on hot paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// A slot holds a word that no party would have left there.
    #[error(
        "slot {slot} of the ring holds {word:#018x}, which no party writes: something wrote outside \
         its slot; stop the run and look for an environment with native code"
    )]
    Corrupt {
        /// Index of the slot, `block * groups + group`.
        slot: usize,
        /// What it holds.
        word: u64,
    },
    /// The counters do not add up to the generations.
    #[error(
        "the ring's counts are off by {surplus} (consumed + reclaimed + dropped - generations): a counter was \
         overwritten; stop the run and look for an environment with native code"
    )]
    CountMismatch {
        /// `consumed + reclaimed + dropped - generations`, modulo 2^32.
        surplus: u32,
    },
    /// A ring without slots, or with more than an address space holds.
    #[error("a ring of {} blocks with {} groups each cannot be made", .0.blocks, .0.groups)]
    Shape(RingShape),
    /// The words given do not fit the shape.
    #[error(
        "the ring needs {need} {what}, but was given {got}; map memory of the size it asks for"
    )]
    Memory {
        /// Which words.
        what: &'static str,
        /// How many the shape needs.
        need: usize,
        /// How many there are.
        got: usize,
    },
    /// An actor's number does not fit a slot word.
    #[error("actor number {actor} is too high; the ring tells at most 8192 actors apart")]
    ActorNumber {
        /// The number.
        actor: u16,
    },
}
