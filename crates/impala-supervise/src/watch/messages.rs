//! Handles the messages that the children send.

use super::{Event, ExitKind, Level, Role, Watch};
use crate::contract::ChildState;
use crate::control::{Drained, FromChild};

/// Messages read from one child before the others have their turn.
const MESSAGES_A_TURN: usize = 64;

/// Messages read at once where all of them matter. There is a limit, because a helper that outlived
/// its child may hold its channel.
pub(super) const FINAL_DRAIN: usize = 1_000;

impl Watch<'_> {
    pub(super) fn hear_all(&mut self) {
        for index in 0..self.owned().slots.len() {
            if self.hear(index, MESSAGES_A_TURN) == Drained::More {
                // Another turn, after whatever else has happened meanwhile.
                let _ = self.owned().events.wakeup().write(1);
            }
        }
    }

    pub(super) fn hear(&mut self, index: usize, most: usize) -> Drained {
        let Some(process) = &mut self.owned().slots[index].process else {
            return Drained::Empty;
        };
        let mut messages = Vec::new();
        let drained = process.control.drain(most, |message| messages.push(message));
        for message in messages {
            self.on_message(self.machine.places().role_at(index), message);
        }
        drained
    }

    fn on_message(&mut self, role: Role, message: FromChild) {
        match message {
            FromChild::Ready => {
                let known = self.machine.child(role).0 == ChildState::Running;
                let level = if known { Level::Debug } else { Level::Info };
                self.pool.log(level, &format!("{role}: ready"));
                self.queue.push_back(Event::Ready(role));
            }
            FromChild::Log { level, line } => self.pool.log(level, &format!("{role}: {line}")),
            FromChild::Failed { reason, permanent } => {
                self.pool.log(Level::Error, &format!("{role}: {reason}"));
                self.queue.push_back(Event::ChildFailed { role, permanent });
            }
            FromChild::Finished { reason } if role == Role::Learner => {
                self.queue.push_back(Event::Stop { exit: ExitKind::Finished, reason });
            }
            FromChild::Finished { reason } => {
                let line = format!("{role}: only the learner can end the run ({reason})");
                self.pool.log(Level::Warn, &line);
            }
            FromChild::Panicked { message, location } => {
                self.pool.log(Level::Error, &format!("{role}: panicked at {location}: {message}"));
                self.pool.panicked(role);
            }
            // Handled where the messages are read.
            FromChild::Took(_) => {}
        }
    }
}
