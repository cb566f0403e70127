//! The socket between an actor and its worker: packets, each received as it was sent.

use std::io::{IoSlice, Result};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, recv, send, sendmsg,
    shutdown, socketpair,
};

/// The actor's end.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// This end, and the worker's.
    pub(super) fn pair() -> Result<(Self, OwnedFd)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self { socket: ours }, theirs))
    }

    /// Sends one packet.
    pub(super) fn send(&self, packet: &[u8]) -> Result<()> {
        let fd = self.socket.as_raw_fd();
        Ok(repeat(|| send(fd, packet, MsgFlags::MSG_NOSIGNAL).map(drop))?)
    }

    /// Sends a descriptor, in a packet of one byte.
    pub(super) fn send_descriptor(&self, descriptor: BorrowedFd<'_>) -> Result<()> {
        let (fd, descriptors) = (self.socket.as_raw_fd(), [descriptor.as_raw_fd()]);
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let byte = [IoSlice::new(&[0])];
        let sent = || sendmsg::<()>(fd, &byte, &rights, MsgFlags::MSG_NOSIGNAL, None).map(drop);
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
    pub(super) fn hang_up(&self) {
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
        let (ours, theirs) = Channel::pair().expect("sockets");
        let theirs = Channel { socket: theirs };
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
}
