//! Entry point of `impala-bench`: reads the command line, does what it asks for, and returns the exit code.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use serde_json::{Value, json};
use signal_hook::low_level::emulate_default_handler;

use super::args::{BenchArgs, BenchCommand, Common, Measured, RanksArgs, ScalingArgs, TuneArgs};
use super::environments::{EnvReport, EnvSample};
use super::error::BenchError;
use super::learn::{self, LearnError};
use super::limit::{Limit, LimitSample};
use super::machine::Machine;
use super::parts::{Parts, Sample};
use super::pool::{self, PoolSample};
use super::pool_report::PoolReport;
use super::ranks::RanksReport;
use super::setup::Setup;
use super::transport;
use super::tune::TuneReport;
use super::work::FrameWork;
use impala_rl::config::refusal;
use impala_rl::supervisor::ExitKind;

/// The command line of `impala-bench`, for whoever documents or completes it.
#[must_use]
pub fn command() -> clap::Command {
    <BenchArgs as clap::CommandFactory>::command()
}

/// Runs the command line of this process and gives the exit code: 0, 2 for bad usage, 70 for a
/// measurement that failed; those of `learn` are in its help.
#[must_use]
pub fn main() -> ExitCode {
    let args = match BenchArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let Some(line) = refusal(&error) else {
                let _closed_is_fine = error.print();
                return ExitKind::Finished.into();
            };
            let _closed_is_fine = writeln!(io::stderr(), "impala-bench: {line}");
            return ExitKind::Usage.into();
        }
    };
    match run(args.command) {
        Ok(()) => ExitKind::Finished.into(),
        Err(error) => {
            let _closed_is_fine = writeln!(io::stderr(), "impala-bench: {error}");
            match error {
                BenchError::Learn(LearnError::Interrupted { signal, .. }) => {
                    // The parent should see what it was; code 70 is for a signal that does not end a process.
                    let _ends = emulate_default_handler(signal);
                    ExitKind::Internal.into()
                }
                BenchError::Learn(error) => error.exit_code(),
                BenchError::Train(error) if error.exit() == ExitKind::Usage => {
                    ExitKind::Usage.into()
                }
                BenchError::Flags(_)
                | BenchError::Ranks(_)
                | BenchError::Config(_)
                | BenchError::Network(_) => ExitKind::Usage.into(),
                _ => ExitKind::Internal.into(),
            }
        }
    }
}

fn run(command: BenchCommand) -> Result<(), BenchError> {
    let machine = Machine::here();
    match command {
        BenchCommand::Parts(measured) => parts(&measured, &machine),
        BenchCommand::Limit(measured) => limit(&measured, &machine),
        BenchCommand::Env(measured) => environments(&measured, &machine),
        BenchCommand::Pool(measured) => whole_pool(&measured, &machine),
        BenchCommand::Scaling(args) => scaling(&args, &machine),
        BenchCommand::Transport(args) => {
            let report = transport::measure(&args)?;
            let fields = json!({ "actors": args.actors, "loads": &report.loads });
            print("transport", args.common, &machine, fields, &[&report]);
            Ok(())
        }
        BenchCommand::Ranks(args) => ranks(&args),
        BenchCommand::Tune(args) => {
            let report = TuneReport::measure(&args)?;
            let TuneArgs { repeats, json, seconds, .. } = args;
            let common = Common { repeats, json, effort_ms: 0, seconds };
            print("tune", common, &machine, report.fields(), &[&report]);
            Ok(())
        }
        BenchCommand::Learn(args) => Ok(learn::run(&args)?),
        BenchCommand::TransportSender(args) => transport::sender::send(&args),
        BenchCommand::TransportRing(args) => transport::ring::print(&args),
    }
}

fn parts(args: &Measured, machine: &Machine) -> Result<(), BenchError> {
    let setup = Setup::from_flags(&args.flags)?;
    let effort = effort(args.common);
    let samples = repeat(args.common, || Sample::measure(&setup, effort))?;
    let parts = Parts::of(&samples);
    let fields = json!({ "configuration": setup.described(), "us_per_frame": parts });
    print("parts", args.common, machine, fields, &[&parts]);
    Ok(())
}

fn limit(args: &Measured, machine: &Machine) -> Result<(), BenchError> {
    let setup = Setup::from_flags(&args.flags)?;
    let effort = effort(args.common);
    let samples = repeat(args.common, || LimitSample::measure(&setup, machine, effort))?;
    let (parts, limit) = (Limit::parts(&samples), Limit::of(&samples, FrameWork::of(&setup)));
    let fields = json!({
        "configuration": setup.described(), "us_per_frame": parts, "limit": limit,
    });
    print("limit", args.common, machine, fields, &[&parts, &limit]);
    Ok(())
}

