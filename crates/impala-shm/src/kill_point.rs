//! Kill points for tests: named places in the code where a process can be made to die or to stop.
//!
//! Only in builds with debug assertions; in others a place is no code at all. `IMPALA_KILL_POINT=place:pass:what` arms one of [`POINTS`]: at the n-th pass of a process
//! through it, that process gets `kill`, `stop` or `segv` as a signal, panics (`panic`), or leaves with
//! code 1 (`exit`). `IMPALA_KILL_POINT_FIRED=FILE` makes it happen once in a run: whoever is first
//! creates the file, with its process id in it, and the others pass.

/// All places, role by role.
pub const POINTS: &[&str] = &[
    "child.before_deathsig",
    "child.before_role",
    "actor.before_reset",
    "actor.before_claim",
    "actor.after_claim",
    "actor.mid_unroll",
    "actor.mid_gradient",
    "actor.asked",
    "actor.before_commit",
    "actor.after_commit",
    "ring.committed",
    "ring.take.mid",
    "ring.release.counted",
    "ring.release.freed",
    "learner.after_take",
    "learner.before_release",
    "learner.after_release",
    "learner.updated",
    "publish.marked",
    "publish.written",
    "publish.finishing",
    "checkpoint.begun",
    "checkpoint.written",
    "checkpoint.before_rename",
    "checkpoint.renamed",
    "checkpoint.pruning",
    "policy.taken",
    "policy.before_answer",
    "policy.answered",
    "supervisor.before_fork",
    "supervisor.after_fork",
    "supervisor.before_reap",
    "supervisor.after_reap",
    "supervisor.reclaiming",
    "supervisor.requeuing",
];

/// A place of [`POINTS`]. Nothing in builds without debug assertions.
#[macro_export]
macro_rules! kill_point {
    ($place:literal) => {
        $crate::kill_point::pass($place)
    };
}

/// Passes one of the places.
#[inline]
pub fn pass(place: &str) {
    #[cfg(all(debug_assertions, not(loom)))]
    armed::pass(place);
    #[cfg(not(all(debug_assertions, not(loom))))]
    let _ = place;
}

#[cfg(all(debug_assertions, not(loom)))]
mod armed {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::process::CommandExt as _;
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::OnceLock;

    use nix::sys::signal::{SigSet, Signal, raise};

    use super::POINTS;
    use crate::sync::{AtomicU64, Ordering};

    #[derive(Debug, Clone, Copy)]
    enum What {
        Signal(Signal),
        Panic,
        Exit,
    }

    #[derive(Debug)]
    struct Armed {
        place: String,
        pass: u64,
        what: What,
        fired: Option<PathBuf>,
        passes: AtomicU64,
    }

    pub(super) fn pass(place: &str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let armed = ARMED.get_or_init(from_environment).as_ref();
        if let Some(armed) = armed.filter(|armed| armed.place == place)
            && armed.passes.fetch_add(1, Ordering::Relaxed) + 1 == armed.pass
            && armed.is_first()
        {
            armed.fire();
        }
    }

    fn from_environment() -> Option<Armed> {
        let text = std::env::var("IMPALA_KILL_POINT").ok()?;
        let fired = std::env::var_os("IMPALA_KILL_POINT_FIRED").map(PathBuf::from);
        let armed = read(&text).map(|(place, pass, what)| {
            let passes = AtomicU64::new(0);
            Armed { place, pass, what, fired, passes }
        });
        // A name that nobody passes would prove nothing.
        Some(armed.unwrap_or_else(|| panic!("IMPALA_KILL_POINT={text}: write place:pass:what")))
    }

    fn read(text: &str) -> Option<(String, u64, What)> {
        let (place, rest) = text.split_once(':')?;
        let (pass, what) = rest.split_once(':')?;
        let what = match what {
            "kill" => What::Signal(Signal::SIGKILL),
            "stop" => What::Signal(Signal::SIGSTOP),
            "segv" => What::Signal(Signal::SIGSEGV),
            "panic" => What::Panic,
            "exit" => What::Exit,
            _ => return None,
        };
        let pass = pass.parse().ok().filter(|&pass| pass > 0)?;
        POINTS.contains(&place).then(|| (place.to_owned(), pass, what))
    }

    impl Armed {
        fn is_first(&self) -> bool {
            let Some(path) = &self.fired else { return true };
            let made = File::options().write(true).create_new(true).open(path);
            made.is_ok_and(|mut file| write!(file, "{}", std::process::id()).is_ok())
        }

        fn fire(&self) {
            match self.what {
                What::Signal(signal) => {
                    // Blocked in the supervisor; its first SIGSEGV only undoes Rust's own handler.
                    let mask = SigSet::thread_get_mask();
                    let _ = SigSet::all().thread_unblock();
                    let _ = raise(signal);
                    if signal == Signal::SIGSEGV {
                        let _ = raise(signal);
                    }
                    // Only what was stopped gets here.
                    let _ = mask.map(|mask| mask.thread_set_mask());
                }
                What::Panic => panic!("at the kill point {}", self.place),
                // Becomes a program that leaves with code 1: what libraries have left for the end of a process takes libtorch
                // seconds where cores are short.
                What::Exit => panic!("no false: {}", Command::new("false").exec()),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_armed_is_read() {
            let (place, pass, what) = read("actor.mid_unroll:7:segv").expect("valid");
            assert_eq!((place.as_str(), pass), ("actor.mid_unroll", 7));
            assert!(matches!(what, What::Signal(Signal::SIGSEGV)));
            for bad in ["", "actor.mid_unroll", "actor.mid_unroll:0:kill", "actor.mid_unroll:1:x"] {
                assert!(read(bad).is_none(), "{bad}");
            }
            assert!(read("nowhere:1:kill").is_none(), "a name that nobody passes");
        }
    }
}
