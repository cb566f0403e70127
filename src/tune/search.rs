//! The search of `--auto`: tries the defaults, then the most promising candidates once each, and then the fastest of
//! them against the defaults in turns.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::candidates::{Costs, Space, candidates};
use super::judge::{FEWEST_PAIRS, MARGIN, Pair, judge, lag_limit};
use super::{Figures, Measured, Sizes, median};

/// A candidate that was slower than this part of the defaults in its first trial gets no second. What was a little slower may have met a
/// slow moment of the machine.
const PROMISING: f64 = 0.95;
/// Part of the time that the first trial may take.
const FIRST_MAY_TAKE: f64 = 0.4;

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// How long all of it may take; without a bound, as long as it takes.
    pub budget: Option<Duration>,
    /// How long each trial is measured, once frames come.
    pub trial: Duration,
    /// Candidates that are tried.
    pub candidates: usize,
    /// Turns that the fastest take with the defaults, at least two.
    pub pairs: usize,
}

impl Effort {
    /// What fits into `budget` where a trial needs little beside the time that it is measured for.
    #[must_use]
    pub fn within(budget: Duration) -> Self {
        let trial = (budget / 20).clamp(Duration::from_millis(300), Duration::from_secs(2));
        let is_short = budget <= Duration::from_secs(15);
        let (candidates, pairs) = if is_short { (5, 3) } else { (8, 5) };
        Self { budget: Some(budget), trial, candidates, pairs }
    }
}

/// Why a trial came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialFailure {
    /// Somebody wants the program to end.
    Interrupted,
    /// With these sizes it does not run, or not within its time.
    Failed(String),
}

/// Somebody wants the program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted while sizes of the pool were tried; no run has begun")]
pub struct Interrupted;

/// Makes trials.
pub trait Bench {
    /// Tries some sizes, for no longer than `limit` if there is one.
    ///
    /// # Errors
    /// [`TrialFailure`]
    fn trial(&mut self, sizes: Sizes, limit: Option<Duration>) -> Result<Measured, TrialFailure>;

    /// Time of inference for a frame, in ns, with so many environments; nothing if it is not known.
    fn inference_ns(&mut self, envs_per_actor: usize) -> Option<f64>;

    /// Time since the first trial began.
    fn elapsed(&self) -> Duration;
}

/// What was found of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// What was tried.
    #[serde(flatten)]
    pub sizes: Sizes,
    /// Frames per second that follow from the costs; nothing for the defaults, which the costs are of.
    pub predicted_frames_per_s: Option<f64>,
    /// Its trials, in order.
    pub trials: Vec<Figures>,
    /// Why there is none.
    pub failure: Option<String>,
}

impl Candidate {
    const fn new(sizes: Sizes, predicted_frames_per_s: Option<f64>) -> Self {
        Self { sizes, predicted_frames_per_s, trials: Vec::new(), failure: None }
    }

    /// The median of its trials, and their mean lag; nothing if there was none.
    #[must_use]
    pub fn figures(&self) -> Option<Figures> {
        let trials = &self.trials;
        (!trials.is_empty()).then(|| Figures {
            frames_per_s: median(trials.iter().map(|trial| trial.frames_per_s)),
            policy_lag: trials.iter().map(|trial| trial.policy_lag).sum::<f64>()
                / trials.len() as f64,
        })
    }
}

