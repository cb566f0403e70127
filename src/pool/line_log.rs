//! A log file to which lines are appended; a line that cannot be written does not end the run.
//!
//! Lines that cannot be written are dropped and counted. The first lost line of a row is reported, and so is the
//! end of the row: a full disk may be emptied.

use std::io::{self, Write};

/// Lines on their way to a file.
#[derive(Debug)]
pub(super) struct LineLog<W> {
    name: &'static str,
    file: W,
    /// Whole lines, not written yet.
    pending: Vec<u8>,
    pending_lines: u64,
    /// Lines lost since the last one that was written.
    lost: u64,
    /// The last write may have left a part of a line.
    torn: bool,
}

impl<W: Write> LineLog<W> {
    pub(super) const fn new(name: &'static str, file: W) -> Self {
        Self { name, file, pending: Vec::new(), pending_lines: 0, lost: 0, torn: false }
    }

    /// Adds a line, without its end.
    pub(super) fn push(&mut self, line: &str) {
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        self.pending_lines += 1;
    }

    /// Writes what was added. `Some`: something to tell the user.
    pub(super) fn flush(&mut self) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let written = self.write();
        let lines = std::mem::take(&mut self.pending_lines);
        self.pending.clear();
        match written {
            Ok(()) => {
                let lost = std::mem::take(&mut self.lost);
                (lost > 0).then(|| format!("{} is written again; {lost} lines are lost", self.name))
            }
            Err(error) => {
                let first = self.lost == 0;
                self.lost += lines;
                self.torn = true;
                first.then(|| format!("{} cannot be written, the run goes on: {error}", self.name))
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        // One system call for whole lines, so that a kill leaves whole lines.
        self.file.write_all(&self.pending)?;
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then is full until it is emptied.
    #[derive(Default)]
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.bytes.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_lines_and_two_messages() {
        let mut log = LineLog::new("x.log", Disk { room: 8, ..Disk::default() });
        let mut told = Vec::new();
        for line in ["one", "two", "three", "four"] {
            log.push(line);
            told.extend(log.flush());
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("x.log cannot be written, the run goes on"), "{told:?}");
        log.file.room = 100;
        log.push("five");
        log.push("six");
        assert_eq!(log.flush().as_deref(), Some("x.log is written again; 2 lines are lost"));
        assert_eq!(log.flush(), None);
        let text = String::from_utf8(log.file.bytes).expect("text");
        assert_eq!(text, "one\ntwo\n\nfive\nsix\n");
    }

    #[test]
    fn a_torn_line_stands_alone() {
        let mut log = LineLog::new("x.log", Disk { room: 5, ..Disk::default() });
        log.push("0123456");
        assert!(log.flush().is_some());
        log.file.room = 100;
        log.push("whole");
        log.flush();
        assert_eq!(String::from_utf8(log.file.bytes).expect("text"), "01234\nwhole\n");
    }
}
