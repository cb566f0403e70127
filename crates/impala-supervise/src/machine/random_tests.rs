//! Property tests of the state machine: random events in any order.

use super::*;
use crate::exit::ExitKind;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn stop(exit: ExitKind) -> Event {
    Event::Stop { exit, reason: "because".into() }
}

/// The processes outside the machine, and assertions on what it asks for.
#[derive(Debug, Default)]
struct World {
    alive: BTreeSet<Role>,
    killed: BTreeSet<Role>,
    unclaimed: BTreeSet<Role>,
    stop_requests: u32,
    outcome: Option<Outcome>,
}

impl World {
    fn obey(&mut self, machine: &mut Machine, event: Event, now: Duration) {
        for action in machine.step(event, now) {
            assert!(self.outcome.is_none(), "{action:?} after the end");
            match action {
                Action::Spawn(role) => {
                    assert_eq!(self.stop_requests, 0, "{role} started while stopping");
                    assert!(!self.unclaimed.contains(&role), "{role} started, not reclaimed");
                    assert!(self.alive.insert(role), "two of {role}");
                }
                Action::Reclaim(role) => {
                    assert!(!self.alive.contains(&role), "{role} reclaimed alive");
                    assert!(self.unclaimed.remove(&role), "{role} reclaimed twice");
                }
                Action::Kill(role) => {
                    assert!(self.alive.contains(&role), "{role} killed dead");
                    self.killed.insert(role);
                }
                Action::RequestStop => self.stop_requests += 1,
                Action::Finish(outcome) => {
                    assert_eq!(self.alive, BTreeSet::from_iter(outcome.unkillable.clone()));
                    assert!(self.unclaimed.is_empty());
                    self.outcome = Some(outcome);
                }
                Action::TellRestart(..) | Action::TellFailed(..) | Action::Tell(_) => {}
            }
        }
        assert!(self.stop_requests <= 1);
    }

    fn die(
        &mut self,
        machine: &mut Machine,
        role: Role,
        cause: Cause,
        progressed: bool,
        now: Duration,
    ) {
        if self.outcome.is_none() && self.alive.remove(&role) {
            self.killed.remove(&role);
            self.unclaimed.insert(role);
            self.obey(machine, Event::Reaped { role, cause, progressed }, now);
            assert!(!self.unclaimed.contains(&role), "{role} never reclaimed");
        }
    }
}

/// Lets the killed processes die, except the `survivor`.
fn reap_killed(world: &mut World, machine: &mut Machine, survivor: Option<Role>, now: Duration) {
    for role in world.killed.clone() {
        if survivor != Some(role) {
            world.die(machine, role, Cause::Signaled(9), false, now);
        }
    }
}

#[derive(Debug, Clone)]
enum Move {
    Wait(u64),
    Die(usize, i32, bool),
    SpawnFails(usize),
    Tell(usize, bool),
    Hang(usize),
    Signal,
    Stop(usize),
    Gap(u64),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (0_u64..3_000).prop_map(Move::Wait),
        8 => (0_usize..5, -12_i32..15, any::<bool>()).prop_map(|(i, code, p)| Move::Die(i, code, p)),
        1 => (0_usize..5).prop_map(Move::SpawnFails),
        1 => (0_usize..5, any::<bool>()).prop_map(|(i, permanent)| Move::Tell(i, permanent)),
        1 => (0_usize..5).prop_map(Move::Hang),
        1 => Just(Move::Signal),
        1 => (0..ExitKind::ALL.len()).prop_map(Move::Stop),
        1 => (2_000_u64..100_000).prop_map(Move::Gap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever happens: nothing is started after the stop, nothing is reclaimed before it was
    /// reaped, and after a stop the end is reached although no child leaves unless it is killed.
    #[test]
    fn every_stop_reaches_its_end(
        moves in proptest::collection::vec(any_move(), 0..80),
        actors in 1_u16..5,
        survivor in proptest::option::of(0_usize..5),
        policy in proptest::bool::ANY,
    ) {
        let places = Places::new(actors, policy);
        let mut machine = Machine::of(places, RestartPolicy::default(), 3);
        let (mut world, mut now) = (World::default(), ms(0));
        let slot = |place: usize| places.role_at(place % places.count());
        let survivor = survivor.map(slot);
        world.obey(&mut machine, Event::Start, now);
        for one in moves {
            reap_killed(&mut world, &mut machine, survivor, now);
            let event = match one {
                Move::Wait(span) => { now += ms(span); Event::Tick }
                Move::Gap(span) => { now += ms(span); Event::Gap(ms(span)) }
                Move::Signal => Event::StopSignal("SIGINT"),
                Move::Stop(kind) => stop(ExitKind::ALL[kind]),
                Move::Hang(place) => Event::Hung(slot(place)),
                Move::Tell(place, permanent) => Event::ChildFailed { role: slot(place), permanent },
                Move::SpawnFails(place) => {
                    // Only what was just started can fail to start.
                    if !world.alive.remove(&slot(place)) { continue }
                    world.killed.remove(&slot(place));
                    Event::SpawnFailed { role: slot(place), why: "EAGAIN".into() }
                }
                Move::Die(place, code, progressed) => {
                    let cause = if code < 0 { Cause::Signaled(-code) } else { Cause::Exited(code) };
                    world.die(&mut machine, slot(place), cause, progressed, now);
                    continue;
                }
            };
            world.obey(&mut machine, event, now);
        }
        world.obey(&mut machine, stop(ExitKind::Finished), now);
        let stopped = now;
        for _ in 0..1_000 {
            reap_killed(&mut world, &mut machine, survivor, now);
            if world.outcome.is_some() { break }
            let next = machine.next_due().expect("something is waited for");
            now = now.max(next);
            world.obey(&mut machine, Event::Tick, now);
        }
        let outcome = world.outcome.take().expect("the end");
        let policy = RestartPolicy::default();
        prop_assert!(now - stopped <= policy.learner_saves + policy.unkillable, "no child delays it");
        let late = machine.step(Event::Tick, now + ms(1_000_000));
        prop_assert_eq!(late, []);
        prop_assert!(outcome.unkillable.iter().all(|&role| survivor == Some(role)));
    }
}
