//! The slot word: 64 bits that hold the whole state of one slot, and that all processes change by atomic operations.
//!
//! ```text
//!  63          32 31          16 15        3 2     0
//! ┌──────────────┬──────────────┬───────────┬───────┐
//! │ generation   │ incarnation  │ actor     │ state │
//! └──────────────┴──────────────┴───────────┴───────┘
//!
//!          claim            commit           take
//!   FREE ─────────> CLAIMED ───────> READY ───────> HELD
//!    ^  gen + 1        │               ^              │
//!    ├─────────────────┘ reclaim       └──────────────┤ requeue
//!    └────────────────────────────────────────────────┘ release, drop: gen + 1
//! ```
//!
//! [`SlotWord::step`] is the only place that knows which transitions exist. The product and the model
//! checker (`model_tests`) both go through it. A word of zero is FREE in generation 0, so zeroed memory is an
//! empty ring.

use super::error::RingError;

const STATE_BITS: u32 = 3;
const ACTOR_BITS: u32 = 13;
const INCARNATION_SHIFT: u32 = STATE_BITS + ACTOR_BITS;
const GENERATION_SHIFT: u32 = 32;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
const OWNER_MASK: u64 = (1 << GENERATION_SHIFT) - 1 - STATE_MASK;

const _: () = assert!(INCARNATION_SHIFT + 16 == GENERATION_SHIFT);

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nobody's; any actor may claim it.
    Free = 0,
    /// An actor's, and being written.
    Claimed = 1,
    /// Complete and nobody's; waits for the other slots of its block, or for the learner.
    Ready = 2,
    /// The learner's, and being read.
    Held = 3,
}

impl State {
    /// The state that a word names, if it names one.
    const fn of(bits: u64) -> Option<Self> {
        match bits & STATE_MASK {
            0 => Some(Self::Free),
            1 => Some(Self::Claimed),
            2 => Some(Self::Ready),
            3 => Some(Self::Held),
            _ => None,
        }
    }
}

/// Who fills slots: one incarnation of one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    actor: u16,
    incarnation: u16,
}

impl Owner {
    /// Actors are numbered below this (13 bits).
    pub const ACTORS_MAX: u16 = 1 << ACTOR_BITS;

    /// The owner that a FREE word carries.
    const NOBODY: Self = Self { actor: 0, incarnation: 0 };

    /// Incarnation `incarnation` of actor `actor`.
    ///
    /// # Errors
    /// [`RingError::ActorNumber`] if `actor` is not below [`Self::ACTORS_MAX`].
    pub const fn new(actor: u16, incarnation: u16) -> Result<Self, RingError> {
        if actor < Self::ACTORS_MAX {
            Ok(Self { actor, incarnation })
        } else {
            Err(RingError::ActorNumber { actor })
        }
    }

    /// Which actor.
    #[must_use]
    pub const fn actor(self) -> u16 {
        self.actor
    }

    /// Which incarnation of it.
    #[must_use]
    pub const fn incarnation(self) -> u16 {
        self.incarnation
    }
}

/// A decoded slot word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotWord {
    /// What the slot is doing.
    pub state: State,
    /// Who filled or fills it; actor 0, incarnation 0 in a FREE word.
    pub owner: Owner,
    /// How often the slot has returned to FREE, modulo 2^32.
    pub generation: u32,
}

/// What may happen to a slot, and who may do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// An actor takes a FREE slot to write in.
    Claim(Owner),
    /// The same actor says that the slot is complete.
    Commit(Owner),
    /// The supervisor takes a slot back, after it reaped this owner.
    Reclaim(Owner),
    /// The learner takes a slot of a complete block.
    Take,
    /// The learner is done with a slot.
    Release,
    /// The supervisor returns what a dead learner held, to be trained on again.
    Requeue,
    /// The supervisor throws away what killed two learners.
    Drop,
}

/// A transition that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{event:?} is not a transition out of {word:?}")]
pub struct IllegalTransition {
    /// The word as it was.
    pub word: SlotWord,
    /// What was tried.
    pub event: Transition,
}

impl SlotWord {
    /// An empty slot in generation `generation`.
    #[must_use]
    pub const fn free(generation: u32) -> Self {
        Self { state: State::Free, owner: Owner::NOBODY, generation }
    }

    /// The bits that stand in shared memory.
    #[must_use]
    pub const fn encode(self) -> u64 {
        ((self.generation as u64) << GENERATION_SHIFT)
            | ((self.owner.incarnation as u64) << INCARNATION_SHIFT)
            | ((self.owner.actor as u64) << STATE_BITS)
            | self.state as u64
    }

