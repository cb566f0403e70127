//! The lock-free protocol of the ring, on slot words and indices alone: it never accesses the payload.
//!
//! All safe, and generic over [`Orders`], so that loom runs this very code. Each step is one atomic
//! operation on one word: a party that dies between two steps leaves nothing half done. The tokens
//! [`Claim`] and [`Held`] can be minted only here, cannot be copied, and are what `slab` wants to see
//! before it hands out bytes.
//!
//! **Which slot a claim takes.** Of the blocks with a FREE slot, the one with the most CLAIMED and READY
//! slots; among equals, so also among empty blocks, the one with the lowest index. Within a block the
//! search begins at a place that depends on the actor, so that actors rarely meet. Consequences:
//! - *Lag.* Open blocks are filled before new ones are opened, and a hole (left by a reclaimed owner)
//!   is taken by the very next claim. Data waits in an unfinished block only while blocks that are
//!   nearer to completion are filled: at most `K - 1` blocks' worth of claims.
//! - *Reuse.* A learner that keeps up leaves block 0 free again and again, so the same memory stays in
//!   cache. The others are for when it does not keep up.
//! - *Fairness.* None is enforced among actors: the slots go to those who ask. A fast actor fills more of
//!   them than a slow one, which is what throughput wants; the learner sees that mixture.
//! - *Progress.* A claim is lost only to another claim that won, so some actor always advances.
//!
//! **Admission.** More data in flight than the learner needs only grows old. So a claim is refused while
//! the slots that are not FREE are as many as [`Ring::in_flight_limit`], which the learner sets. The bound
//! is soft: actors that look at the same moment may pass it together, by one slot each.
//! No more actors than that limit can have a slot, so actors with a higher index are the *reserve*: they sleep
//! apart, and the others go on with their episodes instead of taking turns with them.

use std::marker::PhantomData;

use super::error::RingError;
use super::orders::{DefaultOrders, Orders};
use super::word::{Owner, SlotWord, State, Transition, generation_of, says_ready};
use impala_shm::sync::{AtomicU32, AtomicU64, Ordering};
use impala_shm::{EventCount, kill_point};

/// Words from one slot or counter to the next: a cache line each. loom pays for each word.
const WORD_STRIDE: usize = if cfg!(loom) { 1 } else { 8 };
/// The same for the 32-bit words that parties wait on.
const WAIT_STRIDE: usize = if cfg!(loom) { 1 } else { 16 };

/// How many slots a ring has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RingShape {
    /// K: blocks.
    pub blocks: usize,
    /// G: groups (slots) of a block.
    pub groups: usize,
}

impl RingShape {
    /// `K * G`.
    #[must_use]
    pub const fn slots(self) -> usize {
        self.blocks.saturating_mul(self.groups)
    }

    const fn is_possible(self) -> bool {
        self.slots() > 0 && self.slots() < usize::MAX / (16 * WORD_STRIDE)
    }
}

/// Counters behind the slot words; each has one writer at a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counter {
    /// Slots that the learner returned after use. The supervisor corrects it after a learner's death.
    Consumed,
    /// Slots taken back from dead actors. Supervisor.
    Reclaimed,
    /// Slots thrown away because they killed two learners. Supervisor.
    Dropped,
    /// Slots returned to READY after a learner's death. Supervisor.
    Requeued,
    /// Slots that may be in flight; 0 for all. Learner.
    InFlightLimit,
    /// Which block is open, where blocks are filled in turn (`turns`). Learner.
    Turn,
}

const COUNTERS: usize = 6;

/// Indices of the 32-bit words.
#[derive(Debug, Clone, Copy)]
enum WaitWord {
    BlockReady,
    BlockReadyWaiters,
    SlotFree,
    SlotFreeWaiters,
    ReserveNeeded,
    ReserveNeededWaiters,
    BlockOpened,
    BlockOpenedWaiters,
    Closed,
}

const WAIT_WORDS: usize = 9;

/// The ring: a handle to its words, which may lie in memory that other processes share.
///
/// Copies are the same ring. All that is reachable from here without a `Slab` is indices and counts, so safe
/// code may make a ring over any words; that they guard bytes is what [`super::Slab::new`] has promised to it.
#[derive(Debug, Clone, Copy)]
pub struct Ring<'m, O: Orders = DefaultOrders> {
    words: &'m [AtomicU64],
    waits: &'m [AtomicU32],
    shape: RingShape,
    orders: PhantomData<O>,
}

