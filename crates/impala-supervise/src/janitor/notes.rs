//! The notes that the supervisor writes into the janitor's pipe: tag, length and text, each in one atomic write.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A pipe takes a write of this size whole or not at all (PIPE_BUF).
pub(super) const NOTE_BYTES: usize = 4096;

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// This file is to be removed.
    Segment(PathBuf),
    /// The temporary files in this folder are to be removed.
    TempFiles(PathBuf),
    /// This folder is to be removed.
    Folder(PathBuf),
    /// This process group is to be killed.
    GroupStarted(i32),
    /// This process group is dead, and its number may be used again.
    GroupGone(i32),
    /// The end is in order: nothing is to be done.
    Leave,
}

impl Note {
    /// The bytes for the pipe.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let group;
        let (tag, text) = match self {
            Self::Segment(path) => (b's', path.as_os_str().as_bytes()),
            Self::TempFiles(path) => (b't', path.as_os_str().as_bytes()),
            Self::Folder(path) => (b'f', path.as_os_str().as_bytes()),
            Self::GroupStarted(pid) | Self::GroupGone(pid) => {
                group = pid.to_le_bytes();
                (if matches!(self, Self::GroupStarted(_)) { b'+' } else { b'-' }, &group[..])
            }
            Self::Leave => (b'x', &[][..]),
        };
        let fits = text.len() + 3 <= NOTE_BYTES;
        let length = u16::try_from(text.len()).ok().filter(|_| fits);
        let [low, high] = length.ok_or(io::ErrorKind::InvalidFilename)?.to_le_bytes();
        Ok([&[tag, low, high], text].concat())
    }

    fn decode(tag: u8, text: &[u8]) -> Option<Self> {
        let path = || Path::new(OsStr::from_bytes(text)).to_owned();
        // Whatever else is told: 0 and 1 stand for other things than a group where groups are killed.
        let group = || <[u8; 4]>::try_from(text).ok().map(i32::from_le_bytes).filter(|&id| id > 1);
        match tag {
            b's' => Some(Self::Segment(path())),
            b't' => Some(Self::TempFiles(path())),
            b'f' => Some(Self::Folder(path())),
            b'+' => group().map(Self::GroupStarted),
            b'-' => group().map(Self::GroupGone),
            b'x' => Some(Self::Leave),
            _ => None,
        }
    }
}

/// Puts notes together that the pipe gives in pieces.
#[derive(Debug, Default)]
pub(super) struct Reader {
    unread: Vec<u8>,
}

impl Reader {
    /// Adds what was read from the pipe.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next whole note.
    pub(super) fn next(&mut self) -> Option<Note> {
        loop {
            let (&[tag, low, high], rest) = self.unread.split_first_chunk::<3>()?;
            let text = rest.get(..usize::from(u16::from_le_bytes([low, high])))?;
            let note = Note::decode(tag, text);
            self.unread.drain(..3 + text.len());
            if note.is_some() {
                return note;
            }
        }
    }
}

/// What the janitor would clean up. The supervisor keeps an equal copy, for the next janitor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CleanupList {
    pub(super) groups: BTreeSet<i32>,
    pub(super) segments: BTreeSet<PathBuf>,
    pub(super) temp_folders: BTreeSet<PathBuf>,
    pub(super) folders: BTreeSet<PathBuf>,
}

impl CleanupList {
    /// Knows this from now on.
    pub(super) fn learn(&mut self, note: Note) {
        match note {
            Note::Segment(path) => drop(self.segments.insert(path)),
            Note::TempFiles(path) => drop(self.temp_folders.insert(path)),
            Note::Folder(path) => drop(self.folders.insert(path)),
            Note::GroupStarted(group) => drop(self.groups.insert(group)),
            Note::GroupGone(group) => drop(self.groups.remove(&group)),
            Note::Leave => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_note() -> impl Strategy<Value = Note> {
        let path = || "/[a-zä]{0,200}".prop_map(PathBuf::from);
        prop_oneof![
            path().prop_map(Note::Segment),
            path().prop_map(Note::TempFiles),
            path().prop_map(Note::Folder),
            (2..i32::MAX).prop_map(Note::GroupStarted),
            (2..i32::MAX).prop_map(Note::GroupGone),
            Just(Note::Leave),
        ]
    }

    proptest! {
        /// However the pipe cuts the stream, the janitor reads what the supervisor wrote.
        #[test]
        fn notes_survive_any_cut(
            notes in proptest::collection::vec(any_note(), 0..20),
            piece in 1_usize..50,
        ) {
            let encoded = notes.iter().map(|note| note.encode().expect("short"));
            let stream: Vec<u8> = encoded.flatten().collect();
            let (mut reader, mut read) = (Reader::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                reader.feed(bytes);
                read.extend(std::iter::from_fn(|| reader.next()));
            }
            prop_assert_eq!(read, notes);
        }
    }

    #[test]
    fn a_note_is_one_atomic_write_or_refused() {
        let of_length = |length: usize| Note::Segment(PathBuf::from("a".repeat(length))).encode();
        assert_eq!(of_length(NOTE_BYTES - 3).expect("fits").len(), NOTE_BYTES);
        assert!(of_length(NOTE_BYTES - 2).is_err());
        assert!(of_length(70_000).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let mut reader = Reader::default();
        reader.feed(&[b'?', 1, 0, 7, b'+', 2, 0, 1, 2]);
        for wrong in [1, 0, -1, i32::MIN] {
            reader.feed(&Note::GroupStarted(wrong).encode().expect("short"));
        }
        reader.feed(&Note::GroupStarted(5).encode().expect("short"));
        assert_eq!(reader.next(), Some(Note::GroupStarted(5)));
        assert_eq!(reader.next(), None);
    }

    #[test]
    fn the_cleanup_list_follows_the_notes() {
        let mut cleanup = CleanupList::default();
        let notes = [
            Note::GroupStarted(1),
            Note::GroupStarted(2),
            Note::GroupGone(1),
            Note::GroupGone(9),
            Note::Leave,
        ];
        notes.into_iter().for_each(|note| cleanup.learn(note));
        cleanup.learn(Note::Segment("/dev/shm/x".into()));
        assert_eq!(cleanup.groups, BTreeSet::from([2]));
        assert_eq!(cleanup.segments, BTreeSet::from([PathBuf::from("/dev/shm/x")]));
        assert_eq!(cleanup.temp_folders, BTreeSet::new());
    }
}
