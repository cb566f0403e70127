//! The model: actors, learner and supervisor as small state machines over shared words, with one shared access for each
//! step.
//!
//! Three kinds of loads are no steps of their own, because nobody can make a difference between them and
//! what follows: an actor's search (its CAS fails unless the word is still the same), the learner's look
//! at a block (only the learner ends READY), and the supervisor's scan (only it frees what a dead party
//! held).

mod actor;
mod learner;
mod supervisor;

use super::super::word::{Owner, SlotWord, State, Transition};

/// Most slots of a modelled ring.
const SLOTS_MAX: usize = 4;
const ACTORS_MAX: usize = 2;
/// Words of payload of a slot: two are enough to tear.
const PAYLOAD_WORDS: u8 = 2;

/// A design that must not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The supervisor takes slots back from actors that are only slow.
    ReclaimAlive,
    /// The same, and the commit is a plain store.
    ReclaimAliveStoreCommit,
    /// The learner believes a counter that is raised after the word says READY.
    ReadyCounter,
    /// The slot is taken first, and its owner written second.
    OwnerSecond,
    /// The supervisor returns what a learner holds that is only slow.
    ReturnAlive,
    /// The supervisor does not remember what it has returned once.
    ForgetsDeaths,
    /// The supervisor does not look whether a dead learner has counted a slot that it did not free.
    LeavesCounts,
}

/// Sizes and budgets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) blocks: u8,
    pub(super) groups: u8,
    pub(super) actors: u8,
    /// How often any actor may die (or, in a mutant, be taken for dead).
    pub(super) actor_crashes: u8,
    pub(super) learner_crashes: u8,
    /// Batches after which the learner stops.
    pub(super) batches: u8,
    pub(super) mutant: Option<Mutant>,
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The learner read a word that the slot's owner did not write in this generation.
    Torn,
    /// Generations and counters differ.
    Counts,
    /// A party met a word that it reports as corrupt.
    Corrupt,
    /// A living actor lost its slot.
    Fenced,
    /// Slots went back to the learner though they were held at two deaths, or were dropped after one.
    Poison,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Actor {
    Idle,
    /// Mutant: took the slot, and has still to write who it is.
    Nameless(u8, SlotWord),
    /// Holds the slot, and has written so many words.
    Writing(u8, SlotWord, u8),
    /// Mutant: committed, and has still to count it for this block.
    Uncounted(u8),
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Learner {
    Idle,
    Taking(u8),
    /// Reads this word of this slot.
    Reading(u8, u8),
    /// Returns this slot; whether it has counted it.
    Releasing(u8, bool),
    /// Whether it died between counting and returning.
    Dead(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Supervisor {
    Idle,
    /// Takes back what this actor holds, then restarts it.
    Reclaiming(usize),
    /// Returns the slots of the dead learner, from this one on; whether its block is fatal.
    Returning(u8, bool),
}

/// Everything there is, between two steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    words: [SlotWord; SLOTS_MAX],
    /// Owner and generation of the last writer of each word; `None` before the first.
    payload: [[Option<(Owner, u32)>; PAYLOAD_WORDS as usize]; SLOTS_MAX],
    requeued_in: [Option<u32>; SLOTS_MAX],
    /// At how many deaths of a learner each slot was held in this generation: known to the model alone.
    deaths_held: [u8; SLOTS_MAX],
    actors: [Actor; ACTORS_MAX],
    incarnations: [u16; ACTORS_MAX],
    learner: Learner,
    supervisor: Supervisor,
    actor_crashes: u8,
    learner_crashes: u8,
    batches: u8,
    consumed: u8,
    reclaimed: u8,
    dropped: u8,
    /// Mutant: slots of each block that were counted as ready.
    ready_counter: [u8; SLOTS_MAX],
}

impl World {
    pub(super) fn new(rules: &Rules) -> Self {
        assert!(usize::from(rules.blocks * rules.groups) <= SLOTS_MAX, "{rules:?}");
        assert!(usize::from(rules.actors) <= ACTORS_MAX, "{rules:?}");
        Self {
            words: [SlotWord::free(0); SLOTS_MAX],
            payload: [[None; PAYLOAD_WORDS as usize]; SLOTS_MAX],
            requeued_in: [None; SLOTS_MAX],
            deaths_held: [0; SLOTS_MAX],
            actors: [Actor::Idle; ACTORS_MAX],
            incarnations: [1; ACTORS_MAX],
            learner: Learner::Idle,
            supervisor: Supervisor::Idle,
            actor_crashes: 0,
            learner_crashes: 0,
            batches: 0,
            consumed: 0,
            reclaimed: 0,
            dropped: 0,
            ready_counter: [0; SLOTS_MAX],
        }
    }

    pub(super) fn is_finished(&self, rules: &Rules) -> bool {
        self.batches == rules.batches
    }

    /// Every world that one step of one party leads to.
    pub(super) fn successors(&self, rules: &Rules) -> Vec<Result<Self, Fault>> {
        let mut worlds = Vec::new();
        if self.is_finished(rules) {
            return worlds;
        }
        for actor in 0..usize::from(rules.actors) {
            self.actor_steps(rules, actor, &mut worlds);
        }
        self.learner_steps(rules, &mut worlds);
        self.supervisor_steps(rules, &mut worlds);
        worlds.into_iter().map(|world| world.and_then(Self::with_counts_checked)).collect()
    }

    fn owner(&self, actor: usize) -> Owner {
        let number = u16::try_from(actor).expect("few actors");
        Owner::new(number, self.incarnations[actor]).expect("few actors")
    }

    /// The identity holds in every state, but for the one slot that is counted and not yet returned.
    fn with_counts_checked(self) -> Result<Self, Fault> {
        let ahead = matches!(self.learner, Learner::Releasing(_, true) | Learner::Dead(true));
        let generations: u32 = self.words.iter().map(|word| word.generation).sum();
        let counted =
            u32::from(self.consumed) + u32::from(self.reclaimed) + u32::from(self.dropped);
        if generations + u32::from(ahead) == counted { Ok(self) } else { Err(Fault::Counts) }
    }

    /// A change of a word that the product makes only if the word is as expected.
    fn apply(&mut self, slot: u8, event: Transition) -> Result<(), Fault> {
        let word = &mut self.words[usize::from(slot)];
        *word = word.step(event).map_err(|_| Fault::Corrupt)?;
        if word.state == State::Free {
            self.deaths_held[usize::from(slot)] = 0;
        }
        Ok(())
    }

    /// A learner has died, or is taken for dead.
    fn learner_is_missed(&mut self) {
        self.learner_crashes += 1;
        for (word, deaths) in self.words.iter().zip(&mut self.deaths_held) {
            *deaths += u8::from(word.state == State::Held);
        }
    }
}