    /// Reads the bits; `None` for bits that no party writes.
    #[must_use]
    pub const fn decode(bits: u64) -> Option<Self> {
        let Some(state) = State::of(bits) else {
            return None;
        };
        if matches!(state, State::Free) && bits & OWNER_MASK != 0 {
            return None;
        }
        let owner = Owner {
            actor: ((bits & OWNER_MASK) >> STATE_BITS) as u16 & (Owner::ACTORS_MAX - 1),
            incarnation: (bits >> INCARNATION_SHIFT) as u16,
        };
        Some(Self { state, owner, generation: generation_of(bits) })
    }

    /// The word after `event`. Pure: whether the caller may cause the event is its business.
    ///
    /// # Errors
    /// [`IllegalTransition`] if there is no such transition.
    pub fn step(self, event: Transition) -> Result<Self, IllegalTransition> {
        match (self.state, event) {
            (State::Free, Transition::Claim(owner)) => {
                Ok(Self { state: State::Claimed, owner, ..self })
            }
            (State::Claimed, Transition::Commit(owner)) if owner == self.owner => {
                Ok(Self { state: State::Ready, ..self })
            }
            (State::Claimed, Transition::Reclaim(owner)) if owner == self.owner => {
                Ok(self.next_lap())
            }
            (State::Ready, Transition::Take) => Ok(Self { state: State::Held, ..self }),
            (State::Held, Transition::Release | Transition::Drop) => Ok(self.next_lap()),
            (State::Held, Transition::Requeue) => Ok(Self { state: State::Ready, ..self }),
            _ => Err(IllegalTransition { word: self, event }),
        }
    }

    const fn next_lap(self) -> Self {
        Self::free(self.generation.wrapping_add(1))
    }
}

/// The generation of a word, whatever else it says.
pub(super) const fn generation_of(bits: u64) -> u32 {
    (bits >> GENERATION_SHIFT) as u32
}

/// Whether the bits say READY, whatever else they say.
pub(super) const fn says_ready(bits: u64) -> bool {
    matches!(State::of(bits), Some(State::Ready))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const STATES: [State; 4] = [State::Free, State::Claimed, State::Ready, State::Held];

    fn owner(actor: u16, incarnation: u16) -> Owner {
        Owner::new(actor, incarnation).expect("in range")
    }

    #[test]
    fn words_survive_the_round_trip_at_their_extremes() {
        for state in STATES {
            for actor in [0, 1, Owner::ACTORS_MAX - 1] {
                for incarnation in [0, 1, u16::MAX] {
                    for generation in [0, 1, u32::MAX] {
                        let owner = owner(actor, incarnation);
                        let word = SlotWord { state, owner, generation };
                        let legal = state != State::Free || owner == Owner::NOBODY;
                        assert_eq!(SlotWord::decode(word.encode()), legal.then_some(word));
                        assert_eq!(generation_of(word.encode()), generation);
                        assert_eq!(says_ready(word.encode()), state == State::Ready);
                    }
                }
            }
        }
        assert_eq!(SlotWord::decode(0), Some(SlotWord::free(0)));
        assert_eq!(
            Owner::new(Owner::ACTORS_MAX, 0),
            Err(RingError::ActorNumber { actor: Owner::ACTORS_MAX })
        );
    }

    #[test]
    fn unknown_states_are_not_guessed() {
        for state in 4..8 {
            assert_eq!(SlotWord::decode(0xABCD_0000_0000_0000 | state), None);
        }
        assert!(!says_ready(6), "bit 1 alone does not make READY");
    }

    #[test]
    fn the_table_of_transitions_is_complete() {
        let (me, other) = (owner(3, 2), owner(3, 1));
        let events = [
            Transition::Claim(me),
            Transition::Commit(me),
            Transition::Commit(other),
            Transition::Reclaim(me),
            Transition::Reclaim(other),
            Transition::Take,
            Transition::Release,
            Transition::Requeue,
            Transition::Drop,
        ];
        let mut legal = Vec::new();
        for state in STATES {
            for event in events {
                let owner = if state == State::Free { Owner::NOBODY } else { me };
                let word = SlotWord { state, owner, generation: u32::MAX };
                match word.step(event) {
                    Ok(next) => legal.push((state, event, next.state, next.generation)),
                    Err(illegal) => assert_eq!(illegal, IllegalTransition { word, event }),
                }
            }
        }
        let last = u32::MAX;
        assert_eq!(
            legal,
            [
                (State::Free, Transition::Claim(me), State::Claimed, last),
                (State::Claimed, Transition::Commit(me), State::Ready, last),
                (State::Claimed, Transition::Reclaim(me), State::Free, 0),
                (State::Ready, Transition::Take, State::Held, last),
                (State::Held, Transition::Release, State::Free, 0),
                (State::Held, Transition::Requeue, State::Ready, last),
                (State::Held, Transition::Drop, State::Free, 0),
            ]
        );
    }
}
