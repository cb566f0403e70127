//! Decides which plots a report has, and which numbers each shows.

use super::bars::StackedBars;
use super::chart::{LineChart, Series};
use super::lags::lag_histogram;
use super::run_data::{Episode, Figure, RunData};
use super::stages::{SECONDS_LABEL, actor_stages, cores, learner_stages, update_stages};
use super::tasks;
use super::window_means::{lowest_line, window};
use impala_metrics::RingRecord;

/// Points of a learning curve.
const CURVE_POINTS: usize = 150;

/// A plot with the name of its file.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) id: String,
    pub(super) svg: String,
    pub(super) has_data: bool,
}

/// The plots of a group, under its heading.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) plots: Vec<Plot>,
}

/// Everything that is drawn of some runs. One run shows all its lines; several show the main one each.
pub(super) fn groups(runs: &[RunData]) -> Vec<Group> {
    vec![
        Group { title: "Learning", plots: learning(runs) },
        Group { title: "Losses and importance ratios", plots: losses(runs) },
        Group { title: "Throughput and where the time went", plots: time(runs) },
        Group { title: "Policy lag, ring and memory", plots: pool(runs) },
    ]
}

pub(super) const FRAMES: (Figure, &str) = (|line| line.frames as f64, "frames learnt");
const SECONDS: (Figure, &str) = (|line| line.wall_s, SECONDS_LABEL);

