//! One entry of the table is weakened, and loom must notice.

use super::models::*;
use super::*;

macro_rules! twin {
    ($test:ident, $weak:ident: $order:ident, $fault:literal, $model:expr) => {
        #[derive(Debug, Clone, Copy)]
        struct $weak;

        impl Orders for $weak {
            const $order: Ordering = Ordering::Relaxed;
        }

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
twin!(loom_hear_relaxed, WeakHear: HEAR, "lost wake-up", ready_bell::<WeakHear>("hear", 1));
// In `Bell::ring` the fence before it would do; in `Bell::ring_always` there is none.
twin!(loom_ring_relaxed, WeakRing: RING, "lost wake-up", close::<WeakRing>());

/// The fence between change and look is missing.
#[derive(Debug, Clone, Copy)]
struct NoFence;

impl Orders for NoFence {
    fn change_then_look() {}
}

#[test]
#[should_panic(expected = "nobody saw the block complete")]
fn loom_last_two_commits_without_fence() {
    last_two_commits::<NoFence>();
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn loom_ready_bell_without_fence() {
    ready_bell::<NoFence>("no fence", 1);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn loom_free_bell_without_fence() {
    free_bell::<NoFence>("no fence", 1);
}
