//! Measures the whole pool: starts the real supervisor and reads the counters that it logs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::Value;

use super::error::BenchError;
use super::setup::{Setup, parse};
use impala_rl::metrics::MetricsRecord;

/// Name of the program that is measured.
const SUPERVISOR: &str = "impala-supervisor";

/// One run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PoolSample {
    /// Learned frames per second between the first and the last line of metrics with frames in them.
    pub(crate) steady_frames_per_s: f64,
    /// All learned frames over all wall time, from the start of the run to its end.
    pub(crate) wall_frames_per_s: f64,
    /// Mean policy lag, in updates.
    pub(crate) policy_lag: f64,
    /// Learned frames of all frames that were acted and taken; the rest crossed a reset.
    pub(crate) learned_share: f64,
    /// Where actors were: share of their time, all together.
    pub(crate) actor: ActorShares,
    /// Where the learner was.
    pub(crate) learner: LearnerShares,
    /// What the kernel says of all processes of the run, its start and end included.
    pub(crate) kernel: KernelFigures,
}

/// Shares of the actors' wall time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ActorShares {
    pub(super) env: f64,
    pub(super) inference: f64,
    pub(super) refresh: f64,
    pub(super) slot_wait: f64,
}

/// Shares of the learner's wall time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LearnerShares {
    pub(super) wait: f64,
    pub(super) batching: f64,
    pub(super) forward: f64,
    pub(super) vtrace_loss: f64,
    pub(super) backward: f64,
    pub(super) optimizer: f64,
    pub(super) publish: f64,
}

/// What the kernel counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KernelFigures {
    /// CPU time in us per learned frame, user and system.
    pub(super) cpu_us_per_frame: f64,
    /// Part of it in the kernel.
    pub(super) system_share: f64,
    /// CPU time over wall time and cores.
    pub(super) cores_busy: f64,
    /// Times that a process went to sleep, per thousand updates.
    pub(super) sleeps_per_1000_updates: f64,
    /// Times that a process was interrupted for another, per thousand updates.
    pub(super) interruptions_per_1000_updates: f64,
}

