//! Successive halving (Jamieson and Talwalkar 2016): all trials get few frames, and the best of them get more.

use serde::Serialize;

use super::error::SweepError;

/// What a file says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Halving {
    /// Frames of each trial of the first rung.
    pub(crate) first_frames: u64,
    /// One in so many goes on, with so many times the frames.
    pub(crate) factor: u32,
    /// Whether runs begin anew on each rung instead of going on from their checkpoints.
    pub(crate) restart: bool,
}

/// A round of trials with the same budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Rung {
    pub(crate) trials: usize,
    /// Frames of each run, those of earlier rungs included; `None` for what its settings say.
    pub(crate) frames: Option<u64>,
}

impl Halving {
    /// The rungs for so many trials: until one is left, or the budget is `most`.
    pub(crate) fn rungs(self, trials: usize, most: Option<u64>) -> Result<Vec<Rung>, SweepError> {
        let most = most.unwrap_or(u64::MAX);
        let Self { first_frames, factor, .. } = self;
        if first_frames > most {
            return Err(SweepError::Halving(format!(
                "first-frames is {first_frames} and total-frames only {most}; lower the one or raise the other"
            )));
        }
        let keep = usize::try_from(factor).unwrap_or(usize::MAX);
        let mut rungs = vec![Rung { trials, frames: Some(first_frames) }];
        let (mut trials, mut frames) = (trials, first_frames);
        while trials > 1 && frames < most {
            trials = (trials / keep).max(1);
            frames = frames.saturating_mul(factor.into()).min(most);
            rungs.push(Rung { trials, frames: Some(frames) });
        }
        Ok(rungs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rungs(trials: usize, factor: u32, most: Option<u64>) -> Vec<(usize, u64)> {
        let halving = Halving { first_frames: 100, factor, restart: false };
        let rungs = halving.rungs(trials, most).expect("possible");
        rungs.iter().map(|rung| (rung.trials, rung.frames.expect("a budget"))).collect()
    }

    #[test]
    fn few_go_on_with_more_until_one_is_left() {
        assert_eq!(rungs(9, 3, None), [(9, 100), (3, 300), (1, 900)]);
        assert_eq!(rungs(8, 2, None), [(8, 100), (4, 200), (2, 400), (1, 800)]);
        assert_eq!(rungs(16, 3, None), [(16, 100), (5, 300), (1, 900)]);
        assert_eq!(rungs(2, 3, None), [(2, 100), (1, 300)], "somebody always goes on");
        assert_eq!(rungs(1, 3, None), [(1, 100)]);
    }

    #[test]
    fn the_budget_ends_at_the_frames_of_a_run() {
        assert_eq!(rungs(9, 3, Some(500)), [(9, 100), (3, 300), (1, 500)]);
        assert_eq!(rungs(27, 3, Some(300)), [(27, 100), (9, 300)], "more than one may be left");
        assert_eq!(rungs(9, 3, Some(100)), [(9, 100)]);
        let halving = Halving { first_frames: 100, factor: 3, restart: false };
        let error = halving.rungs(9, Some(99)).expect_err("too few").to_string();
        assert!(error.contains("first-frames is 100") && error.contains("99"), "{error}");
    }
}
