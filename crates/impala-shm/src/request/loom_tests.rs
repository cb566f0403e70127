//! loom models of [`super`]: a question is two words of one number, and its answer two words that follow from them.

use super::{Answerer, Asked, Asker, DefaultOrders, Orders, REQUEST_WORDS};
use crate::sync::{AtomicU64, Ordering};
use loom::thread;
use std::marker::PhantomData;

const OFFSET: u64 = 100;

/// A request with its two areas. Leaked, so that threads can have it.
struct Desk<O> {
    words: [AtomicU64; REQUEST_WORDS],
    question: [AtomicU64; 2],
    answer: [AtomicU64; 2],
    orders: PhantomData<O>,
}

impl<O: Orders> Desk<O> {
    fn new() -> &'static Self {
        let two = || [AtomicU64::new(0), AtomicU64::new(0)];
        let words = [0; REQUEST_WORDS].map(AtomicU64::new);
        let desk = Self { words, question: two(), answer: two(), orders: PhantomData };
        Box::leak(Box::new(desk))
    }

    fn asker(&self) -> Asker<'_, O> {
        Asker::new(&self.words)
    }

    /// Made before its thread is: it loads the word that it stores to, which hides races from loom
    /// (see [`crate::seqlock::Writer`]).
    fn answerer(&self) -> Answerer<'_, O> {
        Answerer::new(&self.words)
    }

    fn ask(&self, incarnation: u16, value: u64) -> Asked {
        self.asker().ask(incarnation, || {
            self.question.iter().for_each(|word| word.store(value, Ordering::Relaxed));
        })
    }

    fn look(&self, asked: Asked) -> Option<[u64; 2]> {
        let read = || [0, 1].map(|at: usize| self.answer[at].load(Ordering::Relaxed));
        self.asker().look(asked, read)
    }

    /// One look of an answerer.
    fn serve(&self, answerer: &mut Answerer<'_, O>) {
        let Some(asked) = answerer.take() else { return };
        let question = [0, 1].map(|at: usize| self.question[at].load(Ordering::Relaxed));
        for (word, value) in self.answer.iter().zip(question) {
            word.store(value + OFFSET, Ordering::Relaxed);
        }
        answerer.answer(asked);
    }
}

fn check(answer: Option<[u64; 2]>, value: u64) {
    if let Some(answer) = answer {
        assert_eq!(answer, [value + OFFSET; 2], "not the answer to this question");
    }
}

/// Two questions in a row, answered by another thread.
fn two_questions<O: Orders + Send + Sync>() {
    loom::model(|| {
        let desk = Desk::<O>::new();
        let mut answerer = desk.answerer();
        let answering = thread::spawn(move || (0..3).for_each(|_| desk.serve(&mut answerer)));
        let first = desk.ask(1, 1);
        let answer = desk.look(first);
        check(answer, 1);
        if answer.is_some() {
            check(desk.look(desk.ask(1, 2)), 2);
        }
        answering.join().expect("answerer");
    });
}

/// An asker has died after its question; its successor asks another while the answerer works on the first.
fn a_successor_asks<O: Orders + Send + Sync>() {
    loom::model(|| {
        let desk = Desk::<O>::new();
        let mut answerer = desk.answerer();
        desk.ask(1, 1);
        let answering = thread::spawn(move || {
            (0..2).for_each(|_| desk.serve(&mut answerer));
            answerer
        });
        let asked = desk.ask(2, 2);
        check(desk.look(asked), 2);
        let mut answerer = answering.join().expect("answerer");
        // Whoever comes late finds the question or its answer.
        desk.serve(&mut answerer);
        let answer = desk.look(asked);
        assert!(answer.is_some(), "the question was lost");
        check(answer, 2);
    });
}

/// An answerer has died over a question; the next one answers it.
fn an_answerer_is_replaced<O: Orders + Send + Sync>() {
    loom::model(|| {
        let desk = Desk::<O>::new();
        // The first answers nothing, so the second could be made later.
        let (first, mut second) = (desk.answerer(), desk.answerer());
        let asking = thread::spawn(move || {
            let asked = desk.ask(1, 1);
            check(desk.look(asked), 1);
            asked
        });
        // Half of an answer.
        let first = thread::spawn(move || {
            if first.take().is_some() {
                desk.answer[0].store(7, Ordering::Relaxed);
            }
        });
        first.join().expect("reaped");
        desk.serve(&mut second);
        let asked = asking.join().expect("asker");
        desk.serve(&mut second);
        check(desk.look(asked), 1);
        assert!(desk.look(asked).is_some(), "the question was lost");
    });
}

#[test]
fn loom_two_questions() {
    two_questions::<DefaultOrders>();
}

#[test]
fn loom_a_successor_asks() {
    a_successor_asks::<DefaultOrders>();
}

#[test]
fn loom_an_answerer_is_replaced() {
    an_answerer_is_replaced::<DefaultOrders>();
}

macro_rules! twin {
    ($test:ident, $weak:ident: $order:ident) => {
        #[derive(Debug, Clone, Copy)]
        struct $weak;

        impl Orders for $weak {
            const $order: Ordering = Ordering::Relaxed;
        }

        #[test]
        #[should_panic(expected = "not the answer to this question")]
        fn $test() {
            two_questions::<$weak>();
        }
    };
}

twin!(loom_ask_relaxed, WeakAsk: ASK);
twin!(loom_take_relaxed, WeakTake: TAKE);
twin!(loom_answer_relaxed, WeakAnswer: ANSWER);
twin!(loom_look_relaxed, WeakLook: LOOK);
