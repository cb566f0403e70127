//! The table of all memory orderings that the ring uses.
//!
//! The protocol is generic over this table, so that the loom tests can run the product's own code with
//! one entry weakened at a time, and show that loom then finds the fault.

use impala_shm::event_count;
use impala_shm::sync::Ordering;

/// The orderings that the protocol uses; the defaults are those of the product.
///
/// Everything that is not named here is `Relaxed`: the search for a FREE slot (its CAS decides), the
/// learner's READY -> HELD (its Acquire look at the very word came before, and a read-modify-write continues
/// the release sequence of the commit), the supervisor's HELD -> READY (so does this one, and the learner that may
/// see it is started after it), the supervisor's loads (the reap came before), counters and waiter counts.
///
/// Those of waiting are a table of their own, [`impala_shm::event_count::Orders`]: its `change_then_look` also stands
/// between a change of a slot and the look whether anybody must be told.
pub trait Orders: event_count::Orders {
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

    /// Store of an open turn in `Ring::open_next_turn`: what its block is to be filled with came before.
    // pairs with the Acquire load of the turn in `Ring::try_claim_in_turn`.
    const OPEN: Ordering = Ordering::Release;

    /// First load of the turn in `Ring::try_claim_in_turn`. Acquire end of [`Orders::OPEN`].
    const LOOK_AT_TURN: Ordering = Ordering::Acquire;

    /// Load of a slot between two loads of the turn in `Ring::try_claim_in_turn`.
    ///
    /// Acquire end of `Ring::release` (Release), so that the second one sees that the turn has risen.
    const LOOK_IN_TURN: Ordering = Ordering::Acquire;

    /// CAS CLAIMED -> FREE in `Ring::take_back`: what the reaped owner wrote came before.
    // pairs with the Acquire CAS in `Ring::claim`.
    const TAKE_BACK: Ordering = Ordering::Release;

    /// CAS HELD -> FREE in `Ring::return_held`: what the reaped learner read came before.
    // pairs with the Acquire CAS in `Ring::claim`.
    const DROP: Ordering = Ordering::Release;
}

/// The orderings of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultOrders;

impl event_count::Orders for DefaultOrders {}

impl Orders for DefaultOrders {}
