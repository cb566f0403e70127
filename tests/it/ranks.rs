//! Several learners: ranks that `mpirun` starts. Without it, or in a build without MPI, these tests say that they are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use impala_rl::rng::Rng;
use nix::sys::signal::Signal;

use crate::crash::{MAX_WAIT, wait_for_frames, wait_for_pid};
use crate::program::{
    Finished, Running, assert_refused, children_of, finish, number, run_as_usual, send, summary,
    supervisor,
};
use crate::watch::wait_until;

/// Codes of their own: a rank was lost; ranks are not alike.
const RANK_LOST: i32 = 16;
const RANKS_DIFFER: i32 = 17;

/// Whether ranks can be started here; else says that `test` is skipped.
fn can_start(test: &str) -> bool {
    let found = Command::new("mpirun").arg("--version").output().is_ok();
    let why = match (cfg!(feature = "mpi"), found) {
        (true, true) => return true,
        (false, _) => "this build has no MPI",
        (_, false) => "there is no mpirun",
    };
    println!("{test}: skipped, {why}");
    false
}

/// `mpirun` with so many ranks, on one machine, also as root and on fewer cores.
fn mpirun(ranks: usize) -> Command {
    let mut command = run_as_usual("mpirun");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1").args([
        "--oversubscribe",
        "-n",
        &ranks.to_string(),
    ]);
    command
}

/// Ranks with one actor each, which learn CartPole.
fn ranks(count: usize, folder: [&str; 2], flags: &str) -> Command {
    let mut command = mpirun(count);
    command.arg(env!("CARGO_BIN_EXE_impala-supervisor")).args(folder);
    command.args(["--actors", "1", "--learner-threads", "1"]).args(flags.split_whitespace());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

const ENDLESS: &str = "--total-frames 1000000000 --log-interval 0.05 --checkpoint-interval 0.2";

#[test]
fn two_ranks_learn_cartpole_with_the_same_updates() {
    if !can_start("two_ranks_learn_cartpole_with_the_same_updates") {
        return;
    }
    let parent = tempfile::tempdir().expect("temporary folder");
    let folder = parent.path().join("run");
    let flags = "--stop-at-return 475 --total-frames 2000000";
    let finished = finish(ranks(2, ["--run-dir", text(&folder)], flags));
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let (first, second) = (summary(&folder), summary(&folder.join("rank-1")));
    assert_eq!(first["status"], "solved", "{first}");
    assert_eq!(second["status"], "solved", "{second}");
    for key in ["frames", "updates"] {
        assert_eq!(number(&first, key), number(&second, key), "{key}");
    }
    let of_ranks = first["ranks"].as_array().expect("a list");
    assert_eq!(of_ranks.len(), 2);
    let own: f64 = of_ranks.iter().map(|rank| number(rank, "frames")).sum();
    assert!(own >= number(&first, "frames"), "{first}");
    assert!(of_ranks.iter().all(|rank| number(rank, "frames") > 0.0), "{first}");
    assert_eq!(of_ranks.iter().filter(|rank| rank["straggler"] == true).count(), 1);
    assert!(!folder.join("rank-1/checkpoints").exists(), "rank 0 writes them");
    assert!(folder.join("report.html").exists() && !folder.join("rank-1/report.html").exists());
}

/// Everything that is done in step: several updates from a batch, which stop early together; statistics; gradients of actors.
#[test]
fn ranks_stay_in_step_whatever_an_update_is() {
    if !can_start("ranks_stay_in_step_whatever_an_update_is") {
        return;
    }
    for flags in [
        "--passes 3 --minibatches 2 --stop-passes-at-kl 0.01 --kl-target 0.01",
        "--env Pendulum-v1 --popart --normalize-advantages",
        "--env Pendulum-v1 --schedule lockstep --lag 1 --normalize-rewards",
        "--algorithm a3c --gradients-per-update 2",
        "--replay-fraction 0.5 --replay-unrolls 64",
        "--env CartPole-v1 --env Acrobot-v1 --pad-observations 6",
    ] {
        let parent = tempfile::tempdir().expect("temporary folder");
        let folder = parent.path().join("run");
        let flags = format!("{flags} --total-frames 30000 --report=false --tensorboard=false");
        let finished = finish(ranks(2, ["--run-dir", text(&folder)], &flags));
        assert_eq!(finished.code(), Some(0), "{flags}: {}{}", finished.stdout, finished.stderr);
        let (first, second) = (summary(&folder), summary(&folder.join("rank-1")));
        assert_eq!(first["status"], "finished", "{flags}: {first}");
        for key in ["frames", "updates"] {
            assert_eq!(number(&first, key), number(&second, key), "{flags}: {key}");
        }
    }
}

/// The supervisors of a job, by rank.
struct Job {
    mpirun: Running,
    supervisors: Vec<u32>,
    folder: PathBuf,
}

impl Job {
    fn start(command: Command, folder: &Path, count: usize) -> Self {
        let mpirun = Running::of(command);
        let mut supervisors = Vec::new();
        wait_until("all ranks run", MAX_WAIT, || {
            let pids = children_of(mpirun.pid());
            supervisors = (0..count)
                .filter_map(|rank| {
                    let own = format!("OMPI_COMM_WORLD_RANK={rank}");
                    pids.iter().copied().find(|pid| environment_has(*pid, &own))
                })
                .collect();
            supervisors.len() == count
        });
        Self { mpirun, supervisors, folder: folder.to_owned() }
    }

    fn wait_for_checkpoint(&self) {
        wait_for_frames(&self.folder, 0.0);
        wait_until("a checkpoint is written", MAX_WAIT, || {
            self.folder.join("checkpoints").read_dir().is_ok_and(|mut entries| {
                // One that is still being written has another extension.
                entries.any(|entry| entry.is_ok_and(|entry| entry.path().extension().is_none()))
            })
        });
    }

    /// Waits until `mpirun` has ended, and nothing of the job is left.
    fn ends(self, what: &str) -> Finished {
        let finished = self.mpirun.wait();
        wait_until(&format!("nothing is left of {what}"), Duration::from_secs(30), || {
            processes_with(text(&self.folder)).is_empty()
        });
        finished
    }
}

fn environment_has(pid: u32, entry: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
}

/// Living processes with this among their arguments.
fn processes_with(argument: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|found| found == argument.as_bytes())
    })
    .collect()
}

