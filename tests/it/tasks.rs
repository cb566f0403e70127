//! Several tasks, one agent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::lockstep::same;
use crate::play::evaluation;
use crate::pool::complete;
use crate::program::{assert_refused, finish, last_metrics, number, resume, summary, supervisor};

const TWO: &str = "--env CartPole-v1 --env Acrobot-v1 --pad-observations 6";

fn run(run_dir: &Path, flags: &str) -> Value {
    complete(run_dir, &flags.split_whitespace().collect::<Vec<_>>())
}

fn tasks(object: &Value) -> &[Value] {
    object["tasks"].as_array().expect("a list")
}

fn frames(object: &Value) -> Vec<f64> {
    tasks(object).iter().map(|task| number(task, "frames")).collect()
}

#[test]
fn one_network_learns_two_tasks_to_their_targets() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let goals = "--stop-at-return 475 --stop-at-return -100 --total-frames 3000000 --quiet";
    let found = run(folder.path(), &format!("{TWO} --actors 4 {goals}"));
    assert_eq!(found["status"], "solved", "{found}");
    let names: Vec<_> = tasks(&found).iter().map(|task| task["env"].as_str()).collect();
    assert_eq!(names, [Some("CartPole-v1"), Some("Acrobot-v1")]);
    assert_eq!(frames(&found).iter().sum::<f64>(), number(&found, "frames"));
    for (task, goal) in tasks(&found).iter().zip([475.0, -100.0]) {
        assert!(number(task, "return_mean_100") >= goal, "{task}");
        assert!(number(task, "score") >= 1.0, "{task}");
    }
    assert_eq!(number(&found, "score_mean_capped"), 1.0);

    // Each episode says of which task it is, and each task has the losses and returns of its own.
    let episodes = fs::read_to_string(folder.path().join("episodes.csv")).expect("written");
    let mut counts = BTreeMap::new();
    for line in episodes.lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        *counts.entry(fields[4].to_owned()).or_insert(0.0) += 1.0;
        let is_acrobot = fields[2].parse::<f64>().expect("a return") <= 0.0;
        assert_eq!(fields[4], if is_acrobot { "1" } else { "0" }, "{line}");
    }
    let line = last_metrics(folder.path()).expect("a line");
    for (index, task) in tasks(&line).iter().enumerate() {
        assert_eq!(counts[&index.to_string()], number(task, "episodes"));
        assert!(number(task, "policy_loss") != 0.0 && number(task, "baseline_loss") > 0.0);
        assert!(number(task, "reward_factor") > 0.0);
    }
    let [cart, acrobot] = tasks(&line) else { panic!("{line}") };
    assert_ne!(number(cart, "reward_factor"), number(acrobot, "reward_factor"));
    let report = fs::read_to_string(folder.path().join("report.html")).expect("written");
    assert!(report.contains("Return of episodes of Acrobot-v1"), "each task has a plot");

    // What was learnt is played task by task, or one of them.
    let place = folder.path().to_str().expect("UTF-8");
    let both = evaluation(&[place, "-n", "20", "--greedy"]);
    assert!(number(&tasks(&both)[0], "return_mean") > 400.0, "{both}");
    let one = evaluation(&[place, "-n", "20", "--greedy", "--task", "Acrobot-v1"]);
    assert_eq!(one, tasks(&both)[1]);
    assert_eq!(evaluation(&[place, "-n", "20", "--greedy", "--task", "1"]), one);
}

#[test]
fn actors_share_tasks_evenly_whatever_their_numbers() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (actors, envs) in [
        (1, "--env CartPole-v1 --env Acrobot-v1 --env MountainCar-v0"),
        (3, "--env CartPole-v1 --env Acrobot-v1"),
        (4, "--env MountainCar-v0 --env CartPole-v1 --env Acrobot-v1"),
    ] {
        let flags = format!(
            "{envs} --pad-observations 6 --actors {actors} --envs-per-actor 4 --batch 16 --unroll 16 \
             --total-frames 60000 --quiet --report=false"
        );
        let frames = frames(&run(&folder.path().join(actors.to_string()), &flags));
        let even = frames.iter().sum::<f64>() / frames.len() as f64;
        // An actor takes its tasks in turn; the end of the run may come between them.
        assert!(frames.iter().all(|n| (n / even - 1.0).abs() < 0.15), "{flags}: {frames:?}");
    }
}

