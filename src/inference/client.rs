//! The actor's side of central inference: a policy that asks the policy process.

use std::time::{Duration, Instant};

use super::board::{Board, Desk, Place, Question};
use crate::kill_point;
use crate::metrics::{ActorCounter, ActorCounters, Phase};
use crate::policy::act::{ActError, ActInputs, Policy};
use crate::ring::Ring;
use crate::shm::event_count::{DefaultOrders, Orders as _};
use crate::shm::request::Asked;
use crate::shm::{EventCount, futex};

/// How long a wait lasts before it looks again by itself: a wake-up may die with its sender.
const RESCAN: Duration = Duration::from_millis(100);

/// How long an answer is still waited for when the run is over: who answers goes on for as long as somebody asks.
const LAST_WAIT: Duration = Duration::from_millis(200);

/// A policy whose network runs in the policy process.
pub struct CentralPolicy<'m> {
    desk: Desk<'m>,
    asked: EventCount<'m>,
    ring: Ring<'m>,
    counters: ActorCounters<'m>,
    incarnation: u16,
    place: Place,
    /// The question that is not answered yet.
    open: Option<Asked>,
    /// `[E][S]`: state of the core before the next observations.
    state: Vec<f32>,
    version: u64,
}

impl std::fmt::Debug for CentralPolicy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CentralPolicy").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<'m> CentralPolicy<'m> {
    /// The policy of one group of environments, whose questions lie on desk `desk`, with a zero state. Groups that act one after
    /// the other share a desk.
    ///
    /// # Panics
    /// If the board has no such desk.
    #[must_use]
    pub fn new(
        board: Board<'m>,
        (desk, incarnation): (usize, u16),
        ring: Ring<'m>,
        counters: ActorCounters<'m>,
    ) -> Self {
        let desk = board.desk(desk);
        // Its predecessor may have died in its sleep.
        desk.answered.forget_waiters();
        Self {
            desk,
            asked: board.asked(),
            ring,
            counters,
            incarnation,
            place: Place::default(),
            open: None,
            state: vec![0.0; board.plan.envs * board.plan.state_len],
            version: 0,
        }
    }
}

impl Policy for CentralPolicy<'_> {
    /// The policy process has the weights.
    fn load(&mut self, _parameters: &[f32]) {}

    fn observe(&mut self, slot: usize, step: usize) {
        // Both are below 2^32: a ring has fewer slots, and an unroll fewer steps.
        self.place = Place { slot: slot as u32, step: step as u32 };
    }

    fn ask(&mut self, inputs: &ActInputs<'_>) -> bool {
        let question = Question {
            place: self.place,
            flags: inputs.flags,
            valid: inputs.observations.valid,
            last_actions: inputs.last_actions,
            last_rewards: inputs.last_rewards,
            state: &self.state,
        };
        self.open = Some(self.desk.ask(self.incarnation, &question));
        kill_point!("actor.asked");
        DefaultOrders::change_then_look();
        self.asked.notify(|count| {
            futex::wake(count, 1);
        });
        true
    }

    fn logits(&mut self, inputs: &ActInputs<'_>, logits: &mut [f32]) -> Result<(), ActError> {
        // Whoever waits for another process does not hang.
        self.counters.set_phase(Phase::Wait);
        let waiting = Instant::now();
        let asked = match self.open.take() {
            Some(asked) => asked,
            None => {
                self.ask(inputs);
                self.open.take().expect("it was asked just now")
            }
        };
        let Self { desk, ring, state, .. } = self;
        let mut over_since = None;
        let answered = loop {
            let mut look = || desk.take_answer(asked, logits, state);
            let sleep_while = |count: &_, seen| futex::wait_while(count, seen, RESCAN);
            if let Some(version) = desk.answered.wait(&mut look, sleep_while).or_else(&mut look) {
                break Some(version);
            }
            if ring.is_closed()
                && over_since.get_or_insert_with(Instant::now).elapsed() >= LAST_WAIT
            {
                break None;
            }
        };
        self.counters.add_time(ActorCounter::AnswerWaitNs, waiting.elapsed());
        self.version = answered.ok_or(ActError::Closed)?;
        self.counters.set_phase(Phase::Infer);
        Ok(())
    }

    fn recurrent_state(&self) -> &[f32] {
        &self.state
    }

    fn acted_with(&self) -> Option<u64> {
        Some(self.version)
    }
}
