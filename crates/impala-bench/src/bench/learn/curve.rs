//! Learning curves: the mean return of the last 100 episodes, from a run's `episodes.csv`.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

/// Episodes of a mean.
const WINDOW: usize = 100;
/// Points that are kept of a curve.
const MAX_POINTS: usize = 400;

/// A mean of episodes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Frames learnt.
    pub(crate) frames: f64,
    /// Seconds since the start of the run.
    pub(crate) seconds: f64,
    /// Mean return of the last 100 episodes, or of all if there are fewer.
    pub(crate) return_mean: f64,
}

/// How the target was reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// Frames learnt when the mean of 100 episodes first reached it.
    pub(crate) frames: f64,
    /// Seconds since the start of the run.
    pub(crate) seconds: f64,
    /// Lowest mean of 100 episodes from then on.
    pub(crate) lowest_after: f64,
}

/// The curve of one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Curve {
    /// In order; the last is that of the last episode.
    pub(super) points: Vec<Point>,
    pub(super) episodes: usize,
    pub(super) reached: Option<Reached>,
}

impl Curve {
    /// Reads lines of `frames,seconds,return,length`; what is no such line is passed over.
    pub(super) fn read(lines: impl BufRead, target: Option<f64>) -> io::Result<Self> {
        let (mut window, mut sum) = (VecDeque::with_capacity(WINDOW), 0.0);
        let mut curve = Self::default();
        for line in lines.lines() {
            let line = line?;
            let Some([frames, seconds, episode_return]) = numbers(&line) else { continue };
            curve.episodes += 1;
            sum += episode_return;
            window.push_back(episode_return);
            if window.len() > WINDOW {
                sum -= window.pop_front().unwrap_or(0.0);
            }
            let return_mean = sum / window.len() as f64;
            curve.points.push(Point { frames, seconds, return_mean });
            if window.len() < WINDOW {
                continue;
            }
            match &mut curve.reached {
                Some(reached) => reached.lowest_after = reached.lowest_after.min(return_mean),
                None if target.is_some_and(|target| return_mean >= target) => {
                    curve.reached = Some(Reached { frames, seconds, lowest_after: return_mean });
                }
                None => {}
            }
        }
        curve.points = thinned(&curve.points);
        Ok(curve)
    }
}

fn numbers(line: &str) -> Option<[f64; 3]> {
    let mut fields = line.split(',').map(|field| field.parse::<f64>().ok());
    let [frames, seconds, episode_return, _length] =
        [fields.next()??, fields.next()??, fields.next()??, fields.next()??];
    episode_return.is_finite().then_some([frames, seconds, episode_return])
}

/// Every so many of the points, the last among them.
fn thinned(points: &[Point]) -> Vec<Point> {
    let every = points.len().div_ceil(MAX_POINTS).max(1);
    points.iter().rev().step_by(every).rev().copied().collect()
}

/// The mean at `frames`: that of the last point before.
pub(super) fn at(points: &[Point], frames: f64) -> Option<f64> {
    let after = points.partition_point(|point| point.frames <= frames);
    points[..after].last().map(|point| point.return_mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(returns: impl Iterator<Item = f64>, target: f64) -> Curve {
        let mut text = "frames,seconds,return,length\n".to_owned();
        for (at, episode_return) in returns.enumerate() {
            let line = format!("{},{},{episode_return},5\n", 10 * at, at as f64 / 2.0);
            text.push_str(&line);
        }
        text.push_str("99999,1,2");
        Curve::read(text.as_bytes(), Some(target)).expect("text")
    }

    #[test]
    fn a_target_counts_over_a_full_window() {
        // 1 for 99 episodes, then 0: no window of 100 is above 0.99.
        let curve = read((0..150).map(|at| if at < 99 { 1.0 } else { 0.0 }), 0.99);
        let reached = curve.reached.expect("reached");
        assert_eq!((reached.frames, reached.seconds), (990.0, 49.5));
        assert!((reached.lowest_after - 0.49).abs() < 1e-9, "{reached:?}");
        assert_eq!((curve.episodes, curve.points.len()), (150, 150));
        assert_eq!(read((0..99).map(|_| 1.0), 0.5).reached, None, "99 episodes are no window");
        assert_eq!(read((0..150).map(|_| 0.0), 0.5).reached, None);
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_end() {
        let curve = read((0..5000).map(f64::from), 1e9);
        assert!((300..=MAX_POINTS).contains(&curve.points.len()), "{}", curve.points.len());
        let last = curve.points[curve.points.len() - 1];
        assert_eq!((last.frames, last.return_mean), (49_990.0, 4949.5));
        let short = read([3.0, 5.0].into_iter(), 1e9);
        assert_eq!(short.points.iter().map(|p| p.return_mean).collect::<Vec<_>>(), [3.0, 4.0]);
        assert_eq!(at(&short.points, 9.0), Some(3.0));
        assert_eq!((at(&short.points, 10.0), at(&short.points, -1.0)), (Some(4.0), None));
        assert_eq!(Curve::read("".as_bytes(), None).expect("text"), Curve::default());
    }
}