/// A slot that is CLAIMED by the holder of this token.
#[derive(Debug)]
#[must_use = "a claimed slot stays claimed until it is committed"]
pub(super) struct Claim {
    slot: usize,
    word: SlotWord,
}

impl Claim {
    pub(super) const fn slot(&self) -> usize {
        self.slot
    }
}

/// What came of asking for a slot.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The slot is the asker's.
    Claimed(Claim),
    /// Every slot is in use.
    Full,
    /// There are free slots, but as many in flight as the learner allows.
    HeldBack,
}

/// A block whose slots are all HELD by the holder of this token.
#[derive(Debug)]
#[must_use = "a held block stays held until it is released"]
pub(super) struct Held {
    block: usize,
}

impl Held {
    pub(super) const fn block(&self) -> usize {
        self.block
    }
}

/// A slot that its owner can no longer commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The slot was taken back, so somebody believes that this process is dead.
    #[error("slot {slot} was taken back before it was committed; leave without touching it again")]
    Fenced {
        /// Index of the slot.
        slot: usize,
    },
    /// The slot's word was overwritten.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// Which complete block was seen first: private to the learner.
///
/// A block that was complete at an earlier look is older than one that was not, so taking the lowest
/// number takes the oldest as far as the learner can know, and none waits for ever: only the `K - 1`
/// others can have been seen before it.
#[derive(Debug)]
pub(super) struct FirstSeen {
    look: u64,
    blocks: Vec<Option<u64>>,
}

impl FirstSeen {
    pub(super) fn new(shape: RingShape) -> Self {
        Self { look: 0, blocks: vec![None; shape.blocks] }
    }
}

/// What a look for a free slot found.
enum Search {
    Found(usize, SlotWord),
    Full,
    HeldBack,
}

impl<'m, O: Orders> Ring<'m, O> {
    /// A handle to the ring in `words` and `waits`; all zero is an empty ring.
    ///
    /// `words` should start on a cache line.
    ///
    /// # Errors
    /// [`RingError::Shape`] or [`RingError::Memory`] if shape and memory do not fit each other.
    pub fn new(
        words: &'m [AtomicU64],
        waits: &'m [AtomicU32],
        shape: RingShape,
    ) -> Result<Self, RingError> {
        if !shape.is_possible() {
            return Err(RingError::Shape(shape));
        }
        for (what, need, got) in [
            ("64-bit words", Self::word_count(shape), words.len()),
            ("32-bit words", Self::wait_count(), waits.len()),
        ] {
            if need != got {
                return Err(RingError::Memory { what, need, got });
            }
        }
        Ok(Self { words, waits, shape, orders: PhantomData })
    }

    /// 64-bit words that a ring of this shape needs.
    #[must_use]
    pub const fn word_count(shape: RingShape) -> usize {
        shape.slots().saturating_add(COUNTERS).saturating_mul(WORD_STRIDE)
    }

    /// 32-bit words that any ring needs.
    #[must_use]
    pub const fn wait_count() -> usize {
        WAIT_WORDS * WAIT_STRIDE
    }

    /// K and G.
    #[must_use]
    pub const fn shape(&self) -> RingShape {
        self.shape
    }

    /// Takes a FREE slot for `owner`, if one can be seen and the learner needs more data.
    pub(super) fn try_claim(&self, owner: Owner) -> Result<Attempt, RingError> {
        if self.is_in_reserve(owner) {
            return Ok(Attempt::HeldBack);
        }
        loop {
            let (slot, free) = match self.best_free_slot(owner)? {
                Search::Found(slot, free) => (slot, free),
                Search::Full => return Ok(Attempt::Full),
                Search::HeldBack => return Ok(Attempt::HeldBack),
            };
            if let Some(claim) = self.claim_free(slot, free, owner)? {
                return Ok(Attempt::Claimed(claim));
            }
            // Another actor was faster; what it left may look different now.
        }
    }

    /// Takes a slot that was seen `free`, if it still is.
    pub(super) fn claim_free(
        &self,
        slot: usize,
        free: SlotWord,
        owner: Owner,
    ) -> Result<Option<Claim>, RingError> {
        let word = self.next(slot, free, Transition::Claim(owner))?;
        Ok(self.exchange(slot, free, word, O::CLAIM).is_ok().then_some(Claim { slot, word }))
    }

    /// [`Self::try_claim`] for models that set no limit.
    #[cfg(all(test, loom))]
    pub(super) fn claim(&self, owner: Owner) -> Result<Option<Claim>, RingError> {
        Ok(match self.try_claim(owner)? {
            Attempt::Claimed(claim) => Some(claim),
            Attempt::Full | Attempt::HeldBack => None,
        })
    }

