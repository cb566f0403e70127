//! Tests of the state machine, decision by decision.

use rand_xoshiro::rand_core::Rng as _;

use super::*;
use crate::contract::Role::{Actor, Learner, Policy};
use crate::exit::Remedy;

const KILLED: Cause = Cause::Signaled(9);
const CRASHED: Cause = Cause::Signaled(11);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn started(actors: u16) -> Machine {
    let mut machine = Machine::new(actors, RestartPolicy::default(), 7);
    let spawned = machine.step(Event::Start, ms(0));
    let expected: Vec<Action> =
        std::iter::once(Learner).chain((0..actors).map(Actor)).map(Action::Spawn).collect();
    assert_eq!(spawned, expected);
    machine
}

/// The same with a policy process, which is started last.
fn started_with_policy(actors: u16) -> Machine {
    let mut machine = Machine::with_policy(actors, RestartPolicy::default(), 7);
    let spawned = machine.step(Event::Start, ms(0));
    assert_eq!(spawned.len(), 2 + usize::from(actors));
    assert_eq!(spawned.last(), Some(&Action::Spawn(Policy)));
    machine
}

fn reaped(role: Role, cause: Cause, progressed: bool) -> Event {
    Event::Reaped { role, cause, progressed }
}

fn stop(exit: ExitKind) -> Event {
    Event::Stop { exit, reason: "because".into() }
}

/// Kills `role` without progress until it is given up; the delays between the incarnations.
fn die_in_a_row(machine: &mut Machine, role: Role, cause: Cause) -> (Vec<Duration>, Vec<Action>) {
    let (mut now, mut delays) = (ms(1_000), Vec::new());
    loop {
        let actions = machine.step(reaped(role, cause, false), now);
        assert_eq!(actions[0], Action::Reclaim(role));
        let Some(&Action::TellRestart(_, delay)) = actions.get(1) else {
            return (delays, actions);
        };
        delays.push(delay);
        if !delay.is_zero() {
            assert_eq!(machine.step(Event::Tick, now + delay - ms(1)), []);
        }
        now += delay;
        assert_eq!(machine.next_due(), Some(now));
        assert_eq!(machine.step(Event::Tick, now), [Action::Spawn(role)]);
    }
}

fn outcome(actions: &[Action]) -> &Outcome {
    match actions.last() {
        Some(Action::Finish(outcome)) => outcome,
        other => panic!("not finished: {other:?}"),
    }
}

#[test]
fn roles_and_places_agree() {
    let places = Places::new(u16::MAX, true);
    let roles = [Learner, Actor(0), Actor(1), Actor(u16::MAX - 1), Policy];
    for (index, role) in roles.into_iter().enumerate() {
        assert_eq!(places.role_at(places.index_of(role)), role);
        assert!(places.index_of(role) >= index);
    }
    assert_eq!(places.index_of(Policy), places.count() - 1);
    assert_eq!(Places::new(3, true).role_at(4), Policy);
    assert_eq!(Places::new(3, false).count(), 4);
}

#[test]
fn a_policy_process_that_dies_is_replaced_and_is_no_actor() {
    let mut machine = started_with_policy(2);
    let actions = machine.step(reaped(Policy, KILLED, true), ms(1_000));
    assert_eq!(actions, [Action::Reclaim(Policy), Action::TellRestart(Policy, ms(0))]);
    assert_eq!(machine.step(Event::Tick, ms(1_000)), [Action::Spawn(Policy)]);
    assert_eq!(machine.child(Policy), (ChildState::Starting, 1));
    machine.step(stop(ExitKind::Finished), ms(2_000));
    let mut last = Vec::new();
    for role in [Learner, Actor(0), Actor(1), Policy] {
        last = machine.step(reaped(role, Cause::Exited(0), true), ms(2_100));
    }
    let outcome = outcome(&last);
    assert_eq!((outcome.policy_restarts, &outcome.actor_restarts[..]), (1, &[0, 0][..]));
    assert_eq!(outcome.exit, ExitKind::Finished);
}

#[test]
fn a_policy_process_that_never_answers_ends_the_run() {
    let mut machine = started_with_policy(2);
    let (delays, last) = die_in_a_row(&mut machine, Policy, CRASHED);
    assert_eq!(delays.len(), 4);
    assert!(last.contains(&Action::TellFailed(Policy, 5)), "{last:?}");
    assert!(machine.stopping(), "nobody acts without it");
}

