//! Means over the last episodes, as the learner compares them with a target return, and whether they fell again.

use std::collections::VecDeque;

use impala_metrics::human::si;

use super::run_data::{Episode, RunData};

/// Episodes of a window if the settings name no `stop-window`.
const WINDOW: usize = 100;
/// The lowest mean is looked for over this part of the run.
const PART: f64 = 0.05;
/// Points of the line of lowest means. One interval of 5 % holds many of them, so that none is lost between two.
const LINE_POINTS: usize = 500;
/// A smaller fall, in standard errors of the difference of two means, is within the noise of a run: of its many
/// windows the best and the lowest are picked.
const NOISE: f64 = 4.0;

/// Mean return of a full window, at the episode that ends it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WindowMean {
    pub(super) last: Episode,
    pub(super) mean: f64,
    /// Variance of the mean: that of the returns over their number.
    variance: f64,
}

/// Episodes of a window, by the settings of a run.
pub(super) fn window(config: &toml::Table) -> usize {
    let set = config.get("stop-window").and_then(toml::Value::as_integer);
    set.and_then(|episodes| usize::try_from(episodes).ok()).filter(|&n| n > 0).unwrap_or(WINDOW)
}

/// The means of all full windows, in order; of each block of them in a row only the lowest and the highest. Windows with a
/// return that is not finite have none.
#[derive(Debug, Clone, Default)]
pub(super) struct WindowMeans {
    window: usize,
    /// How many means in a row a block has.
    block: usize,
    recent: VecDeque<(f64, usize)>,
    base: Option<f64>,
    sum: f64,
    squares: f64,
    overflows: usize,
    pub(super) means: Vec<WindowMean>,
    /// Means that the last block has come from, and where in `means` it begins.
    taken: usize,
    begin: usize,
}

impl WindowMeans {
    pub(super) fn new(window: usize, block: usize) -> Self {
        Self { window, block, ..Self::default() }
    }

    /// The next episode.
    pub(super) fn push(&mut self, last: Episode) {
        let n = self.window as f64;
        let is_finite = last.episode_return.is_finite();
        // Of differences from one return: squares of large returns would take the digits of their variance.
        let base = if is_finite { *self.base.get_or_insert(last.episode_return) } else { 0.0 };
        let value = if is_finite { last.episode_return - base } else { 0.0 };
        self.recent.push_back((value, usize::from(!is_finite)));
        (self.sum, self.squares) = (self.sum + value, self.squares + value * value);
        self.overflows += usize::from(!is_finite);
        if self.recent.len() > self.window
            && let Some((value, overflow)) = self.recent.pop_front()
        {
            (self.sum, self.squares) = (self.sum - value, self.squares - value * value);
            self.overflows -= overflow;
        }
        if self.recent.len() < self.window || self.overflows > 0 {
            return;
        }
        let mean = self.sum / n;
        let variance = (self.squares / n - mean * mean).max(0.0) / n;
        if self.taken == self.block {
            (self.taken, self.begin) = (0, self.means.len());
        }
        self.taken += 1;
        let of = WindowMean { last, mean: base + mean, variance };
        add_to_block(&mut self.means, self.begin, of);
    }

    /// Makes blocks twice as large once there are `most` means (a multiple of four), so that a log may grow without an end.
    pub(super) fn bound(&mut self, most: usize) {
        if self.means.len() < most || self.taken < self.block {
            return;
        }
        let two_blocks = 2 * self.block.min(2);
        let all = std::mem::take(&mut self.means);
        for pair in all.chunks(two_blocks) {
            self.begin = self.means.len();
            for of in pair {
                add_to_block(&mut self.means, self.begin, *of);
            }
        }
        self.block *= 2;
        self.taken = self.block;
    }
}

/// The means of all full windows of some episodes, in blocks of `block`.
pub(super) fn window_means(
    episodes: impl Iterator<Item = Episode>,
    window: usize,
    block: usize,
) -> Vec<WindowMean> {
    let mut all = WindowMeans::new(window, block);
    episodes.for_each(|episode| all.push(episode));
    all.means
}

