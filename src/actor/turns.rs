//! Splits that take turns: while the environments of one step, or its question is being answered, the actor works on another.
//!
//! Each split fills a slot of its own, so none waits for another. A turn ends with the first wait that work on another split
//! can fill:
//!
//! ```text
//!   the network is here, environments elsewhere    finish the step, act, start the next
//!   the network is elsewhere, environments here    take the answer, act, step, ask
//!   both are elsewhere                             finish the step, ask | take the answer, act, start the next
//!   both are here                                  act, step
//! ```

use std::time::{Duration, Instant};

use super::ActorError;
use super::acting::{Acting, Filling};
use super::unroll::{Working, commit};
use crate::unroll::GroupMut;

/// An unroll between two turns.
#[derive(Debug)]
pub(super) struct Open {
    filling: Filling,
    /// What goes on meanwhile.
    pending: Pending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// Another process runs the network.
    Answer,
    /// The environments step.
    Step,
}

impl<'m> Working<'m> {
    /// One turn. A split without a slot waits for one for at most `wait`.
    pub(super) fn turn(
        &mut self,
        acting: &mut Acting<'m>,
        mut wait: Duration,
    ) -> Result<(), ActorError> {
        loop {
            if self.open.is_none() {
                self.begin(acting, wait)?;
                wait = Duration::ZERO;
            }
            if self.is_over_after_a_move(acting)? {
                return Ok(());
            }
        }
    }

    /// Opens an unroll.
    fn begin(&mut self, acting: &mut Acting<'m>, wait: Duration) -> Result<(), ActorError> {
        let ring = self.producer.ring();
        let waiting = Instant::now();
        let (mut grant, envs) = self.claim(acting, wait)?;
        acting.refresh(envs, ring, false)?;
        let mut group = GroupMut::new(grant.slot_mut());
        let filling = acting.begin(envs, &mut group, waiting, false)?;
        self.open = Some(Open { filling, pending: Pending::Nothing });
        Ok(())
    }

    /// Goes on with the open unroll to the next wait, or to the end of a step; whether that ends the turn.
    fn is_over_after_a_move(&mut self, acting: &mut Acting<'m>) -> Result<bool, ActorError> {
        let Self { producer, envs, open, .. } = self;
        let ring = producer.ring();
        let (Some(mut grant), Some(Open { filling, pending })) = (producer.held(), open.as_mut())
        else {
            unreachable!("a split with an open unroll holds its slot");
        };
        acting.still_wanted(filling, ring)?;
        let (slot, t) = (grant.index(), filling.steps);
        let mut group = GroupMut::new(grant.slot_mut());
        let before = std::mem::replace(pending, Pending::Nothing);
        if before != Pending::Step {
            envs.observe(slot, t);
            if before == Pending::Nothing && acting.step(envs).ask(t, &mut group) {
                *pending = Pending::Answer;
                return Ok(true);
            }
            if acting.step(envs).start(t, &mut group, filling.times.as_mut())? {
                *pending = Pending::Step;
                return Ok(true);
            }
        }
        let step = (t, before == Pending::Step);
        filling.ended += acting.step(envs).finish(step, &mut group, filling.times.as_mut())?;
        acting.stepped(envs, filling);
        if filling.steps == acting.unroll {
            acting.end(envs, &mut group, filling);
            commit(grant, acting, envs, filling)?;
            *open = None;
        }
        // Where nothing goes on by itself, every step is a turn.
        Ok(before == Pending::Nothing)
    }
}
