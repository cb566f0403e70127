//! The real `impala-sweep`, with runs that end soon. How well is learnt is not judged here.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{
    Finished, Running, assert_refused, children_of, finish, is_alive, number, run_as_usual,
    sibling, supervisor,
};
use crate::watch::wait_until;

const FIXED: &str =
    "env = \"CartPole-v1\"\nactors = 1\ntotal-frames = 20_000\ntensorboard = false\n";

/// A sweep in a folder of its own, for the output as well.
struct Place {
    folder: TempDir,
}

impl Place {
    fn with(tables: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("tiny.toml"), format!("{FIXED}{tables}")).expect("written");
        Self { folder }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn command(&self, flags: &str) -> std::process::Command {
        let mut command = run_as_usual(sibling("impala-sweep"));
        command.current_dir(self.folder.path()).args(["--output", "out"]);
        command.args(flags.split_whitespace());
        command
    }

    fn run(&self, flags: &str) -> Finished {
        finish(self.command(flags))
    }

    fn report(&self) -> Value {
        serde_json::from_str(&self.text("sweep.json")).expect("JSON")
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.output().join(name)).expect(name)
    }
}

fn refused(place: &Place, flags: &str, code: i32, says: &str) {
    assert_refused(&place.run(flags), flags, code, &[says]);
}

fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map_or_else(|| panic!("{key} is a list in {object}"), Vec::as_slice)
}

#[test]
fn a_grid_is_run_compared_and_not_run_again() {
    let place = Place::with("[grid]\nlearning-rate = [1e-3, 1e-5]\n[sweep]\nseeds = 1\n");
    let finished = place.run("tiny.toml --jobs 2");
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("2 of 2, trial-00"), "{}", finished.stderr);
    assert!(finished.stdout.contains("| trial-002 | 0.00001 "), "{}", finished.stdout);

    let report = place.report();
    assert_eq!(
        (&report["metric"], &report["keys"][0]),
        (&"return".into(), &"learning-rate".into())
    );
    let trials = list(&report, "trials");
    assert_eq!((trials.len(), number(&report, "failed")), (2, 0.0));
    let score = |at: usize| number(&trials[at]["score"], "iqm");
    assert!(score(0) >= score(1), "the best first: {report}");
    for trial in trials {
        let [run] = list(trial, "runs") else { panic!("one run: {trial}") };
        assert!(number(run, "frames") >= 20_000.0 && number(run, "frames_per_s") > 0.0, "{run}");
        assert!(list(run, "curve").len() >= 2, "{run}");
        let name = trial["trial"].as_str().expect("a name");
        let config = place.text(&format!("runs/{name}-seed-1/config.toml"));
        let tried = trial["varied"]["learning-rate"].as_str().expect("a value");
        assert!(config.contains(&format!("\nlearning-rate = {tried}\n")), "{config}");
        assert!(config.contains("seed = 1\n") && config.contains("actors = 1\n"), "{config}");
    }
    let page = place.text("sweep.html");
    assert_eq!(page.matches("<svg").count(), 3, "the best together, and each trial");
    assert!(!page.contains("NaN") && !page.contains("<script"));
    assert!(place.text("sweep.md").contains("Trials, the best first"));

    // The best settings are a configuration.
    let best = place.text("best.toml");
    let tried = trials[0]["varied"]["learning-rate"].as_str().expect("a value");
    let mut check = supervisor();
    check.arg("--config").arg(place.output().join("best.toml")).arg("--print-config");
    let checked = finish(check);
    assert_eq!(checked.code(), Some(0), "{}\n{best}", checked.stderr);
    let printed: toml::Table = toml::from_str(&checked.stdout).expect("TOML");
    assert_eq!(printed["learning-rate"].as_float(), tried.parse().ok(), "{}", checked.stdout);
    assert_eq!(printed["total-frames"].as_integer(), Some(20_000));

    // One result is lost: its run alone goes on, from its last checkpoint.
    let of = |trial| place.output().join(format!("results/trial-00{trial}-seed-1.json"));
    let first = fs::read(of(1)).expect("a result");
    fs::remove_file(of(2)).expect("removed");
    let again = place.run("tiny.toml --jobs 2 --json");
    assert_eq!(again.code(), Some(0), "{}", again.stderr);
    let lines = again.stderr.lines().filter(|line| line.contains("finished earlier"));
    assert_eq!(lines.count(), 1, "{}", again.stderr);
    assert_eq!(fs::read(of(1)).expect("a result"), first);
    assert_eq!(serde_json::from_str::<Value>(&again.stdout).expect("JSON"), place.report());

    refused(&place, "tiny.toml --seeds 2", 3, "made with other settings (seeds: 1 there, 2 here)");
    // Another way to look at the same runs.
    let faster = place.run("tiny.toml --metric frames-per-s --json");
    assert_eq!(faster.code(), Some(0), "{}", faster.stderr);
    assert_eq!(place.report()["metric"], "frames-per-s");
}