/// Keeps the lowest and the highest mean of the block that begins at `begin`, in their order.
fn add_to_block(means: &mut Vec<WindowMean>, begin: usize, of: WindowMean) {
    means.push(of);
    let block = &means[begin..];
    if block.len() < 3 {
        return;
    }
    // Of three one lies between the others; of equal means the first stays.
    let lowest = (0..3).min_by(|&a, &b| block[a].mean.total_cmp(&block[b].mean));
    let highest = (0..3).rev().max_by(|&a, &b| block[a].mean.total_cmp(&block[b].mean));
    let between = (0..3).rev().find(|at| Some(*at) != lowest && Some(*at) != highest);
    if let Some(between) = between {
        means.remove(begin + between);
    }
}

/// The line of the lowest mean within the last 5 % of the run, over `x` of an episode.
pub(super) fn lowest_line(means: &[WindowMean], x: fn(&Episode) -> f64) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (means.first(), means.last()) else { return vec![] };
    let width = (x(&last.last) - x(&first.last)) * PART;
    // Means that may yet be the lowest, rising from the front to the back.
    let mut candidates: VecDeque<(f64, f64)> = VecDeque::new();
    let every = means.len().div_ceil(LINE_POINTS).max(1);
    let mut line = Vec::new();
    for (index, of) in means.iter().enumerate() {
        let (at, mean) = (x(&of.last), of.mean);
        while candidates.back().is_some_and(|(_, higher)| *higher >= mean) {
            candidates.pop_back();
        }
        candidates.push_back((at, mean));
        while candidates.front().is_some_and(|(from, _)| *from < at - width) {
            candidates.pop_front();
        }
        if (index % every == 0 || index + 1 == means.len())
            && let Some((_, lowest)) = candidates.front()
        {
            line.push((at, *lowest));
        }
    }
    line
}

/// A fall of the mean return.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fall {
    best: WindowMean,
    lowest: f64,
}

impl Fall {
    /// Whether the mean fell below half of the way from the first mean to the best one, after that one.
    pub(super) fn of(run: &RunData) -> Option<Self> {
        Self::within(&run.means)
    }

    fn within(means: &[WindowMean]) -> Option<Self> {
        let first = means.first()?;
        let (mut best, mut lowest) = (first, first);
        for of in means {
            // The first of equal means is the best one, so that a fall between two of them counts.
            if of.mean > best.mean {
                (best, lowest) = (of, of);
            } else if of.mean < lowest.mean {
                lowest = of;
            }
        }
        let half = first.mean.midpoint(best.mean);
        let noise = NOISE * (best.variance + lowest.variance).sqrt();
        let is_fall =
            best.mean > first.mean && lowest.mean < half && best.mean - lowest.mean > noise;
        is_fall.then_some(Self { best: *best, lowest: lowest.mean })
    }