#[test]
fn a_policy_process_that_cannot_be_killed_ends_the_run() {
    let mut machine = started_with_policy(1);
    assert_eq!(machine.step(Event::Hung(Policy), ms(1_000)), [Action::Kill(Policy)]);
    let actions = machine.step(Event::Tick, ms(12_000));
    assert!(actions.contains(&Action::RequestStop), "{actions:?}");
}

#[test]
fn an_actor_is_given_up_after_five_deaths_with_growing_pauses() {
    let mut machine = started(2);
    let (delays, last) = die_in_a_row(&mut machine, Actor(0), CRASHED);
    assert_eq!(delays.len(), 4);
    assert_eq!(delays[0], ms(0));
    for (delay, middle) in delays[1..].iter().zip([100.0, 200.0, 400.0]) {
        let ratio = delay.as_secs_f64() * 1e3 / middle;
        assert!((0.8..=1.2).contains(&ratio), "{delay:?}");
    }
    assert_eq!(last[1..], [Action::TellFailed(Actor(0), 5)]);
    assert_eq!(machine.child(Actor(0)), (ChildState::Failed, 4));
    assert!(!machine.stopping(), "the other goes on");
}

#[test]
fn the_run_ends_when_the_last_actor_is_given_up() {
    let mut machine = started(2);
    die_in_a_row(&mut machine, Actor(1), CRASHED);
    let (_, last) = die_in_a_row(&mut machine, Actor(0), Cause::Exited(101));
    assert_eq!(last[1..], [Action::TellFailed(Actor(0), 5), Action::RequestStop]);
    let end = machine.step(reaped(Learner, Cause::Exited(0), true), ms(9_000));
    let outcome = outcome(&end);
    assert_eq!(outcome.exit, ExitKind::CrashLoop);
    assert_eq!(outcome.failed, [Actor(0), Actor(1)]);
    assert_eq!((outcome.learner_restarts, &outcome.actor_restarts[..]), (0, &[4, 4][..]));
}

#[test]
fn the_exit_code_of_the_run_tells_the_cause_if_the_child_did() {
    let table = [
        (Cause::Exited(7), ExitKind::EnvFailed),
        (Cause::Exited(5), ExitKind::Resources),
        (Cause::Exited(70), ExitKind::CrashLoop),
        (Cause::Exited(11), ExitKind::CrashLoop),
        (Cause::Exited(0), ExitKind::CrashLoop),
        (Cause::Exited(1), ExitKind::CrashLoop),
        (Cause::Signaled(6), ExitKind::CrashLoop),
    ];
    for (cause, exit) in table {
        let mut machine = started(1);
        die_in_a_row(&mut machine, Actor(0), cause);
        let end = machine.step(reaped(Learner, Cause::Exited(0), true), ms(9_000));
        assert_eq!(outcome(&end).exit, exit, "{cause:?}");
    }
}

#[test]
fn what_never_helps_is_not_tried_twice() {
    for kind in ExitKind::ALL.into_iter().filter(|kind| kind.remedy() == Remedy::Never) {
        let mut machine = started(2);
        let cause = Cause::Exited(i32::from(kind.code()));
        let actions = machine.step(reaped(Actor(0), cause, true), ms(50));
        assert_eq!(actions[1..], [Action::TellFailed(Actor(0), 0)], "{kind}");
        let actions = machine.step(reaped(Learner, cause, true), ms(60));
        assert_eq!(actions[1..], [Action::TellFailed(Learner, 0), Action::RequestStop], "{kind}");
        let end = machine.step(reaped(Actor(1), Cause::Exited(0), true), ms(70));
        assert_eq!(outcome(&end).exit, kind);
    }
    let mut machine = started(2);
    machine.step(Event::ChildFailed { role: Actor(1), permanent: true }, ms(10));
    let actions = machine.step(reaped(Actor(1), Cause::Exited(7), true), ms(20));
    assert_eq!(actions[1..], [Action::TellFailed(Actor(1), 0)]);
    machine.step(Event::ChildFailed { role: Actor(0), permanent: false }, ms(30));
    let actions = machine.step(reaped(Actor(0), Cause::Exited(7), true), ms(500));
    assert_eq!(actions[1..], [Action::TellRestart(Actor(0), ms(0))]);
}

#[test]
fn the_learner_is_given_up_after_five_deaths() {
    let mut machine = started(1);
    let (delays, last) = die_in_a_row(&mut machine, Learner, CRASHED);
    assert_eq!(delays.len(), 4);
    assert_eq!(last[1..], [Action::TellFailed(Learner, 5), Action::RequestStop]);
    let end = machine.step(reaped(Actor(0), Cause::Exited(0), true), ms(9_000));
    assert_eq!(outcome(&end).exit, ExitKind::CrashLoop);
}

