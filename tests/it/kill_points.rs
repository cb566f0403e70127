//! A crash at every named place, in every way: the run goes on, or ends and leaves nothing.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use impala_bench::soak::PoolReport;
use impala_rl::shm::kill_point::POINTS;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{send, sibling};
use crate::watch::wait_until;

const NOT_REACHED: &str = "nobody passed";
const MOST_TRIES: u32 = 4;

/// No run takes longer; it hangs then.
const WATCHDOG: Duration = Duration::from_secs(60);
const WAYS: [&str; 5] = ["kill", "stop", "segv", "panic", "exit"];
/// Runs at the same time.
const AT_ONCE: usize = 3;
/// Length of a run: the fault comes at its beginning.
const SECONDS: &str = "0.8";
/// Length of a run in which the fault has to wait until another death meets a slot in use; a supervisor that dies of it ends the
/// run at once.
const LONGER_SECONDS: &str = "4";

/// One crash.
#[derive(Debug, Clone, Copy)]
struct Crash {
    place: &'static str,
    way: &'static str,
}

impl Crash {
    fn in_supervisor(self) -> bool {
        self.place.starts_with("supervisor.")
    }

    /// Which pass of a process through the place.
    fn pass(self) -> u32 {
        match self.place {
            "child.before_deathsig" | "child.before_role" | "actor.before_reset" => 1,
            place if place.starts_with("checkpoint.") => 1,
            "supervisor.reclaiming" | "supervisor.requeuing" => 1,
            place if place.starts_with("supervisor.") => 2,
            place if place.starts_with("learner.") => 3,
            _ => 5,
        }
    }

