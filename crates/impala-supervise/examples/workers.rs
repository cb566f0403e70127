//! A learner counts to ten while three actors beside it crash now and then and are replaced.
//!
//! ```text
//! cargo run --example workers
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use impala_shm::sync::{AtomicU64, Ordering};
use impala_shm::{Access, Inherit, Memory, Region};
use impala_supervise::{
    ChildControl, Dead, ExitKind, Level, Options, Pool, PoolCorrupt, PoolStatus, Reclaimed, Role,
    Supervisor, ToChild, Verdict,
};

const ACTORS: u16 = 3;
const STOP: usize = 0;

struct Workers {
    /// A stop flag, then how much each child has done.
    words: Region,
}

impl Workers {
    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words.words(0, 3 + usize::from(ACTORS))[index]
    }

    fn done(&self, role: Role) -> &AtomicU64 {
        self.word(match role {
            Role::Learner => 1,
            Role::Actor(index) => 2 + usize::from(index),
            Role::Policy => 2 + usize::from(ACTORS),
        })
    }
}

/// Work for some milliseconds: this example may not sleep, because a child may not start a thread either.
fn work(ms: u64) {
    let until = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

impl Pool for Workers {
    fn run_child(&mut self, role: Role, _incarnation: u16, mut control: ChildControl) -> ExitKind {
        control.ready();
        loop {
            work(20);
            let done = self.done(role).fetch_add(1, Ordering::Relaxed) + 1;
            match role {
                Role::Learner if done >= 10 => control.finished("counted to ten"),
                Role::Learner => {}
                Role::Actor(_) if done % 7 == 3 => std::process::abort(),
                Role::Actor(_) | Role::Policy if self.word(STOP).load(Ordering::Relaxed) != 0 => {
                    return ExitKind::Finished;
                }
                Role::Actor(_) | Role::Policy => {}
            }
            if role == Role::Learner && (done >= 10 || control.poll() == Some(ToChild::Stop)) {
                return ExitKind::Finished;
            }
        }
    }

    fn request_stop(&mut self) {
        self.word(STOP).store(1, Ordering::Relaxed);
    }

    fn reclaim(&mut self, _dead: &Dead) -> Result<Reclaimed, PoolCorrupt> {
        Ok(Reclaimed::default())
    }

    fn progress(&self, role: Role) -> u64 {
        self.done(role).load(Ordering::Relaxed)
    }

    fn tick(&mut self, _status: &PoolStatus) -> Verdict {
        Verdict::Continue
    }

    fn log(&mut self, level: Level, line: &str) {
        println!("{level:?}: {line}");
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let memory = Memory::create("workers", 64)?;
    let mut workers = Workers { words: memory.map(Access::ReadWrite, Inherit::Yes)? };
    let outcome = Supervisor::new(Options::new(ACTORS))?.run(&mut workers);
    println!("{}; actors were restarted {:?} times", outcome.reason, outcome.actor_restarts);
    Ok(outcome.exit.into())
}