#[test]
fn in_lockstep_the_number_of_actors_makes_no_difference() {
    let flags = format!("{TWO} --batch 32 --total-frames 40000");
    let two = same(&flags, &["--actors 1", "--actors 2", "--actors 3", "--actors 4"]);
    assert_eq!(same(&format!("{flags} --actors 2"), &["--learner-threads 2"]), two);
    assert_ne!(same("--env CartPole-v1 --batch 32 --total-frames 40000", &[""]), two);
    same(
        &format!("{TWO} --algorithm a3c --gradients-per-update 4 --total-frames 20000"),
        &["--actors 2", "--actors 4"],
    );
}

#[test]
fn frames_of_tasks_add_up_when_learners_die_and_runs_go_on() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let place = folder.path().join("run");
    let flags = format!(
        "{TWO} --actors 2 --total-frames 1000000000 --time-limit 3 --chaos kill=10/s,seed=3 --quiet"
    );
    let killed = run(&place, &flags);
    assert!(number(&killed, "learner_restarts") > 0.0, "{killed}");
    // A learner that died had counted a block for the run or not for its tasks, at most once each.
    let apart = frames(&killed).iter().sum::<f64>() - number(&killed, "frames");
    let most = 4096.0 * (1.0 + number(&killed, "learner_restarts"));
    assert!(apart.abs() <= most, "{apart}: {killed}");
    let more = resume(&place, &["--time-limit", "1", "--quiet"]).wait();
    assert_eq!(more.code(), Some(0), "{}", more.stderr);
    let went_on = summary(&place);
    for (before, after) in frames(&killed).iter().zip(frames(&went_on)) {
        assert!(after > *before, "{killed} {went_on}");
    }
}

#[test]
fn gradients_of_several_tasks_are_put_together() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let found = run(
        folder.path(),
        // In lockstep each update has its share of both; else it is a matter of who gets a core.
        &format!(
            "{TWO} --algorithm a3c --schedule lockstep --actors 4 --total-frames 30000 --quiet"
        ),
    );
    assert!(frames(&found).iter().all(|&frames| frames > 5000.0), "{found}");
    let line = last_metrics(folder.path()).expect("a line");
    assert!(tasks(&line).iter().all(|task| number(task, "baseline_loss") > 0.0), "{line}");
}

#[test]
fn what_does_not_fit_is_refused_on_one_line() {
    for (flags, parts) in [
        ("--env CartPole-v1 --env Acrobot-v1", ["[4] f32", "--pad-observations 6"]),
        ("--env CartPole-v1 --env Catch-v0", ["[10, 5] u8", "runs of their own"]),
        (
            "--env Acrobot-v1 --env Pendulum-v1 --pad-observations 6",
            ["one of 3 actions", "numbers from"],
        ),
        ("--env Catch-v0 --pad-observations 60", ["[10, 5] u8", "--pad-observations"]),
        ("--pad-observations 3", ["[4] f32", "--pad-observations"]),
        ("--stop-at-return 1 --stop-at-return 2", ["2 targets", "1 tasks"]),
        (
            "--env CartPole-v1 --env MountainCar-v0 --env Acrobot-v1 --pad-observations 6 --schedule lockstep \
             --envs-per-actor 4 --batch 8",
            ["2 groups", "--batch 12"],
        ),
    ] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = supervisor();
        command.args(flags.split_whitespace()).arg("--run-dir").arg(folder.path().join("run"));
        assert_refused(&finish(command), flags, 2, &parts);
    }
}
