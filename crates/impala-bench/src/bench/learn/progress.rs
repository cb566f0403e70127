//! Shows the progress of a benchmark: a live line on a terminal, else a line for each finished run.

use std::io::{self, IsTerminal as _, Write as _};

use impala_rl::metrics::human::{duration, si};
use impala_rl::trials::score;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::outcome::Outcome;
use super::plan::{Plan, Trial};
use super::trial::Stage;

/// Shows a benchmark on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    /// Counts frames of all runs; `None` where nobody would see it move.
    bar: Option<ProgressBar>,
    runs: usize,
    done: usize,
    frames_done: u64,
}

impl Progress {
    pub(super) fn new(plan: &Plan) -> Self {
        let budget = |trial: Trial<'_>| trial.planned.entry.total_frames;
        let frames = plan.trials().map(budget).fold(0, u64::saturating_add);
        let bar = io::stderr().is_terminal().then(|| {
            // It moves when the loop ticks: no thread of its own.
            let bar =
                ProgressBar::with_draw_target(Some(frames), ProgressDrawTarget::stderr_with_hz(4));
            let style = "{elapsed_precise} {bar:24} {percent:>3} %  {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self { bar, runs: plan.trials().count(), done: 0, frames_done: 0 }
    }

    /// Shows the run that is going on.
    pub(super) fn tick(&self, trial: Trial<'_>, stage: Stage) {
        let Some(bar) = &self.bar else { return };
        let budget = trial.planned.entry.total_frames;
        let (frames, doing) = match stage {
            Stage::Training { frames, return_mean } => {
                let mean = return_mean.map_or_else(|| "-".to_owned(), score);
                let frames = frames.min(budget);
                (frames, format!("{} frames, return {mean}", si(frames as f64)))
            }
            Stage::Evaluating => (budget, "evaluating".to_owned()),
        };
        bar.set_position(self.frames_done.saturating_add(frames));
        let (number, name) = (self.done + 1, trial.name());
        bar.set_message(format!("run {number} of {}, {name}: {doing}", self.runs));
        bar.tick();
    }

    /// Says what a run came to.
    pub(super) fn finished(&mut self, trial: Trial<'_>, outcome: &Outcome, earlier: bool) {
        self.done += 1;
        self.frames_done = self.frames_done.saturating_add(trial.planned.entry.total_frames);
        let name = trial.name();
        let line = match (&outcome.failure, earlier) {
            (Some(failure), _) => format!("failed: {failure}"),
            (None, true) => "finished earlier".to_owned(),
            (None, false) => format!(
                "greedy {}, sampled {}, {} frames in {}",
                outcome.greedy.map_or_else(|| "-".to_owned(), |found| score(found.return_mean)),
                outcome.sampled.map_or_else(|| "-".to_owned(), |found| score(found.return_mean)),
                si(outcome.frames as f64),
                duration(outcome.wall_s)
            ),
        };
        self.print(&format!("{} of {}, {name}: {line}", self.done, self.runs));
    }

    fn print(&self, line: &str) {
        let print = || {
            let _closed_is_fine = writeln!(io::stderr(), "{line}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
