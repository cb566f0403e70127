//! The verdicts of a report: what can limit a run.

/// What limits a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The learner's arithmetic.
    Learner,
    /// Stepping environments.
    Environment,
    /// The actors' networks.
    Inference,
    /// The gradients that actors compute.
    Gradients,
    /// Moving weights: publishing or fetching them.
    Weights,
    /// Writing checkpoints.
    Checkpoints,
    /// Both sides wait for each other: neither works while the other does.
    Handover,
    /// `--max-lag`: the learner starved and cores were idle while actors were held back.
    LagBound,
    /// There was no update, or no time between two lines.
    Unknown,
}

impl Verdict {
    /// In words, as a heading.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Learner => "learner-bound",
            Self::Environment => "environment-bound",
            Self::Inference => "inference-bound",
            Self::Gradients => "bound by the actors' gradients",
            Self::Weights => "weight-bound",
            Self::Checkpoints => "checkpoint-bound",
            Self::Handover => "bound by the hand-over",
            Self::LagBound => "bound by --max-lag",
            Self::Unknown => "too short to tell",
        }
    }
}
