//! Every documented metric is written: runs in which everything happens that one of them counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use impala_rl::metrics::{
    ActorCounter, Kind, LINE, LearnerCounter, PerActorRecord, Phase, PolicyCounter, Table,
    TaskCounter,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::crash::MAX_WAIT;
use crate::gym::{gymnasium, supervised};
use crate::program::{Running, example, supervisor};
use crate::watch::wait_until;

/// What need not change in any run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Still {
    /// Is written, and never changes within a run.
    Constant,
    /// Is written, and changes where the machine lets it.
    Settled,
    /// Counts what no run can be made to do: a unit test does it.
    Rare,
}

/// Each with the reason.
const EXPECTED_STILL: &[(&str, Still, &str)] = &[
    ("memory.shared_bytes", Still::Constant, "allocated as a whole before the first fork"),
    ("cpu.cores", Still::Constant, "asked for once, when the run starts"),
    (
        "learner.in_flight_limit",
        Still::Settled,
        "rises while the learner starves beside idle cores; tests of learner/admission.rs move it",
    ),
    (
        "learner.exchange_wait_ns",
        Still::Rare,
        "there is one rank here; two are in tests/it/ranks.rs",
    ),
    ("learner.exchange_ns", Still::Rare, "likewise"),
    ("phase exchange", Still::Rare, "likewise"),
    (
        "actors.param_busy",
        Still::Rare,
        "the learner makes four updates in the time of a copy; actor/unroll/tests.rs counts one",
    ),
    ("policy.param_busy", Still::Rare, "likewise; the copy is the same code"),
];

/// Names that documentation gives to numbers of a line, and one for each phase that a process can be in.
fn documented() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = LINE.iter().map(|word| word.name.to_owned()).collect();
    names.extend(LearnerCounter::DESCRIPTORS.iter().map(|word| format!("learner.{}", word.name)));
    names.extend(PolicyCounter::DESCRIPTORS.iter().map(|word| format!("policy.{}", word.name)));
    names.extend(TaskCounter::DESCRIPTORS.iter().map(|word| format!("task.{}", word.name)));
    let counters = ActorCounter::DESCRIPTORS.iter().filter(|word| word.kind == Kind::Counter);
    names.extend(counters.map(|word| format!("actors.{}", word.name)));
    let lists = serde_json::to_value(PerActorRecord::default()).expect("lists");
    names.extend(lists.as_object().expect("lists").keys().map(|name| format!("per_actor.{name}")));
    names.extend(Phase::ALL.iter().map(|phase| phase_name(*phase)));
    names
}

fn phase_name(phase: Phase) -> String {
    format!("phase {}", phase.name())
}

/// What lines said of one number.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    first: Value,
    moved: bool,
    is_there: bool,
}

/// A run whose lines are read as they come.
struct Watched {
    file: PathBuf,
    read_bytes: usize,
    seen: BTreeMap<String, Seen>,
}

impl Watched {
    fn new(run_dir: &Path) -> Self {
        Self { file: run_dir.join("metrics.jsonl"), read_bytes: 0, seen: BTreeMap::new() }
    }

    /// Reads the lines that have come since the last look.
    fn look(&mut self) {
        let bytes = fs::metadata(&self.file).map_or(0, |file| file.len());
        if bytes == self.read_bytes as u64 {
            return;
        }
        let text = fs::read_to_string(&self.file).expect("UTF-8");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[self.read_bytes..whole].lines() {
            self.line(&serde_json::from_str(line).expect("JSON"));
        }
        self.read_bytes = whole;
    }

    fn line(&mut self, line: &Value) {
        for (name, value) in line.as_object().expect("an object") {
            // The one list of objects.
            if name == "tasks" {
                for task in value.as_array().into_iter().flatten().filter_map(Value::as_object) {
                    task.iter()
                        .for_each(|(inner, value)| self.number(format!("task.{inner}"), value));
                }
                continue;
            }
            match value.as_object() {
                Some(inner) => inner.iter().for_each(|(inner, value)| {
                    self.number(format!("{name}.{inner}"), value);
                }),
                None => self.number(name.clone(), value),
            }
        }
        let actors = line["per_actor"]["phase"].as_array().expect("a list").iter();
        for code in actors.chain([&line["learner"]["phase"]]) {
            let phase = Phase::from_code(code.as_u64().expect("a code")).expect("a phase");
            let seen = Seen { first: true.into(), moved: true, is_there: true };
            self.seen.insert(phase_name(phase), seen);
        }
    }

