//! Threads sleep until a counter has reached a goal, without a lock and without polling.
//!
//! ```text
//! cargo run --example sleepers
//! ```

use std::thread;
use std::time::Duration;

use impala_shm::event_count::{DefaultOrders, EventCount, Orders as _};
use impala_shm::sync::{AtomicU64, Ordering};
use impala_shm::{Access, Inherit, Memory, futex};

const GOAL: u64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One word for the number; two for the event: a count and how many wait. Processes could share them as well.
    let memory = Memory::create("sleepers", 64)?;
    let region = memory.map(Access::ReadWrite, Inherit::Yes)?;
    let number: &AtomicU64 = &region.words(0, 1)[0];
    let event_words = region.words32(8, 2);
    let event = EventCount::<DefaultOrders>::new(&event_words[0], &event_words[1]);

    thread::scope(|scope| {
        for sleeper in 1..=4_u64 {
            scope.spawn(move || {
                let goal = sleeper * GOAL / 4;
                let look = || Some(number.load(Ordering::Relaxed)).filter(|&n| n >= goal);
                let mut looks = 0;
                let seen = loop {
                    looks += 1;
                    let sleep = |count: &_, seen| {
                        futex::wait_while(count, seen, Duration::from_millis(100));
                    };
                    if let Some(seen) = event.wait(look, sleep) {
                        break seen;
                    }
                };
                println!("sleeper {sleeper} saw {seen} after {looks} looks");
            });
        }
        for _step in 0..GOAL {
            number.fetch_add(1, Ordering::Relaxed);
            DefaultOrders::change_then_look();
            event.notify(futex::wake_all);
        }
    });
    Ok(())
}
