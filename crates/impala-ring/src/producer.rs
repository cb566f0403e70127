//! The producer (an actor): claims a slot, writes it, and commits it.

use std::time::Duration;

use super::error::RingError;
use super::layout::{BlockLayout, Layout};
use super::protocol::{Attempt, Claim, CommitError, Ring};
use super::slab::{Slab, SlabError, SlotMut};
use super::turns::OwnGroups;
use super::waiting::wait_for;
use super::word::Owner;
use impala_shm::{Access, futex, kill_point};

/// Why there is no slot to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// All slots were taken for all of the timeout: the learner is slower than the actors.
    #[error("no slot became free within the timeout; the learner is behind")]
    TimedOut,
    /// There were free slots, but for all of the timeout as much data in flight as the learner needs.
    #[error("as much data is in flight as the learner allows; it needs no more for now")]
    HeldBack,
    /// The run is over.
    #[error("the ring is closed; leave")]
    Closed,
    /// The ring is corrupt.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// One incarnation of one actor, as the ring knows it. Holds at most one slot.
///
/// Dropping it does not return the slot that it holds, if any: the supervisor does, after the process
/// is gone ([`Ring::reclaim`]).
#[derive(Debug)]
pub struct Producer<'m, L = BlockLayout> {
    slab: Slab<'m, L>,
    owner: Owner,
    claim: Option<Claim>,
    held_back: bool,
}

impl<'m, L: Layout> Producer<'m, L> {
    /// A producer that writes as `owner`. One process, one owner: a new process needs a new incarnation.
    /// (Two of one owner would still never share a slot; but a reclaim would take both slots back.)
    ///
    /// # Errors
    /// [`SlabError::ReadOnly`] if the payload may only be read here.
    pub fn new(slab: Slab<'m, L>, owner: Owner) -> Result<Self, SlabError> {
        match slab.access() {
            Access::ReadWrite => Ok(Self { slab, owner, claim: None, held_back: false }),
            Access::ReadOnly => Err(SlabError::ReadOnly),
        }
    }

    /// Gets a slot to write; sleeps for at most `timeout` until there is one. Zero only looks.
    ///
    /// None is given while as many are in flight as the learner allows ([`Ring::in_flight_limit`]).
    ///
    /// If the last grant was dropped without a commit, the same slot comes back, with what was written.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim(&mut self, timeout: Duration) -> Result<WriteGrant<'_, 'm, L>, ClaimError> {
        let ring = self.slab.ring();
        if ring.is_closed() {
            return Err(ClaimError::Closed);
        }
        if self.claim.is_none() {
            self.held_back = false;
            let Self { owner, held_back, .. } = self;
            let look = || look_for_slot(&ring, *owner, held_back);
            let reserve = ring.is_in_reserve(*owner);
            let event = if reserve { ring.reserve_needed() } else { ring.slot_free() };
            let found = wait_for(event, timeout, look);
            if !reserve && found.is_none() && ring.is_in_reserve(self.owner) {
                // It may have been woken for a slot that it no longer takes.
                ring.slot_free().notify(|count| {
                    futex::wake(count, 1);
                });
            }
            let nothing = if self.held_back { ClaimError::HeldBack } else { ClaimError::TimedOut };
            self.claim = Some(found.unwrap_or(Err(nothing))?);
        }
        Ok(WriteGrant { producer: self })
    }

    /// The slot that it holds, if there is one: a grant that was dropped without a commit, with what was written.
    pub const fn held(&mut self) -> Option<WriteGrant<'_, 'm, L>> {
        if self.claim.is_some() { Some(WriteGrant { producer: self }) } else { None }
    }

    /// Gets a slot of its `own` groups in the block whose turn it is ([`super::Consumer::open_next`]); sleeps for at most
    /// `timeout` until there is one. No two producers at work may own one group.
    ///
    /// If the last grant was dropped without a commit, the same slot comes back, with what was written.
    ///
    /// # Errors
    /// [`ClaimError`], but never [`ClaimError::HeldBack`].
    pub fn claim_in_turn(
        &mut self,
        own: OwnGroups,
        timeout: Duration,
    ) -> Result<WriteGrant<'_, 'm, L>, ClaimError> {
        let ring = self.slab.ring();
        if ring.is_closed() {
            return Err(ClaimError::Closed);
        }
        if self.claim.is_none() {
            self.held_back = false;
            let owner = self.owner;
            let found = wait_for(ring.block_opened(), timeout, || {
                if ring.is_closed() {
                    return Some(Err(ClaimError::Closed));
                }
                ring.try_claim_in_turn(owner, own).map_err(ClaimError::from).transpose()
            });
            self.claim = Some(found.unwrap_or(Err(ClaimError::TimedOut))?);
        }
        Ok(WriteGrant { producer: self })
    }

    /// Who it writes as.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// The ring that it writes into.
    #[must_use]
    pub const fn ring(&self) -> Ring<'m> {
        self.slab.ring()
    }
}

fn look_for_slot(
    ring: &Ring<'_>,
    owner: Owner,
    held_back: &mut bool,
) -> Option<Result<Claim, ClaimError>> {
    if ring.is_closed() {
        return Some(Err(ClaimError::Closed));
    }
    match ring.try_claim(owner) {
        Ok(Attempt::Claimed(claim)) => Some(Ok(claim)),
        Ok(Attempt::Full) => None,
        Ok(Attempt::HeldBack) => {
            *held_back = true;
            None
        }
        Err(error) => Some(Err(error.into())),
    }
}

/// A slot of this producer's own, until it is committed.
///
/// Dropped without [`WriteGrant::commit`], nothing is published and the producer keeps the slot for its
/// next claim: an actor that gives up an unroll simply overwrites it.
///
/// A grant cannot be copied, so a slot cannot be committed twice:
/// ```compile_fail,E0599
/// fn twice(grant: impala_ring::WriteGrant<'_, '_>) {
///     let again = grant.clone();
/// }
/// ```
#[derive(Debug)]
#[must_use = "what is written is lost unless it is committed"]
pub struct WriteGrant<'p, 'm, L = BlockLayout> {
    producer: &'p mut Producer<'m, L>,
}

impl<L: Layout> WriteGrant<'_, '_, L> {
    /// The slot's bytes.
    pub fn slot_mut(&mut self) -> SlotMut<'_, L> {
        let Producer { slab, claim, .. } = &mut *self.producer;
        let claim = claim.as_mut().expect("a grant lives only while its slot is claimed");
        slab.slot(claim)
    }

    /// Index of the slot, `block * groups + group`.
    #[must_use]
    pub fn index(&self) -> usize {
        self.producer.claim.as_ref().expect("a grant lives only while its slot is claimed").slot()
    }

    /// Number of its group in the block.
    #[must_use]
    pub fn group(&self) -> usize {
        self.index() % self.producer.ring().shape().groups
    }

    /// Whether its claim waited although slots were free, because enough data was in flight.
    #[must_use]
    pub const fn was_held_back(&self) -> bool {
        self.producer.held_back
    }

    /// Publishes the slot, and wakes the learner if its block is complete.
    ///
    /// # Errors
    /// [`CommitError::Fenced`]: the slot was taken back, so this process was believed dead. Leave at
    /// once. Nothing was published.
    pub fn commit(self) -> Result<(), CommitError> {
        let ring = self.producer.slab.ring();
        let claim = self.producer.claim.take();
        let claim = claim.expect("a grant lives only while its slot is claimed");
        let complete = ring.commit(claim)?;
        kill_point!("ring.committed");
        if complete {
            ring.block_ready().notify(futex::wake_all);
        }
        Ok(())
    }
}
