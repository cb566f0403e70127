//! Control messages between the supervisor and one child, over `ipc-channel`; data of the run never travels this way.
//!
//! Three properties of that crate shape this file. It hides its descriptors, so a child writes to a
//! shared eventfd after each message to wake the supervisor's epoll. A message above about 200 KB is
//! sent in pieces that the receiver waits for, so every text is cut to [`TEXT_BYTES`]: one message
//! is one packet, whole or absent, and a child that dies or is stopped while it sends cannot hold
//! the supervisor up. And a send waits while the buffer is full, so the supervisor keeps at most
//! one request of each sort in flight. Its router is not used: it would start a thread.

#[cfg(test)]
mod tests;

use std::io;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use ipc_channel::{IpcError, TryRecvError};
use nix::sys::eventfd::EventFd;
use serde::{Deserialize, Serialize};

use super::contract::Level;

/// Longest text in a message, room for a traceback; longer ones are cut.
pub const TEXT_BYTES: usize = 8192;

/// A child looks for messages no more often than this: a look costs a few microseconds.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// What the supervisor asks of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToChild {
    /// Leave: actors at once, the learner after it has finished its batch and saved.
    Stop,
    /// Save now and go on (learner).
    Checkpoint,
}

/// What a child tells the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromChild {
    /// Set up, and at work.
    Ready,
    /// A line for the user.
    Log {
        /// How much it matters.
        level: Level,
        /// The text, without the child's name.
        line: String,
    },
    /// About to leave, because of this.
    Failed {
        /// What happened, for the user.
        reason: String,
        /// No other try could help: do not start this child again.
        permanent: bool,
    },
    /// The run is complete (learner): end it.
    Finished {
        /// Which target was reached.
        reason: String,
    },
    /// A panic; the process aborts after this.
    Panicked {
        /// What it said.
        message: String,
        /// Source file and line.
        location: String,
    },
    /// The last [`ToChild`] was received (sent by [`ChildControl::poll`]).
    Took(ToChild),
}

/// What is left in a channel after the supervisor has read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// Nothing.
    Empty,
    /// More than one turn may read.
    More,
}

/// The supervisor's end.
#[derive(Debug)]
pub(super) struct ParentEnd {
    tx: IpcSender<ToChild>,
    rx: IpcReceiver<FromChild>,
    in_flight: Vec<ToChild>,
}

/// The child's end. It outlives nothing: dropping it only closes it.
#[derive(Debug)]
pub struct ChildControl {
    link: Option<Link>,
    next_look: Instant,
}

#[derive(Debug)]
struct Link {
    sender: MessageSender,
    rx: IpcReceiver<ToChild>,
}

/// The sending half, which the panic hook has a copy of.
#[derive(Debug, Clone)]
struct MessageSender {
    tx: IpcSender<FromChild>,
    wakeup: Arc<EventFd>,
}

/// The two ends for one child, which writes to `wakeup` after each message.
pub(super) fn pair(wakeup: &Arc<EventFd>) -> io::Result<(ParentEnd, ChildControl)> {
    let (down_tx, down_rx) = ipc::channel()?;
    let (up_tx, up_rx) = ipc::channel()?;
    let sender = MessageSender { tx: up_tx, wakeup: Arc::clone(wakeup) };
    let link = Some(Link { sender, rx: down_rx });
    let parent = ParentEnd { tx: down_tx, rx: up_rx, in_flight: Vec::new() };
    Ok((parent, ChildControl { link, next_look: Instant::now() }))
}

impl ParentEnd {
    /// Sends, unless the same request waits to be received already. A dead child is no error:
    /// its death is noticed by other means.
    pub(super) fn send(&mut self, message: ToChild) {
        if !self.in_flight.contains(&message) && self.tx.send(message).is_ok() {
            self.in_flight.push(message);
        }
    }

    /// Hands up to `most` messages to `take`. What cannot be read as a message is passed over.
    pub(super) fn drain(&mut self, most: usize, mut take: impl FnMut(FromChild)) -> Drained {
        for _ in 0..most {
            match self.rx.try_recv() {
                Ok(FromChild::Took(message)) => self.in_flight.retain(|&sent| sent != message),
                Ok(message) => take(message),
                Err(TryRecvError::IpcError(IpcError::SerializationError(_))) => {}
                Err(TryRecvError::Empty | TryRecvError::IpcError(_)) => return Drained::Empty,
            }
        }
        Drained::More
    }
}

impl MessageSender {
    fn say(&self, message: FromChild) -> bool {
        // Without a supervisor nobody listens, and this process is about to be killed.
        let sent = self.tx.send(message).is_ok();
        // The wakeup's counter cannot overflow in a lifetime; a lost one is made good by the tick.
        let _ = self.wakeup.write(1);
        sent
    }
}

impl ChildControl {
    /// A control without a supervisor, for roles that run in a test or a benchmark: nothing
    /// is heard and nothing is said.
    #[must_use]
    pub fn detached() -> Self {
        Self { link: None, next_look: Instant::now() }
    }

    /// Says that this child is set up.
    pub fn ready(&self) {
        self.say(FromChild::Ready);
    }

    /// Sends a line for the user, cut to [`TEXT_BYTES`].
    pub fn log(&self, level: Level, line: &str) {
        self.say(FromChild::Log { level, line: short(line) });
    }

    /// Says why this child is about to leave. `permanent`: no other try could help.
    pub fn failed(&self, reason: &str, permanent: bool) {
        self.say(FromChild::Failed { reason: short(reason), permanent });
    }

    /// Says that the run is complete (learner). Then save and leave with code 0.
    pub fn finished(&self, reason: &str) {
        self.say(FromChild::Finished { reason: short(reason) });
    }

    /// The next request, if there is one. Cheap: at most one system call in 20 ms while there is
    /// none. Without a supervisor the answer is [`ToChild::Stop`].
    pub fn poll(&mut self) -> Option<ToChild> {
        let link = self.link.as_ref()?;
        let now = Instant::now();
        if now < self.next_look {
            return None;
        }
        match link.rx.try_recv() {
            Ok(message) => {
                link.sender.say(FromChild::Took(message));
                Some(message)
            }
            Err(TryRecvError::IpcError(IpcError::Disconnected)) => Some(ToChild::Stop),
            Err(_) => {
                self.next_look = now + POLL_EVERY;
                None
            }
        }
    }

    fn say(&self, message: FromChild) {
        if let Some(link) = &self.link {
            link.sender.say(message);
        }
    }

    /// From now on a panic in any thread of this process is reported and ends the process: half a
    /// role is worse than none.
    pub(super) fn report_panics(&self) {
        let Some(link) = &self.link else { return };
        let sender = link.sender.clone();
        let backtrace = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let heard = sender.say(panic_message(info));
            if backtrace || !heard {
                usual(info);
            }
            std::process::abort();
        }));
    }
}

fn panic_message(info: &PanicHookInfo<'_>) -> FromChild {
    let message = info.payload_as_str().unwrap_or("(no text)");
    let location = info.location().map_or_else(|| "?".to_owned(), ToString::to_string);
    FromChild::Panicked { message: short(message), location: short(&location) }
}

/// At most [`TEXT_BYTES`] bytes of `text`, whole characters.
fn short(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES)].to_owned()
}