/// Who is killed: the learner or the supervisor of a rank, or mpirun.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Learner(usize),
    Supervisor(usize),
    Mpirun,
}

/// How often each is killed, at another moment each time: `IMPALA_TEST_KILLS=20` for more than once.
fn kills() -> u64 {
    std::env::var("IMPALA_TEST_KILLS").map_or(1, |count| count.parse().expect("a number"))
}

#[test]
fn a_rank_that_is_lost_ends_the_job_and_it_goes_on_from_the_checkpoint() {
    if !can_start("a_rank_that_is_lost_ends_the_job_and_it_goes_on_from_the_checkpoint") {
        return;
    }
    let mut rng = Rng::new(7, 0);
    let victims = [
        (Victim::Learner(1), 2),
        (Victim::Learner(0), 1),
        (Victim::Supervisor(1), 1),
        (Victim::Supervisor(0), 3),
        (Victim::Mpirun, 2),
    ];
    for (victim, ranks_after) in (0..kills()).flat_map(|_| victims) {
        let parent = tempfile::tempdir().expect("temporary folder");
        let folder = parent.path().join("run");
        let what = format!("{victim:?}");
        let job = Job::start(ranks(2, ["--run-dir", text(&folder)], ENDLESS), &folder, 2);
        job.wait_for_checkpoint();
        // A moment like any other.
        wait_for_frames(&folder, 5_000.0 + 20_000.0 * f64::from(rng.unit_f32()));
        let pid = match victim {
            Victim::Learner(rank) => wait_for_pid(job.supervisors[rank], "learner", 0),
            Victim::Supervisor(rank) => job.supervisors[rank],
            Victim::Mpirun => job.mpirun.pid(),
        };
        let killed = Instant::now();
        send(pid, Signal::SIGKILL);
        let finished = job.ends(&what);
        println!("{what}: nothing was left after {:.1} s", killed.elapsed().as_secs_f64());
        let told = finished.stdout.clone() + &finished.stderr;
        assert_ne!(finished.code(), Some(0), "{what}: {told}");
        match victim {
            Victim::Learner(rank) => {
                assert_eq!(finished.code(), Some(RANK_LOST), "{what}: {told}");
                assert!(told.contains(&format!("rank {rank}: its learner died")), "{what}: {told}");
            }
            Victim::Supervisor(rank) => assert!(told.contains(&format!("rank {rank}")), "{told}"),
            Victim::Mpirun => {}
        }

        let flags = "--total-frames 60000 --report=false";
        let resumed = finish(ranks(ranks_after, ["--resume", text(&folder)], flags));
        assert_eq!(resumed.code(), Some(0), "{what}: {}{}", resumed.stdout, resumed.stderr);
        assert!(resumed.stdout.contains("continuing"), "{what}: {}", resumed.stdout);
        assert!(number(&summary(&folder), "frames") >= 60_000.0, "{what}");
    }
}

