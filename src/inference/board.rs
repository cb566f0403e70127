//! The request board: shared memory in which actors write their requests and the policy process its answers.
//!
//! ```text
//! line 0                    u32 count, waiters of the event "something was asked"
//! line 1 + desk * stride    u64 request (3), place (slot << 32 | step), version; u32 count, waiters of "answered"
//!        + 1 ..             u32 question: E flags, E * W words of actions, E rewards, E * S of the core's state
//!        + ..               u32 answer:   E * A logits, E * S of the core's state
//! ```
//!
//! Each part starts on a cache line of its own. Zeroed memory is a board on which nothing was asked.

use crate::policy::spec::NetworkSpec;
use crate::shm::request::{Answerer, Asked, Asker, REQUEST_WORDS};
use crate::shm::{EventCount, Region};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const LINE_BYTES: usize = 64;
const WORD_BYTES: usize = 4;
const PLACE: usize = 0;
const VERSION: usize = 1;
const HEAD_WORDS: usize = 2;
/// Offset of the event of a desk in its line.
const EVENT_BYTES: usize = (REQUEST_WORDS + HEAD_WORDS) * size_of::<u64>();

/// Sizes of a board, from the configuration alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardPlan {
    /// One for each split of each actor.
    pub(super) desks: usize,
    /// E: rows of a request.
    pub(super) envs: usize,
    /// W: words of an action.
    action_words: usize,
    /// A: logits of a row.
    pub(super) outputs: usize,
    /// S: numbers of the core's state.
    pub(super) state_len: usize,
}

impl BoardPlan {
    /// The sizes that `desks` askers of `envs` environments each and their network need.
    #[must_use]
    pub fn new(desks: usize, envs: usize, network: &NetworkSpec) -> Self {
        Self {
            desks,
            envs,
            action_words: network.action.words(),
            outputs: network.action.outputs(),
            state_len: network.state_len(),
        }
    }

    const fn question_words(&self) -> usize {
        self.envs * (2 + self.action_words + self.state_len)
    }

    const fn answer_words(&self) -> usize {
        self.envs * (self.outputs + self.state_len)
    }

    /// Offsets in a desk, in bytes: question, answer, end.
    const fn desk(&self) -> [usize; 3] {
        let question = (self.question_words() * WORD_BYTES).next_multiple_of(LINE_BYTES);
        let answer = (self.answer_words() * WORD_BYTES).next_multiple_of(LINE_BYTES);
        [LINE_BYTES, LINE_BYTES + question, LINE_BYTES + question + answer]
    }

    /// Bytes of the whole board.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        let [.., desk] = self.desk();
        LINE_BYTES + self.desks * desk
    }
}

/// Where the observations of a request lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Slot of the ring.
    pub slot: u32,
    /// Step of the unroll.
    pub step: u32,
}

/// The board, in memory that asker and answerer have mapped.
#[derive(Debug, Clone, Copy)]
pub struct Board<'m> {
    memory: &'m Region,
    pub(super) plan: BoardPlan,
}

impl<'m> Board<'m> {
    /// The board of `plan` at the start of `memory`.
    ///
    /// # Panics
    /// If the memory is shorter, or may only be read.
    #[must_use]
    pub fn new(memory: &'m Region, plan: BoardPlan) -> Self {
        assert!(memory.len_bytes() >= plan.bytes(), "{} bytes of a board", memory.len_bytes());
        Self { memory, plan }
    }

    /// Something was asked.
    #[must_use]
    pub fn asked(&self) -> EventCount<'m> {
        self.event(0)
    }

    /// One of the desks.
    ///
    /// # Panics
    /// If there is no such desk.
    #[must_use]
    pub fn desk(&self, index: usize) -> Desk<'m> {
        assert!(index < self.plan.desks, "no desk {index}");
        let [question, answer, end] = self.plan.desk();
        let start = LINE_BYTES + index * end;
        let words = |at, count| self.memory.words32(start + at, count);
        let Some((request, head)) =
            self.memory.words(start, REQUEST_WORDS + HEAD_WORDS).split_first_chunk()
        else {
            unreachable!("both were asked for");
        };
        Desk {
            request,
            head,
            question: words(question, self.plan.question_words()),
            answer: words(answer, self.plan.answer_words()),
            answered: self.event(start + EVENT_BYTES),
            plan: self.plan,
        }
    }

    /// Wakes all who wait, to see that the run is over. Wake-ups are hints: the waits look again after a while.
    pub fn wake_all(&self) {
        self.asked().notify_always(crate::shm::futex::wake_all);
        for index in 0..self.plan.desks {
            self.desk(index).answered.notify_always(crate::shm::futex::wake_all);
        }
    }

    fn event(&self, offset_bytes: usize) -> EventCount<'m> {
        let [count, waiters] = self.memory.words32(offset_bytes, 2) else {
            unreachable!("two words were asked for");
        };
        EventCount::new(count, waiters)
    }
}

