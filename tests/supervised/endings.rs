//! How a run ends, and with which code.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::Case;
use crate::board::{Mode, Word};
use crate::run::{Run, nap, state, wait_until};

pub(crate) const CASES: &[Case] = &[
    ("endings::each_stop_signal_ends_in_order", each_stop_signal_ends_in_order),
    ("endings::a_signal_before_the_start_is_not_lost", a_signal_before_the_start_is_not_lost),
    ("endings::the_second_signal_ends_the_actors", the_second_signal_ends_the_actors),
    ("endings::the_third_signal_ends_everything", the_third_signal_ends_everything),
    ("endings::an_actor_that_does_not_leave_is_killed", an_actor_that_does_not_leave_is_killed),
    ("endings::a_stop_ends_whatever_the_children_do", a_stop_ends_whatever_the_children_do),
    ("endings::nohup_is_respected", nohup_is_respected),
    ("endings::an_ignored_interrupt_is_told", an_ignored_interrupt_is_told),
    ("endings::the_learner_reaches_the_target", the_learner_reaches_the_target),
    ("endings::a_final_save_that_fails_shows", a_final_save_that_fails_shows),
    ("endings::actors_that_crash_at_once_end_the_run", actors_that_crash_at_once_end_the_run),
    ("endings::an_actor_that_leaves_unasked_is_a_crash", an_actor_that_leaves_unasked_is_a_crash),
    (
        "endings::a_learner_that_crashes_at_once_ends_the_run",
        a_learner_that_crashes_at_once_ends_the_run,
    ),
    ("endings::a_failed_environment_names_itself", a_failed_environment_names_itself),
    ("endings::the_others_go_on", the_others_go_on),
    ("endings::corruption_ends_the_run", corruption_ends_the_run),
    ("endings::a_supervisor_with_threads_does_not_fork", a_supervisor_with_threads_does_not_fork),
    ("endings::too_few_descriptors_are_refused", too_few_descriptors_are_refused),
    ("endings::ctrl_z_stops_all_and_continues_all", ctrl_z_stops_all_and_continues_all),
    ("endings::a_gap_is_told", a_gap_is_told),
];

fn each_stop_signal_ends_in_order() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        let run = Run::start(2).at_work();
        run.signal(signal);
        let run = run.ends_with(0);
        assert!(run.saved());
        assert!(run.logged(&format!("reason: \"received {signal}\"")), "{}", run.log());
        assert!(!run.logged("killed"), "nobody had to be:\n{}", run.log());
        assert!(run.logged("actor_restarts: [0, 0]"), "{}", run.log());
    }
}

