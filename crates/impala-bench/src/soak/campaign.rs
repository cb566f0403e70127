//! `impala-soak`: runs several pools with faults one after the other, and prints which promises were kept.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser as _;
use serde::Serialize;
use serde_json::json;

use super::args::{Part, SoakArgs};
use super::error::ProofError;
use super::killed::{Killed, kill_supervisors, wait_ms};
use super::pool;
use super::promises::promises;
use super::report::PoolReport;
use crate::bench::Machine;
use impala_rl::supervisor::ExitKind;

/// A pool that has not ended so long after its time hangs.
const GRACE: Duration = Duration::from_secs(90);
/// The parts beside the random one last at most so long.
const GRADIENTS_SECONDS: f64 = 60.0;
const STOPS_SECONDS: f64 = 30.0;
const RESTARTS_SECONDS: f64 = 600.0;

/// One promise, and whether it was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Promise {
    /// What is promised.
    pub(crate) promise: &'static str,
    /// What was measured.
    pub(crate) measured: String,
    /// Whether that is as promised.
    pub(crate) kept: bool,
}

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Results {
    /// Kills and stops at random.
    pub(super) chaos: PoolReport,
    /// Kills and stops at random, with gradients in place of unrolls.
    pub(super) gradients: PoolReport,
    /// Kills and stops at random, with one process that runs the network for all actors.
    pub(super) central: PoolReport,
    /// Only stops.
    pub(super) stops: PoolReport,
    /// Only kills of actors, as fast as they are replaced.
    pub(super) restarts: PoolReport,
    /// Kills of supervisors.
    pub(super) supervisors: Killed,
}

/// The command line of `impala-soak`, for whoever documents or completes it.
#[must_use]
pub fn command() -> clap::Command {
    <SoakArgs as clap::CommandFactory>::command()
}

/// Runs the command line of this process and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = match SoakArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _closed_is_fine = error.print();
            let bad = error.use_stderr();
            return if bad { ExitKind::Usage } else { ExitKind::Finished }.into();
        }
    };
    let kept = match &args.part {
        Some(Part::Pool(pool)) => pool::run(pool).map(|()| true),
        None => soak(&args),
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed_is_fine = writeln!(io::stderr(), "impala-soak: {error}");
            ExitKind::Internal.into()
        }
    }
}

/// Runs all parts and prints the promises; whether all were kept.
fn soak(args: &SoakArgs) -> Result<bool, ProofError> {
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|errno| ProofError::io("adopt orphans")(errno.into()))?;
    let folder = tempfile::tempdir().map_err(|error| ProofError::Folder(error.to_string()))?;
    let tell = |what: &str| {
        if !args.json {
            let _closed_is_fine = writeln!(io::stderr(), "impala-soak: {what}");
        }
    };
    let seconds = args.minutes * 60.0;
    let (kills, stops) = (args.faults_per_s * 0.8, args.faults_per_s * 0.2);
    tell(&format!("{seconds:.0} s of faults at random"));
    let faults = format!("kill={kills}/s,stop={stops}/s,seed={}", args.seed);
    let chaos = one_pool(args, folder.path(), "chaos", seconds, &["--chaos", &faults])?;
    let gradients_s = GRADIENTS_SECONDS.min(seconds / 2.0);
    tell(&format!("{gradients_s:.0} s of the same with gradients in place of unrolls"));
    let flags = ["--gradients", "--chaos", &faults];
    let gradients = one_pool(args, folder.path(), "gradients", gradients_s, &flags)?;
    tell(&format!("{gradients_s:.0} s of the same with central inference"));
    let flags = ["--central", "--chaos", &faults];
    let central = one_pool(args, folder.path(), "central", gradients_s, &flags)?;
    tell("stops alone");
    let stops = format!("stop=10/s,seed={}", args.seed);
    let stops_s = STOPS_SECONDS.min(seconds / 2.0);
    let stops = one_pool(args, folder.path(), "stops", stops_s, &["--chaos", &stops])?;
    tell(&format!("{} restarts of actors", args.restarts));
    let kills = format!("kill=100/s,learner=0,seed={}", args.seed);
    let flags = ["--chaos", &kills, "--restarts", &args.restarts.to_string()];
    let restarts = one_pool(args, folder.path(), "restarts", RESTARTS_SECONDS, &flags)?;
    tell(&format!("{} supervisors killed", args.supervisors));
    let command = |folder: &Path| pool_command(args, folder, 1e6, &["--chaos", "kill=2/s"]);
    let supervisors =
        kill_supervisors(|path| command(path), folder.path(), args.supervisors, args.seed)?;
    let results = Results { chaos, gradients, central, stops, restarts, supervisors };
    let promises = promises(&results, args);
    let kept = promises.iter().all(|promise| promise.kept);
    print(args, &results, &promises, kept);
    Ok(kept)
}

fn pool_command(args: &SoakArgs, folder: &Path, seconds: f64, flags: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("pool").args(["--seconds", &seconds.to_string()]);
    command.args(["--actors", &args.actors.to_string()]).args(["--seed", &args.seed.to_string()]);
    command.arg("--folder").arg(folder).args(flags);
    command
}

/// Runs one pool to its end. One that does not come to an end is a hang, and killed.
fn one_pool(
    args: &SoakArgs,
    folder: &Path,
    name: &str,
    seconds: f64,
    flags: &[&str],
) -> Result<PoolReport, ProofError> {
    let (out, err) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
    let create = |path: &Path| File::create(path).map_err(ProofError::io("write a temporary file"));
    let mut command = pool_command(args, &folder.join(name), seconds, flags);
    command.stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&err)?);
    let mut child = command.spawn().map_err(ProofError::io("start a pool"))?;
    let deadline = Instant::now() + Duration::from_secs_f64(seconds) + GRACE;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(ProofError::io("wait for a pool"))? {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            let reason = format!("the pool did not end within {GRACE:?} of its time");
            return Ok(PoolReport { hangs: 1, reason, ..PoolReport::default() });
        }
        wait_ms(10);
    };
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let said = read(&err);
    // Nobody but a pool that broke a promise says anything.
    let _closed_is_fine = io::stderr().write_all(said.as_bytes());
    serde_json::from_str(&read(&out)).map_err(|_| ProofError::Pool {
        program: "impala-soak pool".into(),
        what: format!("ended with {status}"),
        said: said.lines().last().unwrap_or("nothing").to_owned(),
    })
}

fn print(args: &SoakArgs, results: &Results, promises: &[Promise], kept: bool) {
    let machine = Machine::here();
    let text = if args.json {
        let object = json!({
            "kept": kept, "promises": promises, "results": results, "machine": machine,
            "seed": args.seed, "minutes": args.minutes, "actors": args.actors,
        });
        format!("{object}\n")
    } else {
        table(&machine, args, promises)
    };
    let mut out = io::stdout().lock();
    let _closed_is_fine = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn table(machine: &Machine, args: &SoakArgs, promises: &[Promise]) -> String {
    let mut text = format!(
        "soak: {} x {}, {} actors, seed {}\n",
        machine.cores, machine.cpu, args.actors, args.seed
    );
    for Promise { promise, measured, kept } in promises {
        let mark = if *kept { "kept  " } else { "BROKEN" };
        let _infallible = writeln!(text, "  {mark}  {promise:<72}  {measured}");
    }
    text
}
