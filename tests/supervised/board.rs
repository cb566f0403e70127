//! The words that the pool under test and its driver share: a file, read and written in place.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Most roles in a test.
const PLACES: u64 = 64;

/// What a word says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word {
    /// Not 0: leave.
    Stop,
    /// Driver: place + 1 of a child that the pool is to call hung.
    Hung,
    /// Driver: not 0: the next reclaim finds the memory corrupt.
    Corrupt,
    /// Driver: not 0: start a thread in the supervisor.
    Thread,
    /// Learner: requests to save that it has taken.
    Saves,
    /// How often the supervisor has ticked.
    Ticks,
    /// Ticks that told of a gap.
    Gaps,
    /// Child: work done.
    Progress(usize),
    /// Driver: what this child is to do, a [`Mode`].
    Mode(usize),
    /// Pool: process id, 0 while there is none.
    Pid(usize),
    /// Pool: incarnation.
    Incarnation(usize),
    /// Pool: how often it was reclaimed.
    Reclaims(usize),
    /// Child: how often it was started.
    Starts(usize),
    /// Child: process id of its helper.
    Helper(usize),
}

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Mode {
    Work,
    /// Dies of SIGABRT at once.
    Abort,
    Panic,
    /// Leaves with code 7.
    EnvFails,
    /// The same, and says that it will not get better.
    EnvFailsForGood,
    /// Leaves with code 0, without having been asked.
    Leave,
    /// Works, and does not look at the stop flag.
    Deaf,
    /// Works, and talks without end.
    Chatter,
    /// Starts helpers that leave its group and session, then works.
    Helpers,
    /// Learner: says that the target was reached.
    Reach,
    /// Learner: never ends its last save.
    SaveForever,
    /// Learner: cannot save.
    CannotSave,
}

impl Mode {
    const ALL: [Self; 12] = [
        Self::Work,
        Self::Abort,
        Self::Panic,
        Self::EnvFails,
        Self::EnvFailsForGood,
        Self::Leave,
        Self::Deaf,
        Self::Chatter,
        Self::Helpers,
        Self::Reach,
        Self::SaveForever,
        Self::CannotSave,
    ];

    pub(crate) fn from_word(word: u64) -> Self {
        *Self::ALL.iter().find(|&&mode| mode as u64 == word).expect("a mode")
    }
}

#[derive(Debug)]
pub(crate) struct Board(File);

impl Board {
    pub(crate) fn open(folder: &Path) -> Self {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(folder.join("board")).expect("a board");
        file.set_len(8 * PLACES * 16).expect("room");
        Self(file)
    }

    pub(crate) fn get(&self, word: Word) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, offset(word)).expect("read");
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn set(&self, word: Word, value: u64) {
        self.0.write_all_at(&value.to_le_bytes(), offset(word)).expect("written");
    }

    /// Only for words with one writer.
    pub(crate) fn add(&self, word: Word) {
        self.set(word, self.get(word) + 1);
    }

    pub(crate) fn mode(&self, place: usize) -> Mode {
        Mode::from_word(self.get(Word::Mode(place)))
    }

    pub(crate) fn set_mode(&self, place: usize, mode: Mode) {
        self.set(Word::Mode(place), mode as u64);
    }
}

fn offset(word: Word) -> u64 {
    let (row, place) = match word {
        Word::Stop => (0, 0),
        Word::Hung => (0, 1),
        Word::Corrupt => (0, 2),
        Word::Thread => (0, 3),
        Word::Saves => (0, 4),
        Word::Ticks => (0, 5),
        Word::Gaps => (0, 6),
        Word::Progress(place) => (1, place),
        Word::Mode(place) => (2, place),
        Word::Pid(place) => (3, place),
        Word::Incarnation(place) => (4, place),
        Word::Reclaims(place) => (5, place),
        Word::Starts(place) => (6, place),
        Word::Helper(place) => (7, place),
    };
    let place = u64::try_from(place).expect("small");
    assert!(place < PLACES);
    8 * (row * PLACES + place)
}
