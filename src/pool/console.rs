//! Console output of a run: one live line on a terminal, plain lines elsewhere, none with `--quiet`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::metrics::human::{clock, si};

const LAST_LINE_WAITS_MS: u16 = 1_000;
/// So many tasks have their mean return on a line.
const MEANS_SHOWN: usize = 4;

/// A sample of a run, as it is shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Progress {
    /// Frames learnt.
    pub frames: u64,
    /// Learnt frames per second of wall time, over the last interval.
    pub(crate) frames_per_s: f64,
    /// Frames that actors produced per second of wall time, over the last interval.
    pub(crate) frames_acted_per_s: f64,
    /// Mean return of the last episodes.
    pub return_mean: Option<f64>,
    /// The same of each task.
    pub(super) task_means: Vec<Option<f64>>,
    /// Policy, baseline and entropy terms with their costs, per frame.
    pub(crate) loss: f64,
    /// Entropy of the policy in nats.
    pub(crate) entropy: f64,
    /// Mean policy lag in versions, over the last interval.
    pub(crate) policy_lag: f64,
    /// Updates made.
    pub(crate) updates: u64,
    /// Since the start.
    pub(crate) wall: Duration,
    /// `--total-frames`.
    pub(crate) total_frames: Option<u64>,
    /// Replaced processes so far.
    pub restarts: u64,
}

impl Progress {
    fn eta(&self) -> Option<Duration> {
        let left = self.total_frames?.saturating_sub(self.frames);
        (self.frames_per_s > 0.0)
            .then(|| Duration::from_secs_f64((left as f64 / self.frames_per_s).min(1e9)))
    }

    /// The sample as one line.
    #[must_use]
    pub(super) fn line(&self) -> String {
        let mut line = format!("frames {}", si(self.frames as f64));
        if let Some(total) = self.total_frames {
            let _infallible = write!(line, "/{}", si(total as f64));
        }
        let _infallible = write!(line, "  {} frames/s", si(self.frames_per_s));
        let _infallible = write!(
            line,
            "  return {}  loss {:.3}  entropy {:.3}  lag {:.1}",
            means(&self.task_means),
            self.loss,
            self.entropy,
            self.policy_lag
        );
        if self.restarts > 0 {
            let _infallible = write!(line, "  restarts {}", self.restarts);
        }
        if let Some(eta) = self.eta() {
            let _infallible = write!(line, "  ETA {}", clock(eta.as_secs_f64()));
        }
        line
    }
}

/// The mean return of each task, side by side.
pub(super) fn means(means: &[Option<f64>]) -> String {
    let one = |mean: &Option<f64>| mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.1}"));
    let shown: Vec<String> = means.iter().take(MEANS_SHOWN).map(one).collect();
    let more = if means.len() > MEANS_SHOWN { " | ..." } else { "" };
    format!("{}{more}", shown.join(" | "))
}

/// Shows a run.
#[derive(Debug)]
pub(super) enum Console {
    /// A line that redraws itself; log lines go above it.
    Live(ProgressBar),
    /// One line per log interval.
    Plain,
    /// Only errors.
    Quiet,
    /// Nothing: a trial, which somebody else speaks for.
    Silent,
    /// Only errors, of a rank other than 0.
    OtherRank(usize),
}

impl Console {
    /// Live on a terminal, plain elsewhere. Of several ranks the first speaks for all.
    #[must_use]
    pub(super) fn new(quiet: bool, rank: Option<usize>) -> Self {
        if let Some(other @ 1..) = rank {
            return Self::OtherRank(other);
        }
        if quiet {
            return Self::Quiet;
        }
        if !io::stdout().is_terminal() {
            return Self::Plain;
        }
        // No steady tick: that would be a second thread, and the supervisor forks.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise}  {wide_msg}") {
            bar.set_style(style);
        }
        Self::Live(bar)
    }

    /// Shows a sample at the event loop's schedule: only a terminal can take that.
    pub(super) fn tick(&self, progress: &Progress) {
        if let Self::Live(bar) = self
            && takes_a_line(&io::stdout())
        {
            bar.set_message(progress.line());
            bar.tick();
        }
    }

    /// Shows a sample at the log interval: what a log file should hold.
    pub(super) fn interval(&self, progress: &Progress) {
        if matches!(self, Self::Plain) {
            self.line(&format!("{}  {}", clock(progress.wall.as_secs_f64()), progress.line()));
        }
    }

    /// Prints a line of its own. A closed standard output is no reason to stop training.
    pub(super) fn line(&self, line: &str) {
        match self {
            Self::Live(bar) => bar.suspend(|| print_line(line)),
            Self::Plain => print_line(line),
            Self::Quiet | Self::Silent | Self::OtherRank(_) => {}
        }
    }

    /// Prints a line that quiet does not silence, on standard error.
    pub(super) fn warn(&self, line: &str) {
        let of = match self {
            Self::OtherRank(rank) => format!("rank {rank}: "),
            _ => String::new(),
        };
        let print = || {
            if takes_a_line(&io::stderr()) {
                let _closed_is_fine = writeln!(io::stderr(), "impala-supervisor: {of}{line}");
            }
        };
        match self {
            Self::Live(bar) => bar.suspend(print),
            Self::Plain | Self::Quiet | Self::OtherRank(_) => print(),
            Self::Silent => {}
        }
    }

    /// Takes the live line away.
    pub(super) fn finish(&self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// A reader that has stopped (a pager, a terminal on hold) must not stop the supervisor: a line that does
/// not fit is dropped.
fn print_line(line: &str) {
    let mut out = io::stdout().lock();
    if takes_a_line(&out) {
        let _closed_is_fine = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Whether a short write would not wait. A pipe that says so has room for PIPE_BUF bytes.
fn takes_a_line(out: &impl AsFd) -> bool {
    takes_a_line_within(out, PollTimeout::ZERO)
}

fn takes_a_line_within(out: &impl AsFd, timeout: PollTimeout) -> bool {
    let mut room = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    poll(&mut room, timeout) != Ok(0)
}

/// The last line of a run: shown even when quiet, and worth a moment's wait for its reader.
pub(super) fn last_line(line: &str) {
    let mut out = io::stdout().lock();
    if takes_a_line_within(&out, PollTimeout::from(LAST_LINE_WAITS_MS)) {
        let _closed_is_fine = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_what_matters() {
        let progress = Progress {
            frames: 1_234_567,
            frames_per_s: 987_654.0,
            task_means: vec![Some(312.44)],
            total_frames: Some(2_000_000),
            policy_lag: 1.25,
            ..Progress::default()
        };
        let line = progress.line();
        for part in ["frames 1.23M/2M", "988k frames/s", "return 312.4", "lag 1.2", "ETA 0.8 s"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("restarts"));
        assert_eq!(means(&[Some(475.25), None]), "475.2 | -");
        assert_eq!(means(&[Some(1.0); 9]), "1.0 | 1.0 | 1.0 | 1.0 | ...");
    }
}
