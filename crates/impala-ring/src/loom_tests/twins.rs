//! Tests in which one memory ordering is weakened at a time, and loom must find the fault.

use impala_shm::event_count;

use super::models::*;
use super::*;

macro_rules! twin {
    ($test:ident, $weak:ident: $order:ident, $fault:literal, $model:expr) => {
        #[derive(Debug, Clone, Copy)]
        struct $weak;

        impl event_count::Orders for $weak {}

        impl Orders for $weak {
            const $order: Ordering = Ordering::Relaxed;
        }

        twin!(@test $test, $fault, $model);
    };
    ($test:ident, waiting $weak:ident: $order:ident, $fault:literal, $model:expr) => {
        #[derive(Debug, Clone, Copy)]
        struct $weak;

        impl event_count::Orders for $weak {
            const $order: Ordering = Ordering::Relaxed;
        }

        impl Orders for $weak {}

        twin!(@test $test, $fault, $model);
    };
    (@test $test:ident, $fault:literal, $model:expr) => {
        #[test]
        #[should_panic(expected = $fault)]
        fn $test() {
            $model;
        }
    };
}

twin!(loom_claim_relaxed, WeakClaim: CLAIM, "Causality violation", release_then_claim::<WeakClaim>());
twin!(loom_commit_relaxed, WeakCommit: COMMIT, "Causality violation", commit_then_take::<WeakCommit>());
twin!(loom_look_relaxed, WeakLook: LOOK, "Causality violation", commit_then_take::<WeakLook>());
twin!(loom_release_relaxed, WeakRelease: RELEASE, "Causality violation", release_then_claim::<WeakRelease>());
twin!(loom_take_back_relaxed, WeakTakeBack: TAKE_BACK, "Causality violation", reclaim_then_claim::<WeakTakeBack>());
twin!(loom_drop_relaxed, WeakDrop: DROP, "Causality violation", learner_dies::<WeakDrop>("drop", 2));
twin!(loom_listen_relaxed, waiting WeakListen: LISTEN, "lost wake-up", wake_learner::<WeakListen>("listen", 1));
// In `EventCount::notify` the fence before it would do; in `EventCount::notify_always` there is none.
twin!(loom_notify_relaxed, waiting WeakNotify: NOTIFY, "lost wake-up", close::<WeakNotify>());

twin!(loom_open_relaxed, WeakOpen: OPEN, "Causality violation", open_then_claim::<WeakOpen>());
twin!(loom_look_at_turn_relaxed, WeakLookAtTurn: LOOK_AT_TURN, "Causality violation", open_then_claim::<WeakLookAtTurn>());
twin!(loom_look_in_turn_relaxed, WeakLookInTurn: LOOK_IN_TURN, "Causality violation", late_claim::<WeakLookInTurn>());

/// The fence between change and look is missing.
#[derive(Debug, Clone, Copy)]
struct NoFence;

impl event_count::Orders for NoFence {
    fn change_then_look() {}
}

impl Orders for NoFence {}

#[test]
#[should_panic(expected = "nobody saw the block complete")]
fn loom_last_two_commits_without_fence() {
    last_two_commits::<NoFence>();
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn loom_wake_learner_without_fence() {
    wake_learner::<NoFence>("no fence", 1);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn loom_wake_in_turn_without_fence() {
    wake_in_turn::<NoFence>();
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn loom_wake_actors_without_fence() {
    wake_actors::<NoFence>("no fence", 1);
}
