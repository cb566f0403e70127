//! Shows the progress of a sweep: a live line on a terminal, else a line for each finished run.

use std::io::{self, IsTerminal as _, Write as _};

use impala_rl::metrics::human::{duration, si};
use impala_rl::trials::or_dash;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::outcome::Outcome;
use super::runner::{Job, Stage};
use super::score::Metric;

/// Shows a sweep on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Counts runs; `None` where nobody would see it move.
    bar: Option<ProgressBar>,
    metric: Metric,
    runs: usize,
    done: usize,
}

impl Progress {
    /// For so many runs, of all rungs.
    pub(crate) fn new(runs: usize, metric: Metric) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            // It moves when the loop ticks: no thread of its own.
            let target = ProgressDrawTarget::stderr_with_hz(4);
            let bar = ProgressBar::with_draw_target(Some(runs as u64), target);
            let style = "{elapsed_precise} {bar:24} {pos} of {len} runs  {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self { bar, metric, runs, done: 0 }
    }

    /// Shows the runs that are going on.
    pub(crate) fn tick(&self, running: &[Stage<'_>]) {
        let Some(bar) = &self.bar else { return };
        let one = |stage: &Stage<'_>| {
            let Job { trial, seed, .. } = stage.job;
            format!("{} seed {seed}: {} frames", trial.name, si(stage.frames as f64))
        };
        bar.set_message(running.iter().map(one).collect::<Vec<_>>().join(", "));
        bar.tick();
    }

    /// Says what a run came to.
    pub(crate) fn finished(&mut self, job: Job<'_>, outcome: &Outcome, earlier: bool) {
        self.done += 1;
        let metric = self.metric;
        let said = match (&outcome.failure, earlier) {
            (Some(failure), _) => format!("failed: {failure}"),
            (None, true) => "finished earlier".to_owned(),
            (None, false) => format!(
                "{} {}, {} frames in {}",
                metric.name(),
                or_dash(metric.of(outcome), |value| metric.text(value)),
                si(outcome.frames as f64),
                duration(outcome.wall_s)
            ),
        };
        let Job { trial, seed, .. } = job;
        let tried = trial.label();
        self.print(&format!(
            "{} of {}, {} ({tried}) seed {seed}: {said}",
            self.done, self.runs, trial.name
        ));
    }

    fn print(&self, line: &str) {
        let print = || {
            let _closed_is_fine = writeln!(io::stderr(), "{line}");
        };
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.done as u64);
                bar.suspend(print);
            }
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