fn a_signal_before_the_start_is_not_lost() {
    let run = Run::start(2);
    // The segment is made between the making of the supervisor and its start.
    wait_until("the supervisor exists", || run.segment().exists());
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn the_second_signal_ends_the_actors() {
    let run = Run::start(2).at_work();
    run.board.set_mode(1, Mode::Deaf);
    run.board.set_mode(2, Mode::Deaf);
    run.signal(Signal::SIGINT);
    wait_until("it was heard", || run.logged("received SIGINT"));
    run.signal(Signal::SIGINT);
    let run = run.ends_with(0);
    assert!(run.saved());
    assert_eq!(run.log().matches("killed by SIGKILL").count(), 2, "{}", run.log());
}

fn the_third_signal_ends_everything() {
    let run = Run::start(2).at_work();
    run.board.set_mode(0, Mode::SaveForever);
    run.signal(Signal::SIGTERM);
    wait_until("the actors have left", || {
        (1..=2).all(|place| run.board.get(Word::Reclaims(place)) == 1)
    });
    run.signal(Signal::SIGTERM);
    let ticks = run.board.get(Word::Ticks);
    wait_until("the second was heard", || run.board.get(Word::Ticks) > ticks + 2);
    assert_eq!(run.board.get(Word::Reclaims(0)), 0, "the learner may go on saving");
    run.signal(Signal::SIGTERM);
    assert!(!run.ends_with(9).saved());
}

fn an_actor_that_does_not_leave_is_killed() {
    let run = Run::start(2).at_work();
    run.board.set_mode(1, Mode::Deaf);
    let stopped = run.child_pid(2).expect("alive");
    kill(stopped, Signal::SIGSTOP).expect("alive");
    run.signal(Signal::SIGTERM);
    let run = run.ends_with(0);
    assert!(run.saved());
    for actor in ["actor-0", "actor-1"] {
        assert!(run.logged(&format!("{actor} did not leave in time")), "{}", run.log());
    }
}

fn nohup_is_respected() {
    let wrap = ["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let run = Run::start_as(&wrap, 1, |_| {}).at_work();
    run.signal(Signal::SIGHUP);
    let ticks = run.board.get(Word::Ticks);
    wait_until("it goes on", || run.board.get(Word::Ticks) > ticks + 2);
    assert!(!run.logged("stopping"), "{}", run.log());
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn an_ignored_interrupt_is_told() {
    // As a shell starts a background job: its SIGINT is not for it.
    let run = Run::start_as(&["env", "--ignore-signal=INT"], 1, |_| {}).at_work();
    run.signal(Signal::SIGINT);
    wait_until("it says so", || run.logged("SIGINT stays ignored"));
    run.signal(Signal::SIGTERM);
    assert!(run.ends_with(0).logged("received SIGTERM"));
}

fn a_stop_ends_whatever_the_children_do() {
    let wrap = ["env", "SAVES_WITHIN_MS=500"];
    let run = Run::start_as(&wrap, 3, |_| {}).at_work();
    run.board.set_mode(0, Mode::SaveForever);
    run.board.set_mode(1, Mode::Deaf);
    run.board.set_mode(3, Mode::Chatter);
    kill(run.child_pid(2).expect("alive"), Signal::SIGSTOP).expect("alive");
    run.signal(Signal::SIGTERM);
    wait_until("the learner has heard of it", || run.logged("received SIGTERM"));
    kill(run.child_pid(0).expect("alive"), Signal::SIGSTOP).expect("alive");
    let run = run.ends_with(9);
    assert!(run.logged("learner did not leave in time"), "{}", run.log());
}

fn the_learner_reaches_the_target() {
    let run = Run::start(2).at_work();
    run.board.set_mode(0, Mode::Reach);
    let run = run.ends_with(0);
    assert!(run.saved());
    assert!(run.logged("reason: \"target reached\""), "{}", run.log());
}

fn a_final_save_that_fails_shows() {
    let run = Run::start(1).at_work();
    run.board.set_mode(0, Mode::CannotSave);
    run.signal(Signal::SIGTERM);
    run.ends_with(9);
    let run = Run::start(1).at_work();
    run.board.set_mode(0, Mode::SaveForever);
    run.signal(Signal::SIGTERM);
    wait_until("the actor has left", || run.board.get(Word::Reclaims(1)) == 1);
    kill(run.child_pid(0).expect("alive"), Signal::SIGSEGV).expect("alive");
    let run = run.ends_with(9);
    assert!(run.logged("the learner died before it had saved"), "{}", run.log());
}

fn crash_loop(mode: Mode, places: &[usize], starts: u64, code: i32) -> Run {
    let run = Run::start_as(&["env"], 2, |board| {
        places.iter().for_each(|&place| board.set_mode(place, mode));
    });
    let run = run.ends_with(code);
    for &place in places {
        assert_eq!(run.board.get(Word::Starts(place)), starts, "{}", run.log());
        assert_eq!(run.board.get(Word::Reclaims(place)), starts, "{}", run.log());
    }
    run
}

fn actors_that_crash_at_once_end_the_run() {
    let run = crash_loop(Mode::Abort, &[1, 2], 5, 6);
    assert!(run.saved(), "what was learned is kept");
    assert!(run.logged("failed: [Actor(0), Actor(1)]"), "{}", run.log());
}

fn an_actor_that_leaves_unasked_is_a_crash() {
    crash_loop(Mode::Leave, &[1, 2], 5, 6);
}

fn a_learner_that_crashes_at_once_ends_the_run() {
    crash_loop(Mode::Abort, &[0], 5, 6);
}

fn a_failed_environment_names_itself() {
    let run = crash_loop(Mode::EnvFails, &[1, 2], 5, 7);
    assert!(run.logged("Error actor-0: no such game"), "{}", run.log());
    crash_loop(Mode::EnvFailsForGood, &[1, 2], 1, 7);
}

fn the_others_go_on() {
    let run = Run::start_as(&["env"], 3, |board| board.set_mode(2, Mode::EnvFailsForGood));
    wait_until("one is given up", || run.logged("actor-1: given up"));
    let progress = run.board.get(Word::Progress(3));
    wait_until("another works on", || run.board.get(Word::Progress(3)) > progress + 10);
    run.signal(Signal::SIGTERM);
    assert!(run.ends_with(0).logged("failed: [Actor(1)]"));
}

fn corruption_ends_the_run() {
    let run = Run::start(2).at_work();
    run.board.set(Word::Corrupt, 1);
    kill(run.child_pid(1).expect("alive"), Signal::SIGKILL).expect("alive");
    let run = run.ends_with(10);
    assert!(run.logged("word 3 says 7"), "{}", run.log());
}

fn a_supervisor_with_threads_does_not_fork() {
    let run = Run::start(2).at_work();
    run.board.set(Word::Thread, 1);
    wait_until("it has two", || run.board.get(Word::Thread) == 0);
    kill(run.child_pid(1).expect("alive"), Signal::SIGKILL).expect("alive");
    let run = run.ends_with(70);
    assert!(run.logged("can only fork with one"), "{}", run.log());
}

fn too_few_descriptors_are_refused() {
    let wrap = ["sh", "-c", "ulimit -n 60; exec \"$0\" \"$@\""];
    let run = Run::start_as(&wrap, 4, |_| {}).ends_with(5);
    assert!(run.stderr().contains("82 open files, and 60 are allowed"), "{}", run.stderr());
    // A low soft limit is raised.
    let wrap = ["sh", "-c", "ulimit -Sn 20; exec \"$0\" \"$@\""];
    let run = Run::start_as(&wrap, 4, |_| {}).at_work();
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

fn ctrl_z_stops_all_and_continues_all() {
    let run = Run::start(2).at_work();
    let pids = || (0..=2).map(|place| run.child_pid(place).expect("alive")).chain([run.pid()]);
    run.signal(Signal::SIGTSTP);
    wait_until("all stand still", || pids().all(|pid| state(pid) == Some('T')));
    run.signal(Signal::SIGCONT);
    let progress: Vec<u64> = (0..=2).map(|place| run.board.get(Word::Progress(place))).collect();
    wait_until("all go on", || {
        (0..=2).all(|place| run.board.get(Word::Progress(place)) > progress[place] + 5)
    });
    run.signal(Signal::SIGTERM);
    let run = run.ends_with(0);
    assert!(run.logged("actor_restarts: [0, 0]"), "{}", run.log());
}

fn a_gap_is_told() {
    let run = Run::start(1).at_work();
    let mut length = Duration::from_secs(2);
    while run.board.get(Word::Gaps) == 0 {
        length += Duration::from_millis(500);
        run.signal(Signal::SIGSTOP);
        wait_until("it stands still", || state(run.pid()) == Some('T'));
        nap(length);
        let ticks = run.board.get(Word::Ticks);
        run.signal(Signal::SIGCONT);
        wait_until("it ticks", || run.board.get(Word::Ticks) > ticks + 1);
    }
    assert!(run.logged("the supervisor did not run for "), "{}", run.log());
    run.signal(Signal::SIGTERM);
    assert!(run.ends_with(0).logged("actor_restarts: [0]"));
}
