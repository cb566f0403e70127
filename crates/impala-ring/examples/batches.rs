//! Two producers write records in place and a consumer sums whole batches in place; prints the time for a batch.
//!
//! ```text
//! cargo run --release --example batches
//! ```

use std::thread;
use std::time::{Duration, Instant};

use impala_ring::{BlockLayout, ClaimError, FieldShape, HeapRing, Owner};

const BATCHES: u64 = 100_000;
const ROWS: usize = 20;
const NUMBERS: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let field = FieldShape { rows: ROWS, group_bytes: NUMBERS * size_of::<f32>() };
    let mut memory = HeapRing::new(4, BlockLayout::new(2, &[field])?)?;
    let mut seats = memory.seats()?;
    let (ring, mut consumer) = (seats.ring(), seats.consumer());
    let producers = [seats.producer(Owner::new(0, 1)?)?, seats.producer(Owner::new(1, 1)?)?];

    let started = Instant::now();
    let sum = thread::scope(|scope| {
        for mut producer in producers {
            scope.spawn(move || {
                loop {
                    match producer.claim(Duration::from_secs(1)) {
                        Ok(mut grant) => {
                            let mut slot = grant.slot_mut();
                            (0..ROWS).for_each(|row| slot.row_mut::<f32>(0, row).fill(1.0));
                            grant.commit().expect("nobody takes the slot away");
                        }
                        Err(ClaimError::TimedOut) => {}
                        Err(_closed) => return,
                    }
                }
            });
        }
        let mut sum = 0.0;
        for _batch in 0..BATCHES {
            let held = consumer.take(Duration::from_secs(60)).expect("producers are at work");
            sum += held.block().field::<f32>(0).iter().map(|&x| f64::from(x)).sum::<f64>();
        }
        ring.close();
        sum
    });
    let elapsed = started.elapsed();
    assert_eq!(sum, (BATCHES as usize * 2 * ROWS * NUMBERS) as f64, "every number came, once");
    println!("{BATCHES} batches in {elapsed:.2?}, {:.0?} each", elapsed / BATCHES as u32);
    Ok(())
}
