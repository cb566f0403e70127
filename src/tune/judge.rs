//! Decides whether a candidate is faster than the defaults, from pairs of trials made in turns.

use super::{Figures, LAG_THAT_IS_FINE, median};

/// How much faster than the defaults a candidate must be, by the median of the pairs: less is noise.
pub const MARGIN: f64 = 1.05;
/// Fewer pairs say nothing.
pub(super) const FEWEST_PAIRS: usize = 2;

/// Two trials, one right after the other, so that a change of the machine meets both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Of the defaults.
    pub default: Figures,
    /// Of the candidate.
    pub candidate: Figures,
}

impl Pair {
    /// How much faster the candidate was; 0 if that cannot be said.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let ratio = self.candidate.frames_per_s / self.default.frames_per_s;
        // Of defaults that came to nothing there is none.
        if ratio.is_finite() { ratio } else { 0.0 }
    }
}

/// The policy lag up to which data is no older than it may be.
pub(super) fn lag_limit(default_lag: f64) -> f64 {
    default_lag.max(LAG_THAT_IS_FINE)
}

/// Takes a candidate that was ahead in every pair, by more than [`MARGIN`] in the median, with data that is no older than it may be.
/// Its gain, or nothing.
#[must_use]
pub fn judge(pairs: &[Pair]) -> Option<f64> {
    if pairs.len() < FEWEST_PAIRS {
        return None;
    }
    let mean = |lag: fn(&Pair) -> f64| pairs.iter().map(lag).sum::<f64>() / pairs.len() as f64;
    let is_older =
        mean(|pair| pair.candidate.policy_lag) > lag_limit(mean(|p| p.default.policy_lag));
    let gain = median(pairs.iter().map(Pair::ratio));
    let always_ahead = pairs.iter().all(|pair| pair.ratio() > 1.0);
    (always_ahead && !is_older && gain > MARGIN).then_some(gain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(default: (f64, f64), candidate: (f64, f64)) -> Pair {
        let figures = |(frames_per_s, policy_lag)| Figures { frames_per_s, policy_lag };
        Pair { default: figures(default), candidate: figures(candidate) }
    }

    #[test]
    fn a_clear_winner_is_taken() {
        let pairs = [
            pair((100.0, 2.0), (120.0, 2.0)),
            pair((50.0, 2.0), (62.0, 2.2)),
            pair((100.0, 2.0), (130.0, 1.0)),
        ];
        assert_eq!(judge(&pairs), Some(1.24));
    }

    #[test]
    fn noise_is_not_taken() {
        let less_than_the_margin = [pair((100.0, 1.0), (104.0, 1.0)); 5];
        assert_eq!(judge(&less_than_the_margin), None);
        let once_behind = [
            pair((100.0, 1.0), (150.0, 1.0)),
            pair((100.0, 1.0), (150.0, 1.0)),
            pair((100.0, 1.0), (99.0, 1.0)),
        ];
        assert_eq!(judge(&once_behind), None);
        assert_eq!(judge(&[pair((100.0, 1.0), (300.0, 1.0))]), None, "one pair");
        assert_eq!(judge(&[]), None);
    }

    #[test]
    fn data_may_not_be_older() {
        assert_eq!(judge(&[pair((100.0, 1.0), (200.0, 2.6)); 3]), None);
        assert_eq!(judge(&[pair((100.0, 1.0), (200.0, 2.5)); 3]), Some(2.0), "fine in any case");
        assert_eq!(judge(&[pair((100.0, 4.0), (200.0, 4.0)); 3]), Some(2.0), "as by default");
        assert_eq!(judge(&[pair((100.0, 4.0), (200.0, 4.1)); 3]), None);
    }

    #[test]
    fn a_trial_without_frames_is_no_winner() {
        assert_eq!(judge(&[pair((0.0, 0.0), (0.0, 0.0)); 3]), None);
        assert_eq!(judge(&[pair((f64::NAN, 0.0), (1.0, 0.0)); 3]), None);
    }
}
