//! Plots for runs with several tasks: their returns differ in size, so each task has a plot of its own.

use super::chart::{LineChart, Series};
use super::plots::{FRAMES, Plot, learning_curve, plot};
use super::run_data::{Episode, RunData};
use impala_metrics::TaskRecord;

/// The returns of each task, over all frames of the run.
pub(super) fn returns(run: &RunData) -> Vec<Plot> {
    let tasks = run.tasks();
    let of_task = |(task, id): (usize, &String)| {
        let own = |episode: &&Episode| episode.task == task;
        let episodes: Vec<Episode> = run.episodes.iter().filter(own).copied().collect();
        let curve = learning_curve(&episodes, |e| e.frames, |e| e.episode_return);
        plot(
            &format!("return-of-task-{task}"),
            LineChart {
                title: format!("Return of episodes of {id} (mean, 10th to 90th percentile)"),
                x_label: FRAMES.1,
                series: vec![Series { name: id.clone(), ..curve }],
                mark: run.target(task).map(|target| (target, format!("target {target}"))),
                ..LineChart::default()
            },
        )
    };
    tasks.iter().enumerate().map(of_task).collect()
}

/// One plot with a line for each task.
pub(super) fn lines(run: &RunData, id: &str, title: &str, of: fn(&TaskRecord) -> f64) -> Plot {
    let line = |(task, name): (usize, &String)| {
        let known = run.lines.iter().filter(|line| line.learner.updates > 0);
        let points = known.filter_map(|line| Some((line.frames as f64, of(line.tasks.get(task)?))));
        let points = points.filter(|(_, y)| y.is_finite()).collect();
        Series { noisy: true, ..Series::new(name.clone(), points) }
    };
    let series = run.tasks().iter().enumerate().map(line).collect();
    plot(
        id,
        LineChart { title: title.to_owned(), x_label: FRAMES.1, series, ..LineChart::default() },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_metrics::{LearnerRecord, MetricsRecord};

    #[test]
    fn each_task_has_its_own_curve_and_target() {
        let episode = |(at, task): (usize, usize)| Episode {
            frames: at as f64,
            seconds: at as f64,
            episode_return: if task == 0 { 5.0 * at as f64 } else { -2.0 * at as f64 },
            length: 1.0,
            task,
        };
        let line = |frames| MetricsRecord {
            frames,
            learner: LearnerRecord { updates: 1, ..LearnerRecord::default() },
            tasks: vec![
                TaskRecord { policy_loss: 0.5, ..TaskRecord::default() },
                TaskRecord { policy_loss: 0.25, ..TaskRecord::default() },
            ],
            ..MetricsRecord::default()
        };
        let run = RunData {
            means: vec![],
            name: "R".to_owned(),
            path: "R".into(),
            config: "env = ['A', 'B']\nstop-at-return = [475.0, -100]".parse().expect("TOML"),
            summary: None,
            state: None,
            lines: vec![line(1), line(2)],
            episodes: (0..100).map(|at| episode((at, at % 2))).collect(),
        };
        let plots = returns(&run);
        assert_eq!(plots.len(), 2);
        for (plot, parts) in plots.iter().zip([[" of A ", "475"], [" of B ", "-100"]]) {
            assert!(
                plot.has_data && parts.iter().all(|part| plot.svg.contains(part)),
                "{}",
                plot.svg
            );
        }
        let losses = lines(&run, "l", "Losses", |task| task.policy_loss);
        assert!(losses.has_data && losses.svg.contains(">A<") && losses.svg.contains(">B<"));
    }
}
