//! Limits how much data may be in flight: enough that the learner does not starve, and no more, because data that waits
//! in the ring grows old.
//!
//! The floor is `max-lag` batches and the one at the learner. That is enough where actors need the cores that
//! they have: more actors at work would only share them, and each unroll would be older when it is learnt
//! from. It is too little where environments wait for something (a device, a server, another process) while
//! cores are idle: then the learner starves, although there are actors that could go on. So the limit rises
//! while all three hold (the learner waits, actors are held back, cores are idle), and falls back slowly when the
//! learner has enough.

use std::time::{Duration, Instant};

use super::idle_cores::IdleCores;

/// How often the limit may move: the kernel counts idle time in steps of 10 ms.
const WINDOW: Duration = Duration::from_millis(200);
/// A learner that waits for more than this share of its time starves.
const STARVING: f64 = 0.1;
/// One that waits for less has enough. A learner whose actors share its cores waits for a few percent of its
/// time, however many of them are at work.
const ENOUGH: f64 = 0.05;
/// A learner that got nothing for this long, and for so many times the usual, is stalled: the actors that it
/// waits for hang or are dead, so others take their place.
const STALLED: Duration = Duration::from_secs(5);
const STALLED_TIMES: u32 = 10;
/// Idle cores from which more actors could be at work: this many, and this share of all. What a learner with
/// several threads leaves idle between its parallel stages is less.
const IDLE_CORES: f64 = 0.5;
const IDLE_SHARE: f64 = 0.1;

/// The limit of slots in flight, and what it follows.
#[derive(Debug)]
pub struct Admission {
    floor: usize,
    all: usize,
    slots: usize,
    window: Instant,
    waited: Duration,
    /// When the last block came, and how long blocks usually take.
    last_block: Instant,
    usual: Duration,
    idle: IdleCores,
}

/// What a window of time was like.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// StripWorker of the time for which the learner waited.
    waited: f64,
    /// Whether actors sleep before they claim.
    held_back: bool,
    /// Whether no block came for much longer than usual.
    stalled: bool,
    /// Cores idle on average, and cores; `None` if not known.
    idle: Option<(f64, usize)>,
}

impl Admission {
    /// For batches of `groups` slots in a ring of `slots`, of which `max_lag` batches may wait for the learner.
    #[must_use]
    pub fn new(max_lag: usize, groups: usize, slots: usize) -> Self {
        let floor = max_lag.saturating_add(1).saturating_mul(groups).min(slots);
        Self {
            floor,
            all: slots,
            slots: floor,
            window: Instant::now(),
            waited: Duration::ZERO,
            last_block: Instant::now(),
            usual: Duration::ZERO,
            idle: IdleCores::now(),
        }
    }

    /// Slots that may be in flight.
    #[must_use]
    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    /// The learner waited so long for a block, and got one or not; whether the limit moved. `held_back` tells
    /// if actors sleep before they claim.
    pub(crate) fn waited(
        &mut self,
        waited: Duration,
        got_one: bool,
        held_back: impl FnOnce() -> bool,
    ) -> bool {
        // A ring that holds no more is bounded by its size.
        if self.floor == self.all {
            return false;
        }
        self.waited += waited;
        let now = Instant::now();
        let since_block = now - self.last_block;
        if got_one {
            self.usual = (self.usual * 7 + since_block) / 8;
            self.last_block = now;
        }
        let length = now - self.window;
        if length < WINDOW {
            return false;
        }
        let share = self.waited.as_secs_f64() / length.as_secs_f64();
        let window = Window {
            waited: share,
            held_back: held_back(),
            stalled: since_block > STALLED.max(self.usual * STALLED_TIMES),
            idle: self.idle.since_last_call(),
        };
        (self.window, self.waited) = (now, Duration::ZERO);
        let before = self.slots;
        self.slots = self.next(window);
        self.slots != before
    }

    fn next(&self, window: Window) -> usize {
        // Where nobody counts idle time, actors are not kept from work.
        let idle = window
            .idle
            .is_none_or(|(idle, cores)| idle >= IDLE_CORES.max(IDLE_SHARE * cores as f64));
        if window.waited > STARVING && window.held_back && (idle || window.stalled) {
            (self.slots + self.slots.div_ceil(2)).min(self.all)
        } else if window.waited < ENOUGH {
            (self.slots - self.slots.div_ceil(16)).max(self.floor)
        } else {
            self.slots
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARVED: Window =
        Window { waited: 0.5, held_back: true, stalled: false, idle: Some((1.0, 2)) };

    fn after(admission: &mut Admission, window: Window, times: usize) -> usize {
        for _ in 0..times {
            admission.slots = admission.next(window);
        }
        admission.slots
    }

    #[test]
    fn the_floor_is_of_batches_and_not_of_actors() {
        assert_eq!(Admission::new(2, 2, 6).slots(), 6);
        assert_eq!(Admission::new(2, 2, 66).slots(), 6);
        assert_eq!(Admission::new(1, 4, 66).slots(), 8);
        assert_eq!(Admission::new(usize::MAX, 4, 66).slots(), 66, "as good as no limit");
    }

    #[test]
    fn a_starving_learner_gets_all_that_idle_cores_give_and_gives_it_back() {
        let mut admission = Admission::new(2, 2, 66);
        assert_eq!(after(&mut admission, STARVED, 1), 9);
        assert_eq!(after(&mut admission, STARVED, 10), 66);
        let enough = Window { waited: 0.0, ..STARVED };
        assert!(after(&mut admission, enough, 1) < 66);
        assert_eq!(after(&mut admission, enough, 100), 6);
        // What is usual beside actors on the same cores is no reason to stay above the floor.
        assert_eq!(after(&mut admission, STARVED, 3), 21);
        assert_eq!(after(&mut admission, Window { waited: 0.04, ..STARVED }, 100), 6);
    }

    #[test]
    fn more_actors_are_no_help_where_cores_are_busy_or_nobody_waits() {
        for window in [
            Window { idle: Some((0.4, 2)), ..STARVED },
            Window { idle: Some((1.0, 64)), ..STARVED },
            Window { waited: 0.08, ..STARVED },
            Window { held_back: false, ..STARVED },
        ] {
            assert_eq!(after(&mut Admission::new(2, 2, 66), window, 10), 6, "{window:?}");
        }
        let stalled = Window { idle: Some((0.0, 2)), stalled: true, ..STARVED };
        assert_eq!(after(&mut Admission::new(2, 2, 66), stalled, 10), 66);
        let unknown = Window { idle: None, ..STARVED };
        assert_eq!(after(&mut Admission::new(2, 2, 66), unknown, 10), 66);
    }
}
