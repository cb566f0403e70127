//! The real `impala-bench learn`, with suites that end soon. How well is learnt is not judged here.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{
    Finished, Running, assert_refused, children_of, finish, is_alive, number, run_as_usual, sibling,
};
use crate::watch::wait_until;

const TINY: &str = "seeds = 2\n[[environment]]\nenv = \"Catch-v0\"\ntotal-frames = 20_000\ntarget = -1\nrandom = -2\n";

/// A suite in a folder of its own, for the output as well.
struct Place {
    folder: TempDir,
}

impl Place {
    fn with(suite: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("tiny.toml"), suite).expect("written");
        Self { folder }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn command(&self, flags: &str) -> std::process::Command {
        let mut command = run_as_usual(sibling("impala-bench"));
        command.current_dir(self.folder.path());
        command.args(["learn", "--suite", "tiny.toml", "--output", "out", "--eval-episodes", "3"]);
        command.args(flags.split_whitespace());
        command
    }

    fn run(&self, flags: &str) -> Finished {
        finish(self.command(flags))
    }

    fn report(&self) -> Value {
        let text = self.text("learn.json");
        serde_json::from_str(&text).expect("JSON")
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.output().join(name)).expect(name)
    }
}

fn refused(place: &Place, flags: &str, code: i32, says: &str) {
    assert_refused(&place.run(flags), flags, code, &[says]);
}

