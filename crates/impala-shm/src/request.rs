//! Requests over shared memory: one process asks and another answers, and either may die at any instruction.
//!
//! A request is three words beside two areas. The asker writes its question into the one area and stores the question's number
//! in `asked`; the answerer writes its answer into the other and stores the same number in `answered`. Each of them is written by
//! one side alone:
//!
//! ```text
//!   asked      number << 16 | incarnation      what waits for an answer, unless `answered` is the same
//!   answered   number << 16 | incarnation      what the answer is to
//!   number     of the last question            for askers alone
//! ```
//!
//! Zeroed memory is a request that was never made. The number rises with every question, whoever asks; the incarnation says which
//! process of the asker's role it was. A question may be followed by another before it is answered: it is dropped.
//! [`Answerer::take`] is a load: a question that was taken and not answered, because its answerer died, is still there for the
//! next one.
//!
//! Two promises come from outside, and are kept where processes are started anew only after they were reaped:
//! - **Q1** There is one asker at a time.
//! - **Q2** There is one answerer at a time, and it is one thread.
//!
//! Why no asker takes an answer that is not to its question, nor half of one:
//! 1. *It is another's.* [`Asker::look`] accepts the number and the incarnation that it asked with, and numbers are not used twice.
//!    The answer to a question that was dropped, or whose asker is dead and replaced, is accepted by nobody.
//! 2. *Its question was not seen whole.* The number was taken with Acquire from the Release that followed the question. A
//!    later question is written over it only by an asker that has taken this answer or will never look for it.
//! 3. *It is not seen whole.* The look acquires the Release of the answer that followed its words. They are written again
//!    only for a later question, which the answerer takes (Acquire) after this asker has read them (Release of its next
//!    `ask`); or for an earlier one, which the one thread of Q2 had done with before it took this one.
//!
//! Each ordering has a model in which weakening it fails (`loom_tests`). Wake-ups travel beside the words ([`crate::EventCount`]).

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::sync::{AtomicU64, Ordering};

#[cfg(all(test, loom))]
mod loom_tests;

/// Words of a request, beside its two areas.
pub const REQUEST_WORDS: usize = 3;

const NUMBER_SHIFT: u32 = 16;

/// The orderings that the argument above rests on; injectable, so that models can weaken each.
pub trait Orders: Copy + Debug + 'static {
    /// Store of `asked`: the question came before, and the reading of the last answer.
    // pairs with the Acquire load in `Answerer::take`.
    const ASK: Ordering = Ordering::Release;

    /// Load in `Answerer::take`. Acquire end of [`Self::ASK`].
    const TAKE: Ordering = Ordering::Acquire;

    /// Store of `answered`: the answer came before.
    // pairs with the Acquire load in `Asker::look`.
    const ANSWER: Ordering = Ordering::Release;

    /// Load in `Asker::look`. Acquire end of [`Self::ANSWER`].
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
        self.0 as u16
    }
}

/// The asker's end. It keeps nothing: copies are the same asker.
///
/// ```
/// use impala_shm::request::{Answerer, Asker, DefaultOrders};
/// use impala_shm::sync::{AtomicU64, Ordering::Relaxed};
///
/// let words = [0; 3].map(AtomicU64::new);
/// let [question, answer] = [0; 2].map(AtomicU64::new);
/// let asker = Asker::<DefaultOrders>::new(&words);
/// let asked = asker.ask(1, || question.store(20, Relaxed));
///
/// let mut answerer = Answerer::<DefaultOrders>::new(&words);
/// let taken = answerer.take().expect("something was asked");
/// answer.store(question.load(Relaxed) + 1, Relaxed);
/// answerer.answer(taken);
///
/// assert_eq!(asker.look(asked, || answer.load(Relaxed)), Some(21));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Asker<'m, O: Orders = DefaultOrders> {
    asked: &'m AtomicU64,
    answered: &'m AtomicU64,
    number: &'m AtomicU64,
    orders: PhantomData<O>,
}

impl<'m, O: Orders> Asker<'m, O> {
    /// The asker of this request.
    #[must_use]
    pub const fn new(words: &'m [AtomicU64; REQUEST_WORDS]) -> Self {
        let [asked, answered, number] = words;
        Self { asked, answered, number, orders: PhantomData }
    }

