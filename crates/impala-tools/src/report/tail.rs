//! Reads a log while a run writes it: each look reads what was added since the last one.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Read at a time.
const BLOCK_BYTES: usize = 256 * 1024;
/// A longer line was not written by a run, and is passed over.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// So much of what was read last must still be there, or the log was rewritten.
const REMEMBERED_BYTES: usize = 64;

/// Who is given the lines of a log.
pub(super) trait Lines {
    /// The log was replaced, or cut: it is read from its start again.
    fn restart(&mut self);
    /// The next complete line, without its end.
    fn line(&mut self, line: &str);
}

/// Where the reading of a log stands.
#[derive(Debug, Default)]
pub(super) struct Tail {
    path: PathBuf,
    /// Device and inode.
    file: Option<(u64, u64)>,
    offset: u64,
    /// The last bytes before `offset`.
    remembered: Vec<u8>,
    /// A line whose end is not there yet.
    partial: Vec<u8>,
    /// Within a line that is too long.
    skips: bool,
}

impl Tail {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// Gives the lines that were added, of at most about `budget` bytes; returns how many bytes are left, and how many
    /// the log has. A last line without an end waits for it.
    ///
    /// # Errors
    /// If the log cannot be read; the place in it is kept.
    pub(super) fn read(&mut self, budget: u64, into: &mut impl Lines) -> io::Result<(u64, u64)> {
        let (mut file, metadata) = open(&self.path)?;
        let (place, length) = ((metadata.dev(), metadata.ino()), metadata.len());
        if self.file != Some(place) || !self.continues(&file, length) {
            *self = Self { file: Some(place), ..Self::new(std::mem::take(&mut self.path)) };
            into.restart();
        }
        let end = length.min(self.offset.saturating_add(budget));
        if self.offset == end {
            return Ok((length - end, length));
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::with_capacity(BLOCK_BYTES, (&file).take(end - self.offset));
        while self.read_line(&mut reader, into)? {}
        let remembered =
            usize::try_from(self.offset).map_or(REMEMBERED_BYTES, |n| n.min(REMEMBERED_BYTES));
        self.remembered.resize(remembered, 0);
        let from = self.offset - self.remembered.len() as u64;
        file.read_exact_at(&mut self.remembered, from)?;
        Ok((length.saturating_sub(self.offset), length))
    }

    /// Reads to the end of a line, or as much of it as is kept; returns false at the end of what is to be read.
    fn read_line(&mut self, from: &mut impl BufRead, into: &mut impl Lines) -> io::Result<bool> {
        let room = (MAX_LINE_BYTES + 1).saturating_sub(self.partial.len());
        let count = from.take(room as u64).read_until(b'\n', &mut self.partial)?;
        self.offset += count as u64;
        if let Some(line) = self.partial.strip_suffix(b"\n") {
            if let (false, Ok(line)) = (self.skips, str::from_utf8(line)) {
                into.line(line);
            }
            self.partial.clear();
            self.skips = false;
        } else if self.partial.len() > MAX_LINE_BYTES {
            self.skips = true;
            self.partial.clear();
        }
        Ok(count > 0)
    }

    /// Whether the file is what was read before, and perhaps more.
    fn continues(&self, file: &File, length: u64) -> bool {
        let mut there = vec![0; self.remembered.len()];
        let from = self.offset - there.len() as u64;
        length >= self.offset
            && file.read_exact_at(&mut there, from).is_ok()
            && there == self.remembered
    }
}

/// Opens a file for reading. Anything else, such as a pipe, is refused: reading it could block for ever.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    Ok((file, metadata))
}

/// A small file that is replaced as a whole: its text when it is another one than at the look before.
#[derive(Debug, Default)]
pub(super) struct SmallFile {
    path: PathBuf,
    /// Inode, length, and time of the last change.
    seen: Option<(u64, u64, i64, i64)>,
}