    fn number(&mut self, name: String, value: &Value) {
        if value.is_null() {
            return;
        }
        let zeros = |values: &[Value]| values.iter().all(|value| value.as_f64() == Some(0.0));
        let is_there = !zeros(value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice));
        let first = || Seen { first: value.clone(), moved: false, is_there };
        let seen = self.seen.entry(name).or_insert_with(first);
        seen.moved |= seen.first != *value;
        seen.is_there |= is_there;
    }

    fn moved(&self, name: &str) -> bool {
        self.seen.get(name).is_some_and(|seen| seen.moved)
    }
}

/// A run and what is to be seen of it.
struct Case {
    name: &'static str,
    command: Command,
    flags: &'static str,
    /// It goes on until these have changed.
    until: &'static [&'static str],
}

fn cases(folder: &Path) -> Vec<Case> {
    let case = |name, command, flags, until| Case { name, command, flags, until };
    let program = |name: &str| {
        let mut command = supervisor();
        command.arg("--run-dir").arg(folder.join(name));
        command
    };
    let faulty = || {
        let mut command = example("faulty_env");
        command.args(["--env", "Faulty-v0", "--run-dir"]).arg(folder.join("failing"));
        command
    };
    let mut cases = vec![
        // A learner that is slower than its actors, and has a checkpoint to write most of the time.
        case(
            "waiting",
            program("waiting"),
            "--actors 2 --max-lag 100 --hidden 256,256 --checkpoint-interval 0.05",
            &[
                "actors.slot_wait_ns",
                "ring.free",
                "ring.claimed",
                "ring.ready",
                "ring.held",
                "learner.checkpoint_ns",
                "learner.rho_clipped_fraction",
                "learner.c_clipped_fraction",
                "learner.return_best",
                "learner.return_lowest",
                "phase learn",
                "phase save",
                "phase wait",
            ],
        ),
        // More actors than the learner needs, with unrolls of one step.
        case(
            "held-back",
            program("held-back"),
            "--actors 24 --unroll 1 --envs-per-actor 1 --batch 4 --hidden 8",
            &[
                "actors.admission_wait_ns",
                "per_actor.admission_wait_ns",
                "actors.param_refreshes",
                "learner.lag_min",
                "learner.lag_max",
                "phase step",
                "phase infer",
                "phase refresh",
                "phase commit",
            ],
        ),
        case(
            "solved",
            program("solved"),
            "--actors 2 --stop-at-return 400 --learning-rate 0.0003",
            &["learner.target_reached", "learner.frames_to_target", "learner.seconds_to_target"],
        ),
        case(
            "gradients",
            program("gradients"),
            "--actors 2 --algorithm a3c",
            &["actors.gradient_ns", "per_actor.gradient_ns"],
        ),
        case(
            "central",
            program("central"),
            "--actors 3 --inference central --inference-wait-us 100 --chaos kill=10/s,seed=3",
            &[
                "actors.answer_wait_ns",
                "per_actor.answer_wait_ns",
                "policy.incarnation",
                "policy.phase",
                "policy.gather_ns",
                "policy.wait_ns",
                "policy.rows",
                "memory.policy_bytes",
                "cpu.policy_ns",
            ],
        ),
        case(
            "scaled",
            program("scaled"),
            "--actors 2 --popart",
            &["task.value_mean", "task.value_deviation", "task.value_square", "task.value_updates"],
        ),
        case(
            "replayed",
            program("replayed"),
            "--actors 2 --replay-fraction 0.5 --replay-unrolls 1000",
            &["learner.unrolls_replayed", "learner.replay_lag_sum", "learner.replay_unrolls"],
        ),
        case(
            "killed",
            program("killed"),
            "--actors 3 --unroll 4 --batch 4 --envs-per-actor 2 --hidden 1 \
             --chaos kill=10/s,seed=3",
            &[
                "restarts",
                "unrolls_abandoned",
                "learner.incarnation",
                "per_actor.incarnation",
                "phase init",
            ],
        ),
        case(
            "failing",
            faulty(),
            "--actors 2 --unroll 1 --envs-per-actor 256 --batch 512 --hidden 1 --normalize-rewards=false \
             --env-arg error=0.2 --env-arg huge-reward=0.002 --env-arg slow-reset=1",
            &[
                "actors.env_errors",
                "actors.unrolls_dropped",
                "learner.updates_skipped_nonfinite",
                "phase reset",
            ],
        ),
    ];
    if let Some(python) = gymnasium("metrics of gym") {
        cases.push(case(
            "gym",
            supervised(&python, &folder.join("gym"), "gym:CartPole-v1"),
            "",
            &["memory.actors_bytes", "per_actor.rss_bytes", "per_actor.cpu_ns", "frames"],
        ));
    }
    cases
}

