//! Models of [`super`]. A question is two words of one number, its answer two words that follow from them.

use super::{Asked, DefaultOrders, Orders, Request};
use crate::sync::{AtomicU64, Ordering};
use loom::thread;
use std::marker::PhantomData;

const OFFSET: u64 = 100;

/// A request with its two areas. Leaked, so that threads can have it.
struct Desk<O> {
    word: AtomicU64,
    question: [AtomicU64; 2],
    answer: [AtomicU64; 2],
    orders: PhantomData<O>,
}

impl<O: Orders> Desk<O> {
    fn new() -> &'static Self {
        let words = || [AtomicU64::new(0), AtomicU64::new(0)];
        let word = AtomicU64::new(0);
        let desk = Self { word, question: words(), answer: words(), orders: PhantomData };
        Box::leak(Box::new(desk))
    }

    fn request(&self) -> Request<'_, O> {
        Request::new(&self.word)
    }

    fn ask(&self, incarnation: u16, value: u64) -> Asked {
        self.request().ask(incarnation, || {
            self.question.iter().for_each(|word| word.store(value, Ordering::Relaxed));
        })
    }

    fn look(&self, asked: Asked) -> Option<[u64; 2]> {
        let read = || [0, 1].map(|at: usize| self.answer[at].load(Ordering::Relaxed));
        self.request().look(asked, read)
    }

    /// One look of an answerer; whether somebody got an answer.
    fn serve(&self) -> bool {
        let Some(asked) = self.request().take() else { return false };
        let question = [0, 1].map(|at: usize| self.question[at].load(Ordering::Relaxed));
        for (word, value) in self.answer.iter().zip(question) {
            word.store(value + OFFSET, Ordering::Relaxed);
        }
        self.request().answer(asked)
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
        let answerer = thread::spawn(move || (0..3).filter(|_| desk.serve()).count());
        let first = desk.ask(1, 1);
        let answer = desk.look(first);
        check(answer, 1);
        if answer.is_some() {
            check(desk.look(desk.ask(1, 2)), 2);
        }
        answerer.join().expect("answerer");
    });
}

/// An asker has died after its question; its successor asks another while the answerer works on the first.
fn a_successor_asks<O: Orders + Send + Sync>() {
    loom::model(|| {
        let desk = Desk::<O>::new();
        desk.ask(1, 1);
        let answerer = thread::spawn(move || (0..2).filter(|_| desk.serve()).count());
        let asked = desk.ask(2, 2);
        check(desk.look(asked), 2);
        answerer.join().expect("answerer");
        // Whoever comes late finds the question or its answer.
        let served = desk.serve();
        let answer = desk.look(asked);
        assert!(answer.is_some(), "the question was lost (served now: {served})");
        check(answer, 2);
    });
}

/// An answerer has died over a question; the next one answers it.
fn an_answerer_is_replaced<O: Orders + Send + Sync>() {
    loom::model(|| {
        let desk = Desk::<O>::new();
        let asking = thread::spawn(move || {
            let asked = desk.ask(1, 1);
            check(desk.look(asked), 1);
            asked
        });
        // Half of an answer.
        let first = thread::spawn(move || {
            if desk.request().take().is_some() {
                desk.answer[0].store(7, Ordering::Relaxed);
            }
        });
        first.join().expect("reaped");
        desk.serve();
        let asked = asking.join().expect("asker");
        desk.serve();
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