#[test]
fn bad_input_is_refused_before_anything_is_made() {
    let place = Place::with("[grid]\nlearning-rate = [1e-3]\n");
    for (flags, says) in [
        ("tiny.toml --jobs 0", "write 1 or more"),
        ("tiny.toml --set entropy-kost=1", "did you mean \"entropy-cost\"?"),
        ("tiny.toml --set learning-rate=1", "two places"),
        ("tiny.toml --set discount=2", "discount"),
        ("tiny.toml --metric speed", "frames-per-s"),
        ("tiny.toml -- --actor 2", "--actors"),
        ("tiny.toml -- --seed 2", "--seeds"),
        ("none.toml", "none.toml"),
        ("", "nothing to try"),
    ] {
        refused(&place, flags, 2, says);
    }
    for (tables, says) in [
        (
            "[grid]\nlearning-rat = [1]\n",
            "line 6: unknown key \"learning-rat\", did you mean \"learning-rate\"?",
        ),
        ("[grid]\nlearning-rate = [\"fast\"]\n", "line 6: learning-rate"),
        ("learnin-rate = 3\n[grid]\nunroll = [8]\n", "line 5"),
        ("[random]\nunroll = [8]\n", "trials"),
        ("[grid]\nenv-args = [1]\n", "env-arg"),
    ] {
        refused(&Place::with(tables), "tiny.toml", 2, says);
    }
    assert!(!place.output().exists(), "nothing was made");
    fs::create_dir(place.output()).expect("made");
    fs::write(place.output().join("thesis.txt"), "").expect("written");
    refused(&place, "tiny.toml", 3, "holds files and no sweep");
}

#[test]
fn a_run_that_fails_is_shown_and_the_others_go_on() {
    // The second wants more memory than there is.
    let place = Place::with("batch = 1024\nunroll = 128\n[grid]\nblocks = [4, 65536]\n");
    let finished = place.run("tiny.toml --seeds 1");
    assert_eq!(finished.code(), Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 of 2 runs failed"), "{}", finished.stderr);
    let report = place.report();
    assert_eq!((&report["best"], number(&report, "failed")), (&"trial-001".into(), 1.0));
    let run = &report["trials"][1]["runs"][0];
    let failure = run["failure"].as_str().expect("it failed");
    assert!(failure.starts_with("impala-supervisor: exit status: "), "{failure}");
    assert!(finished.stdout.contains("## Failed"), "{}", finished.stdout);
    assert!(place.text("sweep.html").contains("impala-supervisor: exit status: "));

    // What failed is tried again, what did not is not.
    let again = place.run("tiny.toml --seeds 1");
    assert_eq!(again.code(), Some(1), "{}", again.stderr);
    assert_eq!(again.stderr.matches("finished earlier").count(), 1, "{}", again.stderr);
}

#[test]
fn halving_lets_the_best_go_on_from_their_checkpoints() {
    let tables = "[random]\ntrials = 4\nlearning-rate = { low = 1e-4, high = 1e-2, log = true }\n\
                  [halving]\nfirst-frames = 4000\nfactor = 2\n";
    let place = Place::with(tables);
    let finished = place.run("tiny.toml --seeds 1 --jobs 2");
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("7 of 7, "), "{}", finished.stderr);
    let report = place.report();
    let frames: Vec<_> = list(&report, "rungs").iter().map(|rung| number(rung, "frames")).collect();
    assert_eq!(frames, [4000.0, 8000.0, 16_000.0]);
    let best = &report["trials"][0];
    assert_eq!((number(best, "rung"), list(best, "runs").len()), (2.0, 3));
    let name = best["trial"].as_str().expect("a name");
    let log = place.text(&format!("runs/{name}-seed-1.log"));
    assert_eq!(log.matches("continuing").count(), 2, "{log}");
    let learnt: Vec<_> = list(best, "runs").iter().map(|run| number(run, "frames")).collect();
    assert!(learnt[0] < learnt[1] && learnt[1] < learnt[2] && learnt[2] >= 16_000.0, "{learnt:?}");
    assert!(place.text("best.toml").contains("total-frames = 20000"));
    assert!(finished.stdout.contains("## Rungs"), "{}", finished.stdout);

    let again = place.run("tiny.toml --seeds 1");
    assert_eq!(again.code(), Some(0), "{}", again.stderr);
    assert_eq!(again.stderr.matches("finished earlier").count(), 7, "{}", again.stderr);
}

#[test]
fn a_signal_ends_the_runs_and_the_next_call_goes_on() {
    let place = Place::with("[grid]\nunroll = [8, 16]\n");
    let endless = "--set learning-rate=1e-3,1e-4 --seeds 1 --jobs 2 -- --env CartPole-v1 --actors 1 --total-frames 1e12";
    let running = Running::of(place.command(endless));
    let metrics =
        |trial: u32| place.output().join(format!("runs/trial-00{trial}-seed-1/metrics.jsonl"));
    let learns = |trial| fs::metadata(metrics(trial)).is_ok_and(|found| found.len() > 0);
    let limit = Duration::from_secs(120);
    wait_until("both runs learn", limit, || learns(1) && learns(2));
    let supervisors = children_of(running.pid());
    assert_eq!(supervisors.len(), 2, "two at a time");
    running.signal(Signal::SIGINT);
    let finished = running.wait();
    assert_eq!(finished.status.signal(), Some(Signal::SIGINT as i32), "{}", finished.stderr);
    assert!(finished.stderr.contains("--output out goes on"), "{}", finished.stderr);
    assert!(supervisors.iter().all(|&pid| !is_alive(pid)), "they were waited for");
    for trial in [1, 2] {
        let summary = place.text(&format!("runs/trial-00{trial}-seed-1/summary.json"));
        assert!(summary.contains("\"interrupted\""), "it ended in order: {summary}");
    }
    assert!(!place.output().join("results/trial-001-seed-1.json").exists());

    // The next call goes on from what was learnt.
    let running = Running::of(place.command(endless));
    let log = |trial: u32| {
        fs::read_to_string(place.output().join(format!("runs/trial-00{trial}-seed-1.log")))
    };
    wait_until("both runs go on", limit, || {
        [1, 2].iter().all(|&trial| log(trial).is_ok_and(|text| text.contains("continuing")))
    });
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    assert_eq!(finished.status.signal(), Some(Signal::SIGTERM as i32), "{}", finished.stderr);
}
