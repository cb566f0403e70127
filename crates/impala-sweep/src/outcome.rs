//! The result of one run of a sweep.

use std::path::Path;

use impala_rl::trials::{Curve, FolderError, Point, read_json};
use serde::{Deserialize, Serialize};

/// What one run came to; a file below `results`, and an entry of `sweep.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the trial.
    pub trial: String,
    /// Seed of the run.
    pub seed: u32,
    /// Rung of the halving, from 0; 0 without.
    pub rung: usize,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// How it ended, as `summary.json` says.
    pub status: String,
    /// Frames learnt.
    pub frames: u64,
    /// Seconds that took.
    pub wall_s: f64,
    /// Frames learnt per second.
    pub frames_per_s: f64,
    /// Mean policy lag in versions.
    pub policy_lag_mean: f64,
    /// Episodes of the training.
    pub episodes: usize,
    /// Mean return of the last of them.
    pub return_mean: Option<f64>,
    /// Frames learnt when that mean first reached the target, if there is one.
    pub frames_to_target: Option<u64>,
    /// The learning curve, thinned.
    pub curve: Vec<Point>,
}

impl Outcome {
    /// Of a run that has not begun.
    pub(crate) fn new(trial: &str, seed: u32, rung: usize) -> Self {
        Self {
            trial: trial.to_owned(),
            seed,
            rung,
            failure: None,
            status: String::new(),
            frames: 0,
            wall_s: 0.0,
            frames_per_s: 0.0,
            policy_lag_mean: 0.0,
            episodes: 0,
            return_mean: None,
            frames_to_target: None,
            curve: Vec::new(),
        }
    }

    /// Fills in what a run left in its folder. `failure` says why it failed, if it did.
    pub(crate) fn read(
        mut self,
        run_dir: &Path,
        failure: Option<String>,
    ) -> Result<Self, FolderError> {
        let curve = Curve::of_run(run_dir, None).map_err(FolderError::file(run_dir, "read"))?;
        (self.episodes, self.curve) = (curve.episodes, curve.points);
        self.failure = failure;
        let Some(summary) = read_json(&run_dir.join("summary.json")) else {
            self.failure.get_or_insert_with(|| "impala-supervisor left no summary.json".to_owned());
            return Ok(self);
        };
        let number = |key: &str| summary[key].as_f64().unwrap_or(0.0);
        self.status = summary["status"].as_str().unwrap_or_default().to_owned();
        self.frames = summary["frames"].as_u64().unwrap_or(0);
        (self.wall_s, self.frames_per_s) = (number("wall_s"), number("frames_per_s"));
        self.policy_lag_mean = number("policy_lag_mean");
        self.return_mean = summary["return_mean_100"].as_f64();
        self.frames_to_target = summary["frames_to_target"].as_u64();
        if self.status == "interrupted" {
            self.failure
                .get_or_insert_with(|| "impala-supervisor was stopped by a signal".to_owned());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_run_is_read_from_its_folder() {
        let place = tempfile::tempdir().expect("temporary folder");
        let read =
            |failure| Outcome::new("trial-002", 3, 1).read(place.path(), failure).expect("read");
        let nothing = read(None);
        assert!(nothing.failure.expect("nothing there").contains("summary.json"));
        fs::write(
            place.path().join("summary.json"),
            r#"{"status":"solved","frames":900,"wall_s":2.5,"frames_per_s":360,"policy_lag_mean":1.5,"return_mean_100":7.5,"frames_to_target":800}"#,
        )
        .expect("written");
        let lines = "frames,seconds,return,length\n0,0.1,5,9\n900,2.0,10,9\n";
        fs::write(place.path().join("episodes.csv"), lines).expect("written");
        let found = read(None);
        assert_eq!((found.trial.as_str(), found.seed, found.rung), ("trial-002", 3, 1));
        assert_eq!((found.frames, found.frames_to_target), (900, Some(800)));
        assert_eq!((found.return_mean, found.episodes), (Some(7.5), 2));
        assert_eq!(found.curve.last().map(|point| point.return_mean), Some(7.5));
        assert_eq!(found.failure, None);
        assert_eq!(
            read(Some("exit status: 6".to_owned())).failure.as_deref(),
            Some("exit status: 6")
        );
        let text = serde_json::to_string(&found).expect("JSON");
        assert_eq!(serde_json::from_str::<Outcome>(&text).expect("the same"), found);
    }
}
