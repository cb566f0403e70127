//! `--chaos`: a run that kills its own processes reaches its goal, and says what it did.

use impala_rl::config::Args;

use crate::pool::complete;
use crate::program::{finish, number, supervisor};

#[test]
fn cartpole_is_solved_while_its_processes_are_killed() {
    for seed in ["1", "2", "3"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let chaos = format!("kill=20/s,stop=2/s,seed={seed}");
        let flags = ["--stop-at-return", "475", "--total-frames", "2000000", "--quiet"];
        let flags = [&flags[..], &["--seed", seed, "--chaos", &chaos]].concat();
        let summary = complete(folder.path(), &flags);
        assert_eq!(summary["status"], "solved", "{summary}");
        assert!(number(&summary, "return_mean_100") >= 475.0, "{summary}");
        assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    }
}

#[test]
fn the_summary_lists_every_fault() {
    let folder = tempfile::tempdir().expect("temporary folder");
    // A network of one unit: even without optimisation every learner gets somewhere.
    let flags = "--actors 3 --unroll 4 --batch 4 --envs-per-actor 2 --hidden 1 --quiet \
                 --total-frames 1000000000 --time-limit 3 --chaos kill=10/s,stop=10/s,seed=3";
    let mut command = supervisor();
    command.arg("--run-dir").arg(folder.path()).args(flags.split_whitespace());
    let finished = finish(command);
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let summary = crate::program::summary(folder.path());
    let faults = &summary["faults"];
    let of = |kind| number(faults, kind);
    let injected = of("actors_killed") + of("learners_killed") + of("actors_stopped");
    assert!(injected >= 10.0 && injected == of("injected"), "{summary}");
    assert_eq!(injected, of("recovered") + of("overtaken") + of("open_at_end"), "{summary}");
    assert!(of("recovered") > 0.0, "{summary}");
    assert!(number(&summary, "actor_restarts") <= of("actors_killed"), "{summary}");
    assert!(number(&summary, "learner_restarts") <= of("learners_killed"), "{summary}");
    assert!(of("unrolls_abandoned") >= number(&summary, "unrolls_abandoned"), "{summary}");
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    for part in
        ["chaos: ", " faults (", " recovered", " unrolls abandoned; slots: ", " generations = "]
    {
        assert!(finished.stdout.contains(part), "{part:?} in {}", finished.stdout);
    }
}

#[test]
fn without_chaos_there_are_no_faults_in_the_summary() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let summary = complete(folder.path(), &["--total-frames", "1000", "--quiet"]);
    assert!(summary["faults"].is_null(), "{summary}");
}

#[test]
fn nonsense_is_one_line_and_exit_code_2() {
    for text in ["kill=2", "kill=2/s,kill=3/s", "seed=7", "stop=fast/s", "kill=1/s,what=2"] {
        let mut command = supervisor();
        command.args(["--chaos", text]);
        let finished = finish(command);
        assert_eq!(finished.code(), Some(2), "{text}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
        assert!(finished.stderr.contains("kill=2/s,stop=0.5/s,seed=7"), "{}", finished.stderr);
    }
    let args = Args::from_argv(["impala-supervisor", "--chaos", "kill=2/s"]).expect("valid");
    assert_eq!(args.chaos.map(|spec| spec.seed), Some(1));
}