/// What an actor asks, beside the observations in its slot: E rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// Where the observations lie.
    pub(super) place: Place,
    /// `[E]` flags of the observations.
    pub(super) flags: &'a [u8],
    /// `[E]` how many of the newest frames belong to the episode.
    pub(super) valid: &'a [u8],
    /// `[E][W]`
    pub(super) last_actions: &'a [i32],
    /// `[E]`
    pub(super) last_rewards: &'a [f32],
    /// `[E][S]`: state of the core before the observations.
    pub(super) state: &'a [f32],
}

/// The desk of one asker: a split of an actor.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'m> {
    request: &'m [AtomicU64; REQUEST_WORDS],
    head: &'m [AtomicU64],
    question: &'m [AtomicU32],
    answer: &'m [AtomicU32],
    pub(super) answered: EventCount<'m>,
    plan: BoardPlan,
}

impl<'m> Desk<'m> {
    fn asker(&self) -> Asker<'m> {
        Asker::new(self.request)
    }

    /// The other side of it.
    pub(super) fn answerer(&self) -> Answerer<'m> {
        Answerer::new(self.request)
    }

    /// The asker: asks.
    pub(super) fn ask(&self, incarnation: u16, question: &Question<'_>) -> Asked {
        self.asker().ask(incarnation, || {
            let Place { slot, step } = question.place;
            self.head[PLACE].store(u64::from(slot) << 32 | u64::from(step), Ordering::Relaxed);
            let mut words = self.question.iter();
            let mut put = |word: u32| {
                if let Some(place) = words.next() {
                    place.store(word, Ordering::Relaxed);
                }
            };
            for (&flags, &valid) in question.flags.iter().zip(question.valid) {
                put(u32::from(flags) | u32::from(valid) << 8);
            }
            question.last_actions.iter().for_each(|word| put(word.cast_unsigned()));
            question.last_rewards.iter().for_each(|reward| put(reward.to_bits()));
            question.state.iter().for_each(|number| put(number.to_bits()));
        })
    }

    /// The asker: takes the answer if it is there; the version of the weights that gave it.
    pub(super) fn take_answer(
        &self,
        asked: Asked,
        logits: &mut [f32],
        state: &mut [f32],
    ) -> Option<u64> {
        self.asker().look(asked, || {
            let (first, second) = self.answer.split_at(self.plan.envs * self.plan.outputs);
            load(first, logits);
            load(second, state);
            self.head[VERSION].load(Ordering::Relaxed)
        })
    }

    /// The answerer: where the observations lie.
    pub(super) fn place(&self) -> Place {
        let word = self.head[PLACE].load(Ordering::Relaxed);
        Place { slot: (word >> 32) as u32, step: word as u32 }
    }

    /// The answerer: copies what was asked beside the observations to the end of these lists.
    pub(super) fn read_question(&self, into: &mut Rows) {
        let BoardPlan { envs, action_words, .. } = self.plan;
        let (flags, rest) = self.question.split_at(envs);
        let (actions, rest) = rest.split_at(envs * action_words);
        let (rewards, state) = rest.split_at(envs);
        for word in flags {
            let [flags, valid, ..] = word.load(Ordering::Relaxed).to_le_bytes();
            into.flags.push(flags);
            into.valid.push(valid);
        }
        into.actions.extend(actions.iter().map(|w| w.load(Ordering::Relaxed).cast_signed()));
        into.rewards.extend(rewards.iter().map(|w| f32::from_bits(w.load(Ordering::Relaxed))));
        into.state.extend(state.iter().map(|w| f32::from_bits(w.load(Ordering::Relaxed))));
    }

    /// The answerer: writes an answer, which is still to be said.
    pub(super) fn write_answer(&self, logits: &[f32], state: &[f32], version: u64) {
        let numbers = logits.iter().chain(state);
        for (word, number) in self.answer.iter().zip(numbers) {
            word.store(number.to_bits(), Ordering::Relaxed);
        }
        self.head[VERSION].store(version, Ordering::Relaxed);
    }
}

fn load(words: &[AtomicU32], numbers: &mut [f32]) {
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = f32::from_bits(word.load(Ordering::Relaxed));
    }
}

/// What came with the rows of a batch, of several desks one after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) flags: Vec<u8>,
    pub(super) valid: Vec<u8>,
    pub(super) actions: Vec<i32>,
    pub(super) rewards: Vec<f32>,
    pub(super) state: Vec<f32>,
}

impl Rows {
    pub(super) fn clear(&mut self) {
        self.flags.clear();
        self.valid.clear();
        self.actions.clear();
        self.rewards.clear();
        self.state.clear();
    }
}