/// Why the choice is what it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// It stayed ahead of the defaults.
    Faster {
        /// Turns.
        pairs: usize,
        /// How much faster, in the median.
        gain: f64,
    },
    /// Everything was set.
    NothingOpen,
    /// No other sizes keep what an update learns from.
    NoCandidate,
    /// None was faster in its first trial.
    NoneFaster,
    /// Those that were faster had older data.
    OlderData {
        /// The largest lag that is fine.
        limit: f64,
    },
    /// None stayed ahead in turns.
    Noise,
    /// There was no time to compare.
    TooSlow {
        /// How long a trial takes.
        trial_s: f64,
        /// Of that, what is measured.
        measured_s: f64,
        /// How long all of it may take.
        budget_s: f64,
    },
    /// The defaults themselves could not be tried.
    Failed(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        match self {
            Self::Faster { pairs, gain } => {
                let gain = percent(*gain);
                write!(
                    f,
                    "ahead of the defaults in each of {pairs} turns, by {gain:.0} % in the median"
                )
            }
            Self::NothingOpen => f.write_str("actors, environments and threads were all set"),
            Self::NoCandidate => f.write_str("no other sizes keep what an update learns from"),
            Self::NoneFaster => f.write_str("no other sizes were faster than the defaults"),
            Self::OlderData { limit } => {
                write!(f, "what was faster makes data older than {limit:.1} updates")
            }
            Self::Noise => {
                let margin = percent(MARGIN);
                write!(
                    f,
                    "nothing stayed ahead of the defaults in turns, by more than {margin:.0} %"
                )
            }
            Self::TooSlow { trial_s, measured_s, budget_s } => write!(
                f,
                "a trial takes {trial_s:.1} s, of which {measured_s:.1} can be measured: too long to compare within {budget_s:.0} s"
            ),
            Self::Failed(why) => write!(f, "the defaults could not be tried: {why}"),
        }
    }
}

/// What was chosen, and all that was measured for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// What to run with.
    pub chosen: Sizes,
    /// Why.
    pub reason: Reason,
    /// What to expect of it; nothing if nothing was measured.
    pub expected: Option<Figures>,
    /// What a frame costs with the defaults, if they could be tried.
    pub costs: Option<Costs>,
    /// Time of inference for a frame in ns, by the environments of an actor.
    pub inference_ns: Vec<(usize, f64)>,
    /// The defaults, then the candidates in the order in which they were tried.
    pub tried: Vec<Candidate>,
    /// How long all of it took.
    pub seconds: f64,
}

impl Tuning {
    /// The defaults, and what they came to.
    ///
    /// # Panics
    /// Never: they are always the first.
    #[must_use]
    pub fn default(&self) -> &Candidate {
        &self.tried[0]
    }

    /// Whether the defaults are kept.
    #[must_use]
    pub fn keeps_defaults(&self) -> bool {
        self.chosen == self.default().sizes
    }

    /// Trials that came to something.
    #[must_use]
    pub fn trials(&self) -> usize {
        self.tried.iter().map(|candidate| candidate.trials.len()).sum()
    }
}

/// Chooses sizes: those that are faster than the defaults beyond doubt, else the defaults.
///
/// # Errors
/// [`Interrupted`], if a trial was.
pub fn search(
    space: &Space,
    effort: &Effort,
    bench: &mut dyn Bench,
) -> Result<Tuning, Interrupted> {
    let mut search = Search::new(space, effort, bench);
    let reason = search.run()?;
    let Search { chosen, costs, inference_ns, tried, bench, .. } = search;
    let of_chosen = tried.iter().find(|candidate| candidate.sizes == chosen);
    let expected = of_chosen.and_then(Candidate::figures);
    let seconds = bench.elapsed().as_secs_f64();
    Ok(Tuning { chosen, reason, expected, costs, inference_ns, tried, seconds })
}

struct Search<'a> {
    space: &'a Space,
    effort: &'a Effort,
    bench: &'a mut dyn Bench,
    chosen: Sizes,
    costs: Option<Costs>,
    inference_ns: Vec<(usize, f64)>,
    tried: Vec<Candidate>,
    /// The longest trial so far.
    longest: Duration,
}

impl<'a> Search<'a> {
    fn new(space: &'a Space, effort: &'a Effort, bench: &'a mut dyn Bench) -> Self {
        let sizes = space.default;
        Self {
            space,
            effort,
            bench,
            chosen: sizes,
            costs: None,
            inference_ns: Vec::new(),
            tried: vec![Candidate::new(sizes, None)],
            longest: Duration::ZERO,
        }
    }

