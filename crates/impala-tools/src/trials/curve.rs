//! Learning curves: the mean return of the last 100 episodes, from a run's `episodes.csv`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::statistics::Estimate;
use crate::report::{LineChart, Series};

/// Episodes of a mean.
const WINDOW: usize = 100;
/// Points that are kept of a curve.
const MAX_POINTS: usize = 400;
/// Points of the curve over all seeds.
const OVER_SEEDS_POINTS: u32 = 60;
/// Resamples of each: an interval that is drawn needs fewer than one that is printed.
const OVER_SEEDS_RESAMPLES: usize = 1000;

/// A mean of episodes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Frames learnt.
    pub frames: f64,
    /// Seconds since the start of the run.
    pub seconds: f64,
    /// Mean return of the last 100 episodes, or of all if there are fewer.
    pub return_mean: f64,
}

/// How the target was reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Frames learnt when the mean of 100 episodes first reached it.
    pub frames: f64,
    /// Seconds since the start of the run.
    pub seconds: f64,
    /// Lowest mean of 100 episodes from then on.
    pub lowest_after: f64,
}

/// The curve of one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// In order, thinned; the last is that of the last episode.
    pub points: Vec<Point>,
    /// Episodes that ended.
    pub episodes: usize,
    /// How the target was reached, if there is one and it was.
    pub reached: Option<Reached>,
}

impl Curve {
    /// Of the run in this folder; empty if no episode was written.
    ///
    /// # Errors
    /// If `episodes.csv` cannot be read to its end.
    pub fn of_run(run_dir: &Path, target: Option<f64>) -> io::Result<Self> {
        match File::open(run_dir.join("episodes.csv")) {
            Ok(episodes) => Self::read(BufReader::new(episodes), target),
            Err(_) => Ok(Self::default()),
        }
    }

    /// Reads lines of `frames,seconds,return,length`; what is no such line is passed over.
    fn read(lines: impl BufRead, target: Option<f64>) -> io::Result<Self> {
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
fn at(points: &[Point], frames: f64) -> Option<f64> {
    let after = points.partition_point(|point| point.frames <= frames);
    points[..after].last().map(|point| point.return_mean)
}

/// Interquartile mean and 95 % interval of several curves, at evenly spaced frames that all of them have.
#[must_use]
pub fn over_seeds(name: impl Into<String>, curves: &[&[Point]]) -> Series {
    let ends = |points: &[Point]| Some((points.first()?.frames, points.last()?.frames));
    let ends: Vec<_> = curves.iter().filter_map(|points| ends(points)).collect();
    let first = ends.iter().map(|ends| ends.0).fold(f64::NEG_INFINITY, f64::max);
    let last = ends.iter().map(|ends| ends.1).fold(f64::INFINITY, f64::min);
    let mut series = Series::new(name, Vec::new());
    for step in 0..=OVER_SEEDS_POINTS {
        let frames = first + (last - first) * f64::from(step) / f64::from(OVER_SEEDS_POINTS);
        let means = curves.iter().filter_map(|points| at(points, frames)).collect();
        let estimate = Estimate::resampled(&[means], OVER_SEEDS_RESAMPLES);
        if let Some(Estimate { iqm, low, high }) = estimate {
            series.points.push((frames, iqm));
            series.band.push((frames, low, high));
        }
    }
    series
}

/// The curves of all seeds, and what sums them up.
#[must_use]
pub fn chart_of_seeds(title: String, curves: &[(u32, &[Point])]) -> LineChart {
    let mut series = Vec::new();
    // Alone it is what sums it up.
    let several = curves.len() > 1;
    if several {
        let points = curves.iter().map(|(_, points)| *points).collect::<Vec<_>>();
        series.push(over_seeds("interquartile mean, 95 %", &points));
    }
    for (seed, points) in curves {
        let points = points.iter().map(|point| (point.frames, point.return_mean)).collect();
        series.push(Series { faint: several, ..Series::new(format!("seed {seed}"), points) });
    }
    LineChart { title, x_label: "frames learnt", series, ..LineChart::default() }
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

    #[test]
    fn the_line_over_all_seeds_spans_what_they_share() {
        let point = |frames, return_mean| Point { frames, seconds: 0.0, return_mean };
        let [a, b] = [[point(0.0, 1.0), point(60.0, 1.0)], [point(30.0, 3.0), point(90.0, 3.0)]];
        let series = over_seeds("both", &[&a, &b]);
        assert_eq!(series.points.first(), Some(&(30.0, 2.0)));
        assert_eq!(series.points.last(), Some(&(60.0, 2.0)));
        assert_eq!(series.band.first(), Some(&(30.0, 1.0, 3.0)));
    }
}
