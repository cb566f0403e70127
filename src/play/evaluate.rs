//! Plays whole episodes and computes their mean return and length.

use serde::Serialize;

use super::agent::Agent;
use super::error::PlayError;
use crate::env::flag;

/// Returns of some episodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Evaluation {
    /// Return of each, in the order in which they began.
    pub(crate) returns: Vec<f64>,
    /// Steps of each.
    pub(crate) lengths: Vec<u32>,
    /// Mean return.
    pub(crate) mean: f64,
    /// Standard deviation of the returns (of the sample; 0 for one).
    pub(crate) std: f64,
    /// Smallest return.
    pub(crate) min: f64,
    /// Largest return.
    pub(crate) max: f64,
    /// Quarter, half and three quarters of the returns are at most these (between two of them, in proportion).
    pub(crate) quartiles: [f64; 3],
    /// Mean length.
    pub(crate) length_mean: f64,
}

/// Plays `episodes` episodes; `each` sees the agent after every step.
///
/// Each environment plays its fixed share of the episodes: taking whichever ends first would favour short
/// ones.
///
/// # Errors
/// [`PlayError`]
pub(crate) fn evaluate(
    agent: &mut Agent,
    episodes: usize,
    mut each: impl FnMut(&Agent) -> Result<(), PlayError>,
) -> Result<Evaluation, PlayError> {
    let envs = agent.envs();
    let mut left: Vec<usize> =
        (0..envs).map(|env| episodes / envs + usize::from(env < episodes % envs)).collect();
    let mut running = vec![(0.0_f64, 0_u32); envs];
    let mut finished: Vec<(usize, f64, u32)> = Vec::with_capacity(episodes);
    each(agent)?;
    while left.iter().any(|&n| n > 0) {
        let stepped = agent.step()?;
        for env in 0..envs {
            if stepped.flags[env] & flag::FIRST != 0 {
                running[env] = (0.0, 0);
                continue;
            }
            let (sum, length) = &mut running[env];
            *sum += f64::from(stepped.rewards[env]);
            *length += 1;
            if stepped.flags[env] & flag::DONE != 0 && left[env] > 0 {
                left[env] -= 1;
                // Round by round: the order in which they began.
                finished.push((left[env] * envs + envs - env, *sum, *length));
            }
        }
        each(agent)?;
    }
    finished.sort_by_key(|episode| std::cmp::Reverse(episode.0));
    Ok(sum_up(&finished))
}

fn sum_up(finished: &[(usize, f64, u32)]) -> Evaluation {
    let n = finished.len().max(1) as f64;
    let returns: Vec<f64> = finished.iter().map(|episode| episode.1).collect();
    let lengths: Vec<u32> = finished.iter().map(|episode| episode.2).collect();
    let mean = returns.iter().sum::<f64>() / n;
    let squares: f64 = returns.iter().map(|r| (r - mean).powi(2)).sum();
    let mut sorted = returns.clone();
    sorted.sort_by(f64::total_cmp);
    Evaluation {
        mean,
        quartiles: [0.25, 0.5, 0.75].map(|share| quantile(&sorted, share)),
        std: if returns.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 },
        min: returns.iter().copied().fold(f64::INFINITY, f64::min),
        max: returns.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        length_mean: lengths.iter().map(|&l| f64::from(l)).sum::<f64>() / n,
        returns,
        lengths,
    }
}

/// The value below which `share` of `sorted` lies, as numpy's default has it: position `share * (n - 1)`, in
/// proportion between its neighbours. NaN of nothing.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let below = (0..last).take_while(|&index| (index + 1) as f64 <= at).count();
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    if low == high { low } else { low + (high - low) * (at - below as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        assert_eq!([0.25, 0.5, 0.75].map(|q| quantile(&[1.0, 2.0, 4.0, 8.0], q)), [1.75, 3.0, 5.0]);
        assert_eq!([0.0, 0.5, 1.0].map(|q| quantile(&[3.0, 7.0], q)), [3.0, 5.0, 7.0]);
        assert_eq!(quantile(&[5.0], 0.75), 5.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn mean_and_spread_are_those_of_a_sample() {
        let found = sum_up(&[(3, 1.0, 10), (2, 2.0, 20), (1, 6.0, 30)]);
        assert_eq!((found.mean, found.min, found.max, found.length_mean), (3.0, 1.0, 6.0, 20.0));
        assert!((found.std - 7.0_f64.sqrt()).abs() < 1e-12, "{}", found.std);
        assert_eq!(sum_up(&[(1, 4.0, 1)]).std, 0.0);
    }
}
