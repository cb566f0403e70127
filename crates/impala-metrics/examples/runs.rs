//! Lists the runs on this machine that have a status segment.
//!
//! ```text
//! cargo run --example runs
//! ```

use impala_metrics::{StatusRecord, StatusSegment, list};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = list()?;
    println!("{} status segments", runs.len());
    for run in runs.iter().filter(|run| run.alive) {
        let view = StatusSegment::attach(&run.name)?;
        let Some((_tick, bytes)) = view.read(0) else { continue };
        let status: StatusRecord = serde_json::from_slice(&bytes)?;
        let frames = status.metrics.learner.frames;
        println!(
            "{}: {} after {frames} frames, {}",
            run.id.pid,
            status.env,
            view.run_dir().display()
        );
    }
    Ok(())
}
