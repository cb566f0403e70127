//! The report on the sizes that `--auto` chose, on the console and in the summary.

use std::fmt;

use serde::Serialize;

use crate::metrics::human::si;
use crate::tune::{Candidate, Figures, Reason, Sizes, Tuning};

/// The choice of sizes for a run, and what was expected of it: `tuned` in `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TunedSummary {
    /// What the run had.
    #[serde(flatten)]
    pub sizes: Sizes,
    /// What it would have had.
    pub default: Sizes,
    /// Whether these are the same.
    pub keeps_defaults: bool,
    /// Why it was chosen.
    pub because: String,
    /// Learnt frames per second that are to be expected; none if nothing was measured.
    pub expected_frames_per_s: Option<f64>,
    /// Mean policy lag that is to be expected, in updates.
    pub expected_policy_lag: Option<f64>,
    /// What the defaults came to.
    pub default_frames_per_s: Option<f64>,
    /// Their mean policy lag.
    pub default_policy_lag: Option<f64>,
    /// Trials that were made.
    pub trials: usize,
    /// Seconds that they took, before the run began.
    pub seconds: f64,
    /// Whether a longer time could have led to another choice.
    #[serde(skip)]
    is_short_of_time: bool,
}

impl TunedSummary {
    pub(super) fn of(tuning: &Tuning) -> Self {
        let default = tuning.default();
        let figures = |of: Option<Figures>| of.map(|f| (f.frames_per_s, f.policy_lag)).unzip();
        let (expected_frames_per_s, expected_policy_lag) = figures(tuning.expected);
        let (default_frames_per_s, default_policy_lag) = figures(Candidate::figures(default));
        Self {
            sizes: tuning.chosen,
            default: default.sizes,
            keeps_defaults: tuning.keeps_defaults(),
            because: tuning.reason.to_string(),
            expected_frames_per_s,
            expected_policy_lag,
            default_frames_per_s,
            default_policy_lag,
            trials: tuning.trials(),
            seconds: tuning.seconds,
            is_short_of_time: matches!(tuning.reason, Reason::TooSlow { .. } | Reason::Failed(_)),
        }
    }
}

/// One line, for the start of a run.
impl fmt::Display for TunedSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sizes, because, trials, seconds, .. } = self;
        let verb = if self.keeps_defaults { "keeps" } else { "chose" };
        write!(f, "--auto {verb} {sizes}: {because}")?;
        if self.is_short_of_time {
            f.write_str("; --auto=60 or impala-bench tune take longer")?;
        }
        if let Some((frames_per_s, lag)) = self.expected_frames_per_s.zip(self.expected_policy_lag)
        {
            write!(f, "; expects {} frames/s at a lag of {lag:.1}", si(frames_per_s))?;
        }
        if let Some((frames_per_s, lag)) = self.default_frames_per_s.zip(self.default_policy_lag)
            && !self.keeps_defaults
        {
            write!(f, " (defaults {}, {lag:.1})", si(frames_per_s))?;
        }
        if *trials > 0 {
            write!(f, "; {trials} trials in {seconds:.1} s")?;
        }
        Ok(())
    }
}
