//! Processes that stand still: replaced if it is their own doing, left alone if it is not.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::crash::{
    ENDLESS, MAX_WAIT, status, stop_and_check_counts, wait_for_frames, wait_for_pid,
};
use crate::program::{Running, children_of, last_metrics, number, send, start};
use crate::watch::wait_until;

fn restarts(run: &Running) -> u64 {
    let status = status(run.pid()).expect("a status segment");
    let children = status["children"].as_array().expect("children").clone();
    children.iter().map(|child| child["restarts"].as_u64().expect("a count")).sum()
}

/// Lets time pass: that nothing happens in it cannot be waited for.
fn let_pass(length: Duration) {
    let started = Instant::now();
    wait_until("time has passed", MAX_WAIT, || started.elapsed() >= length);
}

fn endless<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ENDLESS[..], more].concat()
}

#[test]
fn hang_stopped_actor_that_holds_a_slot_is_replaced() {
    let folder = tempfile::tempdir().expect("temporary folder");
    // Steps that take their time: an actor is hardly ever without a slot.
    let slow = ["--env", "Synthetic-v0", "--env-arg", "shape=4", "--env-arg", "dtype=f32"];
    let slow = [&slow[..], &["--env-arg", "stack=1", "--env-arg", "step-cost-us=2000"]].concat();
    let sizes = ["--torso", "mlp", "--envs-per-actor", "4", "--batch", "8"];
    let flags = [&slow[..], &sizes, &["--actor-hang-timeout", "2"]].concat();
    let run = start(folder.path(), endless(&flags));
    let frames = wait_for_frames(folder.path(), 0.0);
    // It may be stopped while it waits for a slot, which is no hang: then another is tried.
    let mut tries = 0;
    while restarts(&run) == 0 {
        tries += 1;
        assert!(tries < 20, "always waiting");
        let victim = wait_for_pid(run.pid(), "actor-1", 0);
        send(victim, Signal::SIGSTOP);
        let tried = Instant::now();
        wait_until("it is replaced, or waits", MAX_WAIT, || {
            restarts(&run) > 0 || tried.elapsed() > Duration::from_secs(5)
        });
        send(victim, Signal::SIGCONT);
    }
    wait_for_frames(folder.path(), frames);
    let (summary, log) = stop_and_check_counts(run, folder.path(), 64.0);
    assert_eq!(number(&summary, "hang_kills"), 1.0, "{log}");
    assert_eq!(summary["slot_counts"]["conserved"], true, "{summary}");
    let phases = ["step", "infer", "refresh"];
    let told =
        |phase: &&str| log.contains(&format!("hangs: no progress for 2.0 s in phase {phase}"));
    assert!(phases.iter().any(told), "{log}");
}

#[test]
fn hang_short_stop_costs_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--actor-hang-timeout", "4", "--learner-hang-timeout", "6"];
    let run = start(folder.path(), endless(&flags));
    wait_for_frames(folder.path(), 0.0);
    for (role, seconds) in [("actor-0", 1), ("actor-1", 2), ("learner", 3)] {
        let pid = wait_for_pid(run.pid(), role, 0);
        send(pid, Signal::SIGSTOP);
        let_pass(Duration::from_secs(seconds));
        send(pid, Signal::SIGCONT);
        let frames = last_metrics(folder.path()).map_or(0.0, |metrics| number(&metrics, "frames"));
        wait_for_frames(folder.path(), frames);
    }
    let (summary, log) = stop_and_check_counts(run, folder.path(), 64.0);
    for key in ["actor_restarts", "learner_restarts", "unrolls_abandoned", "hang_kills"] {
        assert_eq!(number(&summary, key), 0.0, "{key}: {log}");
    }
}

#[test]
fn hang_whole_pool_stopped_is_nobodys_fault() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--actor-hang-timeout", "1", "--learner-hang-timeout", "1"];
    let run = start(folder.path(), endless(&flags));
    wait_for_frames(folder.path(), 0.0);
    for signal in [Signal::SIGSTOP, Signal::SIGTSTP] {
        let mut all = children_of(run.pid());
        all.push(run.pid());
        if signal == Signal::SIGSTOP {
            all.iter().for_each(|&pid| send(pid, signal));
        } else {
            // The supervisor stops its children itself.
            run.signal(signal);
        }
        let_pass(Duration::from_secs(4));
        // The children last: what they have not done meanwhile is not counted against them.
        all.iter().rev().for_each(|&pid| send(pid, Signal::SIGCONT));
        let frames = last_metrics(folder.path()).map_or(0.0, |metrics| number(&metrics, "frames"));
        wait_for_frames(folder.path(), frames);
    }
    let (summary, log) = stop_and_check_counts(run, folder.path(), 64.0);
    for key in ["actor_restarts", "learner_restarts", "hang_kills"] {
        assert_eq!(number(&summary, key), 0.0, "{key}: {log}");
    }
    assert!(log.contains("the supervisor did not run for "), "{log}");
}

#[test]
fn hang_learner_that_stands_still_is_replaced_while_actors_act() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = start(folder.path(), endless(&["--learner-hang-timeout", "1"]));
    let frames = wait_for_frames(folder.path(), 0.0);
    // It may be stopped while it waits for a block, which is no hang: then once more.
    let mut tries = 0;
    while restarts(&run) == 0 {
        tries += 1;
        assert!(tries < 20, "always waiting");
        let victim = wait_for_pid(run.pid(), "learner", 0);
        send(victim, Signal::SIGSTOP);
        let tried = Instant::now();
        wait_until("it is replaced, or waits", MAX_WAIT, || {
            restarts(&run) > 0 || tried.elapsed() > Duration::from_secs(3)
        });
        send(victim, Signal::SIGCONT);
    }
    wait_for_frames(folder.path(), frames);
    let (summary, log) = stop_and_check_counts(run, folder.path(), 64.0);
    assert_eq!(number(&summary, "learner_restarts"), 1.0, "{log}");
    assert_eq!(number(&summary, "actor_restarts"), 0.0, "{log}");
    assert!(log.contains("learner: hangs: no progress for 1."), "{log}");
    crate::faults::counts_never_go_back(folder.path());
}

#[test]
fn hang_none_where_cores_are_short() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let flags = ["--actor-hang-timeout", "5", "--learner-hang-timeout", "5"];
    let run = start(folder.path(), endless(&flags));
    wait_for_frames(folder.path(), 0.0);
    let until = Instant::now() + Duration::from_secs(12);
    std::thread::scope(|scope| {
        for _ in 0..4 * cores {
            scope.spawn(|| {
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            });
        }
    });
    let (summary, log) = stop_and_check_counts(run, folder.path(), 64.0);
    for key in ["actor_restarts", "learner_restarts", "hang_kills"] {
        assert_eq!(number(&summary, key), 0.0, "{key}: {log}");
    }
}