#[test]
fn an_actor_of_a_rank_is_replaced_and_a_signal_ends_all() {
    if !can_start("an_actor_of_a_rank_is_replaced_and_a_signal_ends_all") {
        return;
    }
    let parent = tempfile::tempdir().expect("temporary folder");
    let folder = parent.path().join("run");
    let job = Job::start(ranks(2, ["--run-dir", text(&folder)], ENDLESS), &folder, 2);
    job.wait_for_checkpoint();
    let mut rng = Rng::new(8, 0);
    let mut actor = 0;
    for _ in 0..kills() {
        actor = wait_for_pid(job.supervisors[1], "actor-0", actor);
        let frames = wait_for_frames(&folder, 0.0);
        wait_for_frames(&folder, frames + 20_000.0 * f64::from(rng.unit_f32()));
        send(actor, Signal::SIGKILL);
    }
    wait_for_pid(job.supervisors[1], "actor-0", actor);
    let frames = wait_for_frames(&folder, 0.0);
    wait_for_frames(&folder, frames);
    // One rank is asked to stop, and all do.
    send(job.supervisors[1], Signal::SIGTERM);
    let finished = job.ends("a job that was stopped");
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let (first, second) = (summary(&folder), summary(&folder.join("rank-1")));
    assert_eq!(number(&first, "updates"), number(&second, "updates"));
    assert_eq!(number(&second, "actor_restarts"), kills() as f64);
}

#[test]
fn ranks_with_other_settings_are_refused() {
    if !can_start("ranks_with_other_settings_are_refused") {
        return;
    }
    let parent = tempfile::tempdir().expect("temporary folder");
    let folder = parent.path().join("run");
    let mut command = ranks(1, ["--run-dir", text(&folder)], ENDLESS);
    command.args([":", "-n", "1", env!("CARGO_BIN_EXE_impala-supervisor")]);
    command.args(["--run-dir", text(&folder), "--actors", "1", "--batch", "16"]);
    let finished = finish(command);
    let told = finished.stdout + &finished.stderr;
    assert_eq!(finished.status.code(), Some(RANKS_DIFFER), "{told}");
    assert!(told.contains("rank 1 has other settings"), "{told}");
}

/// What mpirun sets, for a rank that has no others.
fn as_rank() -> Command {
    let mut command = supervisor();
    command
        .env("OMPI_COMM_WORLD_RANK", "1")
        .env("OMPI_COMM_WORLD_SIZE", "2")
        .env("OMPI_COMM_WORLD_LOCAL_RANK", "1")
        .env("OMPI_COMM_WORLD_LOCAL_SIZE", "2");
    command
}

#[test]
fn ranks_that_cannot_learn_together_are_refused_before_anything_is_written() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let mut command = as_rank();
    command.current_dir(parent.path()).args(["--total-frames", "2000"]);
    let remedy = if cfg!(feature = "mpi") { "--run-dir" } else { "--features mpi" };
    assert_refused(&finish(command), "as rank 1", 2, &["rank 1 of 2", remedy]);
    assert_eq!(parent.path().read_dir().expect("listed").count(), 0);
}

#[test]
fn ranks_that_are_to_be_runs_of_their_own_are() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let mut command = as_rank();
    command.args(["--distributed", "off", "--total-frames", "2000", "--run-dir"]);
    let finished = finish({
        command.arg(parent.path());
        command
    });
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    assert!(summary(parent.path()).get("ranks").is_none());
}