#[test]
fn progress_starts_the_count_anew() {
    let mut machine = started(1);
    let mut now = ms(0);
    for process in 0..1_000 {
        now += ms(500);
        let actions = machine.step(reaped(Actor(0), KILLED, process % 4 == 3), now);
        let Action::TellRestart(_, delay) = actions[1] else { panic!("{actions:?}") };
        if process % 4 == 3 {
            assert_eq!(delay, ms(0), "it worked, and lived for half a second");
        }
        now += delay;
        assert_eq!(machine.step(Event::Tick, now), [Action::Spawn(Actor(0))]);
    }
    assert_eq!(machine.child(Actor(0)).1, 1_000);
}

#[test]
fn a_kill_from_outside_is_no_fault_of_its_victim() {
    for role in [Actor(0), Learner] {
        let mut machine = started(1);
        let (delays, last) = die_in_a_row(&mut machine, role, KILLED);
        assert_eq!(delays.len(), 19, "four times as many");
        assert!(delays.iter().all(|&delay| delay <= ms(1_000)), "{delays:?}");
        assert_eq!(last[1..], [Action::TellFailed(role, 20), Action::RequestStop]);
    }
    // The supervisor's own kill, of one that hangs, is a death like any other.
    let mut machine = started(1);
    let mut now = ms(0);
    for death in 1..=5 {
        now += ms(60_000);
        assert_eq!(machine.step(Event::Hung(Actor(0)), now), [Action::Kill(Actor(0))]);
        let actions = machine.step(reaped(Actor(0), KILLED, false), now);
        assert_eq!(actions.contains(&Action::TellFailed(Actor(0), 5)), death == 5, "{actions:?}");
        now += ms(60_000);
        machine.step(Event::Tick, now);
    }
    assert!(machine.stopping());
}

#[test]
fn a_pool_that_is_killed_all_the_time_and_works_goes_on_for_ever() {
    let mut machine = started(3);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut below = |n: u64| (rng.next_u64() % n) as usize;
    let mut now = ms(0);
    for kill in 0..10_000 {
        now += ms(50);
        machine.step(Event::Tick, now);
        // Every third incarnation has no time for a commit.
        let role = machine.places().role_at(below(4));
        if matches!(machine.child(role).0, ChildState::Starting | ChildState::Running) {
            let actions = machine.step(reaped(role, KILLED, below(3) > 0), now);
            let Action::TellRestart(_, delay) = actions[1] else { panic!("{kill}: {actions:?}") };
            assert!(delay <= ms(1_000), "{delay:?}");
        }
    }
    assert!(!machine.stopping());
}

#[test]
fn children_that_die_at_once_are_not_forked_without_a_pause() {
    let mut machine = started(1);
    let mut now = ms(0);
    for _ in 0..100 {
        now += ms(2);
        let actions = machine.step(reaped(Actor(0), KILLED, true), now);
        let Action::TellRestart(_, delay) = actions[1] else { panic!("{actions:?}") };
        assert!((ms(80)..=ms(120)).contains(&delay), "{delay:?}");
        now += delay;
        machine.step(Event::Tick, now);
    }
}

#[test]
fn delays_stop_growing_and_repeat_with_the_seed() {
    let delays = |seed| {
        let policy = RestartPolicy { actor_deaths: 100, ..RestartPolicy::default() };
        let mut machine = Machine::new(1, policy, seed);
        machine.step(Event::Start, ms(0));
        die_in_a_row(&mut machine, Actor(0), CRASHED).0
    };
    assert_eq!(delays(1), delays(1));
    assert_ne!(delays(1), delays(2));
    assert!(delays(1)[40..].iter().all(|delay| (ms(8_000)..=ms(12_000)).contains(delay)));
}