/// Runs the supervisor that lies beside this program with `flags` for `seconds`, and reads what it left.
///
/// # Errors
/// If it cannot be run, fails, or is too short to measure.
pub(crate) fn run(
    flags: &[OsString],
    setup: &Setup,
    seconds: f64,
    cores: usize,
) -> Result<PoolSample, BenchError> {
    let folder = tempfile::tempdir().map_err(BenchError::io("create a temporary folder"))?;
    let given = parse(flags)?.settings;
    let mut command = Command::new(supervisor()?);
    command.args(flags).arg("--run-dir").arg(folder.path());
    let mut unless_given = |given: bool, flag: &str, value: String| {
        if !given {
            command.arg(format!("--{flag}")).arg(value);
        }
    };
    unless_given(given.time_limit.is_some(), "time-limit", seconds.to_string());
    unless_given(given.total_frames.is_some(), "total-frames", "1e15".into());
    let interval = (seconds / 20.0).clamp(0.05, 1.0);
    unless_given(given.log_interval.is_some(), "log-interval", interval.to_string());
    unless_given(given.checkpoint_interval.is_some(), "checkpoint-interval", "inf".into());
    if given.quiet.is_none() {
        command.arg("--quiet");
    }
    command.stdin(Stdio::null());
    let before = children();
    let output = command.output().map_err(BenchError::io(format!("start {SUPERVISOR}")))?;
    let after = children();
    if !output.status.success() {
        return Err(BenchError::Program {
            program: SUPERVISOR.into(),
            how: format!("ended with {}", output.status),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let summary: Value = read(&folder.path().join("summary.json"), "summary.json")?;
    let lines = metrics(&folder.path().join("metrics.jsonl"))?;
    sample(&summary, &lines, setup, cores, [before, after])
}

/// The supervisor beside this program.
fn supervisor() -> Result<PathBuf, BenchError> {
    let here = std::env::current_exe().map_err(BenchError::io("find this program"))?;
    Ok(here.with_file_name(SUPERVISOR))
}

fn read(path: &Path, what: &'static str) -> Result<Value, BenchError> {
    let text = std::fs::read_to_string(path).map_err(BenchError::io(format!("read {what}")))?;
    serde_json::from_str(&text).map_err(|source| BenchError::Json { what, source })
}

/// The lines with frames in them, without the last, in whose time the run ended.
fn metrics(path: &Path) -> Result<Vec<MetricsRecord>, BenchError> {
    let text =
        std::fs::read_to_string(path).map_err(BenchError::io("read metrics.jsonl".to_owned()))?;
    let mut lines = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<MetricsRecord>, _>>()
        .map_err(|source| BenchError::Json { what: "metrics.jsonl", source })?;
    lines.pop();
    lines.retain(|line| line.frames > 0);
    if lines.len() < 2 {
        return Err(BenchError::TooShort { lines: lines.len() });
    }
    Ok(lines)
}

/// A number of a summary; 0 if there is none.
fn number(summary: &Value, key: &str) -> f64 {
    summary[key].as_f64().unwrap_or(0.0)
}

fn sample(
    summary: &Value,
    lines: &[MetricsRecord],
    setup: &Setup,
    cores: usize,
    usage: [Option<Usage>; 2],
) -> Result<PoolSample, BenchError> {
    let [.., last] = lines else {
        return Err(BenchError::TooShort { lines: 0 });
    };
    let first = &lines[0];
    let since = |of: fn(&MetricsRecord) -> u64| of(last) as f64 - of(first) as f64;
    let pool = &setup.config.pool;
    let wall_s = (last.wall_s - first.wall_s).max(f64::MIN_POSITIVE);
    let actor = |of| since(of) * 1e-9 / (wall_s * pool.actors as f64);
    let learner = |of| since(of) * 1e-9 / wall_s;
    let unrolls = since(|line| line.learner.unrolls_consumed);
    let taken = unrolls * (pool.unroll * pool.envs_per_group()) as f64;
    Ok(PoolSample {
        steady_frames_per_s: since(|line| line.frames) / wall_s,
        wall_frames_per_s: number(summary, "frames_per_s"),
        policy_lag: since(|line| line.learner.lag_sum) / unrolls.max(1.0),
        learned_share: since(|line| line.frames) / taken.max(1.0),
        actor: ActorShares {
            env: actor(|line| line.actors.env_ns),
            inference: actor(|line| line.actors.infer_ns),
            refresh: actor(|line| line.actors.refresh_ns),
            slot_wait: actor(|line| line.actors.slot_wait_ns),
        },
        learner: LearnerShares {
            wait: learner(|line| line.learner.wait_ns),
            batching: learner(|line| line.learner.batching_ns),
            forward: learner(|line| line.learner.forward_ns),
            vtrace_loss: learner(|line| line.learner.vtrace_ns),
            backward: learner(|line| line.learner.backward_ns),
            optimizer: learner(|line| line.learner.optimizer_ns),
            publish: learner(|line| line.learner.publish_ns),
        },
        kernel: KernelFigures::between(usage, summary, cores),
    })
}

/// What all children that have ended have used.
fn children() -> Option<Usage> {
    getrusage(UsageWho::RUSAGE_CHILDREN).ok()
}

impl KernelFigures {
    fn between(usage: [Option<Usage>; 2], summary: &Value, cores: usize) -> Self {
        let added = |figure: &dyn Fn(&Usage) -> f64| {
            let [before, after] = usage.each_ref().map(|u| u.as_ref().map_or(0.0, figure));
            after - before
        };
        let user_s = added(&|usage| seconds(usage.user_time()));
        let system_s = added(&|usage| seconds(usage.system_time()));
        let cpu_s = (user_s + system_s).max(f64::MIN_POSITIVE);
        let frames = number(summary, "frames").max(1.0);
        let wall_s = number(summary, "wall_s").max(f64::MIN_POSITIVE);
        let thousands = number(summary, "updates").max(1.0) / 1e3;
        Self {
            cpu_us_per_frame: cpu_s * 1e6 / frames,
            system_share: system_s / cpu_s,
            cores_busy: cpu_s / (wall_s * cores as f64),
            sleeps_per_1000_updates: added(&|u| u.voluntary_context_switches() as f64) / thousands,
            interruptions_per_1000_updates: added(&|u| u.involuntary_context_switches() as f64)
                / thousands,
        }
    }
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6
}