#[test]
fn a_suite_is_run_written_up_and_not_run_again() {
    let place = Place::with(TINY);
    let finished = place.run("--actors 2");
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 of 2, Catch-v0-seed-1: greedy"), "{}", finished.stderr);
    assert!(finished.stdout.contains("| Catch-v0"), "{}", finished.stdout);

    let report = place.report();
    let env = &report["environments"][0];
    assert_eq!((&report["benchmark"], &env["env"]), (&"learn".into(), &"Catch-v0".into()));
    assert_eq!((number(env, "failed"), number(env, "reached")), (0.0, 2.0), "{env}");
    let flags = "--env Catch-v0 --total-frames 20000 --env-defaults=false --actors 2";
    assert_eq!(env["flags"], Value::from(flags.split(' ').collect::<Vec<_>>()));
    for choice in ["greedy", "sampled"] {
        let scores = &env[choice];
        let [low, iqm, high] = ["low", "iqm", "high"].map(|key| number(scores, key));
        assert!(-1.0 <= low && low <= iqm && iqm <= high && high <= 1.0, "{scores}");
        assert_eq!(scores["each"].as_array().map(Vec::len), Some(2));
    }
    for (run, seed) in env["runs"].as_array().expect("a list").iter().zip(1..) {
        assert_eq!(number(run, "seed"), f64::from(seed));
        assert!(number(run, "frames") >= 20_000.0 && number(run, "frames_per_s") > 0.0, "{run}");
        assert!(number(run, "episodes") > 1000.0, "episodes of nine steps: {run}");
        let reached = number(&run["reached"], "frames");
        // A batch counts from its first frame.
        assert!((700.0..20_000.0).contains(&reached), "not before 100 episodes: {reached}");
        let curve = run["curve"].as_array().expect("a list");
        assert!((2..=400).contains(&curve.len()), "{}", curve.len());
        let config = place.text(&format!("runs/Catch-v0-seed-{seed}/config.toml"));
        assert!(config.contains(&format!("seed = {seed}\n")), "{config}");
        assert!(config.contains("actors = 2"), "{config}");
        let played = place.text(&format!("runs/Catch-v0-seed-{seed}/evaluation-greedy.json"));
        let played: Value = serde_json::from_str(&played).expect("JSON");
        assert_eq!((number(&played, "episodes"), &played["actions"]), (3.0, &"greedy".into()));
    }
    let page = place.text("learn.html");
    assert_eq!(page.matches("<svg").count(), 1);
    assert_eq!(page.matches(r#"class="faint"#).count(), 2, "a line for each seed");
    assert!(page.contains(r#"class="band"#) && !page.contains("NaN"));
    assert!(place.text("learn.md").contains("## The way there"));

    // One result is lost: its run alone is done again.
    let of = |seed| place.output().join(format!("results/Catch-v0-seed-{seed}.json"));
    let first = fs::read(of(1)).expect("a result");
    fs::remove_file(of(2)).expect("removed");
    let again = place.run("--actors 2 --json");
    assert_eq!(again.code(), Some(0), "{}", again.stderr);
    assert!(again.stderr.contains("Catch-v0-seed-1: finished earlier"), "{}", again.stderr);
    assert!(again.stderr.contains("Catch-v0-seed-2: greedy"), "{}", again.stderr);
    assert_eq!(fs::read(of(1)).expect("a result"), first);
    assert_eq!(serde_json::from_str::<Value>(&again.stdout).expect("JSON"), place.report());

    refused(&place, "--actors 3", 3, "made with other settings");
    refused(&place, "--actors 2 --seeds 3", 3, "seeds: 2 there, 3 here");
}

#[test]
fn bad_input_is_refused_before_anything_is_made() {
    let place = Place::with(TINY);
    for (flags, says) in [
        ("--seeds 0", "write 1 or more"),
        ("--seeds many", "many"),
        ("--only Pong", "--only takes some of Catch-v0"),
        ("-- --seed 3", "--seeds"),
        ("-- --actor 3", "--actors"),
    ] {
        refused(&place, flags, 2, says);
    }
    for (suite, says) in [
        (TINY.replace("target", "tagret"), "tagret"),
        (TINY.replace("env =", "# "), "missing field `env`"),
        (TINY.replace("seeds = 2", "seeds = 0"), "seeds is 0"),
        (TINY.replace("Catch-v0", "Cathc-v0"), "Catch-v0"),
        (TINY.replace("[[", "["), "tiny.toml, line 2"),
    ] {
        refused(&Place::with(&suite), "", 2, says);
    }
    assert!(!place.output().exists(), "nothing was made");
    fs::create_dir(place.output()).expect("made");
    fs::write(place.output().join("thesis.txt"), "").expect("written");
    refused(&place, "", 3, "name a new folder with --output");
    let mut unknown = run_as_usual(sibling("impala-bench"));
    unknown.args(["learn", "--suite", "clasic"]);
    let unknown = finish(unknown);
    assert_eq!(unknown.code(), Some(2));
    assert!(unknown.stderr.contains("take one of classic, box2d"), "{}", unknown.stderr);
}

#[test]
fn a_run_that_fails_is_told_and_the_others_go_on() {
    // More memory than there is; and episodes that take a minute at least, where an evaluation may take five seconds.
    let suite = "seeds = 1\n[[environment]]\nenv = \"CartPole-v1\"\ntotal-frames = 1000\nargs = [\"--blocks\", \"65536\", \"--batch\", \"65536\", \"--unroll\", \"128\"]\n\
                 [[environment]]\nenv = \"Synthetic-v0\"\ntotal-frames = 100\nargs = [\"--env-arg\", \"step-cost-us=20000\", \
                 \"--env-arg\", \"shape=4\", \"--env-arg\", \"dtype=f32\", \"--envs-per-actor\", \"1\", \"--unroll\", \"4\", \"--batch\", \"4\"]\n\
                 [[environment]]\nenv = \"Catch-v0\"\ntotal-frames = 2000\n";
    let place = Place::with(suite);
    let finished = place.run("--eval-time-limit 5");
    assert_eq!(finished.code(), Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("2 of 3 runs failed"), "{}", finished.stderr);
    let report = place.report();
    let failure = |at: usize| report["environments"][at]["runs"][0]["failure"].as_str();
    assert!(
        failure(0).is_some_and(|why| why.contains("impala-supervisor: exit status: ")),
        "{report}"
    );
    assert!(failure(1).is_some_and(|why| why.contains("--eval-time-limit")), "{report}");
    assert_eq!(failure(2), None);
    assert!(finished.stdout.contains("## Failed"), "{}", finished.stdout);
}

#[test]
fn a_signal_ends_the_run_and_the_next_one_goes_on() {
    let suite = format!("{TINY}[[environment]]\nenv = \"CartPole-v1\"\ntotal-frames = 1e12\n");
    let place = Place::with(&suite);
    let running = Running::of(place.command("--seeds 1"));
    let metrics = place.output().join("runs/CartPole-v1-seed-1/metrics.jsonl");
    let limit = Duration::from_secs(120);
    wait_until("the second run learns", limit, || {
        fs::metadata(&metrics).is_ok_and(|m| m.len() > 0)
    });
    let [supervisor] = children_of(running.pid())[..] else { panic!("one child") };
    running.signal(Signal::SIGINT);
    let finished = running.wait();
    assert_eq!(finished.status.signal(), Some(Signal::SIGINT as i32), "{}", finished.stderr);
    assert!(finished.stderr.contains("--output out goes on"), "{}", finished.stderr);
    assert!(!is_alive(supervisor), "it was waited for");
    assert!(summary_says_interrupted(&place.output()), "it ended in order");

    // What was finished stays, though the second run has to begin anew.
    let running = Running::of(place.command("--seeds 1"));
    let result = place.output().join("results/Catch-v0-seed-1.json");
    assert!(result.is_file() && !place.output().join("results/CartPole-v1-seed-1.json").exists());
    wait_until("it learns again", limit, || {
        !summary_says_interrupted(&place.output())
            && fs::metadata(&metrics).is_ok_and(|m| m.len() > 0)
    });
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.status.signal(), Some(Signal::SIGTERM as i32), "{}", finished.stderr);
    assert!(finished.stderr.contains("Catch-v0-seed-1: finished earlier"), "{}", finished.stderr);
}

fn summary_says_interrupted(output: &Path) -> bool {
    let summary = fs::read_to_string(output.join("runs/CartPole-v1-seed-1/summary.json"));
    summary.is_ok_and(|text| text.contains("\"interrupted\""))
}