    fn run(&mut self) -> Result<Reason, Interrupted> {
        if !self.space.vary.any() {
            return Ok(Reason::NothingOpen);
        }
        let Some(first) = self.measure(0)? else {
            let why = self.tried[0].failure.clone().unwrap_or_default();
            return Ok(Reason::Failed(why));
        };
        self.costs = Some(first.costs);
        for envs in self.space.envs_per_actor() {
            self.inference_ns.extend(self.bench.inference_ns(envs).map(|ns| (envs, ns)));
        }
        let ranked =
            candidates(self.space, &first.costs, &self.inference_ns, self.effort.candidates);
        if ranked.is_empty() {
            return Ok(Reason::NoCandidate);
        }
        let too_slow = Reason::TooSlow {
            trial_s: first.wall_s,
            measured_s: first.measured_s,
            budget_s: self.effort.budget.unwrap_or_default().as_secs_f64(),
        };
        for (sizes, predicted) in ranked {
            // What is left must do for turns with the defaults.
            if !self.has_time_for(1 + 2 * FEWEST_PAIRS) {
                break;
            }
            self.tried.push(Candidate::new(sizes, Some(predicted)));
            self.measure(self.tried.len() - 1)?;
        }
        if self.tried.len() == 1 {
            return Ok(too_slow);
        }
        let limit = lag_limit(first.figures.policy_lag);
        let mut fast: Vec<(usize, Figures)> = (1..self.tried.len())
            .filter_map(|index| Some((index, *self.tried[index].trials.first()?)))
            .filter(|(_, trial)| trial.frames_per_s > first.figures.frames_per_s * PROMISING)
            .collect();
        if fast.is_empty() {
            return Ok(Reason::NoneFaster);
        }
        fast.retain(|(_, trial)| trial.policy_lag <= limit);
        if fast.is_empty() {
            return Ok(Reason::OlderData { limit });
        }
        fast.sort_by(|a, b| b.1.frames_per_s.total_cmp(&a.1.frames_per_s));
        let mut compared = false;
        for (index, _) in fast {
            let pairs = self.turns(index)?;
            compared |= !pairs.is_empty();
            if let Some(gain) = judge(&pairs) {
                self.chosen = self.tried[index].sizes;
                // The first trial was the best of several: what is expected are the turns.
                self.tried[index].trials = pairs.iter().map(|pair| pair.candidate).collect();
                return Ok(Reason::Faster { pairs: pairs.len(), gain });
            }
        }
        Ok(if compared { Reason::Noise } else { too_slow })
    }

    /// Turns of a candidate with the defaults, as many as there is time for, until it falls behind.
    fn turns(&mut self, candidate: usize) -> Result<Vec<Pair>, Interrupted> {
        let mut pairs: Vec<Pair> = Vec::new();
        while pairs.len() < self.effort.pairs.max(FEWEST_PAIRS) {
            let missing = FEWEST_PAIRS.saturating_sub(pairs.len()).max(1);
            if !self.has_time_for(2 * missing) {
                break;
            }
            // Who goes first changes, so that a machine that slows down does not favour one.
            let order = if pairs.len().is_multiple_of(2) { [0, candidate] } else { [candidate, 0] };
            let mut figures = [None; 2];
            for index in order {
                figures[usize::from(index == candidate)] =
                    self.measure(index)?.map(|trial| trial.figures);
            }
            let [Some(default), Some(other)] = figures else { break };
            let pair = Pair { default, candidate: other };
            pairs.push(pair);
            if pair.ratio() <= 1.0 {
                break;
            }
        }
        Ok(pairs)
    }

    /// One trial more of something, if it succeeds.
    fn measure(&mut self, index: usize) -> Result<Option<Measured>, Interrupted> {
        let is_first = self.longest.is_zero();
        let limit = self.effort.budget.map(|budget| {
            // If the first takes longer, there is no time for others.
            let all = if is_first { budget.mul_f64(FIRST_MAY_TAKE) } else { budget };
            all.saturating_sub(self.bench.elapsed())
        });
        let began = self.bench.elapsed();
        let outcome = self.bench.trial(self.tried[index].sizes, limit);
        self.longest = self.longest.max(self.bench.elapsed().saturating_sub(began));
        match outcome {
            Ok(measured) => {
                self.tried[index].trials.push(measured.figures);
                Ok(Some(measured))
            }
            Err(TrialFailure::Failed(why)) => {
                self.tried[index].failure = Some(why);
                Ok(None)
            }
            Err(TrialFailure::Interrupted) => Err(Interrupted),
        }
    }

    fn has_time_for(&self, trials: usize) -> bool {
        let needed = self.longest * u32::try_from(trials).unwrap_or(u32::MAX);
        self.effort.budget.is_none_or(|budget| self.bench.elapsed() + needed <= budget)
    }
}

#[cfg(test)]
mod tests;