    /// One sentence.
    pub(super) fn sentence(&self) -> String {
        format!(
            "The mean return fell back to {} after reaching {} at frame {}.",
            si(self.lowest),
            si(self.best.mean),
            si(self.best.last.frames)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episodes(returns: impl IntoIterator<Item = f64>) -> Vec<Episode> {
        let returns = returns.into_iter().enumerate();
        let episode = |(at, episode_return)| Episode {
            frames: at as f64 * 10.0,
            seconds: at as f64,
            episode_return,
            length: 1.0,
            task: 0,
        };
        returns.map(episode).collect()
    }

    fn fall(returns: impl IntoIterator<Item = f64>, window: usize) -> Option<String> {
        Fall::within(&window_means(episodes(returns).into_iter(), window, 1))
            .map(|fall| fall.sentence())
    }

    #[test]
    fn only_full_windows_of_finite_returns_have_a_mean() {
        let returns = [1e9, 1e9 + 2.0, 1e9 + 4.0, f64::INFINITY, 1.0, 3.0];
        let means = window_means(episodes(returns).into_iter(), 2, 1);
        let pairs: Vec<_> = means.iter().map(|m| (m.last.frames, m.mean, m.variance)).collect();
        assert_eq!(pairs[..2], [(10.0, 1e9 + 1.0, 0.5), (20.0, 1e9 + 3.0, 0.5)]);
        assert_eq!((pairs.len(), pairs[2].0, pairs[2].1), (3, 50.0, 2.0));
        assert!(window_means(episodes([1.0]).into_iter(), 2, 1).is_empty());
    }

    #[test]
    fn a_long_run_keeps_its_best_and_its_lowest_mean() {
        let returns = |at: usize| match at {
            333 => 900.0,
            777 => 3.0,
            _ => 20.0 + (at * 7919 % 101) as f64,
        };
        let means = window_means(episodes((0..1000).map(returns)).into_iter(), 1, 100);
        let all: Vec<_> = means.iter().map(|m| (m.last.frames, m.mean)).collect();
        assert_eq!(all.len(), 20, "two of each hundred");
        assert!(all.is_sorted_by(|a, b| a.0 < b.0), "{all:?}");
        assert!(all.contains(&(3330.0, 900.0)) && all.contains(&(7770.0, 3.0)), "{all:?}");
    }

    #[test]
    fn a_log_without_an_end_keeps_its_best_and_its_lowest_mean() {
        let returns = |at: usize| match at {
            333 => 900.0,
            7777 => 3.0,
            _ => 20.0 + (at * 7919 % 101) as f64,
        };
        let mut all = WindowMeans::new(1, 1);
        for episode in episodes((0..10_000).map(returns)) {
            all.push(episode);
            all.bound(64);
            assert!(all.means.len() <= 64 + 2);
        }
        let means: Vec<_> = all.means.iter().map(|m| (m.last.frames, m.mean)).collect();
        assert!(means.is_sorted_by(|a, b| a.0 < b.0), "{means:?}");
        assert!(means.contains(&(3330.0, 900.0)) && means.contains(&(77_770.0, 3.0)), "{means:?}");
        assert_eq!(all.block, 512, "the least power of two by which there is room");
    }

    #[test]
    fn the_line_holds_a_short_fall_for_a_twentieth_of_the_run() {
        let returns = (0..2001).map(|at| if at == 1000 { 10.0 } else { 500.0 });
        let line = lowest_line(&window_means(episodes(returns).into_iter(), 1, 1), |episode| {
            episode.frames
        });
        assert!(line.len() <= LINE_POINTS + 2, "{}", line.len());
        let low: Vec<_> = line.iter().filter(|(_, mean)| *mean == 10.0).map(|(x, _)| *x).collect();
        assert!((9_999.0..10_050.0).contains(&low[0]), "{low:?}");
        assert!((10_950.0..=11_000.0).contains(&low[low.len() - 1]), "{low:?}");
        assert_eq!(line.last(), Some(&(20_000.0, 500.0)));
        assert!(lowest_line(&[], |episode| episode.frames).is_empty());
    }

    #[test]
    fn a_fall_is_told_with_its_best_mean() {
        let returns = [20.0, 300.0, 500.0, 500.0, 90.0, 500.0];
        let said = "The mean return fell back to 90 after reaching 500 at frame 20.";
        assert_eq!(fall(returns, 1).as_deref(), Some(said));
        // Half of the way from 20 to 500 is 260.
        assert_eq!(fall([20.0, 500.0, 261.0], 1), None);
        assert!(fall([20.0, 500.0, 259.0], 1).is_some());
        assert_eq!(fall([20.0, 500.0, 90.0, 501.0], 1), None, "better than before");
        assert_eq!(fall([50.0, 20.0, 10.0], 1), None, "it never rose");
        assert_eq!(fall([], 1), None);
    }

    #[test]
    fn noise_is_no_fall() {
        let noise = |scale: f64| (0..400).map(move |at| f64::from(at * 7919 % 101) * scale);
        assert_eq!(fall(noise(1.0), 10), None);
        let risen = noise(1.0).chain(noise(1.0).map(|r| r + 900.0)).chain(noise(1.0));
        assert!(fall(risen, 10).is_some());
    }
}
