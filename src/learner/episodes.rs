//! Returns and lengths of finished episodes, from the blocks that the learner trains on.

use std::collections::VecDeque;

/// One finished episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// Sum of its rewards, before clipping and scaling.
    pub(crate) episode_return: f32,
    /// Its steps.
    pub(crate) length: u32,
}

/// Means over the last `window` episodes.
///
/// An episode counts when the block that holds its end is trained on, so a curve over frames never
/// runs ahead of what was learnt from.
#[derive(Debug, Clone)]
pub struct EpisodeWindow {
    window: usize,
    recent: VecDeque<Episode>,
    finished: u64,
    best: Option<f64>,
    /// The lowest mean over a full window since `best` was reached.
    lowest: Option<f64>,
    /// Of the returns that are finite: infinity would never leave a sum again.
    return_sum: f64,
    /// Returns in the window that are not.
    overflows: usize,
    length_sum: f64,
}

impl EpisodeWindow {
    /// An empty window of `window` episodes (at least 1).
    #[must_use]
    pub fn new(window: usize) -> Self {
        let window = window.max(1);
        Self {
            window,
            recent: VecDeque::with_capacity(window),
            finished: 0,
            best: None,
            lowest: None,
            return_sum: 0.0,
            overflows: 0,
            length_sum: 0.0,
        }
    }

    /// Goes on from the `recent` episodes of `finished` ones, and from the `best` and the `lowest` mean that a learner which died
    /// left; both are 0 if it saw no full window.
    #[must_use]
    pub fn resumed(
        window: usize,
        (recent, finished): (&[(f32, u32)], u64),
        [best, lowest]: [f64; 2],
    ) -> Self {
        let mut episodes = Self::new(window);
        for &(episode_return, length) in recent {
            episodes.push(Episode { episode_return, length });
        }
        episodes.finished = finished;
        if (best, lowest) != (0.0, 0.0) {
            episodes.continue_means(best, lowest);
        }
        episodes
    }

    /// Adds an episode; the oldest leaves when the window is full.
    pub(crate) fn push(&mut self, episode: Episode) {
        if self.recent.len() == self.window
            && let Some(oldest) = self.recent.pop_front()
        {
            self.return_sum -= finite(oldest);
            self.overflows -= usize::from(!oldest.episode_return.is_finite());
            self.length_sum -= f64::from(oldest.length);
        }
        self.return_sum += finite(episode);
        self.overflows += usize::from(!episode.episode_return.is_finite());
        self.length_sum += f64::from(episode.length);
        self.recent.push_back(episode);
        self.finished += 1;
        if let Some(mean) = self.full_return_mean() {
            self.record(mean);
        }
    }

    /// A mean that only equals the best one is no new best: where returns have an upper bound, a fall between
    /// two solved windows stays on record.
    fn record(&mut self, mean: f64) {
        if self.best.is_none_or(|best| mean > best) {
            (self.best, self.lowest) = (Some(mean), Some(mean));
        } else {
            self.lowest = self.lowest.map(|lowest| lowest.min(mean));
        }
    }

    /// Episodes pushed since the start.
    #[must_use]
    pub(crate) const fn finished(&self) -> u64 {
        self.finished
    }

    /// Mean return of the episodes in the window; `None` before the first, and while the return of one of
    /// them is beyond the numbers of an f32.
    #[must_use]
    pub(crate) fn return_mean(&self) -> Option<f64> {
        let is_mean = !self.recent.is_empty() && self.overflows == 0;
        is_mean.then(|| self.return_sum / self.recent.len() as f64)
    }

    /// Mean length of the episodes in the window; `None` before the first.
    #[must_use]
    pub(crate) fn length_mean(&self) -> Option<f64> {
        (!self.recent.is_empty()).then(|| self.length_sum / self.recent.len() as f64)
    }

    /// The mean return once the window is full: the only mean that a target is compared with.
    #[must_use]
    pub(crate) fn full_return_mean(&self) -> Option<f64> {
        self.return_mean().filter(|_| self.recent.len() == self.window)
    }

    /// The best of the means over full windows so far.
    #[must_use]
    pub(crate) const fn best_return_mean(&self) -> Option<f64> {
        self.best
    }

    /// The lowest of the means over full windows since the best was reached.
    #[must_use]
    pub(crate) const fn lowest_return_mean(&self) -> Option<f64> {
        self.lowest
    }