    /// `write`s a question and says so. What was asked before is dropped.
    pub fn ask(&self, incarnation: u16, write: impl FnOnce()) -> Asked {
        // Q1: nobody else touches it. A number whose asker dies before it asks is left out.
        let number = self.number.load(Ordering::Relaxed) + 1;
        self.number.store(number, Ordering::Relaxed);
        write();
        let asked = Asked(number << NUMBER_SHIFT | u64::from(incarnation));
        self.asked.store(asked.0, O::ASK);
        asked
    }

    /// `read`s the answer to what was asked, if it is there.
    pub fn look<T>(&self, asked: Asked, read: impl FnOnce() -> T) -> Option<T> {
        (self.answered.load(O::LOOK) == asked.0).then(read)
    }
}

/// The answerer's end.
#[derive(Debug)]
pub struct Answerer<'m, O: Orders = DefaultOrders> {
    asked: &'m AtomicU64,
    answered: &'m AtomicU64,
    /// What `answered` holds. Q2: nobody else stores there.
    last: u64,
    orders: PhantomData<O>,
}

impl<'m, O: Orders> Answerer<'m, O> {
    /// The answerer of this request, from now on.
    #[must_use]
    pub fn new(words: &'m [AtomicU64; REQUEST_WORDS]) -> Self {
        let [asked, answered, _] = words;
        Self { asked, answered, last: answered.load(Ordering::Relaxed), orders: PhantomData }
    }

    /// The question that waits for an answer, if there is one. Its words are whole for as long as somebody waits for the answer.
    #[must_use]
    pub fn take(&self) -> Option<Asked> {
        let asked = self.asked.load(O::TAKE);
        (asked != self.last).then_some(Asked(asked))
    }

    /// Says that the answer is written.
    pub fn answer(&mut self, asked: Asked) {
        self.last = asked.0;
        self.answered.store(asked.0, O::ANSWER);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Words = [AtomicU64; REQUEST_WORDS];

    fn words() -> Words {
        [0; REQUEST_WORDS].map(AtomicU64::new)
    }

    fn ends(words: &Words) -> (Asker<'_>, Answerer<'_>) {
        (Asker::new(words), Answerer::new(words))
    }

    #[test]
    fn a_question_is_there_until_it_is_answered() {
        let words = words();
        let (asker, answerer) = ends(&words);
        assert_eq!(answerer.take(), None, "nothing was asked");
        let asked = asker.ask(7, || {});
        assert_eq!(asked.incarnation(), 7);
        assert_eq!(answerer.take(), Some(asked));
        // It has died; the next one finds the question, and its own successor finds that it is answered.
        let mut answerer = Answerer::<DefaultOrders>::new(&words);
        assert_eq!(answerer.take(), Some(asked));
        assert_eq!(asker.look(asked, || ()), None);
        answerer.answer(asked);
        assert_eq!(answerer.take(), None);
        assert_eq!(Answerer::<DefaultOrders>::new(&words).take(), None);
        assert_eq!(asker.look(asked, || "answer"), Some("answer"));
    }

    #[test]
    fn no_answer_to_an_earlier_question_is_taken() {
        let words = words();
        let (asker, mut answerer) = ends(&words);
        let first = asker.ask(1, || {});
        let taken = answerer.take().expect("asked");
        let second = asker.ask(1, || {});
        answerer.answer(taken);
        assert_eq!(asker.look(second, || ()), None);
        assert_eq!(answerer.take(), Some(second));
        answerer.answer(second);
        assert_eq!(asker.look(first, || ()), None);
        assert_eq!(asker.look(second, || ()), Some(()));
    }

    #[test]
    fn no_answer_to_another_incarnation_is_taken() {
        let words = words();
        let (asker, mut answerer) = ends(&words);
        let dead = asker.ask(1, || {});
        answerer.answer(dead);
        let living = asker.ask(2, || {});
        assert_eq!(asker.look(living, || ()), None);
        answerer.answer(dead);
        assert_eq!(asker.look(living, || ()), None);
        assert_eq!(answerer.take(), Some(living));
        answerer.answer(living);
        // Incarnations wrap; numbers do not.
        let again = asker.ask(1, || {});
        assert_ne!(again, dead);
        assert_eq!(asker.look(again, || ()), None);
    }
}
