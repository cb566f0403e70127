//! The loom models, generic over the table of memory orderings.

use super::*;
use crate::protocol::Counter;

/// Two actors want one slot.
pub(super) fn two_claimers<O: Orders>() {
    explore("two claimers, one slot", || {
        let world = World::new(1);
        let other = spawn(&world, |world| world.produce::<O>(1, true));
        let mine = world.produce::<O>(0, true);
        let theirs = other.join().expect("no panic");
        assert!(mine ^ theirs, "claimed by {}", u8::from(mine) + u8::from(theirs));
        let word = world.ring::<O>().slot_word(0).expect("sound word");
        assert_eq!((word.state, word.owner), (State::Ready, owner(u16::from(theirs))));
        true
    });
}

/// What two actors wrote is there when the learner sees the block.
pub(super) fn commit_then_take<O: Orders>() {
    explore("commit, take", || {
        let world = World::new(2);
        let actors = [
            spawn(&world, |world| world.produce::<O>(0, true)),
            spawn(&world, |world| world.produce::<O>(1, true)),
        ];
        let taken = world.take::<O>().is_some();
        assert!(actors.map(|actor| actor.join().expect("no panic")).iter().all(|&claimed| claimed));
        taken
    });
}

/// Of two actors that commit the last two slots at once, one tells the learner.
pub(super) fn last_two_commits<O: Orders>() {
    explore("last two commits", || {
        let world = World::new(2);
        let claims =
            [0, 1].map(|actor| world.ring::<O>().claim(owner(actor)).expect("sound words"));
        let [mine, theirs] = claims.map(|claim| claim.expect("free"));
        let shared = Arc::clone(&world);
        let other = thread::spawn(move || shared.ring::<O>().commit(theirs).expect("not fenced"));
        let complete = world.ring::<O>().commit(mine).expect("not fenced");
        assert!(other.join().expect("no panic") | complete, "nobody saw the block complete");
        true
    });
}

/// What the learner reads is not overwritten by the next claim.
pub(super) fn release_then_claim<O: Orders>() {
    explore("release, claim", || {
        let world = World::new(1);
        assert!(world.produce::<O>(0, true));
        let learner = spawn(&world, |world| {
            let held = world.take::<O>().expect("committed before");
            world.release::<O>(held);
        });
        let claimed = (0..LOOKS).any(|_| world.produce::<O>(0, true));
        learner.join().expect("no panic");
        let counts = world.ring::<O>().slot_counts();
        assert!(counts.holds() && counts.consumed == 1, "{counts:?}");
        claimed
    });
}

/// What a dead actor wrote comes before what the next one writes.
pub(super) fn reclaim_then_claim<O: Orders>() {
    explore("reclaim, claim", || {
        let world = World::new(1);
        let shared = Arc::clone(&world);
        let supervisor = thread::spawn(move || {
            let actor = spawn(&shared, |world| world.produce::<O>(0, false));
            let claimed = actor.join().expect("no panic");
            shared.turn();
            let taken_back = shared.ring::<O>().take_back(owner(0)).expect("sound words");
            assert_eq!(taken_back, usize::from(claimed));
            claimed
        });
        let claimed = (0..LOOKS).any(|_| world.produce::<O>(1, true));
        let reclaimed = supervisor.join().expect("no panic");
        let counts = world.ring::<O>().slot_counts();
        assert!(counts.holds() && counts.reclaimed == u64::from(reclaimed), "{counts:?}");
        claimed && reclaimed
    });
}

/// A learner dies with the block. After its first death the next learner has the block, after its second
/// one it is dropped. Then an actor writes there: after all that the dead learner read.
pub(super) fn learner_dies<O: Orders>(name: &str, deaths: u64) {
    explore(name, move || {
        let world = World::new(1);
        let mut record = CrashRecord::new(world.shape);
        assert!(world.produce::<O>(0, true));
        let shared = Arc::clone(&world);
        let supervisor = thread::spawn(move || {
            for _death in 0..deaths {
                let learner = spawn(&shared, |world| world.take::<O>().is_some());
                assert!(learner.join().expect("no panic"));
                shared.turn();
                shared.ring::<O>().return_held(&mut record).expect("sound words");
            }
            let learner = spawn(&shared, |world| {
                world.take::<O>().map(|held| world.release::<O>(held)).is_some()
            });
            // After a drop there is only what the actor below may have committed.
            assert!(learner.join().expect("no panic") || deaths > 1);
        });
        let rewritten = (0..LOOKS).any(|_| world.produce::<O>(1, true));
        supervisor.join().expect("no panic");
        let counts = world.ring::<O>().slot_counts();
        assert_eq!((counts.requeued, counts.dropped), (1, deaths - 1));
        assert!(counts.holds(), "{counts:?}");
        rewritten
    });
}

