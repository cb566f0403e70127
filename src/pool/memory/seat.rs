//! Access to the ring of a run: each process's mapping of the payload (its [`Seat`]), and taking back the slots of dead
//! processes.
//!
//! The only file of the product that promises anything to the ring. Invariants, which the `SAFETY` comments
//! cite:
//! - **M1** The ring's words are private to [`PoolMemory`], which gives them away as a [`Ring`] alone. (Its
//!   counters are other words.)
//! - **M2** The payload is private as well. It is mapped as a [`Seat`], which only its slab can reach into;
//!   and read-only by `payload_to_read`, for `impala-soak`, which loads the headers of slots that are READY or
//!   HELD, and for the policy process, which loads words of slots whose holders wait for it, and uses nothing of what
//!   it loads if one of them does not any more (`inference`). A Gymnasium worker writes for the holder of a claim, who waits meanwhile (`gym`, G1 to G3).
//! - **M3** Ring, shape and layout of all seats are those of the one plan, made before the first fork.
//! - **M4** Seats are not inherited by a fork.
//! - **M5** A child makes producers of the owner that its role and incarnation name and of no other, and a
//!   consumer only if it is the learner. So, when there is a [`Dead`], which the supervisor makes when it has
//!   reaped the child and nobody of its group is left, nothing uses what that child held; and the next one is
//!   started after the supervisor's call returns. What plays these roles is in this crate, as are all callers.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};

use super::PoolMemory;
use crate::ring::{CrashRecord, LearnerLoss, Owner, RingError, SlabError};
use crate::shm::{Access, Inherit, Region, ShmError};
use crate::supervisor::{Dead, Role};
use crate::unroll::Slab;

/// One party's mapping of the payload.
#[derive(Debug)]
pub struct Seat<'p> {
    memory: &'p PoolMemory,
    payload: Region,
}

impl Seat<'_> {
    /// What a producer or a consumer is made of.
    ///
    /// # Errors
    /// [`SlabError`] if the plan was not of one configuration.
    pub fn slab(&mut self) -> Result<Slab<'_>, SlabError> {
        let ring = self.memory.ring()?;
        // SAFETY: the ring's words change through rings of this shape alone (M1, M3); the payload is reached
        // through slabs like this one, and for their holders (M2, M3); and no fork has this mapping (M4).
        unsafe { Slab::new(ring, &mut self.payload, &self.memory.plan.layout) }
    }

    /// Address of the first byte, to tell which slices lie in the payload and where.
    #[must_use]
    pub fn address(&self) -> usize {
        self.payload.address()
    }

    /// Bytes of the payload.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.payload.len_bytes()
    }
}

impl PoolMemory {
    /// Maps the payload for one party, with the rights of its role.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn seat(&self, access: Access) -> Result<Seat<'_>, ShmError> {
        Ok(Seat { memory: self, payload: self.payload.map(access, Inherit::No)? })
    }

    /// The payload, for the worker of an environment to map.
    #[must_use]
    pub fn payload_file(&self) -> BorrowedFd<'_> {
        self.payload.as_fd()
    }

    /// The payload, to load what nobody writes, or what is of no use if somebody does.
    ///
    /// # Errors
    /// If the kernel refuses.
    #[doc(hidden)]
    pub fn payload_to_read(&self) -> Result<Region, ShmError> {
        self.payload.map(Access::ReadOnly, Inherit::No)
    }

    /// Takes back the slot that a dead actor was filling; how many that was (0 or 1).
    ///
    /// # Errors
    /// If the ring is corrupt.
    ///
    /// # Panics
    /// If it was not an actor.
    pub fn actor_died(&self, dead: &Dead) -> Result<usize, RingError> {
        let Role::Actor(index) = dead.role() else { panic!("{dead:?} is not an actor") };
        let owner = Owner::new(index, dead.incarnation())?;
        let ring = self.ring()?;
        // SAFETY: all producers of this owner were in the dead process (M5).
        unsafe { ring.reclaim(owner) }
    }

    /// Returns what a dead learner held, as [`crate::ring::Ring::learner_died`] does.
    ///
    /// # Errors
    /// If the ring is corrupt.
    ///
    /// # Panics
    /// If it was not a learner, or `record` was made for another shape.
    pub fn learner_died(
        &self,
        dead: &Dead,
        record: &mut CrashRecord,
    ) -> Result<LearnerLoss, RingError> {
        assert_eq!(dead.role(), Role::Learner, "{dead:?} is not a learner");
        let ring = self.ring()?;
        // SAFETY: the only consumer was in the dead process, and its successor is not there yet (M5).
        unsafe { ring.learner_died(record) }
    }
}
