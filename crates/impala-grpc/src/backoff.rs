//! The delays between attempts to reach a server: they double up to a limit, with random jitter.

use std::time::Duration;

use impala_env::rng::Rng;

const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(2);

/// Waits that double, each shortened at random by up to a half, so that many actors do not come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    rng: Rng,
    next: Duration,
}

impl Backoff {
    /// `seed` should differ from actor to actor.
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, u64::from_le_bytes(*b"backoff\0")), next: FIRST }
    }

    /// The next wait.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(1.0 - 0.5 * self.rng.unit_f64());
        self.next = (2 * self.next).min(MOST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_differ_between_actors() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            [(); 12].map(|()| backoff.wait())
        };
        let (one, other) = (waits(1), waits(2));
        assert_ne!(one, other);
        let mut most = FIRST;
        for wait in one {
            assert!(
                wait > most / 2 - Duration::from_nanos(1) && wait <= most,
                "{wait:?} of {most:?}"
            );
            most = (2 * most).min(MOST);
        }
        assert_eq!(most, MOST);
    }
}