    /// Slots that may be in flight (CLAIMED, READY or HELD) before claims are refused.
    #[must_use]
    pub fn in_flight_limit(&self) -> usize {
        let limit = self.counter(Counter::InFlightLimit).load(Ordering::Relaxed);
        usize::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX)
    }

    /// Sets that limit; at least a block, or no block would ever be complete. For the learner alone.
    pub(super) fn store_in_flight_limit(&self, slots: usize) {
        let limit = slots.max(self.shape.groups) as u64;
        self.counter(Counter::InFlightLimit).store(limit, Ordering::Relaxed);
    }

    /// Whether this actor is not needed for now.
    pub(super) fn is_in_reserve(&self, owner: Owner) -> bool {
        usize::from(owner.actor()) >= self.in_flight_limit()
    }

    /// Whether actors sleep until they may claim; a hint, also true after one was killed in its sleep.
    #[must_use]
    pub fn has_waiting_actors(&self) -> bool {
        self.slot_free().has_waiters() || self.reserve_needed().has_waiters()
    }

    /// Publishes a slot. `true` if the block may now be complete, so that the learner should be told.
    ///
    /// Of two actors that commit the last two slots at once at least one sees the block complete: each
    /// changes its word, fences, and looks at the other's.
    pub(super) fn commit(&self, claim: Claim) -> Result<bool, CommitError> {
        let Claim { slot, word } = claim;
        let ready = self.next(slot, word, Transition::Commit(word.owner))?;
        self.exchange(slot, word, ready, O::COMMIT).map_err(|seen| {
            match SlotWord::decode(seen) {
                Some(_) => CommitError::Fenced { slot },
                None => RingError::Corrupt { slot, word: seen }.into(),
            }
        })?;
        O::change_then_look();
        let block = slot / self.shape.groups;
        // Only a hint, so a corrupt neighbour is left to the learner to find.
        Ok(self.slots_of(block).all(|slot| says_ready(self.slot(slot).load(Ordering::Relaxed))))
    }

    /// The complete block that was seen first.
    pub(super) fn oldest_ready_block(
        &self,
        seen: &mut FirstSeen,
    ) -> Result<Option<usize>, RingError> {
        seen.look += 1;
        for block in 0..self.shape.blocks {
            let mut complete = true;
            for slot in self.slots_of(block) {
                complete = self.read(slot, O::LOOK)?.state == State::Ready;
                if !complete {
                    break;
                }
            }
            seen.blocks[block] = complete.then(|| seen.blocks[block].unwrap_or(seen.look));
        }
        let complete = (0..self.shape.blocks).filter(|&block| seen.blocks[block].is_some());
        let oldest = complete.min_by_key(|&block| seen.blocks[block]);
        if let Some(block) = oldest {
            // It is taken now; when it is complete again, that is something new.
            seen.blocks[block] = None;
        }
        Ok(oldest)
    }

    /// Takes a block that `oldest_ready_block` gave.
    pub(super) fn take(&self, block: usize) -> Result<Held, RingError> {
        for slot in self.slots_of(block) {
            // LOOK again: another consumer may have had this block since, which is wrong, but no reason
            // to read what nothing orders.
            let ready = self.read(slot, O::LOOK)?;
            let held = self.next(slot, ready, Transition::Take)?;
            self.exchange(slot, ready, held, Ordering::Relaxed)
                .map_err(|seen| RingError::Corrupt { slot, word: seen })?;
            kill_point!("ring.take.mid");
        }
        Ok(Held { block })
    }

    /// Returns a block to the actors, slot by slot.
    ///
    /// A slot is counted before it is free. So whoever sees it free sees it counted, and a death in
    /// between leaves the count too high by exactly one, which `return_held` corrects.
    pub(super) fn release(&self, held: Held) -> Result<(), RingError> {
        for slot in self.slots_of(held.block()) {
            let word = self.read(slot, Ordering::Relaxed)?;
            let free = self.next(slot, word, Transition::Release)?;
            self.count(Counter::Consumed);
            kill_point!("ring.release.counted");
            self.slot(slot).store(free.encode(), O::RELEASE);
            kill_point!("ring.release.freed");
        }
        O::change_then_look();
        Ok(())
    }

    /// Whether the ring was closed. `Relaxed`: who waits listens to an event, which orders it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.wait_word(WaitWord::Closed).load(Ordering::Relaxed) != 0
    }

    /// Marks the ring closed; the caller notifies all who wait.
    pub(super) fn mark_closed(&self) {
        self.wait_word(WaitWord::Closed).store(1, Ordering::Relaxed);
    }

    /// Notified when a block became complete.
    pub(super) fn block_ready(&self) -> EventCount<'m, O> {
        EventCount::new(
            self.wait_word(WaitWord::BlockReady),
            self.wait_word(WaitWord::BlockReadyWaiters),
        )
    }

    /// Notified when slots became FREE.
    pub(super) fn slot_free(&self) -> EventCount<'m, O> {
        EventCount::new(
            self.wait_word(WaitWord::SlotFree),
            self.wait_word(WaitWord::SlotFreeWaiters),
        )
    }

    /// Notified when the limit rose, for actors of the reserve.
    pub(super) fn reserve_needed(&self) -> EventCount<'m, O> {
        EventCount::new(
            self.wait_word(WaitWord::ReserveNeeded),
            self.wait_word(WaitWord::ReserveNeededWaiters),
        )
    }

    /// Notified when a block was opened, for actors that fill blocks in turn.
    pub(super) fn block_opened(&self) -> EventCount<'m, O> {
        EventCount::new(
            self.wait_word(WaitWord::BlockOpened),
            self.wait_word(WaitWord::BlockOpenedWaiters),
        )
    }

    /// The slot indices of a block.
    pub(super) fn slots_of(&self, block: usize) -> std::ops::Range<usize> {
        block * self.shape.groups..(block + 1) * self.shape.groups
    }

    /// What a slot says.
    pub(super) fn read(&self, slot: usize, order: Ordering) -> Result<SlotWord, RingError> {
        let word = self.slot(slot).load(order);
        SlotWord::decode(word).ok_or(RingError::Corrupt { slot, word })
    }

    /// The generation of a slot, even of one whose word is corrupt.
    pub(super) fn generation(&self, slot: usize) -> u32 {
        generation_of(self.slot(slot).load(Ordering::Relaxed))
    }

    /// The word after `event`; a transition that does not exist means that the word is not what the
    /// protocol left there.
    pub(super) fn next(
        &self,
        slot: usize,
        word: SlotWord,
        event: Transition,
    ) -> Result<SlotWord, RingError> {
        word.step(event).map_err(|_| RingError::Corrupt { slot, word: word.encode() })
    }

    /// One CAS; the bits that stood there if it failed.
    pub(super) fn exchange(
        &self,
        slot: usize,
        from: SlotWord,
        to: SlotWord,
        order: Ordering,
    ) -> Result<u64, u64> {
        self.slot(slot).compare_exchange(from.encode(), to.encode(), order, Ordering::Relaxed)
    }

    pub(super) fn count(&self, counter: Counter) {
        self.counter(counter).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counter(&self, counter: Counter) -> &'m AtomicU64 {
        &self.words[(self.shape.slots() + counter as usize) * WORD_STRIDE]
    }

    /// The claim policy of the module's documentation.
    fn best_free_slot(&self, owner: Owner) -> Result<Search, RingError> {
        let first = usize::from(owner.actor()) % self.shape.groups;
        let limit = self.in_flight_limit();
        let mut in_flight = 0;
        let mut best: Option<(usize, usize, SlotWord)> = None;
        for block in 0..self.shape.blocks {
            let slots = self.slots_of(block);
            let (mut filled, mut held, mut free) = (0, 0, None);
            for slot in (slots.start + first..slots.end).chain(slots.start..slots.start + first) {
                let word = self.read(slot, Ordering::Relaxed)?;
                match word.state {
                    State::Free => free = free.or(Some((slot, word))),
                    State::Claimed | State::Ready => filled += 1,
                    State::Held => held += 1,
                }
            }
            in_flight += filled + held;
            if let Some((slot, word)) = free
                && best.is_none_or(|(most, ..)| filled > most)
            {
                best = Some((filled, slot, word));
            }
        }
        Ok(match best {
            None => Search::Full,
            Some(_) if in_flight >= limit => Search::HeldBack,
            Some((_, slot, word)) => Search::Found(slot, word),
        })
    }

    fn slot(&self, slot: usize) -> &'m AtomicU64 {
        &self.words[slot * WORD_STRIDE]
    }

    fn wait_word(&self, word: WaitWord) -> &'m AtomicU32 {
        &self.waits[word as usize * WAIT_STRIDE]
    }
}