    /// Continues the best and the lowest mean of a learner that died. A better mean in this window stands.
    fn continue_means(&mut self, best: f64, lowest: f64) {
        if self.best.is_none_or(|own| own <= best) {
            (self.best, self.lowest) = (Some(best), Some(lowest));
        }
    }

    /// The episodes in the window, oldest first, for a checkpoint.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &Episode> {
        self.recent.iter()
    }
}

/// The return, 0 if it overflowed.
fn finite(episode: Episode) -> f64 {
    if episode.episode_return.is_finite() { f64::from(episode.episode_return) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_return_that_overflowed_is_gone_with_its_episode() {
        let mut window = EpisodeWindow::new(2);
        for episode_return in [f32::INFINITY, 1.0] {
            window.push(Episode { episode_return, length: 1 });
        }
        assert_eq!((window.return_mean(), window.full_return_mean()), (None, None));
        window.push(Episode { episode_return: 3.0, length: 1 });
        assert_eq!(window.full_return_mean(), Some(2.0));
        assert_eq!(window.best_return_mean(), Some(2.0), "infinity is no record");
        window.push(Episode { episode_return: f32::NEG_INFINITY, length: 1 });
        window.push(Episode { episode_return: f32::INFINITY, length: 1 });
        window.push(Episode { episode_return: 5.0, length: 1 });
        window.push(Episode { episode_return: 6.0, length: 1 });
        assert_eq!(window.return_mean(), Some(5.5));
    }

    fn pushed(window: &mut EpisodeWindow, returns: &[f32]) -> (Option<f64>, Option<f64>) {
        for &episode_return in returns {
            window.push(Episode { episode_return, length: 1 });
        }
        (window.best_return_mean(), window.lowest_return_mean())
    }

    #[test]
    fn the_lowest_mean_counts_from_the_best_one() {
        let mut window = EpisodeWindow::new(2);
        assert_eq!(pushed(&mut window, &[1.0]), (None, None), "the window is not full");
        assert_eq!(pushed(&mut window, &[3.0]), (Some(2.0), Some(2.0)));
        assert_eq!(pushed(&mut window, &[-7.0]), (Some(2.0), Some(-2.0)));
        assert_eq!(pushed(&mut window, &[7.0]), (Some(2.0), Some(-2.0)), "it stays");
        assert_eq!(pushed(&mut window, &[3.0]), (Some(5.0), Some(5.0)), "a new best");
        assert_eq!(pushed(&mut window, &[f32::INFINITY]), (Some(5.0), Some(5.0)), "no mean");
        assert_eq!(pushed(&mut window, &[1.0, 3.0]), (Some(5.0), Some(2.0)));
        assert_eq!(
            pushed(&mut window, &[7.0]),
            (Some(5.0), Some(2.0)),
            "the best again, no better"
        );
    }

    #[test]
    fn a_successor_goes_on_with_both_means() {
        let mut window = EpisodeWindow::new(2);
        window.continue_means(9.0, 4.0);
        assert_eq!(pushed(&mut window, &[5.0, 7.0]), (Some(9.0), Some(4.0)));
        assert_eq!(pushed(&mut window, &[-3.0]), (Some(9.0), Some(2.0)));
        let mut ahead = EpisodeWindow::new(1);
        pushed(&mut ahead, &[10.0, 8.0]);
        ahead.continue_means(9.0, 4.0);
        assert_eq!(pushed(&mut ahead, &[]), (Some(10.0), Some(8.0)));
    }

    #[test]
    fn the_mean_is_over_the_last_episodes_only() {
        let mut window = EpisodeWindow::new(2);
        assert_eq!(window.return_mean(), None);
        window.push(Episode { episode_return: 100.0, length: 10 });
        assert_eq!((window.return_mean(), window.full_return_mean()), (Some(100.0), None));
        window.push(Episode { episode_return: 1.0, length: 2 });
        window.push(Episode { episode_return: 2.0, length: 4 });
        assert_eq!(window.full_return_mean(), Some(1.5));
        assert_eq!(window.length_mean(), Some(3.0));
        assert_eq!(window.finished(), 3);
        assert_eq!(window.best_return_mean(), Some(50.5), "the best, not the latest");
    }
}