/// A learner goes to sleep while the block becomes complete.
pub(super) fn wake_learner<O: Orders>(name: &str, groups: usize) {
    explore(name, move || {
        let world = World::new(groups);
        let commits: [fn(&World) -> bool; 2] =
            [|world| world.produce::<O>(0, true), |world| world.produce::<O>(1, true)];
        let actors: Vec<_> = commits[..groups].iter().map(|&run| spawn(&world, run)).collect();
        let mut seen = FirstSeen::new(world.shape);
        let event = world.ring::<O>().block_ready();
        let round = Round::wait(&event, || world.look::<O>(&mut seen));
        actors.into_iter().for_each(|actor| assert!(actor.join().expect("no panic")));
        round.was_not_left_asleep(event.count());
        assert!(round.found.is_some() || world.look::<O>(&mut seen).is_some());
        round.asleep.is_some()
    });
}

/// Actors go to sleep while the learner releases the block.
pub(super) fn wake_actors<O: Orders>(name: &str, groups: usize) {
    explore(name, move || {
        let world = World::new(groups);
        (0..groups).for_each(|_| assert!(world.produce::<O>(0, true)));
        let held = world.take::<O>().expect("committed before");
        let wait: fn(&World) -> Round<()> = |world| {
            let claim = || world.produce::<O>(1, false).then_some(());
            Round::wait(&world.ring::<O>().slot_free(), claim)
        };
        let actors: Vec<_> = (0..groups).map(|_| spawn(&world, wait)).collect();
        world.release::<O>(held);
        let rounds: Vec<_> =
            actors.into_iter().map(|actor| actor.join().expect("no panic")).collect();
        let event = world.ring::<O>().slot_free();
        rounds.iter().for_each(|round| round.was_not_left_asleep(event.count()));
        rounds.iter().any(|round| round.asleep.is_some())
    });
}

/// A learner goes to sleep while the ring is closed.
pub(super) fn close<O: Orders>() {
    explore("close", || {
        let world = World::new(1);
        let supervisor = spawn(&world, |world| {
            let ring = world.ring::<O>();
            ring.mark_closed();
            ring.block_ready().notify_always(|_| ());
        });
        let ring = world.ring::<O>();
        let event = ring.block_ready();
        let round = Round::wait(&event, || ring.is_closed().then_some(()));
        supervisor.join().expect("no panic");
        round.was_not_left_asleep(event.count());
        round.asleep.is_some()
    });
}

/// What was put out before a block was opened is there for whoever fills it.
pub(super) fn open_then_claim<O: Orders>() {
    explore("open, claim in turn", || {
        let world = World::new(1);
        let learner = spawn(&world, |world| world.open::<O>());
        let claimed = (0..LOOKS).any(|_| world.claim_in_turn::<O>().is_some());
        learner.join().expect("no panic");
        claimed
    });
}

/// Nobody claims for a block that was taken, though its slot is free again and none else is open yet.
pub(super) fn late_claim<O: Orders>() {
    explore("release, late claim in turn", || {
        let world = World::new(1);
        world.open::<O>();
        let claim = world.claim_in_turn::<O>().expect("open");
        assert!(world.ring::<O>().commit(claim).expect("not fenced"));
        let learner = spawn(&world, |world| {
            world.turn();
            let held = world.ring::<O>().take_in_turn().expect("sound words").expect("complete");
            world.read_block();
            world.turn();
            world.ring::<O>().release(held).expect("held");
            world.open::<O>();
        });
        let claimed = (0..LOOKS).find_map(|_| world.claim_in_turn::<O>());
        if claimed.is_some() {
            let turn = world.ring::<O>().counter(Counter::Turn).load(Ordering::Relaxed);
            assert_eq!(turn, 3, "claimed for a block that was taken");
        }
        learner.join().expect("no panic");
        claimed.is_some()
    });
}

/// An actor goes to sleep while the learner opens a block.
pub(super) fn wake_in_turn<O: Orders>() {
    explore("wake an actor for its turn", || {
        let world = World::new(1);
        let learner = spawn(&world, |world| world.open::<O>());
        let event = world.ring::<O>().block_opened();
        let round = Round::wait(&event, || world.claim_in_turn::<O>());
        learner.join().expect("no panic");
        round.was_not_left_asleep(event.count());
        assert!(round.found.is_some() || world.claim_in_turn::<O>().is_some());
        round.asleep.is_some()
    });
}
