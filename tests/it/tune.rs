//! Sizes that are chosen by trials: what is said, what is kept, what is refused. Which ones are fast is not judged.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::{assert_refused, finish, number, sibling, start, summary, supervisor};

const SHORT: &[&str] = &["--total-frames", "20000", "--tensorboard=false"];

/// A run with `flags`, to its end: what it said, and its summary.
fn tuned(flags: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let finished = start(&run_dir, flags.iter().chain(SHORT)).wait();
    assert_eq!(finished.code(), Some(0), "{flags:?}: {}", finished.stderr);
    let config = std::fs::read_to_string(run_dir.join("config.toml")).expect("written");
    let summary = summary(&run_dir);
    for key in ["actors", "envs-per-actor", "learner-threads"] {
        let value = number(&summary["tuned"], &key.replace('-', "_"));
        assert!(config.contains(&format!("\n{key} = {value}\n")), "{key} {value}: {config}");
    }
    assert!(config.contains("\nbatch = 8\n") && config.contains("\nunroll = 32\n"), "{config}");
    let report = std::fs::read_to_string(run_dir.join("report.html")).expect("written");
    assert!(report.contains("What was expected:"), "the report compares");
    (finished.stdout, summary)
}

#[test]
fn a_run_chooses_its_sizes_and_says_so() {
    let (stdout, summary) = tuned(&["--auto=3"]);
    let lines: Vec<&str> = stdout.lines().filter(|line| line.contains("--auto")).collect();
    let [line] = lines[..] else { panic!("one line: {stdout}") };
    let choice = &summary["tuned"];
    assert!(line.contains(choice["because"].as_str().expect("text")), "{line}");
    let kept = choice["keeps_defaults"].as_bool().expect("a truth value");
    assert!(line.starts_with(if kept { "--auto keeps" } else { "--auto chose" }), "{line}");
    assert_eq!(
        kept,
        number(choice, "actors") == 4.0
            && number(choice, "envs_per_actor") == 4.0
            && choice["learner_threads"] == choice["default"]["learner_threads"]
    );
    assert!(number(choice, "trials") >= 1.0 && number(choice, "expected_frames_per_s") > 0.0);
    assert_eq!(
        (number(&choice["default"], "actors"), number(&choice["default"], "envs_per_actor")),
        (4.0, 4.0)
    );
}

#[test]
fn what_was_set_is_kept() {
    let (_, summary) = tuned(&["--auto=3", "--actors", "3"]);
    assert_eq!(number(&summary["tuned"], "actors"), 3.0);
    let all = ["--auto", "--actors", "2", "--envs-per-actor", "2", "--learner-threads", "1"];
    let all = [&all[..], &["--batch", "8"]].concat();
    let (stdout, summary) = tuned(&all);
    let choice = &summary["tuned"];
    assert_eq!((number(choice, "actors"), number(choice, "trials")), (2.0, 0.0));
    assert!(stdout.contains("were all set"), "{stdout}");
}

#[test]
fn runs_without_a_choice_say_nothing_of_one() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run_dir = folder.path().join("run");
    let finished = start(&run_dir, ["--total-frames", "20000"]).wait();
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    assert!(summary(&run_dir).get("tuned").is_none());
    // A run that goes on has its sizes.
    let mut command = supervisor();
    command.arg("--auto").arg("--resume").arg(&run_dir);
    assert_refused(
        &finish(command),
        "--resume",
        2,
        &["--auto", "--resume", "leave one of them out"],
    );
}

#[test]
fn trials_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).expect("made");
    let mut command = supervisor();
    command.env("TMPDIR", &temporary).args(["--auto=2"]).args(SHORT);
    let finished = finish({
        command.arg("--run-dir").arg(folder.path().join("run"));
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    // The channels of children have names there while these start.
    let left: Vec<_> = std::fs::read_dir(&temporary)
        .expect("readable")
        .map(|entry| entry.expect("entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with("impala-trial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn turns_and_ranks_are_refused() {
    for flags in
        [&["--schedule", "lockstep"][..], &["--algorithm", "a2c"], &["--algorithm", "reinforce"]]
    {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = supervisor();
        command.current_dir(folder.path()).arg("--auto").args(flags);
        assert_refused(
            &finish(command),
            &flags.join(" "),
            2,
            &["--auto", "lockstep", "leave it out"],
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0, "{flags:?}");
    }
    let mut command = supervisor();
    command.arg("--auto").args(["--distributed", "off"]);
    for (name, value) in
        [("PMI_RANK", "0"), ("PMI_SIZE", "2"), ("MPI_LOCALRANKID", "0"), ("MPI_LOCALNRANKS", "2")]
    {
        command.env(name, value);
    }
    assert_refused(&finish(command), "two ranks", 2, &["--auto", "several ranks", "2"]);
    let mut command = supervisor();
    command.arg("--auto=0.1");
    assert_refused(&finish(command), "--auto=0.1", 2, &["--auto", "from 1 to 3600"]);
}

#[test]
fn the_benchmark_prints_every_candidate() {
    let mut command = Command::new(sibling("impala-bench"));
    command.args(["tune", "--json", "--seconds", "0.1", "--candidates", "3", "--repeats", "2"]);
    command.args(["--", "--env", "Catch-v0", "--learner-threads", "1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let candidates = report["candidates"].as_array().expect("a list");
    assert_eq!(candidates.len(), 4, "the defaults, and three: {report}");
    assert!(candidates.iter().all(|candidate| number(candidate, "learner_threads") == 1.0));
    assert!(!candidates[0]["trials"].as_array().expect("a list").is_empty(), "{report}");
    // The batch is made of all of these.
    assert!(candidates.iter().all(|candidate| 32.0 % number(candidate, "envs_per_actor") == 0.0));
    assert!(report["flags"].as_str().expect("text").starts_with("--actors "), "{report}");
    for part in ["acting_ns", "inference_ns", "learning_ns"] {
        assert!(number(&report["ns_per_frame"], part) > 0.0, "{part}: {report}");
    }

    let mut command = Command::new(sibling("impala-bench"));
    command.args(["tune", "--", "--algorithm", "a2c"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_refused(&finish(command), "tune a2c", 2, &["lockstep"]);
}
