//! SIGKILL to the supervisor, at any moment: nothing is left.

use std::time::{Duration, Instant};

use impala_rl::rng::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Case;
use crate::board::{Mode, Word};
use crate::run::{Run, children_of, state_and_name, wait_until};

pub(crate) const CASES: &[Case] = &[
    ("killed::at_any_moment_nothing_is_left", at_any_moment_nothing_is_left),
    ("killed::helpers_are_found", helpers_are_found),
    ("killed::a_janitor_is_replaced", a_janitor_is_replaced),
    ("killed::a_neighbour_does_not_notice", a_neighbour_does_not_notice),
    ("killed::a_stopped_janitor_holds_nobody_up", a_stopped_janitor_holds_nobody_up),
];

fn janitor(run: &Run) -> Option<Pid> {
    let named = |pid: &Pid| {
        state_and_name(*pid).is_some_and(|(state, name)| state != 'Z' && name == "impala-janitor")
    };
    children_of(run.pid()).into_iter().find(named)
}

/// Kills during the start, in full work and while children are replaced, each time with a child
/// that was stopped: whichever it is, in whatever state of its own start.
fn at_any_moment_nothing_is_left() {
    const TIMES: u32 = 60;
    let mut rng = Rng::new(2_024, 0);
    let mut longest = Duration::ZERO;
    for time in 0..TIMES {
        let run = Run::start(3);
        if time % 2 == 0 {
            let run = run.at_work();
            longest = longest.max(kill_soon(run, &mut rng));
        } else {
            longest = longest.max(kill_soon(run, &mut rng));
        }
    }
    println!("     the last process was gone {longest:?} after the kill, at most, of {TIMES}");
}

fn kill_soon(run: Run, rng: &mut Rng) -> Duration {
    let moment =
        Instant::now() + Duration::from_micros(u64::try_from(rng.below(30_000)).expect("small"));
    let mut stopped = None;
    while Instant::now() < moment {
        let children = children_of(run.pid());
        if stopped.is_none() && !children.is_empty() {
            let child = children[rng.below(children.len())];
            // Not the janitor: nobody can clean up who is not running.
            if Some(child) != janitor(&run) && Some(child) != children.first().copied() {
                let _ = kill(child, Signal::SIGSTOP);
                stopped = Some(child);
            }
        }
        // Others die and are replaced meanwhile.
        if let Some(&child) = children.get(2).filter(|&&child| Some(child) != stopped) {
            let _ = kill(child, Signal::SIGKILL);
        }
    }
    run.kill_nine().0
}

fn helpers_are_found() {
    for _ in 0..3 {
        let run = Run::start_as(&["env"], 2, |board| {
            board.set_mode(1, Mode::Helpers);
            board.set_mode(2, Mode::Helpers);
        })
        .at_work();
        run.kill_nine();
    }
}

fn a_janitor_is_replaced() {
    let run = Run::start(2).at_work();
    for _ in 0..3 {
        let first = janitor(&run).expect("on duty");
        kill(first, Signal::SIGKILL).expect("alive");
        wait_until("another is on duty", || janitor(&run).is_some_and(|pid| pid != first));
    }
    assert!(run.segment().exists());
    let progress = run.board.get(Word::Progress(1));
    wait_until("the pool goes on", || run.board.get(Word::Progress(1)) > progress);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGTSTP] {
        kill(janitor(&run).expect("on duty"), signal).expect("alive");
    }
    run.kill_nine();
}

fn a_neighbour_does_not_notice() {
    let neighbour = Run::start(2).at_work();
    let run = Run::start(2).at_work();
    kill(run.pid(), Signal::SIGKILL).expect("alive");
    wait_until("the segment is gone", || !run.segment().exists());
    let progress = neighbour.board.get(Word::Progress(1));
    wait_until("the neighbour works", || {
        (0..=2).all(|place| neighbour.board.get(Word::Progress(place)) > progress / 2)
            && neighbour.board.get(Word::Progress(1)) > progress + 10
    });
    assert!(neighbour.segment().exists());
    neighbour.signal(Signal::SIGTERM);
    let mut ended = false;
    wait_until("all of both is gone", || {
        ended |= neighbour.saved();
        crate::run::nobody_is_left()
    });
    assert!(ended && neighbour.logged("actor_restarts: [0, 0]"), "{}", neighbour.log());
}

fn a_stopped_janitor_holds_nobody_up() {
    let run = Run::start(1).at_work();
    kill(janitor(&run).expect("on duty"), Signal::SIGSTOP).expect("alive");
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
