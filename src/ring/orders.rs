//! Every memory ordering of the ring, in one table.
//!
//! The protocol is generic over this table, so that the loom tests can run the product's own code with
//! one entry weakened at a time, and show that loom then finds the fault.

use crate::sync::{Ordering, fence};

/// The orderings that the protocol uses; the defaults are those of the product.
///
/// Everything that is not named here is `Relaxed`: the search for a FREE slot (its CAS decides), the
/// learner's READY -> HELD (its Acquire look at the very word came before, and a read-modify-write continues
/// the release sequence of the commit), the supervisor's HELD -> READY (so does this one, and the learner that may
/// see it is started after it), the supervisor's loads (the reap came before), counters and waiter counts.
pub trait Orders: Copy + std::fmt::Debug + 'static {
    /// CAS FREE -> CLAIMED in `Ring::claim`.
    ///
    /// Acquire end of every return to FREE: `Ring::release` (Release), `Ring::take_back` (Release) and
    /// `Ring::return_held` (Release). Without it, new payload could overtake the reads of the old.
    const CLAIM: Ordering = Ordering::Acquire;

    /// CAS CLAIMED -> READY in `Ring::commit`: the payload before it is published.
    // pairs with the Acquire load in `Ring::oldest_ready_block`.
    const COMMIT: Ordering = Ordering::Release;

    /// The learner's loads of each word of a block in `Ring::oldest_ready_block` and `Ring::take`.
    ///
    /// Acquire end of `Ring::commit` (Release).
    const LOOK: Ordering = Ordering::Acquire;

    /// Store HELD -> FREE in `Ring::release`: the learner's reads are over.
    // pairs with the Acquire CAS in `Ring::claim`.
    const RELEASE: Ordering = Ordering::Release;

    /// CAS CLAIMED -> FREE in `Ring::take_back`: what the reaped owner wrote came before.
    // pairs with the Acquire CAS in `Ring::claim`.
    const TAKE_BACK: Ordering = Ordering::Release;

    /// CAS HELD -> FREE in `Ring::return_held`: what the reaped learner read came before.
    // pairs with the Acquire CAS in `Ring::claim`.
    const DROP: Ordering = Ordering::Release;

    /// Increment of a bell in `Bell::ring_always`: the closing of the ring came before. (A change of a
    /// slot has its fence before `Bell::ring`, which would do.)
    // pairs with the Acquire load in `Bell::wait`.
    const RING: Ordering = Ordering::Release;

    /// Load of a bell in `Bell::wait`. Acquire end of `Bell::ring` (Release).
    const HEAR: Ordering = Ordering::Acquire;

    /// Between a change of a slot and the look whether anybody must be told, and between an entry among
    /// the waiters and the last look before sleep: a store before a load, on both sides. The module
    /// `bell` has the cases.
    fn change_then_look() {
        fence(Ordering::SeqCst);
    }
}

/// The orderings of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sound;

impl Orders for Sound {}
