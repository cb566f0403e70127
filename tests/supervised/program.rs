//! The program under test: a pool whose children do as the board says.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use impala_rl::supervisor::{
    ChildControl, CleanupTarget, Dead, ExitKind, Level, Options, Pool, PoolCorrupt, PoolStatus,
    Reclaimed, Role, Supervisor, ToChild, Verdict,
};

use crate::board::{Board, Mode, Word};
use crate::run::nap;

/// Where the status segment of the program with this pid lies.
pub(crate) fn segment(pid: u32) -> PathBuf {
    PathBuf::from(format!("/dev/shm/impala-supervised-{pid}"))
}

pub(crate) fn main(folder: &Path, actors: u16) -> ExitKind {
    write_descriptors(folder, "inherited");
    let mut options = Options::new(actors);
    let ms = |name: &str, usual: u64| {
        let given = std::env::var(name).ok().map(|text| text.parse().expect("milliseconds"));
        Duration::from_millis(given.unwrap_or(usual))
    };
    options.policy.learner_saves = ms("SAVES_WITHIN_MS", 60_000);
    options.policy.unkillable = ms("UNKILLABLE_MS", 10_000);
    let mut supervisor = match Supervisor::new(options) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            eprintln!("{error}");
            return error.exit();
        }
    };
    let segment = segment(std::process::id());
    for guard in
        [CleanupTarget::Segment(segment.clone()), CleanupTarget::TempFiles(folder.to_owned())]
    {
        supervisor.guard(guard).expect("guarded");
    }
    fs::write(&segment, "status").expect("a segment");
    let log = File::options().append(true).create(true).open(folder.join("log")).expect("a log");
    let mut toy = Toy { board: Board::open(folder), folder: folder.to_owned(), log };
    let outcome = supervisor.run(&mut toy);
    toy.log(Level::Info, &format!("{outcome:?}"));
    let _ = fs::remove_file(&segment);
    outcome.exit
}

struct Toy {
    board: Board,
    folder: PathBuf,
    log: File,
}

fn place(role: Role) -> usize {
    match role {
        Role::Learner => 0,
        Role::Actor(index) => 1 + usize::from(index),
        Role::Policy => unreachable!("this pool has none"),
    }
}

impl Pool for Toy {
    fn run_child(&mut self, role: Role, incarnation: u16, mut control: ChildControl) -> ExitKind {
        let place = place(role);
        self.board.add(Word::Starts(place));
        write_descriptors(&self.folder, &format!("{role}-{incarnation}"));
        match self.board.mode(place) {
            Mode::Abort => std::process::abort(),
            Mode::Panic => panic!("as the board says"),
            Mode::EnvFails | Mode::EnvFailsForGood => {
                let permanent = self.board.mode(place) == Mode::EnvFailsForGood;
                control.failed("no such game", permanent);
                return ExitKind::EnvFailed;
            }
            Mode::Leave => return ExitKind::Finished,
            Mode::Helpers => self.start_helpers(place),
            _ => {}
        }
        control.ready();
        match role {
            Role::Learner => self.learn(&mut control),
            Role::Actor(_) | Role::Policy => self.act(place, &control),
        }
    }

    fn request_stop(&mut self) {
        self.board.set(Word::Stop, 1);
    }

    fn reclaim(&mut self, dead: &Dead) -> Result<Reclaimed, PoolCorrupt> {
        self.board.add(Word::Reclaims(place(dead.role())));
        if self.board.get(Word::Corrupt) != 0 {
            return Err(PoolCorrupt { what: "word 3 says 7".into() });
        }
        Ok(Reclaimed { freed: 1, ..Reclaimed::default() })
    }

    fn progress(&self, role: Role) -> u64 {
        self.board.get(Word::Progress(place(role)))
    }

    fn tick(&mut self, status: &PoolStatus) -> Verdict {
        for child in &status.children {
            let pid = child.pid.map_or(0, |pid| u64::from(pid.unsigned_abs()));
            self.board.set(Word::Pid(place(child.role)), pid);
            self.board.set(Word::Incarnation(place(child.role)), u64::from(child.incarnation));
        }
        self.board.add(Word::Ticks);
        if status.gap.is_some() {
            self.board.add(Word::Gaps);
        }
        if self.board.get(Word::Thread) != 0 {
            self.board.set(Word::Thread, 0);
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
        let hung = self.board.get(Word::Hung);
        self.board.set(Word::Hung, 0);
        let hung = status.children.iter().find(|child| place(child.role) as u64 + 1 == hung);
        hung.map_or(Verdict::Continue, |child| Verdict::Kill {
            role: child.role,
            reason: "as the board says".into(),
        })
    }

    fn log(&mut self, level: Level, line: &str) {
        let _ = writeln!(self.log, "{level:?} {line}");
    }
}

impl Toy {
    fn act(&self, place: usize, control: &ChildControl) -> ExitKind {
        loop {
            let mode = self.board.mode(place);
            if mode != Mode::Deaf && self.board.get(Word::Stop) != 0 {
                return ExitKind::Finished;
            }
            if mode == Mode::Chatter {
                control.log(Level::Debug, "nothing to say");
            } else {
                nap(Duration::from_millis(1));
            }
            self.board.add(Word::Progress(place));
        }
    }

    fn learn(&self, control: &mut ChildControl) -> ExitKind {
        loop {
            let mode = self.board.mode(0);
            match control.poll() {
                Some(ToChild::Checkpoint) => self.board.add(Word::Saves),
                Some(ToChild::Stop) if mode != Mode::Deaf => return self.save(mode),
                _ => {}
            }
            if mode == Mode::Reach {
                control.finished("target reached");
                return self.save(mode);
            }
            // Always on the way: whatever kills the pool finds a temporary file.
            fs::write(self.folder.join("checkpoint.tmp"), "half").expect("written");
            nap(Duration::from_millis(1));
            self.board.add(Word::Progress(0));
        }
    }

    fn save(&self, mode: Mode) -> ExitKind {
        if mode == Mode::SaveForever {
            loop {
                std::thread::park();
            }
        }
        if mode == Mode::CannotSave {
            return ExitKind::CheckpointNotWritten;
        }
        fs::rename(self.folder.join("checkpoint.tmp"), self.folder.join("checkpoint"))
            .or_else(|_| fs::write(self.folder.join("checkpoint"), "whole"))
            .map_or(ExitKind::CheckpointNotWritten, |()| ExitKind::Finished)
    }

    /// One helper in the group and one that leaves group and session; both lose their parent.
    fn start_helpers(&self, place: usize) {
        let far = self.folder.join(format!("helper-{place}"));
        let script = "sleep 1000 & setsid sleep 1000 & echo $! > $0.new; mv $0.new $0";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(&far).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(shell.status().expect("a shell").success());
        let pid = fs::read_to_string(&far).expect("a pid").trim().parse().expect("a number");
        self.board.set(Word::Helper(place), pid);
    }
}

/// What this process has open, a name a line.
fn write_descriptors(folder: &Path, who: &str) {
    let entries = fs::read_dir("/proc/self/fd").expect("readable").flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("/proc/"))
        .collect();
    names.sort();
    fs::write(folder.join(format!("descriptors-{who}")), names.join("\n")).expect("written");
}