#[test]
fn a_fork_that_fails_ends_a_run_only_at_its_start() {
    let failed = |role| Event::SpawnFailed { role, why: "EAGAIN".into() };
    let mut machine = started(1);
    assert_eq!(machine.step(failed(Actor(0)), ms(1)), [Action::RequestStop]);
    let end = machine.step(reaped(Learner, Cause::Exited(0), false), ms(2));
    assert_eq!(outcome(&end).exit, ExitKind::Resources);

    let mut machine = started(1);
    machine.step(reaped(Actor(0), KILLED, true), ms(500));
    let mut now = ms(500);
    for _ in 0..20 {
        assert_eq!(machine.step(Event::Tick, now), [Action::Spawn(Actor(0))]);
        let actions = machine.step(failed(Actor(0)), now);
        let Some(&Action::TellRestart(_, delay)) = actions.last() else { panic!("{actions:?}") };
        assert!(delay >= ms(80), "no spin: {delay:?}");
        now += delay;
    }
    assert!(!machine.stopping(), "a lack of memory is not the actor's fault");
}

#[test]
fn an_ordered_end_waits_then_kills() {
    let mut machine = started(2);
    let actions = machine.step(Event::StopSignal("SIGTERM"), ms(1_000));
    assert!(matches!(actions[..], [Action::Tell(_), Action::RequestStop]), "{actions:?}");
    machine.step(reaped(Actor(0), Cause::Exited(0), true), ms(1_100));
    assert_eq!(machine.step(Event::Tick, ms(2_999)), []);
    let actions = machine.step(Event::Tick, ms(3_000));
    assert_eq!(actions[1..], [Action::Kill(Actor(1))]);
    machine.step(reaped(Actor(1), KILLED, true), ms(3_001));
    assert_eq!(machine.next_due(), Some(ms(31_000)));
    let end = machine.step(reaped(Learner, Cause::Exited(0), true), ms(5_000));
    assert_eq!(outcome(&end).exit, ExitKind::Finished, "killing an actor loses nothing");
    assert_eq!(machine.step(Event::StopSignal("SIGINT"), ms(5_001)), []);
}

#[test]
fn a_learner_that_does_not_save_shows_in_the_exit_code() {
    let ends: [(&str, Vec<(u64, Event)>); 4] = [
        ("it hangs", vec![(31_000, Event::Tick), (31_001, reaped(Learner, KILLED, true))]),
        ("it crashes", vec![(1_500, reaped(Learner, Cause::Signaled(11), true))]),
        ("it says so", vec![(1_500, reaped(Learner, Cause::Exited(9), true))]),
        (
            "third signal",
            vec![
                (1_100, Event::StopSignal("SIGINT")),
                (1_200, Event::StopSignal("SIGINT")),
                (1_201, reaped(Learner, KILLED, true)),
            ],
        ),
    ];
    for (name, events) in ends {
        let mut machine = started(1);
        machine.step(Event::StopSignal("SIGINT"), ms(1_000));
        machine.step(reaped(Actor(0), Cause::Exited(0), true), ms(1_010));
        let last = events.into_iter().map(|(at, event)| machine.step(event, ms(at))).last();
        let last = last.expect("not empty");
        assert_eq!(outcome(&last).exit, ExitKind::CheckpointNotWritten, "{name}");
    }
    let mut machine = started(1);
    machine.step(reaped(Learner, KILLED, true), ms(1_000));
    machine.step(Event::StopSignal("SIGINT"), ms(1_000));
    let end = machine.step(reaped(Actor(0), Cause::Exited(0), true), ms(1_010));
    assert_eq!(outcome(&end).exit, ExitKind::CheckpointNotWritten, "it was down");
}

#[test]
fn each_signal_goes_further() {
    let mut machine = started(2);
    let signal = || Event::StopSignal("SIGINT");
    assert_eq!(machine.step(signal(), ms(1)).last(), Some(&Action::RequestStop));
    assert_eq!(machine.step(signal(), ms(2)), [Action::Kill(Actor(0)), Action::Kill(Actor(1))]);
    assert_eq!(machine.step(signal(), ms(3)), [Action::Kill(Learner)]);
    assert_eq!(machine.step(signal(), ms(4)), []);
}

#[test]
fn a_worse_reason_replaces_a_good_one_only() {
    let table = [
        (ExitKind::Finished, ExitKind::Corrupt, ExitKind::Corrupt),
        (ExitKind::Corrupt, ExitKind::Finished, ExitKind::Corrupt),
        (ExitKind::EnvFailed, ExitKind::Corrupt, ExitKind::EnvFailed),
    ];
    for (first, second, exit) in table {
        let mut machine = started(1);
        assert_eq!(machine.step(stop(first), ms(1)), [Action::RequestStop]);
        assert_eq!(machine.step(stop(second), ms(2)), []);
        machine.step(reaped(Actor(0), Cause::Exited(0), true), ms(3));
        let end = machine.step(reaped(Learner, Cause::Exited(0), true), ms(4));
        assert_eq!(outcome(&end).exit, exit);
    }
}