    fn seconds(self) -> &'static str {
        let waits = matches!(self.place, "supervisor.reclaiming" | "supervisor.requeuing");
        if waits { LONGER_SECONDS } else { SECONDS }
    }

    /// The product's learner is needed where the place is in it; elsewhere one that checks.
    fn with_learning(self) -> bool {
        self.place.starts_with("learner.") || self.in_gradients() || self.in_inference()
    }

    fn in_inference(self) -> bool {
        self.place == "actor.asked" || self.place.starts_with("policy.")
    }

    fn in_gradients(self) -> bool {
        self.place == "actor.mid_gradient"
    }

    fn start(self, folder: &Path) -> Child {
        let mut command = if self.with_learning() {
            let mut command = Command::new(env!("CARGO_BIN_EXE_impala-supervisor"));
            command.args(["--actors", "2", "--total-frames", "1000000000", "--quiet"]);
            command.args(["--unroll", "4", "--batch", "4", "--envs-per-actor", "2"]);
            command.args(["--hidden", "8", "--time-limit", self.seconds()]);
            command.arg("--run-dir").arg(folder.join("run"));
            if self.in_gradients() {
                command.args(["--exchange", "gradients"]);
            }
            if self.in_inference() {
                command.args(["--inference", "central"]);
            }
            command
        } else {
            let mut command = Command::new(sibling("impala-soak"));
            command
                .args(["pool", "--seconds", self.seconds(), "--actors", "2", "--folder"])
                .arg(folder);
            if self.in_supervisor() {
                // A supervisor reaps and reclaims only where others die.
                command.args(["--chaos", "kill=40/s,learner=0.4"]);
            }
            command
        };
        let file = |name| fs::File::create(folder.join(name)).expect("a file");
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        // Resolving a backtrace takes longer than the whole run.
        command.env("RUST_BACKTRACE", "0");
        command.env("IMPALA_KILL_POINT", format!("{}:{}:{}", self.place, self.pass(), self.way));
        command.env("IMPALA_KILL_POINT_FIRED", folder.join("fired"));
        command.spawn().expect("starts")
    }

    /// The process that the fault hit, once it did.
    fn hit(folder: &Path) -> Option<u32> {
        fs::read_to_string(folder.join("fired")).ok()?.parse().ok()
    }

    /// Whether a learner holds blocks when chaos kills it is chance: a run that nobody passes the place in
    /// shows nothing, and another is tried.
    fn test_where_it_is_reached(self) -> Result<(), String> {
        let mut tries = 1;
        loop {
            match self.test() {
                Err(what) if what.starts_with(NOT_REACHED) && tries < MOST_TRIES => tries += 1,
                result => return result,
            }
        }
    }

    fn test(self) -> Result<(), String> {
        // In memory: a disk that is busy may hold up a checkpoint for longer than a run lasts.
        let temporary = tempfile::tempdir_in("/dev/shm").expect("a folder");
        let folder = temporary.path();
        let mut child = self.start(folder);
        let run = child.id();
        let mut status = None;
        let mut continued = false;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the run ends", WATCHDOG, || {
                if self.way == "stop"
                    && !continued
                    && let Some(pid) = Self::hit(folder).filter(|&pid| is_stopped(pid))
                {
                    send(pid, Signal::SIGCONT);
                    continued = true;
                }
                status = child.try_wait().expect("ours");
                status.is_some()
            });
        }));
        if ended.is_err() {
            let _gone = child.kill();
            let _reaped = child.wait();
            return Err("hangs".into());
        }
        wait_until("nobody is left", WATCHDOG, || of_run(run).is_empty());
        let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let status = status.expect("just seen");
        let fail = |what: &str| Err(format!("{what}: {status}\n{}{}", read("out"), read("err")));
        if Self::hit(folder).is_none() {
            return fail(NOT_REACHED);
        }
        if self.way == "stop" && !continued {
            return fail("was not stopped");
        }
        if self.in_supervisor() && self.way != "stop" {
            return if status.success() { fail("the supervisor survived") } else { Ok(()) };
        }
        let replaced = u64::from(self.way != "stop");
        if self.with_learning() {
            let summary = folder.join("run").join("summary.json");
            let text = fs::read_to_string(summary).unwrap_or_default();
            let summary: Value = serde_json::from_str(&text).unwrap_or_default();
            let whole = summary["status"] == "time-limit"
                && summary["slot_counts"]["conserved"] == true
                // A gradient that was half written is lost with its actor, and nothing else.
                && if self.in_gradients() {
                    summary["actor_restarts"] == replaced
                        && summary["learner_restarts"] == 0
                        && summary["unrolls_abandoned"] == replaced
                } else if self.place == "actor.asked" {
                    summary["actor_restarts"] == replaced
                        && summary["learner_restarts"] == 0
                        && summary["inference"]["policy_restarts"] == 0
                } else if self.in_inference() {
                    // Nothing is lost with who answers.
                    summary["inference"]["policy_restarts"] == replaced
                        && summary["actor_restarts"] == 0
                        && summary["learner_restarts"] == 0
                        && summary["unrolls_overwritten"] == 0
                } else {
                    summary["learner_restarts"] == replaced && summary["unrolls_abandoned"] == 0
                };
            return if whole { Ok(()) } else { fail(&text) };
        }
        let Ok(report) = serde_json::from_str::<PoolReport>(&read("out")) else {
            return fail("no report");
        };
        // Chaos goes on until the end, where the learner may be down.
        let in_order = report.ended == "finished" || self.in_supervisor();
        let whole = in_order
            && (report.idle_at_end == 0 || self.in_supervisor())
            && report.unrolls > 0
            && report.bytes_wrong == 0
            && report.sequences_lost == 0
            && report.sequences_doubled == 0
            && report.sequences_invented == 0
            && report.identity_broken == 0
            && report.counters_agree
            && report.weights_torn == 0
            && report.checkpoints_bad == 0
            && report.left_behind == 0
            && (self.in_supervisor()
                || (report.actor_restarts + report.learner_restarts == replaced
                    && report.in_flight_lost <= replaced));
        if whole { Ok(()) } else { fail("a promise was broken") }
    }
}

fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}

/// Processes that bear the mark of this supervisor's run, and are no zombies.
fn of_run(supervisor: u32) -> Vec<u32> {
    let mark = format!("IMPALA_CHILD={supervisor}-");
    let entries = fs::read_dir("/proc").expect("mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let bears = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry.starts_with(mark.as_bytes()))
    };
    pids.filter(bears).collect()
}

#[test]
fn a_crash_at_every_place_in_every_way() {
    let crashes = POINTS.iter().flat_map(|&place| WAYS.map(|way| Crash { place, way }));
    let queue = Mutex::new(crashes.collect::<Vec<_>>());
    let count = queue.lock().expect("whole").len();
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(crash) = queue.lock().expect("whole").pop() else { return };
                    if let Err(what) = crash.test_where_it_is_reached() {
                        failed.lock().expect("whole").push(format!("{crash:?}: {what}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("whole");
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(count, POINTS.len() * WAYS.len());
}

#[test]
fn every_point_has_one_place() {
    let mut sources = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                sources.push(fs::read_to_string(path).expect("UTF-8"));
            }
        }
    }
    let places: Vec<&str> = sources
        .iter()
        .flat_map(|text| text.split("kill_point!(\"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    for point in POINTS {
        let count = places.iter().filter(|place| place == &point).count();
        assert_eq!(count, 1, "{point}");
    }
    assert_eq!(places.len(), POINTS.len(), "{places:?}");
}
