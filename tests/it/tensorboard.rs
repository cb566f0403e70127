//! Event files, read by TensorBoard's own reader.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{last_metrics, number, resume, start, summary};
use crate::python::run_python;
use crate::watch::wait_until;

const READ: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
events.Reload()
tags = events.Tags()
print(json.dumps({
    "scalars": {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]},
    "histograms": {
        tag: [[e.step, e.histogram_value.num, sum(e.histogram_value.bucket)] for e in events.Histograms(tag)]
        for tag in tags["histograms"]
    },
}))
"#;

#[test]
fn tensorboard_reads_a_run_that_was_continued() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let flags = ["--actors", "2", "--total-frames", "1000000000", "--log-interval", "0.1"];
    let running = start(&run_dir, flags);
    wait_until("frames are learnt", Duration::from_secs(120), || {
        last_metrics(&run_dir).is_some_and(|metrics| number(&metrics, "frames") > 10_000.0)
    });
    // The learner's shares are of the time between two lines.
    let lines = || {
        let written = fs::read_to_string(run_dir.join("metrics.jsonl")).expect("lines");
        written.lines().count()
    };
    let seen = lines();
    wait_until("two more lines", Duration::from_secs(120), || lines() >= seen + 2);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code(), Some(0));
    let first = number(&summary(&run_dir), "frames");
    let total = format!("{}", first + 20_000.0);
    let continued = resume(&run_dir, &["--total-frames", &total]).wait();
    assert_eq!(continued.code(), Some(0), "{}", continued.stderr);

    let path = run_dir.to_str().expect("UTF-8");
    let Some(read) = run_python("tensorboard_reads_a_run_that_was_continued", READ, &[path]) else {
        return;
    };
    let read: Value = serde_json::from_str(&read).expect("JSON");
    let of = |tag: &str| -> Vec<(f64, f64)> {
        let points = read["scalars"][tag].as_array().unwrap_or_else(|| panic!("{tag} in {read}"));
        points
            .iter()
            .map(|p| (p[0].as_f64().expect("step"), p[1].as_f64().expect("value")))
            .collect()
    };
    for tag in [
        "charts/return_mean",
        "charts/learning_rate",
        "losses/policy",
        "losses/baseline",
        "losses/entropy",
        "losses/grad_norm",
        "vtrace/rho_mean",
        "vtrace/rho_clipped_fraction",
        "lag/mean",
        "throughput/frames_per_s",
        "ring/ready",
        "learner_time/wait",
        "learner_time/forward",
        "actor_time/environment",
        "actor_time/slot_wait",
    ] {
        let points = of(tag);
        // Shares need two lines of one part of the run, and a part may be over in an instant.
        let least = if tag.contains("_time/") { 1 } else { 2 };
        assert!(points.len() >= least, "{tag}: {points:?}");
        assert!(points.iter().all(|(_, value)| value.is_finite()), "{tag}: {points:?}");
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0), "{tag}: steps go back: {points:?}");
    }
    // Both parts of the run, and the last number is that of the last line.
    let frames = number(&summary(&run_dir), "frames");
    let points = of("losses/entropy");
    assert!(points.iter().any(|(step, _)| *step <= first), "{points:?}");
    let last = last_metrics(&run_dir).expect("a line");
    let expected = number(&last["learner"], "entropy") as f32;
    let (step, value) = points[points.len() - 1];
    assert_eq!((step, value as f32), (frames, expected));
    let share: f64 = of("learner_time/forward").iter().map(|(_, share)| *share).fold(0.0, f64::max);
    assert!(share > 0.0 && share <= 1.0, "{share}");
    let histogram = read["histograms"]["lag/histogram"].as_array().and_then(|all| all.last());
    let histogram = histogram.expect("a histogram of lags");
    assert_eq!(histogram[1], histogram[2], "counts add up");
    assert!(histogram[1].as_f64().expect("a count") > 0.0);
}
