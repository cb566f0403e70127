//! The command line of `impala-top`, and its plain-text mode.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;
use nix::poll::{PollTimeout, poll};
use serde_json::json;

use super::figures::Figures;
use super::runs::Runs;
use super::screen;
use super::table::{head, plain_actors};

const USAGE: u8 = 2;
/// The terminal could not be used, or the output not be written.
const OUTPUT: u8 = 1;

/// Shows what the runs of this machine are doing. Only looks: a run cannot tell that it is watched.
#[derive(Debug, clap::Parser)]
#[command(name = "impala-top", version)]
struct TopArgs {
    /// Only this run: process id of its supervisor, name of its segment, or its folder
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Print plain text instead of taking the terminal
    #[arg(long, short)]
    batch: bool,
    /// Leave after this many looks [default: never; 1 with --json]
    #[arg(long, short = 'n', value_name = "N")]
    iterations: Option<u64>,
    /// Seconds between looks
    #[arg(long, short, value_name = "S", default_value_t = 1.0, value_parser = delay)]
    delay: f64,
    /// Print one JSON object a look
    #[arg(long)]
    json: bool,
}

fn delay(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be from 0.1 to 3600 seconds".to_owned()),
    }
}

/// The command line of `impala-top`, for whoever documents or completes it.
#[must_use]
pub fn command() -> clap::Command {
    <TopArgs as clap::CommandFactory>::command()
}

/// Runs the command line of this process, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = match TopArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _closed_is_fine = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let mut runs = Runs::new(args.run.clone());
    let pause = Duration::from_secs_f64(args.delay);
    let done = if args.batch || args.json || !io::stdout().is_terminal() {
        batch(&mut runs, &args, pause)
    } else {
        screen::show(&mut runs, pause)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _closed_is_fine = writeln!(io::stderr(), "impala-top: {error}");
            OUTPUT.into()
        }
    }
}

fn batch(runs: &mut Runs, args: &TopArgs, pause: Duration) -> io::Result<()> {
    let looks = args.iterations.or(args.json.then_some(1));
    let mut look = 0;
    first_readings(runs, pause)?;
    loop {
        let mut out = io::stdout().lock();
        if args.json {
            writeln!(out, "{}", to_json(runs))?;
        } else {
            print(runs, &mut out)?;
        }
        out.flush()?;
        drop(out);
        look += 1;
        if looks.is_some_and(|looks| look >= looks) {
            return Ok(());
        }
        wait(pause)?;
        runs.refresh();
    }
}

/// Rates need two readings: looks until each run has them, or the pause is over.
fn first_readings(runs: &mut Runs, pause: Duration) -> io::Result<()> {
    let enough = Instant::now() + pause;
    loop {
        runs.refresh();
        let lacking = runs.all.iter().any(|run| run.count() < 3 && !run.ended);
        if !lacking || Instant::now() >= enough {
            return Ok(());
        }
        wait(Duration::from_millis(50))?;
    }
}

fn wait(time: Duration) -> io::Result<()> {
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    match poll(&mut [], timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn print(runs: &Runs, out: &mut impl Write) -> io::Result<()> {
    if runs.all.is_empty() {
        writeln!(out, "no run on this machine")?;
    }
    for run in &runs.all {
        let figures = run.readings().map(|(newest, old)| Figures::of(newest, old));
        let mut figures = figures.unwrap_or_default();
        for line in head(run, &figures).into_iter().chain(plain_actors(&mut figures.actors)) {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn to_json(runs: &Runs) -> serde_json::Value {
    let one = |run: &super::runs::Run| {
        json!({
            "name": run.name,
            "pid": run.id.pid,
            "run_dir": run.run_dir,
            "ended": run.ended.then(|| run.ending()),
            "figures": run.readings().map(|(newest, old)| Figures::of(newest, old)),
        })
    };
    json!({ "runs": runs.all.iter().map(one).collect::<Vec<_>>() })
}