/// What runs said of all numbers.
#[derive(Debug, Default)]
struct Found {
    /// Those that changed within a run, and in which.
    moved: BTreeMap<String, Vec<&'static str>>,
    /// Those that were other than 0.
    there: BTreeSet<String>,
}

impl Found {
    /// Lets a run go on until `until` have changed.
    fn run(&mut self, name: &'static str, mut command: Command, run_dir: &Path, until: &[&str]) {
        command.args(["--total-frames", "1000000000", "--log-interval", "0.05"]);
        command.args(["--quiet", "--report=false", "--tensorboard=false"]);
        let running = Running::of(command);
        let mut watched = Watched::new(run_dir);
        let began = Instant::now();
        wait_until(name, 2 * MAX_WAIT, || {
            watched.look();
            let still: Vec<_> = until.iter().filter(|name| !watched.moved(name)).collect();
            let is_late = began.elapsed() > MAX_WAIT;
            assert!(still.is_empty() || !is_late, "never written in the run '{name}': {still:?}");
            still.is_empty()
        });
        running.signal(Signal::SIGTERM);
        let finished = running.wait();
        assert_eq!(finished.code(), Some(0), "{name}: {}{}", finished.stdout, finished.stderr);
        watched.look();
        for (number, seen) in watched.seen {
            if seen.moved {
                self.moved.entry(number.clone()).or_default().push(name);
            }
            if seen.is_there {
                self.there.insert(number);
            }
        }
    }
}

#[test]
fn every_documented_metric_moves_in_some_run() {
    let documented = documented();
    let mut still: Vec<&str> = EXPECTED_STILL.iter().map(|(name, ..)| *name).collect();
    if !Path::new("/proc/self/schedstat").exists() {
        // Without scheduler statistics a kernel does not say how long threads wait for a core.
        still.extend([
            "cpu.learner_core_wait_ns",
            "cpu.actors_core_wait_ns",
            "cpu.policy_core_wait_ns",
        ]);
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut found = Found::default();
    for Case { name, mut command, flags, until } in cases(folder.path()) {
        assert!(until.iter().all(|name| documented.contains(*name)), "{until:?}");
        command.args(flags.split_whitespace());
        found.run(name, command, &folder.path().join(name), until);
    }
    // Whatever else there is moves in a run of its own, if it has not by now.
    let left: Vec<&str> = documented
        .iter()
        .map(String::as_str)
        .filter(|name| !found.moved.contains_key(*name) && !still.contains(name))
        .collect();
    if !left.is_empty() {
        let run_dir = folder.path().join("plain");
        let mut command = supervisor();
        command.args(["--actors", "2", "--normalize-rewards", "--normalize-observations"]);
        // A policy that moves fast, and what keeps it near.
        command.args(["--passes", "8", "--learning-rate", "0.003", "--clip-range", "0.1"]);
        command
            .args(["--kl-target", "0.01", "--stop-passes-at-kl", "0.02", "--run-dir"])
            .arg(&run_dir);
        found.run("plain", command, &run_dir, &left);
    }
    for number in found.there.iter().chain(found.moved.keys()) {
        assert!(documented.contains(number), "{number} is not documented");
    }
    for (name, still, reason) in EXPECTED_STILL {
        assert!(documented.contains(*name), "{name} is no metric");
        assert!(found.there.contains(*name) || *still == Still::Rare, "{name} is never written");
        let runs = found.moved.get(*name).filter(|_| *still == Still::Constant);
        assert_eq!(runs, None, "{name} changed, but is listed: {reason}");
    }
}
