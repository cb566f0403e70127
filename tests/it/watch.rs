//! Waiting in tests: poll with a deadline, never for a fixed time.

use std::time::{Duration, Instant};

/// Polls `condition` every few milliseconds until it holds; panics with `what` after `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "gave up after {limit:?} waiting until {what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "what is polled here has no descriptor to wait on"
        )]
        std::thread::sleep(Duration::from_millis(2));
    }
}
