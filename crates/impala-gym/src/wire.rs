//! The channel between an actor and its worker, beside shared memory: a socket that sends texts and descriptors as
//! whole packets, and a pipe in each direction for the messages of a vector step. A pipe costs half of what a socket
//! does.

use std::io::{IoSlice, PipeReader, PipeWriter, Read as _, Result, Write as _, pipe};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, recv, send, sendmsg,
    shutdown, socketpair,
};

/// The actor's ends.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    /// Until the worker is told to leave.
    commands: Option<PipeWriter>,
    answers: PipeReader,
    /// The other ends of both pipes, until they are sent: an end shows only when nobody here has them.
    theirs: Option<(PipeReader, PipeWriter)>,
}

impl Channel {
    /// These ends, and the worker's of the socket.
    pub(super) fn pair() -> Result<(Self, OwnedFd)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (socket, worker) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let ((their_commands, commands), (answers, their_answers)) = (pipe()?, pipe()?);
        let (commands, theirs) = (Some(commands), Some((their_commands, their_answers)));
        Ok((Self { socket, commands, answers, theirs }, worker))
    }

    /// Sends one packet.
    pub(super) fn send(&self, packet: &[u8]) -> Result<()> {
        let fd = self.socket.as_raw_fd();
        Ok(repeat(|| send(fd, packet, MsgFlags::MSG_NOSIGNAL).map(drop))?)
    }

    /// Sends one packet, and with it the worker's ends of the pipes.
    pub(super) fn send_with_pipes(&mut self, packet: &[u8]) -> Result<()> {
        match self.theirs.take() {
            Some((commands, answers)) => {
                self.send_with(packet, &[commands.as_raw_fd(), answers.as_raw_fd()])
            }
            None => self.send(packet),
        }
    }

    /// Sends a descriptor, in a packet of one byte.
    pub(super) fn send_descriptor(&self, descriptor: BorrowedFd<'_>) -> Result<()> {
        self.send_with(&[0], &[descriptor.as_raw_fd()])
    }

    fn send_with(&self, packet: &[u8], descriptors: &[i32]) -> Result<()> {
        let fd = self.socket.as_raw_fd();
        let (rights, packet) = ([ControlMessage::ScmRights(descriptors)], [IoSlice::new(packet)]);
        let sent = || sendmsg::<()>(fd, &packet, &rights, MsgFlags::MSG_NOSIGNAL, None).map(drop);
        Ok(repeat(sent)?)
    }

    /// Waits for a packet and gives its length; 0: the other end is closed.
    pub(super) fn receive(&self, packet: &mut [u8]) -> Result<usize> {
        let fd = self.socket.as_raw_fd();
        match repeat(|| recv(fd, packet, MsgFlags::empty())) {
            // What a death leaves unread.
            Err(Errno::ECONNRESET) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Sends a command.
    ///
    /// # Errors
    /// Of any kind if there is nobody to do it.
    pub(super) fn command(&mut self, command: &[u8]) -> Result<()> {
        let Some(commands) = &mut self.commands else {
            return Err(Errno::EPIPE.into());
        };
        // Rust's runtime ignores SIGPIPE: a dead worker is an error here.
        commands.write_all(command)
    }

    /// Waits for the answer to a command.
    ///
    /// # Errors
    /// Of any kind if there is nobody to answer.
    pub(super) fn answer(&mut self) -> Result<[u8; 4]> {
        let mut answer = [0; 4];
        self.answers.read_exact(&mut answer)?;
        Ok(answer)
    }

    /// Whether there is something to receive, within `limit`.
    pub(super) fn has_news(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, timeout) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(Errno::EINTR) => {}
                // An error shows when it is received.
                _ => return true,
            }
        }
    }

    /// Tells the worker that nothing more comes.
    pub(super) fn hang_up(&mut self) {
        self.commands = None;
        let _gone_is_fine = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }
}

fn repeat<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_packets_and_an_end_shows() {
        let (mut ours, socket) = Channel::pair().expect("sockets");
        let theirs = Channel { socket, ..Channel::pair().expect("pipes").0 };
        ours.send(b"one").expect("sent");
        ours.send(b"three").expect("sent");
        let mut packet = [0; 16];
        assert_eq!(theirs.receive(&mut packet).expect("received"), 3);
        assert_eq!(theirs.receive(&mut packet).expect("received"), 5);
        assert_eq!(&packet[..5], b"three");
        assert!(!theirs.has_news(Duration::ZERO));
        ours.hang_up();
        assert!(theirs.has_news(Duration::from_secs(60)));
        assert_eq!(theirs.receive(&mut packet).expect("an end"), 0);
        drop(theirs);
        assert!(ours.send(b"x").is_err());
    }

    fn asked(channel: &mut Channel, command: &[u8]) -> Result<[u8; 4]> {
        channel.command(command)?;
        channel.answer()
    }

    #[test]
    fn a_command_is_answered_until_the_pipes_close() {
        let (mut ours, _socket) = Channel::pair().expect("pipes");
        let (mut commands, mut answers) = ours.theirs.take().expect("not sent yet");
        let worker = std::thread::spawn(move || {
            let mut command = [0; 5];
            commands.read_exact(&mut command).expect("a command");
            answers.write_all(&[7; 4]).expect("an answer");
            command
        });
        assert_eq!(asked(&mut ours, b"first").expect("answered"), [7; 4]);
        assert_eq!(&worker.join().expect("worker"), b"first");
        assert!(asked(&mut ours, b"again").is_err(), "its ends are closed");
        ours.hang_up();
        assert!(asked(&mut ours, b"again").is_err(), "told to leave");
    }
}