/// A line of a plot: name, number of a line of metrics, factor.
type Line = (&'static str, Figure, f64);

/// A chart of some gauges; with several runs, of the first of them only.
fn gauges(
    runs: &[RunData],
    id: &str,
    title: &str,
    x: (Figure, &'static str),
    lines: &[Line],
    set: impl Fn(&mut LineChart),
) -> Plot {
    let mut chart = LineChart { title: title.to_owned(), x_label: x.1, ..LineChart::default() };
    if let [run] = runs {
        for (name, of, factor) in lines {
            let points = run.gauge(x.0, *of);
            let points = points.into_iter().map(|(x, y)| (x, y * factor)).collect();
            chart.series.push(Series::new(*name, points));
        }
    } else if let Some((name, of, factor)) = lines.first() {
        if lines.len() > 1 {
            chart.title = format!("{title}: {name}");
        }
        for run in runs {
            let points = run.gauge(x.0, *of);
            let points = points.into_iter().map(|(x, y)| (x, y * factor)).collect();
            chart.series.push(Series::new(run.name.clone(), points));
        }
    }
    set(&mut chart);
    Plot { id: id.to_owned(), has_data: chart.has_data(), svg: chart.svg() }
}

const fn noisy(chart: &mut LineChart) {
    let mut at = 0;
    let series = chart.series.as_mut_slice();
    while at < series.len() {
        series[at].noisy = true;
        at += 1;
    }
}

fn learning(runs: &[RunData]) -> Vec<Plot> {
    let mut plots = match runs {
        [run] if run.tasks().len() > 1 => tasks::returns(run),
        _ => {
            let target = runs.iter().find_map(|run| run.target(0));
            let mark = target.map(|target| (target, format!("target {target}")));
            let mark = mark.as_ref();
            vec![
                returns(runs, "return-over-frames", "frames", FRAMES.1, |e| e.frames, mark),
                returns(runs, "return-over-seconds", "time", SECONDS.1, |e| e.seconds, mark),
            ]
        }
    };
    plots.extend([
        plot(
            "episode-length",
            LineChart {
                title: "Length of episodes in steps (mean, 10th to 90th percentile)".to_owned(),
                x_label: FRAMES.1,
                series: curves(runs, |e| e.frames, |e| e.length),
                ..LineChart::default()
            },
        ),
        gauges(
            runs,
            "learning-rate",
            "Learning rate",
            FRAMES,
            &[("learning rate", |line| line.learner.learning_rate, 1.0)],
            |chart| chart.from_zero = true,
        ),
    ]);
    plots
}

pub(super) fn plot(id: &str, chart: LineChart) -> Plot {
    Plot { id: id.to_owned(), has_data: chart.has_data(), svg: chart.svg() }
}

fn curves(runs: &[RunData], x: fn(&Episode) -> f64, y: fn(&Episode) -> f64) -> Vec<Series> {
    let curve =
        |run: &RunData| Series { name: run.name.clone(), ..learning_curve(&run.episodes, x, y) };
    runs.iter().map(curve).collect()
}

/// The learning curve; that of one run has below it the lowest mean of late, which shows a policy that collapsed
/// for a while.
fn returns(
    runs: &[RunData],
    id: &str,
    over: &str,
    x_label: &'static str,
    x: fn(&Episode) -> f64,
    mark: Option<&(f64, String)>,
) -> Plot {
    let mut series = curves(runs, x, |e| e.episode_return);
    if let ([run], [mean]) = (runs, &mut series[..]) {
        let window = window(&run.config);
        let points = lowest_line(&run.means, x);
        if points.len() >= 2 {
            "mean".clone_into(&mut mean.name);
            let name = format!("lowest mean of {window} episodes in the last 5 % of the run");
            series.push(Series { thin: true, ..Series::new(name, points) });
        }
    }
    let title = format!("Return of episodes over {over} (mean, 10th to 90th percentile)");
    plot(id, LineChart { title, x_label, series, mark: mark.cloned(), ..LineChart::default() })
}

/// Means and percentiles of episodes in a row.
#[expect(clippy::cast_sign_loss, reason = "a rank within the values")]
pub(super) fn learning_curve(
    episodes: &[Episode],
    x: fn(&Episode) -> f64,
    y: fn(&Episode) -> f64,
) -> Series {
    let size = episodes.len().div_ceil(CURVE_POINTS).max(10).min(episodes.len().div_ceil(8).max(1));
    let mut series = Series::default();
    for chunk in episodes.chunks(size.max(1)) {
        let n = chunk.len() as f64;
        let mut values: Vec<f64> = chunk.iter().map(y).collect();
        values.sort_by(f64::total_cmp);
        let rank = |q: f64| values[((n - 1.0) * q).round() as usize];
        let at = chunk.iter().map(x).sum::<f64>() / n;
        series.points.push((at, values.iter().sum::<f64>() / n));
        series.band.push((at, rank(0.1), rank(0.9)));
    }
    series
}

fn losses(runs: &[RunData]) -> Vec<Plot> {
    let one = |id, title, of: Figure| gauges(runs, id, title, FRAMES, &[(title, of, 1.0)], noisy);
    let (policy, baseline) = ("Policy loss per frame", "Baseline (critic) loss per frame");
    let mut plots = match runs {
        [run] if run.tasks().len() > 1 => vec![
            tasks::lines(run, "policy-loss", policy, |task| task.policy_loss),
            tasks::lines(run, "baseline-loss", baseline, |task| task.baseline_loss),
        ],
        _ => vec![
            one("policy-loss", policy, |line| line.learner.policy_loss),
            one("baseline-loss", baseline, |line| line.learner.baseline_loss),
        ],
    };
    plots.extend([
        one("total-loss", "Total loss per frame", |line| line.learner.total_loss),
        one("entropy", "Entropy of the policy (nats)", |line| line.learner.entropy),
        one("gradient-norm", "Norm of the gradient before clipping", |line| line.learner.grad_norm),
        gauges(
            runs,
            "importance-ratios",
            "Importance ratios before truncation",
            FRAMES,
            &[
                ("mean", |line| line.learner.rho_mean, 1.0),
                ("smallest", |line| line.learner.rho_min, 1.0),
                ("largest", |line| line.learner.rho_max, 1.0),
                ("mean after c-bar", |line| line.learner.c_mean, 1.0),
            ],
            noisy,
        ),
        gauges(
            runs,
            "truncated-ratios",
            "Importance ratios that were truncated (%)",
            FRAMES,
            &[
                ("above rho-bar", |line| line.learner.rho_clipped_fraction, 100.0),
                ("above c-bar", |line| line.learner.c_clipped_fraction, 100.0),
            ],
            |chart| {
                noisy(chart);
                chart.from_zero = true;
            },
        ),
    ]);
    plots
}

fn time(runs: &[RunData]) -> Vec<Plot> {
    let mut plots = vec![gauges(
        runs,
        "throughput",
        "Frames per second",
        SECONDS,
        &[
            ("learnt", |line| line.frames_per_s, 1.0),
            ("produced by actors", |line| line.frames_acted_per_s, 1.0),
        ],
        |chart| chart.from_zero = true,
    )];
    for (index, run) in runs.iter().enumerate() {
        let of =
            |id: &str| if runs.len() == 1 { id.to_owned() } else { format!("{id}-{}", index + 1) };
        let titled = |title: &str| {
            if runs.len() == 1 { title.to_owned() } else { format!("{title}: {}", run.name) }
        };
        for (id, chart) in [
            ("learner-stages", learner_stages(run, titled("Learner: share of wall time"))),
            ("update-stages", update_stages(run, titled("Learner: milliseconds per update"))),
            ("actor-stages", actor_stages(run, titled("Actors: share of wall time over the run"))),
            ("cores", cores(run, titled("Cores in use"))),
        ] {
            plots.push(Plot { id: of(id), has_data: chart.has_data(), svg: chart.svg() });
        }
    }
    plots
}

fn pool(runs: &[RunData]) -> Vec<Plot> {
    let mut plots = vec![gauges(
        runs,
        "policy-lag",
        "Policy lag in updates",
        FRAMES,
        &[
            ("mean", |line| line.learner.lag_mean, 1.0),
            ("smallest", |line| line.learner.lag_min as f64, 1.0),
            ("largest", |line| line.learner.lag_max as f64, 1.0),
        ],
        |chart| {
            noisy(chart);
            chart.from_zero = true;
        },
    )];
    for (index, run) in runs.iter().enumerate() {
        let (of, titled) = (
            |id: &str| if runs.len() == 1 { id.to_owned() } else { format!("{id}-{}", index + 1) },
            |title: &str| {
                if runs.len() == 1 { title.to_owned() } else { format!("{title}: {}", run.name) }
            },
        );
        for (id, chart) in [
            ("lag-histogram", lag_histogram(run, titled("Policy lag of all unrolls (%)"))),
            ("ring", ring(run, titled("Slots of the ring"))),
        ] {
            plots.push(Plot { id: of(id), has_data: chart.has_data(), svg: chart.svg() });
        }
    }
    plots.push(gauges(
        runs,
        "memory",
        "Memory in MiB",
        SECONDS,
        &[
            ("learner", |line| line.memory.learner_bytes as f64, 1.0 / 1_048_576.0),
            ("actors, together", |line| line.memory.actors_bytes as f64, 1.0 / 1_048_576.0),
            ("supervisor", |line| line.memory.supervisor_bytes as f64, 1.0 / 1_048_576.0),
        ],
        |chart| chart.from_zero = true,
    ));
    plots
}

fn ring(run: &RunData, title: String) -> StackedBars {
    let lines = run.lines.windows(2).map(|pair| {
        let RingRecord { free, claimed, ready, held } = pair[1].ring;
        let slots = [ready, held, claimed, free].map(|slots| slots as f64);
        (pair[0].wall_s, pair[1].wall_s, slots.to_vec())
    });
    let all: Vec<_> = lines.collect();
    // Bars thinner than a pixel say nothing.
    let every = all.len().div_ceil(250).max(1);
    let mut bars: Vec<(f64, f64, Vec<f64>)> = all.iter().step_by(every).cloned().collect();
    for index in 1..bars.len() {
        bars[index - 1].1 = bars[index].0;
    }
    StackedBars {
        title,
        x_label: SECONDS_LABEL.to_owned(),
        parts: vec!["ready for the learner", "held by the learner", "being written", "free"],
        bars,
        percent: false,
        names: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::window_means::window_means;

    fn run(returns: impl Iterator<Item = f64>) -> RunData {
        let episode = |(at, episode_return): (usize, f64)| Episode {
            frames: at as f64,
            seconds: at as f64,
            episode_return,
            length: 1.0,
            task: 0,
        };
        let episodes: Vec<Episode> = returns.enumerate().map(episode).collect();
        RunData {
            means: window_means(episodes.iter().copied(), 20, 1),
            name: "R".to_owned(),
            path: "R".into(),
            config: toml::Table::from_iter([("stop-window".to_owned(), 20.into())]),
            summary: None,
            state: None,
            lines: vec![],
            episodes,
        }
    }

    #[test]
    fn the_lowest_means_are_a_thin_line_with_a_name() {
        let fell = || run((0..400).map(|at| if (200..220).contains(&at) { 0.0 } else { 500.0 }));
        for plot in &learning(&[fell()])[..2] {
            assert!(plot.has_data && plot.svg.contains("class=\"thin s1\""), "{}", plot.svg);
            assert!(plot.svg.contains(">mean<"), "{}", plot.svg);
            assert!(
                plot.svg.contains("lowest mean of 20 episodes in the last 5 %"),
                "{}",
                plot.svg
            );
        }
        let several = learning(&[fell(), fell()]);
        assert!(several.iter().all(|plot| !plot.svg.contains("thin")), "one line for each run");
        let short = learning(&[run((0..20).map(f64::from))]);
        assert!(!short[0].svg.contains("thin") && short[0].has_data, "one full window is no line");
    }
}
