//! Trains from within a program, without a command line: two learning rates, one after the other, and the better one.
//!
//! ```sh
//! cargo run --release --example trainer
//! ```
//!
//! The runs go to `runs/`. Ctrl-C ends the run that goes on in order, and the program goes on with what it came to.

use std::cell::Cell;

use impala_rl::config::Settings;
use impala_rl::pool::{Status, Summary, TrainError, Trainer};

fn train(learning_rate: f64) -> Result<Summary, TrainError> {
    let settings = Settings {
        env: Some(vec!["CartPole-v1".into()]),
        actors: Some(2),
        total_frames: Some(40_000),
        learning_rate: Some(learning_rate),
        report: Some(false),
        ..Settings::default()
    };
    // In the learner's process: the count is its own.
    let batches = Cell::new(0_u64);
    Trainer::new(settings)
        .on_batch(move |batch| {
            batches.set(batches.get() + 1);
            if batches.get() == 10 {
                println!("learner: batch 10 is of {} unrolls", batch.headers().len());
            }
        })
        .on_metrics(move |line| {
            let mean = line.return_mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.1}"));
            println!("{learning_rate}: {} frames, return {mean}", line.frames);
        })
        .run()
}

fn main() -> Result<(), TrainError> {
    let mut best: Option<(f64, Summary)> = None;
    for learning_rate in [0.001, 0.004] {
        let summary = train(learning_rate)?;
        println!("{learning_rate}: {:?}, {} frames", summary.status, summary.frames);
        if summary.status == Status::Interrupted {
            break;
        }
        if best.as_ref().is_none_or(|(_, best)| best.return_mean_100 < summary.return_mean_100) {
            best = Some((learning_rate, summary));
        }
    }
    if let Some((learning_rate, summary)) = best {
        let mean = summary.return_mean_100.unwrap_or(f64::NAN);
        println!("best: {learning_rate} with {mean:.1}; {}", summary.run_dir.display());
    }
    Ok(())
}
