//! Children that die and come back.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Case;
use crate::board::{Mode, Word};
use crate::run::{Run, children_of, state, wait_until};

pub(crate) const CASES: &[Case] = &[
    ("restarts::two_hundred_kills_leave_no_trace", two_hundred_kills_leave_no_trace),
    ("restarts::a_learner_comes_back", a_learner_comes_back),
    ("restarts::a_stopped_actor_that_hangs_is_replaced", a_stopped_actor_that_hangs_is_replaced),
    (
        "restarts::an_actor_that_cannot_be_killed_is_done_without",
        an_actor_that_cannot_be_killed_is_done_without,
    ),
    ("restarts::a_fork_that_fails_is_tried_again", a_fork_that_fails_is_tried_again),
    ("restarts::a_panic_is_reported", a_panic_is_reported),
    ("restarts::children_hold_only_their_own", children_hold_only_their_own),
    ("restarts::children_have_the_usual_signals", children_have_the_usual_signals),
    (
        "restarts::an_inherited_ignore_of_sigchld_is_undone",
        an_inherited_ignore_of_sigchld_is_undone,
    ),
    ("restarts::helpers_die_with_their_actor", helpers_die_with_their_actor),
    ("restarts::a_flood_of_messages_stops_nobody", a_flood_of_messages_stops_nobody),
    ("restarts::a_checkpoint_can_be_asked_for", a_checkpoint_can_be_asked_for),
    (
        "restarts::actors_are_the_first_to_go_without_memory",
        actors_are_the_first_to_go_without_memory,
    ),
];

fn kill_child(run: &Run, place: usize) -> Pid {
    let pid = run.child_pid(place).expect("alive");
    kill(pid, Signal::SIGKILL).expect("alive");
    pid
}

/// Another process sits there, and has done some work.
fn wait_for_successor(run: &Run, place: usize, dead: Pid, before: u64) {
    wait_until("a successor works", || {
        run.child_pid(place).is_some_and(|pid| pid != dead)
            && run.board.get(Word::Progress(place)) > before
    });
}

fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("alive").count()
}

fn two_hundred_kills_leave_no_trace() {
    const ROUNDS: u64 = 25;
    let run = Run::start(8).at_work();
    let before = descriptors(run.pid());
    for _ in 0..ROUNDS {
        let killed: Vec<_> = (1..=8)
            .map(|place| (place, kill_child(&run, place)))
            .map(|(place, pid)| (place, pid, run.board.get(Word::Progress(place))))
            .collect();
        for (place, pid, progress) in killed {
            // It may have worked between the kill and the reading: a successor works on.
            wait_for_successor(&run, place, pid, progress + 1);
        }
    }
    wait_until("no zombie is left", || {
        children_of(run.pid()).into_iter().all(|child| state(child) != Some('Z'))
    });
    assert_eq!(descriptors(run.pid()), before);
    assert_eq!(children_of(run.pid()).len(), 1 + 8 + 1, "learner, actors, janitor");
    let threads = fs::read_dir(format!("/proc/{}/task", run.pid())).expect("alive").count();
    assert_eq!(threads, 1);
    for place in 1..=8 {
        assert_eq!(run.board.get(Word::Starts(place)), ROUNDS + 1);
        assert_eq!(run.board.get(Word::Reclaims(place)), ROUNDS);
    }
    run.signal(Signal::SIGTERM);
    let run = run.ends_with(0);
    assert!(run.logged("actor_restarts: [25, 25, 25, 25, 25, 25, 25, 25]"), "{}", run.log());
    assert!(run.logged("killed by SIGKILL; 1 slots freed"), "{}", run.log());
}

fn a_learner_comes_back() {
    let run = Run::start(1).at_work();
    for _ in 0..5 {
        let pid = kill_child(&run, 0);
        let progress = run.board.get(Word::Progress(0));
        wait_for_successor(&run, 0, pid, progress + 1);
    }
    run.signal(Signal::SIGINT);
    assert!(run.ends_with(0).logged("learner_restarts: 5"));
}

fn a_stopped_actor_that_hangs_is_replaced() {
    let run = Run::start(2).at_work();
    let pid = run.child_pid(2).expect("alive");
    kill(pid, Signal::SIGSTOP).expect("alive");
    wait_until("it is stopped", || state(pid) == Some('T'));
    let progress = run.board.get(Word::Progress(2));
    run.board.set(Word::Hung, 3);
    wait_for_successor(&run, 2, pid, progress);
    assert!(run.logged("actor-1: hangs: as the board says"), "{}", run.log());
    run.signal(Signal::SIGTERM);
    assert!(run.ends_with(0).logged("actor_restarts: [0, 1]"));
}

/// A cgroup of version 1 that freezes its processes: SIGKILL waits until they thaw.
struct Freezer(std::path::PathBuf);

