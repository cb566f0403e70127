//! One asks, one answers: a question and its answer in shared memory, either side of which may die at any instruction.
//!
//! A *request word* lies beside two areas of words. The asker writes its question into the one and says so; the answerer
//! writes its answer into the other and says so. The word:
//!
//! ```text
//!   number << 24 | incarnation << 8 | state
//!
//!            ask (asker)            answer (answerer)
//!   IDLE ───────────────▶ ASKED ─────────────────────▶ ANSWERED
//!   (zeroed memory)         ▲                              │
//!                           └───────── ask (asker) ◀───────┘      also from ASKED: the question before is dropped
//! ```
//!
//! The number rises with every question, whoever asks; the incarnation says which process of the asker's role it was.
//! `take` is a load: a question that was taken and not answered, because its answerer died, is still there for the next one.
//!
//! Two promises come from outside, and are kept where processes are started anew only after they were reaped:
//! - **Q1** There is one asker at a time.
//! - **Q2** There is one answerer at a time, and it is one thread.
//!
//! Why no asker takes an answer that is not to its question, nor half of one:
//! 1. *It is another's.* [`Request::look`] accepts ANSWERED with the number and the incarnation that it asked with, and numbers are
//!    not used twice. [`Request::answer`] is a compare-and-swap from the very word that was taken, so an answer to a question that
//!    was dropped, or whose asker is dead and replaced, changes nothing.
//! 2. *Its question was not seen whole.* The word was taken with Acquire from the Release that followed the question. A
//!    later question is written over it only by an asker that has taken this answer or will never look for it.
//! 3. *It is not seen whole.* The look acquires the Release of the answer that followed its words. They are written again
//!    only for a later question, which the answerer takes (Acquire) after this asker has read them (Release of its next
//!    `ask`); or for an earlier one, which the one thread of Q2 had done with before it took this one.
//!
//! Each ordering has a model in which weakening it fails (`loom_tests`). Wake-ups travel beside the word ([`crate::EventCount`]).

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::sync::{AtomicU64, Ordering};

#[cfg(all(test, loom))]
mod loom_tests;

const STATE_BITS: u32 = 8;
const NUMBER_SHIFT: u32 = 24;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
const ASKED: u64 = 1;
const ANSWERED: u64 = 2;

/// The orderings that the argument above rests on; injectable, so that models can weaken each.
pub trait Orders: Copy + Debug + 'static {
    /// Store of ASKED: the question came before, and the reading of the last answer.
    // pairs with the Acquire load in `Request::take`.
    const ASK: Ordering = Ordering::Release;

    /// Load in `Request::take`. Acquire end of [`Self::ASK`].
    const TAKE: Ordering = Ordering::Acquire;

    /// Compare-and-swap to ANSWERED: the answer came before.
    // pairs with the Acquire load in `Request::look`.
    const ANSWER: Ordering = Ordering::Release;

    /// Load in `Request::look`. Acquire end of [`Self::ANSWER`].
    const LOOK: Ordering = Ordering::Acquire;
}

/// The orderings in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultOrders;

impl Orders for DefaultOrders {}

/// A question that was asked: whose, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked(u64);

impl Asked {
    /// Which process of the asker's role asked.
    #[must_use]
    pub const fn incarnation(self) -> u16 {
        (self.0 >> STATE_BITS) as u16
    }

    const fn answered(self) -> u64 {
        self.0 & !STATE_MASK | ANSWERED
    }
}

/// A handle to a request word; copies are the same word.
///
/// ```
/// use impala_shm::request::Request;
/// use impala_shm::sync::{AtomicU64, Ordering::Relaxed};
///
/// let [word, question, answer] = [0; 3].map(AtomicU64::new);
/// let request = Request::<impala_shm::request::DefaultOrders>::new(&word);
/// let asked = request.ask(1, || question.store(20, Relaxed));
/// let taken = request.take().expect("something was asked");
/// answer.store(question.load(Relaxed) + 1, Relaxed);
/// assert!(request.answer(taken));
/// assert_eq!(request.look(asked, || answer.load(Relaxed)), Some(21));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Request<'m, O: Orders = DefaultOrders> {
    word: &'m AtomicU64,
    orders: PhantomData<O>,
}

impl<'m, O: Orders> Request<'m, O> {
    /// The request in this word; zero is one that was never made.
    #[must_use]
    pub const fn new(word: &'m AtomicU64) -> Self {
        Self { word, orders: PhantomData }
    }

    /// The asker: `write`s a question and says so. What was asked before is dropped.
    pub fn ask(&self, incarnation: u16, write: impl FnOnce()) -> Asked {
        // The only other store is that of an answer, which keeps the number.
        let number = (self.word.load(Ordering::Relaxed) >> NUMBER_SHIFT) + 1;
        write();
        let asked = Asked(number << NUMBER_SHIFT | u64::from(incarnation) << STATE_BITS | ASKED);
        self.word.store(asked.0, O::ASK);
        asked
    }

    /// The asker: `read`s the answer to what it asked, if it is there.
    pub fn look<T>(&self, asked: Asked, read: impl FnOnce() -> T) -> Option<T> {
        (self.word.load(O::LOOK) == asked.answered()).then(read)
    }

    /// The answerer: the question that waits for an answer, if there is one. Its words are whole for as long as
    /// [`Request::answer`] would find it.
    #[must_use]
    pub fn take(&self) -> Option<Asked> {
        let word = self.word.load(O::TAKE);
        (word & STATE_MASK == ASKED).then_some(Asked(word))
    }

    /// The answerer: says that the answer is written. False if nobody waits for it any more.
    pub fn answer(&self, asked: Asked) -> bool {
        let answered = asked.answered();
        self.word.compare_exchange(asked.0, answered, O::ANSWER, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn request(word: &AtomicU64) -> Request<'_> {
        Request::new(word)
    }

    #[test]
    fn a_question_is_there_until_it_is_answered() {
        let word = AtomicU64::new(0);
        let request = request(&word);
        assert_eq!(request.take(), None, "nothing was asked");
        let asked = request.ask(7, || {});
        assert_eq!(asked.incarnation(), 7);
        // An answerer that dies takes it and does no more.
        assert_eq!(request.take(), Some(asked));
        assert_eq!(request.take(), Some(asked));
        assert_eq!(request.look(asked, || ()), None);
        assert!(request.answer(asked));
        assert_eq!(request.take(), None);
        assert_eq!(request.look(asked, || "answer"), Some("answer"));
    }

    #[test]
    fn no_answer_to_an_earlier_question_is_taken() {
        let word = AtomicU64::new(0);
        let request = request(&word);
        let first = request.ask(1, || {});
        let taken = request.take().expect("asked");
        let second = request.ask(1, || {});
        assert!(!request.answer(taken), "it was dropped");
        assert_eq!(request.look(second, || ()), None);
        assert_eq!(request.take(), Some(second));
        assert!(request.answer(second));
        assert_eq!(request.look(first, || ()), None);
        assert_eq!(request.look(second, || ()), Some(()));
    }

    #[test]
    fn no_answer_to_another_incarnation_is_taken() {
        let word = AtomicU64::new(0);
        let request = request(&word);
        let dead = request.ask(1, || {});
        assert!(request.answer(dead));
        let living = request.ask(2, || {});
        assert_eq!(request.look(living, || ()), None);
        assert!(!request.answer(dead));
        assert!(request.answer(living));
        // Incarnations wrap; numbers do not.
        let again = request.ask(1, || {});
        assert_ne!(again, dead);
        assert_eq!(request.look(again, || ()), None);
    }
}