#[test]
fn a_child_that_finds_corruption_ends_the_run() {
    let mut machine = started(1);
    let actions = machine.step(reaped(Actor(0), Cause::Exited(10), true), ms(1));
    assert_eq!(actions, [Action::Reclaim(Actor(0)), Action::RequestStop]);
    let end = machine.step(reaped(Learner, Cause::Exited(0), true), ms(2));
    assert_eq!(outcome(&end).exit, ExitKind::Corrupt);
}

#[test]
fn deadlines_stand_still_while_the_supervisor_does() {
    let mut machine = started(1);
    machine.step(stop(ExitKind::Finished), ms(1_000));
    machine.step(Event::Gap(ms(60_000)), ms(61_500));
    assert_eq!(machine.step(Event::Tick, ms(61_500)), []);
    assert_eq!(machine.next_due(), Some(ms(63_000)));
}

#[test]
fn what_sigkill_does_not_end_is_left_behind_and_named() {
    let mut machine = started(1);
    machine.step(stop(ExitKind::Finished), ms(0));
    machine.step(reaped(Learner, Cause::Exited(0), true), ms(10));
    assert_eq!(machine.step(Event::Tick, ms(2_000)).last(), Some(&Action::Kill(Actor(0))));
    assert_eq!(machine.next_due(), Some(ms(12_000)));
    assert_eq!(machine.step(Event::Tick, ms(11_999)), []);
    let end = machine.step(Event::Tick, ms(12_000));
    assert_eq!(outcome(&end).unkillable, [Actor(0)]);
    assert_eq!(outcome(&end).exit, ExitKind::LeftBehind);
}

#[test]
fn the_run_does_without_an_actor_that_cannot_be_killed() {
    let mut machine = started(2);
    assert_eq!(machine.step(Event::Hung(Actor(1)), ms(5_000)), [Action::Kill(Actor(1))]);
    assert_eq!(machine.next_due(), Some(ms(15_000)));
    let told = machine.step(Event::Tick, ms(15_000));
    assert!(matches!(&told[..], [Action::Tell(line)] if line.contains("actor-1 does not die")));
    assert_eq!(machine.child(Actor(1)), (ChildState::Unkillable, 0));
    assert_eq!(machine.step(Event::Tick, ms(1_000_000)), [], "nobody takes its place");
    // The kernel lets go of it at last: it is reclaimed, and replaced.
    let mut thawed = machine.clone();
    let actions = thawed.step(reaped(Actor(1), KILLED, true), ms(2_000_000));
    assert_eq!(actions, [Action::Reclaim(Actor(1)), Action::TellRestart(Actor(1), ms(0))]);
    // Or it does not, and the end does not wait for it.
    machine.step(stop(ExitKind::Finished), ms(2_000_000));
    machine.step(reaped(Actor(0), Cause::Exited(0), true), ms(2_000_010));
    let end = machine.step(reaped(Learner, Cause::Exited(0), true), ms(2_000_020));
    assert_eq!(
        (outcome(&end).exit, &outcome(&end).unkillable[..]),
        (ExitKind::LeftBehind, &[Actor(1)][..])
    );
}

#[test]
fn without_actors_or_learner_that_can_be_killed_the_run_ends() {
    for role in [Actor(0), Learner] {
        let mut machine = started(1);
        machine.step(Event::Hung(role), ms(0));
        let told = machine.step(Event::Tick, ms(10_000));
        assert_eq!(told.last(), Some(&Action::RequestStop), "{role}");
        let other = if role == Learner { Actor(0) } else { Learner };
        let end = machine.step(reaped(other, Cause::Exited(0), true), ms(10_010));
        assert_eq!(
            (outcome(&end).exit, &outcome(&end).unkillable[..]),
            (ExitKind::LeftBehind, &[role][..])
        );
    }
}

#[test]
fn an_environment_that_must_not_fail_ends_the_run() {
    let mut machine = started(2);
    let actions = machine.step(reaped(Actor(1), Cause::Exited(12), true), ms(1));
    assert_eq!(actions, [Action::Reclaim(Actor(1)), Action::RequestStop]);
    machine.step(reaped(Actor(0), Cause::Exited(0), true), ms(2));
    let end = machine.step(reaped(Learner, Cause::Exited(0), true), ms(3));
    assert_eq!(outcome(&end).exit, ExitKind::EnvFault);
}