impl Freezer {
    /// `None` where this machine or this user has none.
    fn new() -> Option<Self> {
        let folder = format!("/sys/fs/cgroup/freezer/impala-test-{}", std::process::id());
        fs::create_dir(&folder).ok()?;
        Some(Self(folder.into()))
    }

    fn freeze(&self, pid: Pid) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("moved");
        fs::write(self.0.join("freezer.state"), "FROZEN").expect("frozen");
    }

    fn thaw(&self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.thaw();
        let emptied = || fs::remove_dir(&self.0).is_ok();
        wait_until("the freezer is empty", emptied);
    }
}

/// A cgroup of version 1 that limits the number of its processes.
struct Crowd(std::path::PathBuf);

impl Crowd {
    fn of(member: Pid) -> Option<Self> {
        let folder = format!("/sys/fs/cgroup/pids/impala-test-{}", std::process::id());
        fs::create_dir(&folder).ok()?;
        let crowd = Self(folder.into());
        fs::write(crowd.0.join("cgroup.procs"), member.to_string()).expect("moved");
        Some(crowd)
    }

    fn limit(&self, most: &str) {
        fs::write(self.0.join("pids.max"), most).expect("limited");
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        wait_until("the crowd is gone", || fs::remove_dir(&self.0).is_ok());
    }
}

fn a_fork_that_fails_is_tried_again() {
    let run = Run::start(2).at_work();
    let Some(crowd) = Crowd::of(run.pid()) else {
        run.signal(Signal::SIGTERM);
        run.ends_with(0);
        return println!("     skipped: no pids cgroup of version 1 here");
    };
    // The supervisor alone is in it, and is one too many.
    crowd.limit("0");
    let pid = kill_child(&run, 2);
    wait_until("it was tried more than once", || {
        run.log().matches("cannot start actor-1: fork: EAGAIN").count() > 2
    });
    let progress = [1, 2].map(|place| run.board.get(Word::Progress(place)));
    wait_until("the other works on", || run.board.get(Word::Progress(1)) > progress[0] + 10);
    crowd.limit("max");
    wait_for_successor(&run, 2, pid, progress[1]);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
    drop(crowd);
}

fn an_actor_that_cannot_be_killed_is_done_without() {
    let Some(freezer) = Freezer::new() else {
        return println!("     skipped: no freezer cgroup of version 1 here");
    };
    let start = || Run::start_as(&["env", "UNKILLABLE_MS=300"], 2, |_| {}).at_work();
    let run = start();
    let frozen = run.child_pid(2).expect("alive");
    freezer.freeze(frozen);
    run.board.set(Word::Hung, 3);
    wait_until("it is given up", || run.logged("actor-1 does not die of SIGKILL"));
    assert_eq!(run.board.get(Word::Reclaims(2)), 0, "never from a process that may still write");
    assert_eq!(run.board.get(Word::Starts(2)), 1, "nobody in its place");
    let progress = run.board.get(Word::Progress(1));
    wait_until("the other works on", || run.board.get(Word::Progress(1)) > progress + 10);
    // It is let go: what it held is free, and it has a successor.
    freezer.thaw();
    let progress = run.board.get(Word::Progress(2));
    wait_for_successor(&run, 2, frozen, progress);
    assert_eq!(run.board.get(Word::Reclaims(2)), 1);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);

    let mut run = start();
    freezer.freeze(run.child_pid(2).expect("alive"));
    run.signal(Signal::SIGTERM);
    assert_eq!(run.ended().code(), Some(13), "{}", run.log());
    assert!(run.saved() && run.logged("unkillable: [Actor(1)]"), "{}", run.log());
    drop(freezer);
}