impl SmallFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// Its text, if there is one and it is new.
    pub(super) fn changed(&mut self) -> Option<String> {
        let (file, metadata) = open(&self.path).ok()?;
        let now = (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if self.seen == Some(now) {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MAX_LINE_BYTES as u64).read_to_end(&mut bytes).ok()?;
        self.seen = Some(now);
        String::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;

    #[derive(Default)]
    struct Seen {
        restarts: usize,
        lines: Vec<String>,
    }

    impl Lines for Seen {
        fn restart(&mut self) {
            self.restarts += 1;
            self.lines.clear();
        }

        fn line(&mut self, line: &str) {
            self.lines.push(line.to_owned());
        }
    }

    fn append(path: &Path, text: &[u8]) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
        file.write_all(text).expect("written");
    }

    #[test]
    fn what_is_added_is_read_once_and_half_a_line_waits() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let (mut tail, mut seen) = (Tail::new(path.clone()), Seen::default());
        assert!(tail.read(99, &mut seen).is_err(), "not there yet");
        append(&path, b"one\ntw");
        assert_eq!(tail.read(99, &mut seen).expect("read"), (0, 6));
        assert_eq!(seen.lines, ["one"]);
        append(&path, b"o\n\xff\xfe\n\nthree\n");
        tail.read(99, &mut seen).expect("read");
        tail.read(99, &mut seen).expect("read");
        assert_eq!(seen.lines, ["one", "two", "", "three"]);
        assert_eq!(seen.restarts, 1, "the first look");
    }

    #[test]
    fn a_log_that_is_cut_replaced_or_rewritten_is_read_anew() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let (mut tail, mut seen) = (Tail::new(path.clone()), Seen::default());
        append(&path, b"one\ntwo\nthree\n");
        tail.read(99, &mut seen).expect("read");
        let file = OpenOptions::new().write(true).open(&path).expect("opened");
        file.set_len(4).expect("cut");
        tail.read(99, &mut seen).expect("read");
        assert_eq!((seen.restarts, seen.lines.len()), (2, 1));
        // The same file, and longer than before, but another text.
        fs::write(&path, "four\nfive\nsix\n").expect("written");
        tail.read(99, &mut seen).expect("read");
        assert_eq!((seen.restarts, seen.lines.len()), (3, 3));
        fs::write(folder.path().join("new"), "four\nfive\nsix\nseven\n").expect("written");
        fs::rename(folder.path().join("new"), &path).expect("renamed");
        tail.read(99, &mut seen).expect("read");
        assert_eq!((seen.restarts, seen.lines.len()), (4, 4));
        fs::remove_file(&path).expect("removed");
        assert!(tail.read(99, &mut seen).is_err());
        assert_eq!(seen.lines.len(), 4, "what was read stays");
    }

    #[test]
    fn a_long_log_is_read_in_parts_and_an_endless_line_is_passed_over() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let endless = "x".repeat(3 * MAX_LINE_BYTES);
        append(&path, format!("one\n{endless}\ntwo\n{endless}").as_bytes());
        let (mut tail, mut seen) = (Tail::new(path.clone()), Seen::default());
        let mut looks = 0;
        while tail.read(100_000, &mut seen).expect("read").0 > 0 {
            assert!(tail.partial.len() <= MAX_LINE_BYTES + 1);
            looks += 1;
        }
        assert!(looks > 50, "{looks} looks");
        append(&path, b"\nthree\n");
        tail.read(99, &mut seen).expect("read");
        assert_eq!(seen.lines, ["one", "two", "three"]);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let error = Tail::new(pipe.clone()).read(99, &mut Seen::default()).expect_err("refused");
        assert!(error.to_string().contains("not a file"), "{error}");
        assert!(SmallFile::new(pipe).changed().is_none());
        assert!(Tail::new(folder.path().to_owned()).read(99, &mut Seen::default()).is_err());
    }

    #[test]
    fn a_small_file_is_given_when_it_changes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("config");
        let mut file = SmallFile::new(path.clone());
        assert_eq!(file.changed(), None);
        fs::write(&path, "a").expect("written");
        assert_eq!(file.changed().as_deref(), Some("a"));
        assert_eq!(file.changed(), None);
        fs::write(&path, "bc").expect("written");
        assert_eq!(file.changed().as_deref(), Some("bc"));
    }
}