fn environments(args: &Measured, machine: &Machine) -> Result<(), BenchError> {
    let setup = Setup::from_flags(&args.flags)?;
    let samples = EnvSample::measure(&setup, args.common.repeats, args.common.seconds)?;
    let report = EnvReport::of(&samples);
    let fields = json!({ "configuration": setup.described(), "environments": report });
    print("env", args.common, machine, fields, &[&report]);
    Ok(())
}

fn whole_pool(args: &Measured, machine: &Machine) -> Result<(), BenchError> {
    let setup = Setup::from_flags(&args.flags)?;
    let samples = pool_samples(args.common, &args.flags, &setup, machine)?;
    let limits: Vec<_> = samples.iter().map(|(limit, _)| *limit).collect();
    let work = FrameWork::of(&setup);
    let (parts, limit) = (Limit::parts(&limits), Limit::of(&limits, work));
    let report = PoolReport::of(&samples, work.ring_bytes);
    let fields = json!({
        "configuration": setup.described(),
        "us_per_frame": parts, "limit": limit, "pool": report,
    });
    print("pool", args.common, machine, fields, &[&parts, &limit, &report]);
    Ok(())
}

/// Limit and pool one after the other in each repeat, so that a change of the machine hits both.
fn pool_samples(
    common: Common,
    flags: &[OsString],
    setup: &Setup,
    machine: &Machine,
) -> Result<Vec<(LimitSample, PoolSample)>, BenchError> {
    repeat(common, || {
        let limit = LimitSample::measure(setup, machine, effort(common))?;
        let pool = pool::run(flags, setup, common.seconds, machine.cores)?;
        Ok((limit, pool))
    })
}

fn scaling(args: &ScalingArgs, machine: &Machine) -> Result<(), BenchError> {
    let (mut rows, mut table) = (Vec::new(), Vec::new());
    for &actors in &args.actors {
        let flags: Vec<OsString> = ["--actors".into(), actors.to_string().into()]
            .into_iter()
            .chain(args.flags.iter().cloned())
            .collect();
        let setup = Setup::from_flags(&flags)?;
        let samples = pool_samples(args.common, &flags, &setup, machine)?;
        let report = PoolReport::of(&samples, FrameWork::of(&setup).ring_bytes);
        let limits: Vec<_> = samples.iter().map(|(limit, _)| *limit).collect();
        let limit = Limit::of(&limits, FrameWork::of(&setup));
        table.push(format!(
            "  {actors:>3} actors {} frames/s, limit {}, efficiency {}, lag {}\n",
            report.frames_per_s, limit.frames_per_s, report.efficiency, report.policy_lag
        ));
        rows.push(json!({
            "configuration": setup.described(), "pool": report, "limit": limit,
        }));
    }
    let fields = json!({ "scaling": rows });
    print("scaling", args.common, machine, fields, &[&table.concat()]);
    Ok(())
}

/// No measurement of this machine, so it has no heading that names it.
fn ranks(args: &RanksArgs) -> Result<(), BenchError> {
    let report = RanksReport::of(args).map_err(BenchError::Ranks)?;
    let text = if args.json { format!("{}\n", json!(report)) } else { report.to_string() };
    let _closed_is_fine = io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

fn effort(common: Common) -> Duration {
    Duration::from_millis(common.effort_ms)
}

/// Calls `measure` as often as asked, and says how far it is where somebody may be watching.
fn repeat<T>(
    common: Common,
    mut measure: impl FnMut() -> Result<T, BenchError>,
) -> Result<Vec<T>, BenchError> {
    (0..common.repeats).map(|_| measure()).collect()
}

/// Prints one object, or the machine and the tables.
fn print(
    benchmark: &str,
    common: Common,
    machine: &Machine,
    mut fields: Value,
    tables: &[&dyn Display],
) {
    let mut out = io::stdout().lock();
    let text = if common.json {
        fields["benchmark"] = json!(benchmark);
        fields["repeats"] = json!(common.repeats);
        fields["machine"] = json!(machine);
        format!("{fields}\n")
    } else {
        let head = format!(
            "{benchmark}: {} x {}, {}; {} repeats, median (min .. max)\n",
            machine.cores, machine.cpu, machine.instructions, common.repeats
        );
        tables.iter().fold(head, |text, table| format!("{text}{table}"))
    };
    let _closed_is_fine = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