fn a_panic_is_reported() {
    let run = Run::start(2).at_work();
    run.board.set_mode(1, Mode::Panic);
    kill_child(&run, 1);
    wait_until("it panics", || run.logged("tests/supervised/program.rs"));
    assert!(run.logged("actor-0: panicked at "), "{}", run.log());
    assert!(run.logged("as the board says"), "{}", run.log());
    wait_until("the death is told", || run.logged("killed by SIGABRT"));
    run.board.set_mode(1, Mode::Work);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn children_hold_only_their_own() {
    let run = Run::start(3).at_work();
    for _ in 0..3 {
        for place in [1, 3] {
            let pid = kill_child(&run, place);
            let progress = run.board.get(Word::Progress(place));
            wait_for_successor(&run, place, pid, progress + 1);
        }
    }
    let list = |name: &str| {
        let names = fs::read_to_string(run.folder.path().join(name)).expect("readable");
        names.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let inherited = list("descriptors-inherited");
    let folder = run.folder.path().display().to_string();
    let mut seen = 0;
    for entry in fs::read_dir(run.folder.path()).expect("readable").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("descriptors-") || name.ends_with("inherited") {
            continue;
        }
        seen += 1;
        let mut own = list(&name);
        for known in &inherited {
            let at = own.iter().position(|name| name == known);
            own.remove(at.unwrap_or_else(|| panic!("{known} is not in {own:?}")));
        }
        let sorts: Vec<&str> = own
            .iter()
            .map(|name| name.strip_prefix(&folder).unwrap_or(name))
            .map(|name| name.split_once(":[").map_or(name, |(sort, _)| sort))
            .collect();
        // The pool's files; the wakeup; both ends of its own channel. The supervisor's epoll, clock,
        // signals, pidfds, janitor's pipe and the other children's channels are not among them.
        assert_eq!(sorts, ["/board", "/log", "anon_inode", "socket", "socket"], "{name}: {own:?}");
        assert!(own.iter().any(|name| name == "anon_inode:[eventfd]"), "{name}: {own:?}");
    }
    assert_eq!(seen, 1 + 3 + 6);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn children_have_the_usual_signals() {
    // What is ignored at the start stays so; nothing is blocked.
    let wrap = ["sh", "-c", "trap '' USR2; exec \"$0\" \"$@\""];
    let run = Run::start_as(&wrap, 1, |_| {}).at_work();
    let masks = |pid: Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("alive");
        ["SigBlk:", "SigIgn:", "SigCgt:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a mask");
            // Above are the real-time signals, two of which the C library ignores for itself.
            u64::from_str_radix(line.trim(), 16).expect("a number") & 0x7fff_ffff
        })
    };
    let bit = |signal: Signal| 1_u64 << (signal as i32 - 1);
    let ignored = bit(Signal::SIGPIPE) | bit(Signal::SIGTTOU) | bit(Signal::SIGUSR2);
    for place in 0..=1 {
        // Rust's own handlers for a stack that overflows are gone as well.
        assert_eq!(masks(run.child_pid(place).expect("alive")), [0, ignored, 0]);
    }
    let stoppers = bit(Signal::SIGINT) | bit(Signal::SIGTERM) | bit(Signal::SIGUSR1);
    assert_eq!(masks(run.pid())[0] & stoppers, stoppers, "the supervisor blocks them");
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn an_inherited_ignore_of_sigchld_is_undone() {
    // With SIGCHLD ignored the kernel reaps the dead, and nobody learns what they died of.
    let wrap = ["env", "--ignore-signal=CHLD"];
    let run = Run::start_as(&wrap, 1, |_| {}).at_work();
    let pid = kill_child(&run, 1);
    let progress = run.board.get(Word::Progress(1));
    wait_for_successor(&run, 1, pid, progress + 1);
    assert!(run.logged("killed by SIGKILL"), "{}", run.log());
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn helpers_die_with_their_actor() {
    let run = Run::start_as(&["env"], 2, |board| {
        board.set_mode(1, Mode::Helpers);
        board.set_mode(2, Mode::Helpers);
    })
    .at_work();
    let helper = |place| {
        let pid = run.board.get(Word::Helper(place));
        Pid::from_raw(i32::try_from(pid).expect("a pid"))
    };
    let (first, second) = (helper(1), helper(2));
    assert!(children_of(run.pid()).contains(&first), "adopted when its script ended");
    let pid = kill_child(&run, 1);
    let progress = run.board.get(Word::Progress(1));
    wait_until("its helper is gone", || state(first).is_none());
    wait_for_successor(&run, 1, pid, progress + 1);
    wait_until("the successor has its own", || helper(1) != first);
    assert!(matches!(state(second), Some('S' | 'R')), "the other's lives");
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
    assert_eq!(state(second), None);
}

fn a_flood_of_messages_stops_nobody() {
    let run = Run::start(2).at_work();
    run.board.set_mode(1, Mode::Chatter);
    run.board.set_mode(2, Mode::Chatter);
    let ticks = run.board.get(Word::Ticks);
    wait_until("the flood comes and the clock ticks on", || {
        run.board.get(Word::Ticks) > ticks + 5
            && run.log().matches("nothing to say").count() > 5_000
    });
    kill_child(&run, 1);
    run.board.set_mode(1, Mode::Work);
    wait_until("it is replaced", || run.board.get(Word::Starts(1)) == 2);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn a_checkpoint_can_be_asked_for() {
    let run = Run::start(1).at_work();
    for saves in 1..=3 {
        run.signal(Signal::SIGUSR1);
        wait_until("it is taken", || run.board.get(Word::Saves) == saves);
    }
    for harmless in [Signal::SIGUSR2, Signal::SIGALRM, Signal::SIGPIPE, Signal::SIGCONT] {
        run.signal(harmless);
    }
    let ticks = run.board.get(Word::Ticks);
    wait_until("it goes on", || run.board.get(Word::Ticks) > ticks + 2);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn actors_are_the_first_to_go_without_memory() {
    let run = Run::start(1).at_work();
    let score = |pid: Pid| {
        let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("alive");
        score.trim().parse::<i32>().expect("a number")
    };
    let child = |place| run.child_pid(place).expect("alive");
    assert_eq!([score(child(0)), score(child(1))], [100, 500]);
    assert!(score(run.pid()) <= 0);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
